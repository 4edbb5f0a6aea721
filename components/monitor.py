"""Monitor: what serving sees beside training and the days before, what became of the predictions, and what to do."""

from kfp import dsl

from flywheel import images


@dsl.component(base_image=images.CPU, install_kfp_package=False)
def monitor(
    name: str,
    span: str,
    requests: str,
    settings: dict,
    warehouse: str,
    ledger: str,
    job: str,
    report: dsl.Output[dsl.HTML],
) -> str:
    """Return `retrain`, `alert` or `fine` for the requests of a span; report and ledger say why.

    Args:
        name: Name of the flywheel.
        span: Name of the span, as 2013-06-01; empty for the last one that is over.
        requests: Folder of the request log; empty, and a query gives the requests.
        settings: `label`, `task`, `every`, `gate` (`gates.data`), `monitor` and `source` as in flywheel.yaml; `labels`
            and `serving`, text of those SQL files, empty for none.
        warehouse: URL of the warehouse that labels come from.
        ledger: MLflow tracking URI.
        job: Identity of this pipeline run.
        report: What was found, readable in the Kubeflow UI.
    """
    from pathlib import Path

    from flywheel.steps.monitor import monitor

    return monitor(name, span, requests, settings, warehouse, ledger, job, Path(report.path))
