"""What `flywheel run` does once its arguments are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from flywheel.errors import ConfigError

if TYPE_CHECKING:
    from flywheel.runner import Result
    from flywheel.runner.events import Events

NOT_READY = 3  # exit code


@dataclass(frozen=True)
class Options:
    """How to run, whatever is run; see the options of the command.

    Attributes:
        jobs: Cores that steps may take; all by default.
        cache: Whether results of earlier, equal steps are taken.
        resume: Run to go on with; empty to start one.
        start: Task of the latest run to run again, with all that depends on it.
        only: Task of the latest run to run again, alone.
        debug: Task to run in this process.
        plain: Lines instead of a live tree.
        as_json: One event a line, on standard output.
        quiet: Nothing is drawn.
        begun: Folders of the runs that were started.
    """

    jobs: int | None = None
    cache: bool = True
    resume: str = ""
    start: str = ""
    only: str = ""
    debug: str = ""
    plain: bool = False
    as_json: bool = False
    quiet: bool = False
    begun: list[Path] = field(default_factory=list, init=False)

    def goes_on(self) -> str:
        """Return what to do after an interrupt."""
        return "--resume latest goes on from here." if self.begun else "no run had begun."

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            ConfigError: Two say which run or part of it to run.
        """
        given = {"--resume": self.resume, "--from": self.start, "--only": self.only}
        if len(named := [name for name, value in given.items() if value]) > 1:
            raise ConfigError(f"{' and '.join(named)} do not go together", "give one of them.")

    @property
    def reruns(self) -> bool:
        """Whether part of an earlier run is run again, rather than a run started or finished."""
        return bool(self.start or self.only)

    @cached_property
    def events(self) -> Events:
        """Draws what happens."""
        from flywheel.runner.events import ignore
        from flywheel.runner.progress import choose

        if self.quiet:
            return ignore
        return choose(plain=self.plain or bool(self.debug), as_json=self.as_json)

    def launch(
        self,
        pipeline: Path,
        arguments: Mapping[str, Any],
        *,
        root: Path,
        preload: Mapping[str, Sequence[str]] | None = None,
    ) -> Result:
        """Start a run, or go on with an earlier one, and return how it ended."""
        from flywheel import runner

        self.begun.append(root)
        how: dict[str, Any] = {"root": root, "jobs": self.jobs, "preload": preload, "events": self.events}
        how |= {"debug": self.debug}
        if self.resume:
            return runner.resume(self.resume, cache=self.cache, **how)
        if self.reruns:
            return runner.rerun("latest", start=self.start, only=self.only, **how)
        return runner.run(pipeline, arguments, cache=self.cache, **how)


def run_pipeline(file: Path, parameters: Sequence[str], options: Options) -> bool:
    """Run a compiled pipeline; its runs are kept in `.flywheel` of the working folder. Return whether it succeeded."""
    options.check()
    arguments = _arguments(file, parameters)
    result = options.launch(file, arguments, root=Path(".flywheel"))
    if not options.as_json:
        for name, value in result.outputs.items():
            typer.echo(f"{name}: {getattr(value, 'path', value)}")
        typer.echo(f"run {result.id}: {result.status}; `flywheel show {result.id}` tells more")
    return result.ok


def run_flywheel(
    folder: Path,
    spans: Sequence[str],
    overrides: Sequence[str],
    profile: str | None,
    options: Options,
    *,
    fail_unless_promoted: bool,
) -> int:
    """Run a flywheel for each span and show what became of it; return the exit code, 0 when all went as asked for."""
    from flywheel.cli.table import show
    from flywheel.local import Flywheel
    from flywheel.workspace import Workspace

    options.check()
    if options.resume or options.reruns:
        given: dict[str, object] = {"--span": spans, "--set": overrides, "--profile": profile}
        given["--fail-unless-promoted"] = fail_unless_promoted and options.reruns
        if named := " and ".join(name for name, value in given.items() if value):
            raise ConfigError(
                f"{named} cannot be given to a run that has begun", "it keeps its span, settings and code."
            )
    workspace = Workspace.open(folder, profile, overrides)
    flywheel = Flywheel(workspace, options.launch)
    flywheel.check(spans)
    flywheel.check_server()
    if options.reruns:
        with flywheel.alone():
            return int(not options.launch(Path(), {}, root=workspace.state, preload=workspace.trainer_imports()).ok)
    rows, inferred = [], not workspace.schema.exists()
    for span in spans or [""]:
        rows.append(flywheel.run(span))
        if rows[-1].failed:
            break
    if options.as_json:
        for row in rows:
            typer.echo(json.dumps({"event": "Outcome", **row.to_dict()}))
    else:
        show(rows)
        typer.echo(f"reports: {flywheel.reports}")
        if inferred and workspace.schema.exists():
            typer.echo(f"{workspace.schema.name} was inferred from the data: read it, tighten it, commit it")
    if any(row.failed or (fail_unless_promoted and row.outcome != "promoted") for row in rows):
        return 1
    return NOT_READY if any(row.outcome == "not-ready" for row in rows) else 0


def _arguments(file: Path, parameters: Sequence[str]) -> dict[str, Any]:
    """Return `name=value` texts as arguments of the types that the pipeline declares."""
    from flywheel.runner.errors import InputError
    from flywheel.runner.parse import load
    from flywheel.runner.values import from_text

    declared = load(file).root.parameters
    arguments: dict[str, Any] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--parameter {text!r} is not understood", "write it as name=value.")
        try:
            # One that is not declared goes on as it is: the runner answers it with those that are.
            arguments[name] = from_text(value, declared[name], f"--parameter {name}") if name in declared else value
        except InputError as error:
            raise ConfigError(error.message, error.remedy) from None
    return arguments
