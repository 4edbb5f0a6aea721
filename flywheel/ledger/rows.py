"""Rows of the ledger: which span led to which model and decision."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from mlflow.entities import Run

    from flywheel.artifacts import Verdict

Outcome = Literal[
    "promoted",
    "awaiting-approval",
    "kept-champion",
    "data-rejected",
    "not-needed",
    "not-ready",
    "failed",
    "fine",
    "alert",
    "retrain",
]
LEDGER, MONITOR = "ledger", "monitor"
"""Kinds of rows: tries to train, looks at what serving sees."""
MONITORED = ("fine", "alert", "retrain")
DONE = tuple(outcome for outcome in get_args(Outcome) if outcome not in ("not-ready", "failed", *MONITORED))
KIND, JOB, SPAN = "flywheel.kind", "flywheel.job", "flywheel.span"
OUTCOME, WHY, UNFINISHED = "flywheel.outcome", "flywheel.why", "flywheel.unfinished"
TAKEN = "flywheel.taken_over"
"""Tag of a try that another one took for abandoned: the job of that one."""
VERSION, ENDPOINT = "flywheel.version", "flywheel.endpoint"
VERDICT = "flywheel.verdict."
KEPT_BACK_BY: dict[str, Outcome] = {
    "data": "data-rejected",
    "retraining": "not-needed",
    "model": "kept-champion",
    "serving": "kept-champion",
}
_TAG = 5000  # characters that every MLflow store takes in a tag


@dataclass(frozen=True)
class Decision:
    """What a gate left in the ledger; the whole verdict is the run's artifact `verdicts/<gate>.json`.

    Attributes:
        gate: Which gate: `data`, `model`, …
        ok: Whether it let the run pass.
        why: Why, in a sentence.
        facts: Its figures.
    """

    gate: str
    ok: bool
    why: str
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, verdict: Verdict) -> Decision:
        """Return what is kept of `verdict`."""
        return cls(verdict.gate, verdict.ok, verdict.why, dict(verdict.facts))

    def to_tag(self) -> str:
        """Return it as a tag's text; facts that do not fit are left to the artifact, largest first."""
        facts = dict(sorted(self.facts.items(), key=lambda item: len(json.dumps(item[1]))))
        while True:
            text = json.dumps({"ok": self.ok, "why": self.why[:1000], "facts": facts})
            if len(text) <= _TAG or not facts:
                return text
            facts.popitem()

    @classmethod
    def from_tag(cls, gate: str, text: str) -> Decision:
        """Return what `to_tag` wrote; what another version added to it is left out."""
        told = json.loads(text)
        return cls(gate, bool(told.get("ok")), str(told.get("why", "")), dict(told.get("facts") or {}))


@dataclass(frozen=True)
class Row:
    """One try to train for one span.

    Attributes:
        run: Its MLflow run.
        span: Name of the span.
        job: The pipeline run that made it.
        outcome: What became of it; None while it is open.
        why: Why, in a sentence.
        decisions: What each gate said.
        version: The registered version that it was promoted as.
        endpoint: Where that version is served.
        unfinished: What went wrong after the outcome, as a deployment that failed.
        started: When it was opened (UTC).
        seconds: How long it took; None while it is open.
        status: `running`, `finished` or `failed`.
        tags: All its tags.
    """

    run: str
    span: str
    job: str
    outcome: str | None
    why: str
    decisions: dict[str, Decision]
    version: str | None
    endpoint: str | None
    unfinished: str | None
    started: datetime
    seconds: float | None
    status: str
    tags: dict[str, str]

    @classmethod
    def of(cls, run: Run) -> Row:
        """Return the row that an MLflow run is."""
        tags, info = run.data.tags, run.info
        gates = {key.removeprefix(VERDICT): text for key, text in tags.items() if key.startswith(VERDICT)}
        return cls(
            run=info.run_id,
            span=tags.get(SPAN, ""),
            job=tags.get(JOB, ""),
            outcome=tags.get(OUTCOME) or None,
            why=tags.get(WHY, ""),
            decisions={gate: Decision.from_tag(gate, text) for gate, text in gates.items()},
            version=tags.get(VERSION),
            endpoint=tags.get(ENDPOINT),
            unfinished=tags.get(UNFINISHED) or None,
            started=datetime.fromtimestamp(info.start_time / 1000, UTC),
            seconds=(info.end_time - info.start_time) / 1000 if info.end_time else None,
            status=info.status.lower(),
            tags=dict(tags),
        )

    @classmethod
    def without_a_run(cls, span: str, job: str, outcome: Outcome, why: str, seconds: float) -> Row:
        """Return the row of a try that opened none: there was nothing to do, or it failed before."""
        started = datetime.now(UTC) - timedelta(seconds=seconds)
        status = "failed" if outcome == "failed" else "finished"
        return cls("", span, job, outcome, why, {}, None, None, None, started, seconds, status, {})

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self) | {"started": self.started.isoformat()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """Return the row that `to_dict` gave."""
        decisions = {gate: Decision(**decision) for gate, decision in values["decisions"].items()}
        return cls(**values | {"decisions": decisions, "started": datetime.fromisoformat(values["started"])})

    @property
    def rows(self) -> int | None:
        """How many rows the data gate looked at; None when it never did."""
        read = self.decisions["data"].facts.get("rows") if "data" in self.decisions else None
        return read if isinstance(read, int) else None

    @property
    def trained(self) -> bool:
        """Whether a model was trained and judged."""
        return "model" in self.decisions

    @property
    def trained_until(self) -> str:
        """The last span that it trained on, as planned; empty when that is not known."""
        return self.tags.get("flywheel.window", "").rpartition(" to ")[2]

    @property
    def challenger(self) -> dict[str, Any]:
        """Figures of the challenger that it judged again, its `version` and `span`; empty where it judged none."""
        return self.decisions["challenger"].facts if "challenger" in self.decisions else {}

    @property
    def served(self) -> float | None:
        """What the model in service after it scored in it, by `metric`; None where that was not measured."""
        if self.outcome != "promoted":
            return self.figures["champion"]
        promoted = self.challenger if self.version == self.challenger.get("version") else self._judged
        return promoted.get("candidate")

    @property
    def metric(self) -> str:
        """What the figures of the models are, as `auc`; empty while none was judged."""
        return str(self._judged.get("metric", ""))

    @property
    def figures(self) -> dict[str, float | None]:
        """That metric of `candidate`, `champion` and `baseline` on the same rows; None where there was none."""
        return {name: self._judged.get(name) for name in ("candidate", "champion", "baseline")}

    @property
    def _judged(self) -> dict[str, Any]:
        return self.decisions["model"].facts if "model" in self.decisions else {}

    @property
    def failed(self) -> bool:
        """Whether a step failed, be it after the outcome stood: a model that is promoted and could not be deployed."""
        return self.outcome == "failed" or bool(self.unfinished)

    @property
    def done(self) -> bool:
        """Whether nothing is left to do for this span: it has an outcome, and what follows from that happened."""
        if self.outcome == "promoted":
            return not self.unfinished and (self.status != "running" or self.endpoint is not None)
        if self.outcome == "kept-champion" and self.tags.get("flywheel.challenger"):  # which was to be judged after it
            return not self.unfinished and self.status != "running"
        return self.outcome in DONE


@dataclass(frozen=True)
class Champion:
    """The version that the alias `champion` points to.

    Attributes:
        name: Of the registered model.
        version: Of it.
        span: The span that it was promoted for; empty for one that was registered by other hands.
        run: The ledger's row that it was promoted by.
        digest: Content digest of its folder.
    """

    name: str
    version: str
    span: str
    run: str
    digest: str

    @property
    def uri(self) -> str:
        """MLflow URI of this very version, whatever becomes champion later."""
        return f"models:/{self.name}/{self.version}"
