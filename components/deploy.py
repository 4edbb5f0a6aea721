"""Deploy: put the champion in service."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def deploy(name: str, version: str, target: str, ledger: str, run: str) -> str:
    """Serve a version of the registry and return where.

    Args:
        name: Name of the flywheel, and of the registered model.
        version: Version to serve, as `promote` returned it; an older span than the one in service is refused.
        target: Where to: URI of the folder that `flywheel serve` watches.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the endpoint goes to.
    """
    from flywheel.steps.deploy import deploy

    return deploy(name, version, target, ledger, run)
