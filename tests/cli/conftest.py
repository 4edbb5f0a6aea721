"""The command line in this process: what it prints, and the code that it leaves with."""

import sys
from dataclasses import dataclass

import pytest

from flywheel.cli.main import main


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, capsys):
    """Call `flywheel` with arguments, as a shell would."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["flywheel", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as left:
            code = left.code or 0
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call
