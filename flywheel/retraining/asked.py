"""Whether monitoring asks for a training, and none has answered it yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flywheel.ledger import Row


def asked_for(version: str, looks: Iterable[Row], tries: Iterable[Row]) -> str:
    """Return why `flywheel monitor` asks for a training, with the span that it looked at; empty when it does not.

    Only its newest look at the model in service counts, and a training for that span or a later one has answered it:
    with or without a promotion, so that a model that nothing betters is not trained again for the same look.

    Args:
        version: The champion's.
        looks: Rows of what monitoring saw.
        tries: Rows of tries to train.
    """
    seen = [row for row in looks if row.outcome and row.tags.get("flywheel.champion") == version]
    newest = max(seen, key=lambda row: (row.span, row.started), default=None)
    if newest is None or newest.outcome != "retrain":
        return ""
    if any(row.trained and row.span >= newest.span for row in tries):
        return ""
    return f"monitoring of {newest.span}: {newest.why}"
