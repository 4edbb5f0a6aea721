"""Every mistake that a user can mend, one class each; the message says what, what was found, and what to do."""

from collections.abc import Iterable


def meant(word: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'? ` if a known word is near, else nothing: the beginning of a remedy."""
    from difflib import get_close_matches

    near = get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


class FlywheelError(Exception):
    """Something a user can mend; shown by its message alone, never as a traceback.

    Args:
        message: What is wrong and what was found.
        remedy: What to do about it, as a sentence of its own.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        self.message, self.remedy = message, remedy
        super().__init__(f"{message}\n  {remedy}" if remedy else message)

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.message, self.remedy)


class ConfigError(FlywheelError):
    """`flywheel.yaml`, a flag or a file that it names is wrong: mend it there."""

    exit_code = 2


class MissingExtra(FlywheelError):
    """A library that this command needs is not installed: install the extra that has it."""

    exit_code = 2


class SQLError(ConfigError):
    """The query does not parse, cannot be translated or does not run: mend it at the line that is named."""


class DataError(FlywheelError):
    """The data cannot be used as it is: an empty window, a missing column, a label with one class."""


class ArtifactError(FlywheelError):
    """An artifact folder is of another type, damaged or half-written: make it anew."""


class TrainerError(FlywheelError):
    """The user's trainer cannot be imported, failed, or returned something that is no model."""


class ClusterError(FlywheelError):
    """The Kubernetes cluster cannot be reached, refuses what it is asked for, or has no room for it."""


class LedgerError(FlywheelError):
    """The ledger cannot be reached, or says something that forbids the step."""


class ServingError(FlywheelError):
    """A model cannot be served: the port is taken, nothing is deployed yet, the model does not load."""
