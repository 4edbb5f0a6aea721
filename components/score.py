"""Score: keep a table of predictions up to date, whether a version was promoted or not."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def score(name: str, span: str, target: str, ledger: str, run: str, outcome: str, report: dsl.Output[dsl.HTML]) -> str:
    """Write the champion's predictions for a run's span to a table, by Beam, and return which table; empty for none.

    Args:
        name: Name of the flywheel, and of the registered model.
        span: Name of the span, as `plan` returned it; what the table has already is left as it is.
        target: `deploy` of flywheel.yaml as JSON, its target `batch` and its query the SQL text.
        ledger: MLflow tracking URI.
        run: Row of the ledger that the verdict goes to, as `plan` returned it; empty where there is none.
        outcome: As `plan` returned it: a span that is `not-ready` is left for later.
        report: What was scored, and what was left out and why.
    """
    from flywheel.steps.score import score

    return score(name, span, target, ledger, report.path, run=run, outcome=outcome)
