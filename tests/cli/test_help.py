from itertools import pairwise

import typer

from flywheel.cli.main import app
from tests.command import flywheel

ROOT = typer.main.get_command(app)


def test_a_paragraph_fills_the_terminal_wherever_its_docstring_was_wrapped(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")

    done = flywheel("submit", "--help")

    said = done.stdout.split("Arguments")[0].splitlines()
    (start,) = [number for number, line in enumerate(said) if "Puts the code under" in line]
    paragraph = [line.strip() for line in said[start : said.index("".ljust(60), start)]]
    for line, following in pairwise(paragraph):
        assert len(line) + 1 + len(following.split()[0]) > 58  # the next word had no place there


def test_a_flag_does_not_ask_for_a_value():
    for command in _commands(ROOT):
        for option in command.params:
            assert not getattr(option, "is_flag", False) or option.metavar == "", (command.name, option.name)


def test_every_command_and_option_says_what_it_is_for():
    for command in _commands(ROOT):
        assert command.help, command.name
        for option in command.params:
            assert option.help, (command.name, option.name)


def test_every_command_takes_its_folder_by_the_same_option(tmp_path):
    for command in (
        ("status",),
        ("waive", "2013-06-01", "--reason", "x"),
        ("history",),
        ("schema", "show"),
        ("serve",),
    ):
        done = flywheel(*command, "--in", tmp_path / "nowhere")

        assert done.returncode == 2, command
        assert "nowhere" in done.stderr, command
    assert "write it as --in FOLDER" in flywheel("status", "--in").stderr


def _commands(group):
    for command in group.commands.values():
        yield command
        yield from _commands(command) if hasattr(command, "commands") else ()
