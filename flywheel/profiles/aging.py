"""How far the newest spans are from what the champion was trained on: a slow drift that moving references swallow."""

from __future__ import annotations

from flywheel.artifacts import Check
from flywheel.profiles.bars import Bars, check_of, column_of
from flywheel.profiles.compare import drifts
from flywheel.profiles.history import History
from flywheel.profiles.settings import Settings

DRIFT = "drift since training of "
_LEAST = 0.5


def drift_since_training(history: History, newest: str, trained_on: str, settings: Settings) -> list[Check]:
    """Return a warning for each column that has moved further than a week usually moves from the month before it.

    It never blocks: a model that is trained on the new data is the cure.

    Args:
        history: It holds `newest`, and enough of what the champion was trained on.
        newest: The newest span.
        trained_on: The champion's window, `first to last`.
        settings: What is looked at.
    """
    first, _, last = trained_on.partition(" to ")
    between = [span for span in history.spans if first <= span <= (last or first)]
    window = [
        span for span in between if history[span].reference or not history[span].failed
    ]  # bad ones taught nothing
    then = [entry.profile for span in window if (entry := history[span]).reference and entry.profile is not None]
    recent, _ = history.lately(newest)
    now, bars = history[newest].profile, Bars(history.past(newest), settings.false_alarms)
    if now is None or not recent or not then or len(then) < _LEAST * len(window) or not bars.learnt:
        return []
    checks = []
    for name, moved in drifts([*recent, now], then).items():
        if check_of(name) != "drift" or not bars.knows(name) or settings.severity(column_of(name)) == "off":
            continue
        if bars.score(name, moved.value) > bars.bar(name):
            usual = moved.natural(bars.range(name)[1])
            checks.append(
                Check(
                    f"{DRIFT}{column_of(name)}",
                    "warn",
                    moved.observed,
                    usual,
                    column=column_of(name),
                    span=newest,
                    usual=(0.0, usual),
                    reason=f"{column_of(name)} of the last week is {moved.observed:.2%} from what the champion was "
                    f"trained on ({trained_on}); a week is usually at most {usual:.2%} from the month before it",
                    remedy="a model trained on newer data learns it; when none is promoted, look why.",
                )
            )
    return checks
