"""Analyze: how good are candidate, champion and baseline on the same fresh rows?"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from flywheel.artifacts import Evaluation, Examples, Model
from flywheel.evaluation import champion as champions
from flywheel.evaluation.answers import PredictionError
from flywheel.evaluation.leaks import rows_seen
from flywheel.evaluation.mistakes import Mistakes
from flywheel.evaluation.own import Own
from flywheel.evaluation.predict import Wanted, write
from flywheel.evaluation.predictions import BASELINE, CANDIDATE, CHAMPION, FILE, MODELS, Evidence, Predictions

PRELOAD = (
    "flywheel.ledger.engine",
    "mlflow.pyfunc.loaders",
    "mlflow.tracing.processor.otel",
    "mlflow.tracing.provider",
    "pandas",
    "pyarrow._exec_plan",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "tensorflow_model_analysis",
    "flywheel.evaluation.tfma_files",
    "flywheel.evaluation.worst",
)
MISTAKES = 20
LOCAL_ROWS = 10_000_000
"""Up to here the predictions fit in this process: about 100 bytes a row, and class, while they are measured."""


def analyze(
    examples: Examples,
    model: Model,
    champion: str,
    judge: Sequence[str],
    settings: dict[str, Any],
    ledger: str,
    path: Path,
    engine: Literal["auto", "local", "beam"] = "auto",
    baseline: Model | None = None,
    code: Path | None = None,
) -> Evaluation:
    """Return predictions and metrics of candidate, champion and baseline on the rows of the judge's spans.

    The folder holds `predictions.parquet`, the candidate's worst mistakes and TFMA's own files; both engines give the
    same numbers.

    Args:
        examples: Raw rows.
        model: The candidate, an MLflow folder.
        champion: MLflow URI of the model in service; empty when there is none.
        judge: Spans to judge on, oldest first, none of which either model was trained on.
        settings: `label`, the columns to slice by, `slices`; `task`, `naive`, `metrics`, `ranking` of flywheel.yaml;
            `search` as `gates.worst_slices` there, with all its columns; and `leak` as `gates.leak`: with it, it is
            looked whether the judge's rows stand among the others; and `evidence`, `cluster` and `test` of `gates`.
            `analyze` as in flywheel.yaml goes before `engine`.
        ledger: MLflow tracking URI, whose registry holds the champion.
        path: Where the evaluation goes.
        engine: `local` predicts and measures in this process, `beam` does both by Beam's workers, by TFMA; `auto`
            predicts here unless a runner is named, and measures here while it fits.
        baseline: A simple model of the same window, an MLflow folder, that the candidate ought to beat.
        code: The project's archive, that the functions of `metrics` are in.

    Raises:
        ConfigError: The label or a slice column is not in the examples.
        DataError: The label has nulls, values that are none of the task's, or one class; there are no rows.
        LedgerError: The champion cannot be loaded.
        PredictionError: A model cannot be loaded, fails, or does not answer every row as its task wants.
    """
    label, slices = str(settings["label"]), list(dict.fromkeys(settings.get("slices", ())))
    task, search = settings.get("task", "binary"), settings.get("search") or {}
    how = {"engine": engine, "beam": ()} | (settings.get("analyze") or {})
    wanted = Wanted(
        label,
        task,
        slices,
        settings.get("naive") or "",
        Own.of(settings.get("metrics") or {}, code),
        search.get("columns", ()),
        Evidence(**settings.get("evidence") or {}),
        settings.get("ranking"),
        how.pop("weight", None) or "",
    )
    mistakes = Mistakes(label, int(how.pop("mistakes", MISTAKES)), how.pop("redact", ()))
    by_beam = how["engine"] == "beam" or (how["engine"] == "auto" and any("--runner" in flag for flag in how["beam"]))
    artifacts = {CANDIDATE: model} | ({BASELINE: baseline} if baseline else {})
    with champions.quiet_mlflow(), ExitStack() as stack:
        if by_beam:
            models = _answered(stack, artifacts, champion, ledger, examples, judge, label, task, how["beam"])
        else:
            models = {name: _load(each, name) for name, each in artifacts.items()}
            if champion:
                scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flywheel-analyze-")))
                models[CHAMPION] = champions.InService(champion, ledger, examples, label, task, scratch).answered(judge)
        models = {name: models[name] for name in MODELS if name in models}
        with Evaluation.create(path, producer="analyze", spans=judge) as draft:
            rows = write(examples, judge, models, wanted, draft.path / FILE, mistakes.look)
            mistakes.write(draft.path)
            overall = _measure(draft.path, slices, rows, **how)
            draft.counts["rows"] = rows
            draft.facts |= {"label": label, "task": task, "slices": slices, "champion": champion, "judge": list(judge)}
            draft.facts |= {"search": search} if search else {}
            if thresholds := model.manifest.facts.get("thresholds"):
                draft.facts["thresholds"] = thresholds
            if leak := settings.get("leak"):
                draft.facts["leak"] = {"gate": leak, "seen": rows_seen(examples, judge)}
            draft.facts["overall"] = {name: overall.get(name) for name in (CANDIDATE, CHAMPION, BASELINE)}
    return Evaluation.open(path)


def _answered(
    stack: ExitStack,
    artifacts: Mapping[str, Model],
    champion: str,
    ledger: str,
    examples: Examples,
    judge: Sequence[str],
    label: str,
    task: str,
    options: Sequence[str],
) -> dict[str, Any]:
    """Return what stands for the models after Beam's workers have asked them; their answers are kept by `stack`."""
    from flywheel.evaluation.by_beam import predicted
    from flywheel.transform import runners

    scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flywheel-analyze-")))
    folders = {name: each.path for name, each in artifacts.items()}
    if champion:
        folders[CHAMPION] = champions.fetch(champion, ledger, scratch / "champion")
    job = stack.enter_context(runners.job(options, scratch, None))
    return dict(predicted(examples, judge, label, folders, task, job))


def _measure(
    folder: Path, slices: list[str], rows: int, engine: str, beam: Sequence[str] = ()
) -> dict[str, dict[str, float]]:
    """Write TFMA's files beside the predictions and return the overall figures of each model."""
    from flywheel.evaluation import tfma_files
    from flywheel.evaluation.metrics import finite

    cells = rows * max(1, len(Predictions.described(folder / FILE).classes))
    if engine == "beam" or (engine == "auto" and cells > LOCAL_ROWS):
        result = tfma_files.measure_on_beam(folder / FILE, slices, folder, beam)
    else:
        found = Predictions.read(folder / FILE)
        result = tfma_files.measure(found)
        tfma_files.write(found, result, slices, folder, FILE, Predictions.listed(folder / FILE))
    return {name: finite(found[()]) for name, found in result.items()}


def _load(model: Model, name: str) -> Any:
    import mlflow

    try:
        return mlflow.pyfunc.load_model(str(model.path), suppress_warnings=True)
    except Exception as error:
        raise PredictionError(
            f"the {name} in {model.path} does not load: {type(error).__name__}: {error}",
            "what its trainer imports must be importable here too.",
        ) from error
