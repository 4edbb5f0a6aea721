"""Ctrl-C and SIGTERM end a command cleanly, between two runs as within one, in the background too."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(how: str | Callable[[], str]) -> Iterator[None]:
    """Exit with 130 when the block is interrupted, and say how to go on.

    Some libraries turn an interrupt that falls in their code into an error of their own: what came is remembered.

    Args:
        how: What to do to go on; or what says that then.
    """
    came: list[int] = []

    def stop(number: int, _frame: object) -> None:
        came.append(number)
        raise KeyboardInterrupt

    before = {}
    with suppress(ValueError):  # not the main thread
        before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    except BaseException as error:
        if not came and not isinstance(error, KeyboardInterrupt):
            raise
        typer.secho(f"\ninterrupted: {how if isinstance(how, str) else how()}", fg="yellow", err=True)
        raise typer.Exit(130) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
