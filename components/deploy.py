"""Deploy: put the champion in service."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def deploy(name: str, version: str, target: str, ledger: str, run: str, report: dsl.Output[dsl.HTML]) -> str:
    """Serve a version of the registry and return where; nothing when it was taken back, and the row says so.

    Args:
        name: Name of the flywheel, and of the registered model.
        version: Version to serve, as `promote` returned it; refused when another one is champion by now.
        target: Where to: URI of the folder that `flywheel serve` watches, or `deploy` of flywheel.yaml as JSON.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the endpoint goes to.
        report: What was put in service, and how it was judged.
    """
    from flywheel.say import say
    from flywheel.steps.deploy import TakenBack, deploy

    try:
        return deploy(name, version, target, ledger, run, report.path)
    except TakenBack as refused:  # a verdict, as of any gate: a step that fails would lose its report
        say(str(refused))
        return ""
