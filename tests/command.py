"""The command in this process, as a shell would call it: its libraries, and a warm runner, are there already."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest import mock

from flywheel.cli.main import main


@dataclass(frozen=True)
class Done:
    """How it ended; names as of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def flywheel(*arguments):
    """Call `flywheel` with arguments; what it writes is given back."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    called = mock.patch.object(sys, "argv", ["flywheel", *map(str, arguments)])
    with called, redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as left:
            code = left.code or 0
    return Done(code, out.getvalue(), err.getvalue())
