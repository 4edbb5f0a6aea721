"""Ctrl-C and SIGTERM: a clean end wherever they fall."""

import os
import signal

import pytest
import typer

from flywheel.cli.interrupts import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_runs_ends_the_command_with_130_and_how_to_go_on(number, capsys):
    before = signal.getsignal(number)

    with pytest.raises(typer.Exit) as left, interruptible("the same command goes on from here."):
        os.kill(os.getpid(), number)

    assert left.value.exit_code == 130
    assert capsys.readouterr().err == "\ninterrupted: the same command goes on from here.\n"
    assert signal.getsignal(number) is before


def test_an_interrupt_that_a_library_turns_into_its_own_error_is_one_still(capsys):
    def library():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("could not connect") from None

    with pytest.raises(typer.Exit), interruptible("go on."):
        library()

    assert "interrupted: go on." in capsys.readouterr().err


def test_an_error_of_its_own_goes_its_way():
    with pytest.raises(RuntimeError, match="as ever"), interruptible("go on."):
        raise RuntimeError("as ever")
