"""One policy over the history: what would have been trained, promoted and served on each span."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from flywheel.artifacts import Verdict
from flywheel.config import Retrain
from flywheel.config.metrics import HEADLINE, better
from flywheel.evaluation import estimates, gates
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, Predictions
from flywheel.profiles.window import shortage
from flywheel.retraining import Choice, Evidence, Gain, Reference
from flywheel.retraining.evidence import passed
from flywheel.spans import Span, Windows, reach

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.backtest.bench import Trial
    from flywheel.backtest.data import DataGate
    from flywheel.config import Project
    from flywheel.evaluation.paired import Estimate

_SOON = 12


class Models(Protocol):
    """Models of any span and window, and what they predict; `Bench` trains real ones."""

    @property
    def project(self) -> Project:
        """What flywheel.yaml declares."""

    @property
    def truth(self) -> str:
        """Warehouse with the rows that a model in service met; empty where they are the project's own."""

    def prepare(self, wanted: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Make those of some spans and windows, which are going to be asked for."""

    def trial(self, span: str, window: Sequence[str]) -> Trial:
        """Return the model of a span and window."""

    def predictions(self, trial: Trial, spans: Sequence[str], part: str = "judge") -> pa.Table:
        """Return what a model predicts for some spans, as `analyze` writes it, in the order of the spans."""


@dataclass(frozen=True)
class Line:
    """What is replayed.

    Attributes:
        retrain: The policy.
        window: Spans that a training takes.
        gated: Whether bad data and worse models are kept out.
    """

    retrain: Retrain
    window: int
    gated: bool = True

    def __str__(self) -> str:
        """Return it as a table shows it."""
        return self.called(f"{self.window} spans")

    def called(self, *more: str) -> str:
        """Return policy and gates in words, with more between them."""
        return ", ".join([str(self.retrain), *more, *([] if self.gated else ["no gates"])])


@dataclass
class Replayed:
    """What became of a line.

    Attributes:
        line: Which.
        spans: Spans on which a model was in service, in order.
        values: The metric of the model in service on each of them; NaN where it cannot be told.
        trained: Spans for which models were trained.
        promoted: Those whose models went into service.
        rejected: Spans that the data gate kept out.
        decisions: What was decided for each span, in a sentence.
        seconds: What the trainings took together.
    """

    line: Line
    spans: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)
    promoted: list[str] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)
    decisions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def replay(
    line: Line,
    spans: Sequence[str],
    bench: Models,
    data: DataGate | None,
    decide: Callable[[Retrain, Evidence], Choice],
    told: Callable[[str, str], None] = lambda span, what: None,
) -> Replayed:
    """Return what would have become of a flywheel under one policy.

    Each span is served by the model that stood at its start; then it is weighed whether to train for it. The probe, a
    person's approval and comparisons with a baseline are left out.

    Args:
        line: The policy, its window, and whether there are gates.
        spans: Names, oldest first.
        bench: Trains and asks models.
        data: What the data gate said; None where no line asks it, and nothing drifts then.
        decide: Asks a policy.
        told: Called after each span with what was decided.
    """
    found = Replayed(line)
    flywheel = _Flywheel(line, spans, bench, data, decide, found)
    for number, span in enumerate(spans):
        if line.retrain == Retrain() and number % _SOON == 0:  # each is trained for, so several can be at the same time
            soon = [each for each in spans[number : number + _SOON] if not flywheel.kept_out(each)]
            bench.prepare([(each, _names(flywheel.windows(each).train)) for each in soon])
        what = flywheel.step(span)
        found.decisions[span] = what
        told(span, what)
    flywheel.flush()
    return found


class _Flywheel:
    """The state that goes from span to span."""

    def __init__(
        self,
        line: Line,
        spans: Sequence[str],
        bench: Models,
        data: DataGate | None,
        decide: Callable[[Retrain, Evidence], Choice],
        found: Replayed,
    ) -> None:
        self.line, self.bench, self.data, self.decide, self.found = line, bench, data, decide, found
        self.project = bench.project
        self.metric = HEADLINE[self.project.task]
        self.champion: Trial | None = None
        self.then: Reference | None = None
        self.gains: list[Gain] = []
        self.bad = data.bad if data is not None and line.gated else {}
        self._place = {span: place for place, span in enumerate(spans)}
        self._served: list[str] = []

    def windows(self, span: str) -> Windows:
        """Return the spans to train and to judge on for a span, as `plan` finds them; none before the first run's."""
        sizes = self.line.window, self.project.source.judge
        most = min(reach(*sizes, self.project.gates.data.leave_out), sum(sizes) + self._place[span])
        return Windows.of(Span.parse(span, self.project.source.every), *sizes, self.bad, most)

    def kept_out(self, span: str) -> str:
        """Return why there is nothing to train on for a span, as `outcome: reason`; empty when there is."""
        if self.data is not None and not self.data.rows.get(span):
            return "not-ready: it has no rows"
        if span in self.bad:
            return f"data-rejected: {self.bad[span]}"
        few = shortage(self.windows(span), self.line.window, self.project.gates.data.leave_out)
        return f"data-rejected: {few}" if few else ""

    def step(self, span: str) -> str:
        """Serve a span, then decide what follows from it; return that in a sentence."""
        if self.champion is not None:
            self._served.append(span)
        if why := self.kept_out(span):
            self.found.rejected += [span] * why.startswith("data-rejected")
            return why
        windows = self.windows(span)
        window, judge = _names(windows.train), _names(windows.judge)
        choice = self.decide(self.line.retrain, self._evidence(span, window, judge))
        if not choice.train:
            return f"not-needed: {choice.why}"
        candidate = self.bench.trial(span, window)
        self.found.trained.append(span)
        self.found.seconds += candidate.seconds
        said = self._judged(candidate, judge)
        if said and self.line.gated:
            return f"kept-champion: {said}"
        self.flush()
        self.champion = candidate
        self.found.promoted.append(span)
        return f"promoted: {choice.why}"

    def flush(self) -> None:
        """Measure the model in service on the spans that it served."""
        if self.champion is None or not self._served:
            return
        table = self.bench.predictions(self.champion, self._served, "truth" if self.bench.truth else "judge")
        seen = Predictions.of(table)
        from flywheel.evaluation import metrics

        values = metrics.by_group(seen, CANDIDATE, seen.spans)[self.metric]
        known = dict(zip(seen.spans.keys, (float(value) for value in values), strict=True))
        self.found.spans += self._served
        self.found.values += [known.get(span, float("nan")) for span in self._served]
        self._served = []

    def _judged(self, candidate: Trial, judge: Sequence[str]) -> str:
        """Return why the candidate may not go into service; empty when it may. Its gain is noted."""
        found = self._together(candidate, judge)
        own = estimates.figure(found, self.metric, CANDIDATE)
        if CHAMPION in found.scores:
            gained = estimates.difference(found, self.metric)
            if gained.sound:
                assert self.champion is not None
                age = passed(self.champion.span, candidate.span, self.project.source.every)
                self.gains.append(Gain(age, gained.value, gained.error))
        bars = [gate for gate in self.project.gates.model if gate.no_worse_than in (None, CHAMPION)]
        verdict = Verdict("model", gates.judge(found, bars))
        if verdict.ok or not self.line.gated:
            self.then = Reference(own.value, own.error, own.clusters) if own.sound else None
            return ""
        return verdict.why

    def _together(self, candidate: Trial, judge: Sequence[str]) -> Predictions:
        table = self.bench.predictions(candidate, judge)
        if self.champion is not None:
            theirs = self.bench.predictions(self.champion, judge)
            table = table.append_column(CHAMPION, theirs[CANDIDATE])
        return Predictions.of(table)

    def _evidence(self, span: str, window: Sequence[str], judge: Sequence[str]) -> Evidence:
        champion, every, trained = self.champion, self.project.source.every, self.found.trained
        policy = self.line.retrain.policy
        now: Estimate | None = None
        if champion is not None and policy in ("on_decay", "function") and judge:
            now = estimates.figure(Predictions.of(self.bench.predictions(champion, judge)), self.metric, CANDIDATE)
        moved: dict[str, str] = {}
        if champion is not None and self.data is not None and policy in ("on_drift", "function"):
            moved = self.data.moved(span, champion.window)
        rows = self.data.rows if self.data is not None else {}
        return Evidence(
            span=span,
            every=every,
            champion=champion.span if champion else "",
            age=passed(champion.span, span, every) if champion else 0,
            since=passed(trained[-1], span, every) if trained else 0,
            trained=tuple(trained),
            metric=self.metric,
            better=better(self.metric, self.project.task),
            then=self.then,
            now=now,
            moved=moved,
            rows=rows.get(span, 0),
            new_rows=sum(rows.get(each, 0) for each in (*window, *judge) if champion and each > champion.span),
            window_rows=sum(rows.get(each, 0) for each in window),
            gains=tuple(self.gains),
            seconds=self.found.seconds / len(trained) if trained else None,
            hourly_cost=self.project.hourly_cost,
        )


def _names(spans: Sequence[Span]) -> list[str]:
    return [span.name for span in spans]
