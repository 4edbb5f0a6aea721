"""What the claims about speed and memory rest on: one module a subject, each with `figures()`."""

from __future__ import annotations

from typing import TypedDict


class Figure(TypedDict):
    """One measured number, beside its peer's of the same run and the bar that it has to clear.

    Lower is better unless the bar says otherwise. `ratio` is `value` over `peer_value`. A bar that is a number is the
    largest `value` accepted; one that is text says what is.
    """

    name: str
    value: float
    unit: str
    peer: str | None
    peer_value: float | None
    ratio: float | None
    bar: float | str | None
    ok: bool


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    at_most: float | None = None,
    peer: str | None = None,
    peer_value: float | None = None,
) -> Figure:
    """Return a figure where lower is better.

    Args:
        name: What was measured; unique among all benchmarks.
        value: The measured number.
        unit: Its unit, and that of the peer and the bar.
        at_most: The bar; without one the figure is always ok.
        peer: What it is compared with, measured in the same run.
        peer_value: The peer's number.
    """
    return Figure(
        name=name,
        value=round(value, 3),
        unit=unit,
        peer=peer,
        peer_value=None if peer_value is None else round(peer_value, 3),
        ratio=round(value / peer_value, 3) if peer_value else None,
        bar=at_most,
        ok=at_most is None or value <= at_most,
    )
