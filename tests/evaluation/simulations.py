"""Is the model gate right? Evaluations of models whose truth is known, a thousand of each kind, by the gate itself.

`python -m tests.evaluation.simulations` writes docs/simulations.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from flywheel.config import ModelGate
from flywheel.evaluation import estimates, gates, paired
from flywheel.evaluation.area import Wins
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.looks import Look
from flywheel.evaluation.paired import ALPHA
from flywheel.evaluation.predictions import CANDIDATE, CHAMPION, Evidence, Predictions

PAGE = Path(__file__).parents[2] / "docs" / "simulations.md"
COUNT, MARGIN, SLICES = 1000, 0.02, 5
_GATE = ModelGate(metric="auc", no_worse_than="champion", margin=MARGIN, slices=("carrier",))
_SHIFT, _OWN, _DAY = 0.9, 0.5, 0.2
_WIDTH = (2 * (1 + _OWN**2) + _DAY**2) ** 0.5
_SCATTERED = 100
_FEATURES, _TRAINED_ON = 6, 2000

Floats = npt.NDArray[Any]


@dataclass(frozen=True)
class World:
    """A kind of evaluation.

    Attributes:
        name: What is true in it, for the page.
        days: Days of the judge.
        rows: Rows of a day in the mean.
        uneven: Whether one day in five has four times as many.
        swapped: Whether the two models are exchanged at random on each day: then nothing tells them apart.
        loss: By how much the candidate's true AUC is below the champion's.
        slice_loss: The same, in one of the slices alone.
        retrained: Whether both are logistic regressions, fitted to two resamples of the same rows.
    """

    name: str
    days: int = 14
    rows: int = 200
    uneven: bool = False
    swapped: bool = False
    loss: float = 0.0
    slice_loss: float = 0.0
    retrained: bool = False


WORLDS = (
    World("equal: the two models are exchanged at random by day", swapped=True),
    World("equal, one day in five has four times the rows", swapped=True, uneven=True),
    World("equal in the mean, each has its good and bad days"),
    World("retrained: two fits to resamples of the same rows", retrained=True),
    World("the candidate loses the margin, 0.02", loss=MARGIN),
    World("the candidate loses twice the margin, 0.04", loss=2 * MARGIN),
    World("the candidate gains the margin, 0.02", loss=-MARGIN),
    World("the candidate gains twice the margin, 0.04", loss=-2 * MARGIN),
    World("equal, 42 days", days=42, swapped=True),
    World("the candidate loses twice the margin, 42 days", days=42, loss=2 * MARGIN),
    World("the candidate gains the margin, 42 days", days=42, loss=-MARGIN),
    World("the candidate loses 0.2 in one slice of five, 42 days", days=42, slice_loss=0.2),
)


def evaluations(world: World, count: int, seed: int = 0) -> Iterator[Predictions]:
    """Yield what `analyze` would hand to the gate, `count` times."""
    draw = np.random.default_rng(seed)
    for _ in range(count):
        sizes = draw.poisson(world.rows, world.days) + 1
        sizes = sizes * np.where(draw.random(world.days) < 0.2, 4, 1) if world.uneven else sizes
        day = np.repeat(np.arange(world.days), sizes)
        carrier = draw.integers(0, SLICES, len(day))
        labels, scores = (_retrained if world.retrained else _scored)(draw, world, day, carrier)
        if world.swapped:
            swap = (draw.random(world.days) < 0.5)[day]
            scores = [np.where(swap, scores[1], scores[0]), np.where(swap, scores[0], scores[1])]
        spans = Groups(tuple(f"day {number}" for number in range(world.days)), day)
        slices = {"carrier": Groups(tuple("abcde"), carrier)}
        yield Predictions(labels, dict(zip((CANDIDATE, CHAMPION), scores, strict=True)), spans, slices)


def _scored(draw: np.random.Generator, world: World, day: Floats, carrier: Floats) -> tuple[Floats, list[Floats]]:
    """Return labels and binormal scores; the true AUC is Φ(shift / width), so that a loss of AUC is a smaller shift."""
    storm = draw.normal(0, 0.5, world.days)
    labels = (draw.random(len(day)) < 1 / (1 + np.exp(1.2 - storm[day]))).astype(np.int64)
    known = draw.normal(size=len(day))
    loss = world.loss + world.slice_loss * (carrier == 0)
    normal = NormalDist()
    shifts = {each: normal.inv_cdf(normal.cdf(_SHIFT / _WIDTH) - each) * _WIDTH for each in np.unique(loss).tolist()}
    shift = np.vectorize(shifts.__getitem__, otypes=[float])(loss)
    return labels, [
        known + draw.normal(0, _OWN, len(day)) + (by + draw.normal(0, _DAY, world.days)[day]) * labels
        for by in (shift, np.full(len(day), _SHIFT))
    ]


def _retrained(draw: np.random.Generator, world: World, day: Floats, carrier: Floats) -> tuple[Floats, list[Floats]]:
    """Return labels of days whose truth moves about, and the scores of two fits to resamples of earlier rows."""
    truth = draw.normal(0, 0.5, _FEATURES)
    moved = truth + draw.normal(0, 0.25, (world.days, _FEATURES))
    rows, inputs = draw.normal(size=(len(day), _FEATURES)), draw.normal(size=(_TRAINED_ON, _FEATURES))
    labels = _drawn(draw, (rows * moved[day]).sum(1))
    answers = _drawn(draw, inputs @ truth)
    fits = (_fitted(inputs[chosen], answers[chosen]) for chosen in draw.integers(0, _TRAINED_ON, (2, _TRAINED_ON)))
    return labels, [rows @ fit for fit in fits]


def _drawn(draw: np.random.Generator, logits: Floats) -> Floats:
    return (draw.random(len(logits)) < 1 / (1 + np.exp(1 - logits))).astype(np.int64)


def _fitted(inputs: Floats, answers: Floats, steps: int = 6) -> Floats:
    """Return the coefficients of a logistic regression, by Newton's method, without its intercept."""
    design = np.column_stack([np.ones(len(inputs)), inputs])
    found = np.zeros(design.shape[1])
    for _ in range(steps):
        share = 1 / (1 + np.exp(-design @ found))
        curvature = (design * (share * (1 - share))[:, None]).T @ design
        found += np.linalg.solve(curvature + 1e-6 * np.eye(len(found)), design.T @ (answers - share))
    return found[1:]


def verdicts(found: Predictions) -> dict[str, bool]:
    """Return what the gate and two simpler rules say of one evaluation."""
    whole, *slices = gates.judge(found, [_GATE])
    gained = estimates.difference(found, "auc")
    scattered = np.arange(len(found)) % _SCATTERED
    pair = [Wins.count(found.labels, found.scores[name], scattered, _SCATTERED) for name in (CANDIDATE, CHAMPION)]
    return {
        "better": gained.sound and gained.lower() > 0,
        "passes": whole.result == "pass",
        "undecided": whole.result == "undecided",
        "shown worse": whole.result == "fail" and whole.reason.startswith("shown to be worse"),
        "a slice blocks": any(check.result == "fail" for check in slices),
        "rows as independent: better": paired.estimate(pair, (1, -1)).lower() > 0,
        "point rule promotes": gained.value > 0,
    }


CLUSTERED = (
    ("users of five rows; equal: the models are exchanged at random by user", "user_id", True, 0.0),
    ("users of five rows; the candidate loses the margin", "user_id", False, MARGIN),
    ("independent rows; equal: the models are exchanged at random by row", "rows", True, 0.0),
    ("independent rows; the candidate loses the margin", "rows", False, MARGIN),
)
"""What is true, `gates.cluster`, whether the models are exchanged, and what the candidate's AUC loses."""
_CLUSTERED_ROWS, _CLUSTERED_COUNT, _OF_A_USER = 1200, 500, 0.6


def clustered(cluster: str, swapped: bool, loss: float, count: int, seed: int = 0) -> Iterator[Predictions]:
    """Yield evaluations in which rows of one user are alike, or in which all rows are independent."""
    draw = np.random.default_rng(seed)
    users = _CLUSTERED_ROWS // 5 if cluster == "user_id" else _CLUSTERED_ROWS
    alike = _OF_A_USER if cluster == "user_id" else 0.0
    normal, width = NormalDist(), (2 * (1 + _OWN**2) + alike**2) ** 0.5
    shifts = [normal.inv_cdf(normal.cdf(_SHIFT / width) - each) * width for each in (loss, 0.0)]
    for _ in range(count):
        user = draw.integers(0, users, _CLUSTERED_ROWS) if alike else np.arange(users)
        often = draw.normal(0, 1.5 if alike else 0.0, users)[user]
        labels = (draw.random(_CLUSTERED_ROWS) < 1 / (1 + np.exp(1.2 - often))).astype(np.int64)
        known = draw.normal(size=_CLUSTERED_ROWS)
        scores = [
            known + draw.normal(0, _OWN, _CLUSTERED_ROWS) + (by + draw.normal(0, alike, users)[user]) * labels - 1
            for by in shifts
        ]
        if swapped:
            swap = (draw.random(users) < 0.5)[user]
            scores = [np.where(swap, scores[1], scores[0]), np.where(swap, scores[0], scores[1])]
        chances = [1 / (1 + np.exp(-each)) for each in scores]
        spans = Groups(("all",), np.zeros(_CLUSTERED_ROWS, np.int64))
        known_as = dict(zip((CANDIDATE, CHAMPION), chances, strict=True))
        yield Predictions(labels, known_as, spans, evidence=Evidence(cluster), clusters=Groups(range(users), user))


def better(found: Predictions) -> dict[str, bool]:
    """Return which tests find the candidate of one evaluation with many clusters better than the champion."""
    alone = replace(found, clusters=Groups(range(len(found)), np.arange(len(found))))
    return {
        "auc: better": estimates.difference(found, "auc").lower() > 0,
        "auc, bootstrap: better": estimates.difference(_resampling(found), "auc").lower() > 0,
        "accuracy: better": estimates.difference(found, "accuracy").lower() > 0,
        "accuracy, bootstrap: better": estimates.difference(_resampling(found), "accuracy").lower() > 0,
        "rows as independent, auc: better": estimates.difference(alone, "auc").lower() > 0,
    }


def passes(found: Predictions) -> dict[str, bool]:
    """Return by which tests the candidate of one evaluation with many clusters is no worse by the margin."""
    return {
        "auc: passes": estimates.difference(found, "auc").lower() > -MARGIN,
        "auc, bootstrap: passes": estimates.difference(_resampling(found), "auc").lower() > -MARGIN,
    }


AGAIN = (
    ("the candidate loses the margin, 0.02", MARGIN),
    ("the candidate loses twice the margin, 0.04", 2 * MARGIN),
    ("equal in the mean", 0.0),
    ("the candidate gains half the margin, 0.01", -MARGIN / 2),
)
"""What is true of a candidate that is judged on 14 days, and again on up to 42 while it is undecided."""
_FIRST, _MOST, _LOOKS, _STEP = 14, 42, 4, 14
_BAR = _GATE.model_copy(update={"slices": ()})


def promoted(found: Predictions, spending: bool = True) -> tuple[bool, bool]:
    """Return whether a candidate passes at its first look, and whether it does by any, on more and more of the days.

    Args:
        found: Predictions on all days that there will be.
        spending: Whether each look has its share of the error; else each has 5%.
    """
    days, look = _FIRST, Look(of=_LOOKS)
    while True:
        rows = found.select(found.spans.codes < days)
        part = replace(rows, spans=Groups(found.spans.keys[:days], rows.spans.codes))
        this = replace(look, of=look.number) if days >= _MOST else look
        (check,) = gates.judge(part, [_BAR], this if spending else None)
        if check.result != "undecided" or this.last or check.more is None:
            return check.result == "pass" and look.number == 1, check.result == "pass"
        days, look = min(_MOST, days + check.more), Look.following(this.after([check], days), _LOOKS)


def again(loss: float, count: int) -> dict[str, float]:
    """Return shares of candidates that are promoted: judged once, at the first look of several, by all of them."""
    told = []
    for found in evaluations(World("again", days=_MOST, loss=loss), count):
        rows = found.select(found.spans.codes < _FIRST)
        (once,) = gates.judge(replace(rows, spans=Groups(found.spans.keys[:_FIRST], rows.spans.codes)), [_BAR])
        told.append((once.result == "pass", *promoted(found), promoted(found, spending=False)[1]))
    names = ("judged once", "at the first look", "by all looks", "by all looks, each at 5%")
    return dict(zip(names, np.mean(told, axis=0).tolist(), strict=True))


def blocked(found: Predictions, spending: bool = True) -> bool:
    """Return whether a slice blocks a candidate at any of the looks that are taken; arguments as of `promoted`."""
    days, look = _FIRST, Look(of=_LOOKS)
    while True:
        rows = found.select(found.spans.codes < days)
        carriers = {"carrier": Groups(tuple("abcde"), found.slices["carrier"].codes[found.spans.codes < days])}
        part = replace(rows, spans=Groups(found.spans.keys[:days], rows.spans.codes), slices=carriers)
        this = replace(look, of=look.number) if days >= _MOST else look
        checks = gates.judge(part, [_GATE], this)
        slices = checks[1:] if spending else gates.judge(part, [_GATE])[1:]
        if any(check.result == "fail" for check in slices):
            return True
        if this.last or days >= _MOST:
            return False
        days += _STEP
        look = Look.following(this.after(checks, days), _LOOKS)


def slices_table(count: int = COUNT) -> list[list[str]]:
    """Return the shares of candidates that a slice blocks at any of three looks, after a row of heads."""
    rows = [["what is true", "5% over all looks", "each look at 5%"]]
    for name, loss in AGAIN[:3]:
        found = evaluations(World("again", days=_MOST, loss=loss), count, seed=3)
        told = np.mean([(blocked(each), blocked(each, spending=False)) for each in found], axis=0)
        rows.append([name, *(f"{share:.1%}" for share in told)])
    return rows


def again_table(count: int = COUNT, said: Callable[[str], None] = print) -> list[list[str]]:
    """Return a row of shares for each truth, after a row of heads."""
    rows: list[list[str]] = []
    for name, loss in AGAIN:
        start = time.perf_counter()
        shares = again(loss, count)
        rows = rows or [["what is true", *shares]]
        rows.append([name, *(f"{share:.1%}" for share in shares.values())])
        said(f"{name}: {count:,} candidates in {time.perf_counter() - start:.0f} s")
    return rows


def _resampling(found: Predictions) -> Predictions:
    return replace(found, evidence=replace(found.evidence, test="bootstrap"))


def clustered_table(count: int = _CLUSTERED_COUNT, said: Callable[[str], None] = print) -> list[list[str]]:
    """Return a row of shares for each kind of clusters, after a row of heads."""
    rows: list[list[str]] = []
    for name, *kind in CLUSTERED:
        start = time.perf_counter()
        told = [better(found) | passes(found) for found in clustered(*kind, count)]
        shares = {test: sum(each[test] for each in told) / count for test in told[0]}
        rows = rows or [["what is true", *shares]]
        rows.append([name, *(f"{share:.1%}" for share in shares.values())])
        said(f"{name}: {count:,} evaluations in {time.perf_counter() - start:.0f} s")
    return rows


def table(count: int = COUNT, said: Callable[[str], None] = print) -> list[list[str]]:
    """Return a row of shares for each world, after a row of heads."""
    rows: list[list[str]] = []
    for world in WORLDS:
        start = time.perf_counter()
        told = [verdicts(found) for found in evaluations(world, count)]
        shares = {name: sum(each[name] for each in told) / count for name in told[0]}
        rows = rows or [["what is true", *shares]]
        rows.append([world.name, *(f"{share:.1%}" for share in shares.values())])
        said(f"{world.name}: {count:,} evaluations in {time.perf_counter() - start:.0f} s")
    return rows


def _lines(rows: list[list[str]]) -> str:
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *body])


def page(
    rows: list[list[str]], count: int, other: list[list[str]], later: list[list[str]], parts: list[list[str]]
) -> str:
    """Return the page with all tables."""
    lines = _lines(rows)
    return f"""# Is the model gate right?

<!-- Generated by `python -m tests.evaluation.simulations`; change the gate or the simulation, never this page. -->

Two models of which the truth is known are judged {count:,} times by the gate itself, `auc` no worse than the champion
with a margin of {MARGIN:g} and five slices, on days of about {WORLDS[0].rows} rows. A model is a little better on one
day and a little worse on the next, as on real days. Errors are meant to be at most {ALPHA:.0%}; over {count:,}
evaluations such a share is seen up to {ALPHA + 3 * (ALPHA * (1 - ALPHA) / count) ** 0.5:.1%}.

{lines}

- **better**: shown to be better than the champion; of equal models at most {ALPHA:.0%} may be.
- **passes**: shown to be no worse by the margin, so promoted. Of candidates that lose the margin or more at most
  {ALPHA:.0%} may.
- **undecided**: so few or so different days that a true difference of 0 would too rarely be shown: neither, and the
  report says how many more spans would decide. **shown worse**: by more than the margin. What is left is not shown to
  be as good.
- **a slice blocks**: at least one of the slices is shown to be worse by more than the margin; where none is, at most
  {ALPHA:.0%} of the times (Holm 1979).
- **rows as independent: better** is the same test when every row is taken for independent evidence: it finds equal
  models better far too often, which is why the gate counts days.
- **point rule promotes** is what a change threshold of 0 does, as TFMA's: it promotes whatever is ahead by chance.

Models that were *retrained* on resamples are not equal: two fits do differ, so that more than {ALPHA:.0%} of them may
be found better, and rightly. What matters there is that few are found worse by the margin, and that fresh models pass.

## Other clusters than the span

With `gates.cluster` a user is the unit of evidence, or each row. {_CLUSTERED_COUNT} evaluations of
{_CLUSTERED_ROWS:,} rows each, margin {MARGIN:g}; so many see a share of 5% up to
{ALPHA + 3 * (ALPHA * (1 - ALPHA) / _CLUSTERED_COUNT) ** 0.5:.1%}. `accuracy` is McNemar's test where rows are
independent, all else the jackknife, and *bootstrap* is `gates.test: bootstrap`.

{_lines(other)}

## Judged again

A candidate that {_FIRST} days leave undecided is judged again on more, up to {_MOST} days and {_LOOKS} times, as
`gates.looks` has it. {count:,} candidates each; the shares that are promoted. Looking again at 5% each time promotes
too many of those that lose the margin; by spending 5% over all looks fewer pass at the first one and more in the end.

{_lines(later)}

Slices block by another 5%, which is spent over the looks as well. Here every candidate is judged on {_FIRST},
{_FIRST + _STEP} and {_MOST} days whatever was found before; the shares that any of the five slices blocks. Where the
candidate loses just the margin in each of them, at most {ALPHA:.0%} may be.

{_lines(parts)}
"""


if __name__ == "__main__":
    PAGE.write_text(page(table(), COUNT, clustered_table(), again_table(), slices_table()), encoding="utf-8")
