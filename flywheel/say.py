"""What a step tells those who watch it: lines of its log, at once."""


def say(line: str) -> None:
    """Write `line` to the log of the step that is running, which is its standard output."""
    print(line, flush=True)  # noqa: T201
