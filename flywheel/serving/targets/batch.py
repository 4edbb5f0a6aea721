"""`batch`: a table of predictions, written span by span."""

from __future__ import annotations

import tempfile
from pathlib import Path

from flywheel.artifacts import Check
from flywheel.config import Batch
from flywheel.say import say
from flywheel.serving.folder import Deployment, downloaded
from flywheel.serving.scoring import Scored, score
from flywheel.serving.targets import Order, Placed
from flywheel.spans import Every, Span
from flywheel.warehouse.tables import open_table

DEAD = "_dead_letters"


class Target:
    """A table of predictions, and one of the rows that could not be scored beside it.

    Args:
        settings: `deploy` of flywheel.yaml, with the SQL text as its query.
        name: Of the model.

    Raises:
        ConfigError: There can be no such table.
    """

    def __init__(self, settings: Batch, name: str) -> None:
        self._settings, self._name = settings, name
        self._table = open_table(settings.into, settings.table)
        self._dead = open_table(settings.into, f"{settings.table}{DEAD}")

    @property
    def every(self) -> Every:
        """How long its spans are."""
        return self._settings.every

    @property
    def endpoint(self) -> str:
        """Where the table is."""
        return self._table.where

    def versions(self, span: Span) -> dict[str, int]:
        """Return by which versions the table has a span, and how many rows of each."""
        return self._table.versions(span)

    def current(self) -> Deployment | None:
        """Return the version that scored the newest span; of it the table says no more."""
        version = self._table.newest()
        return Deployment(self._name, version, "", "", "") if version else None

    def put(self, order: Order) -> Placed:
        """Score the span that the version was made for."""
        return self.score(order, Span.parse(order.champion.span, self._settings.every))

    def score(self, order: Order, span: Span, *, again: bool = False) -> Placed:
        """Score the rows of a span and put them in the place of those that the table has of it.

        Args:
            order: The version.
            span: Which rows.
            again: Whether that is done although the version has scored the span already.

        Raises:
            ServingError: Another version is champion by now.
            FlywheelError: As `scoring.score` raises it, or the table cannot be written; the table is as it was.
        """
        version = order.champion.version
        done = self._table.versions(span)
        if set(done) == {version} and not again:
            facts = {"span": span.name, "rows scored": done[version]}
            return Placed(self._table.where, changed=False, facts=facts)
        with tempfile.TemporaryDirectory(prefix="flywheel-batch-") as folder:
            kept, work = Path(folder, "model"), Path(folder, "work")
            kept.mkdir()
            work.mkdir()
            model = downloaded(order.deployment, order.download, kept)
            say(f"scoring {span} by version {version} of {self._name}")
            made = score(model.path, version, self._settings, span, work)
            check = self._check(made, span)
            order.refuse_late()
            if made.bad or self._dead.versions(span):
                self._dead.replace(span, made.dead)
            if check.result == "pass":
                self._table.replace(span, made.good)
        left = sum(made.bad.values())
        say(f"{made.rows:,} rows scored, {left:,} left out" + (f": {_reasons(made, 3)}" if left else ""))
        reasons = [{"column": what, "reason": why, "rows": rows} for (what, why), rows in made.bad.most_common(50)]
        facts = {"span": span.name, "rows scored": made.rows, "rows left out": left}
        where = {"Rows left out": reasons}
        return Placed(self._table.where, check.result == "pass", (check,), facts, where)

    def _check(self, made: Scored, span: Span) -> Check:
        left = sum(made.bad.values())
        share, bound = left / (made.rows + left), self._settings.bad_rows_at_most
        said = f"{left:,} of {made.rows + left:,} rows of {span} could not be scored"
        return Check(
            f"at most {bound:.3g} of the rows left out",
            "fail" if share > bound else "pass",
            observed=share,
            bound=bound,
            reason=f"{said}: {_reasons(made, 1)}" if left else said,
            remedy=f"look at them in {self._dead.where}, or raise deploy.bad_rows_at_most." if share > bound else "",
            rows=made.rows + left,
            span=span.name,
        )


def _reasons(made: Scored, most: int) -> str:
    return "; ".join(f"{what!r}: {why} ({rows:,} rows)" for (what, why), rows in made.bad.most_common(most))
