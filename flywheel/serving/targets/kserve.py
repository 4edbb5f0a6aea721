"""`kserve`: an InferenceService that gets each champion in steps, and goes back by itself when one goes wrong.

All state is in the InferenceService: killed at any point and run again, a deployment goes on from the step it finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from flywheel.artifacts import Check
from flywheel.config import KServe
from flywheel.errors import ServingError
from flywheel.say import say
from flywheel.serving.folder import Deployment
from flywheel.serving.targets import Order, Placed, canary
from flywheel.serving.targets.inference_service import Changed, InferenceService, State, readable
from flywheel.serving.targets.prometheus import Prometheus, Traffic

POLL = 5.0
_CHANGES = 20  # of KServe's own status, mostly: each makes another resource version


class _Replaced(ServingError):
    """Another deployment has changed the InferenceService meanwhile."""


class _Failed(Exception):
    """The version cannot stay: why, as a sentence."""


@dataclass
class _Story:
    """What happened in a deployment so far."""

    checks: list[Check] = field(default_factory=list)
    steps: list[dict[str, object]] = field(default_factory=list)


class Target:
    """An InferenceService.

    Args:
        settings: `deploy` of flywheel.yaml.
        name: Of the model.
        service: The InferenceService; one that asks the cluster by default.
        metrics: The Prometheus that judges a canary; the one of the settings by default.
        clock: Gives seconds that only grow.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        settings: KServe,
        name: str,
        service: InferenceService | None = None,
        metrics: Prometheus | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._settings, self._name, self._clock, self._sleep = settings, name, clock, sleep
        self._service = service or InferenceService(settings, name, sleep=sleep)
        self._metrics = metrics or (Prometheus(settings.metrics, sleep) if settings.metrics else None)

    def current(self) -> Deployment | None:
        """Return the version that answers the requests, all or most of them."""
        state = self._service.read()
        return state.in_service if state else None

    def put(self, order: Order) -> Placed:
        """Give the version its traffic, in steps when there is one to go back to; take it back when it goes wrong."""
        uri = readable(order.uri)
        if self._settings.canary and self._metrics:
            self._metrics.check()
        for _ in range(_CHANGES):
            try:
                return self._put(order, uri)
            except _Replaced:
                order.refuse_late()  # who came late with an older version has overwritten this one: once more
        return self._put(order, uri)

    def _put(self, order: Order, uri: str) -> Placed:
        if self._stands(order):
            return self._placed(_Story(), changed=False)
        entered = self._enter(order, uri)
        if entered.asked != order.deployment:  # the version before, which had not lost the traffic yet
            return self._placed(_Story())
        story = _Story()
        try:
            for percent in self._steps(entered):
                self._shift(order, percent)
                self._await(order, percent)
                if percent is not None:
                    self._judge(order, percent, story)
        except _Failed as failure:
            if not any(check.result != "pass" for check in story.checks):
                story.checks.append(Check("ready", "fail", reason=str(failure), remedy="mend what KServe names."))
            return self._taken_back(order, story)
        return self._placed(story)

    def _stands(self, order: Order) -> bool:
        """Whether nothing is left to do."""
        state = self._service.read()
        return bool(
            state
            and state.asked == state.in_service == order.deployment
            and state.spec == self._service.digest
            and state.percent is None
            and state.ready
        )

    def _enter(self, order: Order, uri: str) -> State:
        """Make the InferenceService ask for the version, unless it does already; return what it is then."""
        wanted, digest = order.deployment, self._service.digest

        def change(state: State | None) -> None:
            order.refuse_late()
            if state and state.asked == wanted and state.spec == digest:
                if state.percent == 0:  # it was taken back; now it is tried again
                    self._apply(state, self._first(state.former, wanted))
            elif state and state.asked and state.former == state.in_service == wanted:
                self._apply(state, 0)  # another one had begun to take its traffic
            else:
                former = state.in_service if state else None
                latest = state.latest if state else ""
                self._service.apply(wanted, uri, self._first(former, wanted), former, latest, state)

        self._change(change)
        state = self._service.read()
        if state is None:
            raise ServingError(f"the InferenceService {self._name!r} was deleted meanwhile", "run again.")
        return state

    def _first(self, former: Deployment | None, wanted: Deployment) -> int | None:
        """Return the first step; none without a version to compare with, and none on the way back to an earlier one."""
        bars = self._settings.canary
        return bars.steps[0] if bars and former and former.span <= wanted.span else None

    def _steps(self, entered: State) -> list[int | None]:
        """Return the shares of the traffic that the version is to get, one after the other, from where it stands."""
        if entered.percent is None or not self._settings.canary:
            return [None]
        return [step for step in self._settings.canary.steps if step >= entered.percent] + [None]

    def _shift(self, order: Order, percent: int | None) -> None:
        def change(state: State | None) -> None:
            order.refuse_late()
            if self._ours(order, state).percent != percent:
                self._apply(self._ours(order, state), percent)
                say(f"version {order.champion.version} of {self._name} gets {percent or 100}% of the requests")

        self._change(change)

    def _apply(self, state: State, percent: int | None) -> None:
        """Move the traffic and nothing else."""
        assert state.asked is not None
        self._service.apply(state.asked, state.uri, percent, state.former, state.after, state)

    def _ours(self, order: Order, state: State | None) -> State:
        if state is None or state.asked != order.deployment:
            now = f"version {state.asked.version}" if state and state.asked else "nothing of ours"
            raise _Replaced(
                f"the InferenceService {self._name!r} asks for {now}, no longer for version {order.champion.version}",
                "nothing is lost: whoever changed it goes on from there.",
            )
        return state

    def _undisturbed(self, order: Order, percent: int | None) -> State:
        """Return the InferenceService as it is, if it asks still for what this deployment made it ask for."""
        state = self._ours(order, self._service.read())
        if state.percent != percent:
            order.refuse_late()
            raise ServingError(
                f"somebody moved the traffic of the InferenceService {self._name!r} to {state.percent}% meanwhile",
                "run again to go on from there.",
            )
        return state

    def _change(self, change: Callable[[State | None], None]) -> None:
        """Read and change, again when something came between."""
        for _ in range(_CHANGES):
            try:
                return change(self._service.read())
            except Changed:
                self._sleep(0.2)
        raise ServingError(
            f"the InferenceService {self._name!r} changed under each of {_CHANGES} tries", "look who else writes to it."
        )

    def _await(self, order: Order, percent: int | None) -> State:
        """Return once the version is ready and has its share.

        Raises:
            _Failed: It is not in time, or never will be.
        """
        deadline = self._clock() + self._settings.ready_within.total_seconds()
        while True:
            state = self._undisturbed(order, percent)
            if state.has(percent):
                return state
            if state.latest != state.after and state.failed:
                raise _Failed(f"the model does not load: {state.problem}")
            if self._clock() >= deadline:
                raise _Failed(
                    f"not ready within {_said(self._settings.ready_within)}: {state.problem or 'no reason given'}"
                )
            self._sleep(POLL)

    def _judge(self, order: Order, percent: int, story: _Story) -> None:
        """Watch the step, again while it is undecided.

        Raises:
            _Failed: It failed, or was not decided in time.
        """
        bars = self._settings.canary
        assert bars is not None
        deadline = self._clock() + bars.patience.total_seconds()
        while True:
            self._hold(order, percent, bars.hold)
            new, former, checks = self._seen(order, percent)
            story.steps.append(_row(percent, new, former, checks))
            undecided = any(check.result == "undecided" for check in checks)
            late = self._clock() + bars.hold.total_seconds() > deadline
            if any(check.result == "fail" for check in checks) or not undecided or late:
                story.checks += checks
                break
        worst = [check for check in checks if check.result != "pass"]
        if worst:
            raise _Failed(worst[0].reason)

    def _hold(self, order: Order, percent: int, hold: timedelta) -> None:
        end = self._clock() + hold.total_seconds()
        while (left := end - self._clock()) > 0:
            self._sleep(min(POLL, left))
            state = self._undisturbed(order, percent)
            if state.failed:
                raise _Failed(f"the model does not load any more: {state.problem}")

    def _seen(self, order: Order, percent: int) -> tuple[Traffic, Traffic, list[Check]]:
        assert self._metrics is not None
        assert self._settings.canary is not None
        state, bars = self._undisturbed(order, percent), self._settings.canary
        others = [revision for revision in state.traffic if revision not in ("", state.latest)]
        where, seconds = self._settings.namespace, bars.hold.total_seconds()
        try:
            new = self._metrics.traffic(where, state.latest, seconds)
            former = self._metrics.traffic(where, others[0], seconds) if others else Traffic()
        except ServingError as error:
            unseen = Check("metrics", "undecided", slice=f"step={percent}%", reason=error.message, remedy=error.remedy)
            return Traffic(), Traffic(), [unseen]
        return new, former, canary.judge(bars, percent, new, former)

    def _taken_back(self, order: Order, story: _Story) -> Placed:
        """Give all traffic back to the former version; without one, take the InferenceService away."""

        def change(state: State | None) -> None:
            if state is None or state.asked != order.deployment:
                return  # somebody else has replaced it already
            if state.former is None:
                self._service.delete(state)
            elif state.percent != 0:
                self._apply(state, 0)

        self._change(change)
        say(f"version {order.champion.version} of {self._name} is taken back")
        for _ in range(_CHANGES):  # KServe follows within seconds; the report should say what is so
            state = self._service.read()
            if state is None or not state.traffic.get(state.latest) or state.asked != order.deployment:
                break
            self._sleep(POLL)
        return self._placed(story)

    def _placed(self, story: _Story, *, changed: bool = True) -> Placed:
        state = self._service.read()
        now = state.in_service if state else None
        facts = {"namespace": self._settings.namespace, "in service": now.version if now else "none"}
        url = state.url if state else ""
        return Placed(
            url or f"{self._settings.namespace}/{self._name}",
            changed,
            tuple(story.checks),
            facts,
            {"Steps": story.steps},
        )


def _row(percent: int, new: Traffic, former: Traffic, checks: list[Check]) -> dict[str, object]:
    row: dict[str, object] = {"step": f"{percent}%"}
    for whose, seen in (("", new), (" of the former", former)):
        slow = canary.quantile(dict(seen.latencies), 0.99, canary.ALPHA)
        row |= {f"requests{whose}": seen.requests, f"errors{whose}": seen.errors}
        row |= {f"99th percentile{whose}, ms": slow.value if slow else None}
    worst = next((check for check in checks if check.result == "fail"), None)
    worst = worst or next((check for check in checks if check.result == "undecided"), None)
    return row | {"result": worst.result if worst else "pass", "why": worst.reason if worst else ""}


def _said(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
