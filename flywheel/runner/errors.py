"""What can be wrong with a compiled pipeline, its arguments, or the machine that runs it."""

from flywheel.errors import FlywheelError, MissingExtra


class RunnerError(FlywheelError):
    """A pipeline cannot be run here, or not to its end."""


class PipelineError(RunnerError):
    """The compiled pipeline is malformed or uses what this runner does not know: compile it anew, or change it."""

    exit_code = 2


class ArgumentError(RunnerError):
    """An argument of the pipeline is unknown, missing or of the wrong type: mend the call."""

    exit_code = 2


class MissingLibrary(MissingExtra):
    """A library that running pipelines needs is not installed: install the extra that has it."""


class InputError(RunnerError):
    """A task's input cannot be had: what should give it was skipped or gave none, or it has the wrong type."""


class ConditionError(RunnerError):
    """A condition or an expression of the pipeline cannot be evaluated, so no branch is taken."""


class OutputError(RunnerError):
    """A step ended well but did not leave what its component declares: return or write it."""


class DiskFull(RunnerError):
    """There is no room left for artifacts or logs: free some and resume the run."""


class StepDied(RunnerError):
    """The process of a step is gone without a word: a crash, `exit`, or the kernel for want of memory."""


class StepTimeout(RunnerError):
    """A step took longer than its `set_timeout` allows: give it longer, or make it faster."""


class EngineError(RunnerError):
    """A step needs a container and no container engine answers: start one, or use a Python component."""

    exit_code = 2


class EnvironmentFailed(RunnerError):
    """The virtual environment that a step's `packages_to_install` asks for cannot be made."""


class RunNotFound(RunnerError):
    """There is no such run, or it is still running: look at the names under `runs/`."""

    exit_code = 2
