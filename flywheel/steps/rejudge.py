"""Rejudge: is the challenger decided, now that further spans can judge it?"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from flywheel.artifacts import Examples, Model, Verdict
from flywheel.errors import LedgerError
from flywheel.evaluation import champion as champions
from flywheel.evaluation.looks import Look
from flywheel.ledger import Ledger, challengers
from flywheel.say import say
from flywheel.steps import analyze as analyzed
from flywheel.steps import decide as decided

PRELOAD = (*analyzed.PRELOAD, *decided.PRELOAD)
GATE = "challenger"


class Rejudged(NamedTuple):
    """What became of the challenger.

    Attributes:
        ok: Whether it may take the champion's place.
        version: Its registered version.
    """

    ok: bool
    version: str


def rejudge(
    examples: Examples,
    challenger: str,
    spans: Sequence[str],
    settings: dict[str, Any],
    ledger: str,
    run: str,
    evaluation: Path,
    report: Path,
    code: Path | None = None,
) -> Rejudged:
    """Judge the challenger once more, on every span of this run that neither it nor its champion was trained on.

    What it may err is what earlier judgements have left of 5%. It is the challenger no longer when it is decided, or
    when this was the last time: when it was judged `looks` times, or on as many spans as a run has, or would take far
    more than those. Doing it again for the same span replaces what it found there. Comparisons with a baseline, which
    was trained on other spans, count as the first judgement found them; the packaged model is not tried again.

    Args:
        examples: Raw rows.
        challenger: MLflow URI of the challenger.
        spans: The run's spans that are fit to train or to judge on, its own last.
        settings: `analyze`, as `analyze` takes it; `gates`, as `gates.model` of flywheel.yaml; and `looks`.
        ledger: MLflow tracking URI.
        run: The run's row in the ledger, which the verdict goes to.
        evaluation: Where predictions and metrics go.
        report: Where the HTML goes.
        code: The project's archive, that metrics of one's own are in.

    Raises:
        LedgerError: There is no such version, or it is no challenger; the ledger cannot be reached.
        ConfigError: A gate asks for what was not evaluated.
        PredictionError: A model cannot be loaded, or does not answer every row.
    """
    book, (name, version) = Ledger(ledger), challenger.removeprefix("models:/").split("/")
    known, span = challengers.read(book.client, name, version), spans[-1]
    before = known.before(span) if known else ()
    if known is None or not before:
        raise LedgerError(
            f"version {version} of {name} was not left undecided by an earlier span than {span}",
            "look what it is: `flywheel status`.",
        )
    later = [each for each in spans if each > known.after]
    look = Look.following(before[-1], int(settings["looks"]))
    if len(later) == len(spans):  # a run cannot have more: this is the last time
        look = replace(look, of=look.number)
    champion = f"models:/{name}/{known.champion}" if known.champion else ""
    with tempfile.TemporaryDirectory(prefix="flywheel-challenger-") as folder:
        model = Model.open(champions.fetch(challenger, ledger, Path(folder)))
        found = analyzed.analyze(examples, model, champion, later, settings["analyze"], ledger, evaluation, code=code)
    about = f"Challenger version {version} of span {known.version.span}, judged for the {_nth(look.number)} time"
    verdict = decided.decide(found, settings["gates"], report, look, about)
    left = verdict.facts["look"]
    if left["more"] is not None and (far := challengers.too_far(left, len(spans))):
        say(f"it is given up: {far}")
        left |= {"more": None}
    verdict = Verdict(GATE, verdict.checks, verdict.facts | {"version": version, "span": known.version.span})
    book.record(run, verdict)
    said = "pass" if verdict.ok else "fail" if verdict.failed else "undecided"
    now = challengers.looked(book.client, name, known, {**verdict.facts["look"], "span": span, "found": said})
    say(f"{now}; {verdict.why}")
    return Rejudged(verdict.ok, version)


def _nth(number: int) -> str:
    return {2: "second", 3: "third"}.get(number, f"{number}th")
