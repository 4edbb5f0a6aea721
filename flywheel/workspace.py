"""A flywheel's folder on this machine: what it declares, and where its state lives."""

from __future__ import annotations

import ast
import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flywheel import archive, config
from flywheel.errors import ConfigError, meant

STATE = ".flywheel"
SCHEMA = "schema.pbtxt"
_INSTALLED = Path(__file__).parent.parent  # holds the package, and in it the trainers that come along


@dataclass(frozen=True)
class Workspace:
    """A project folder with its declaration, and absolute addresses of all that the declaration names.

    Attributes:
        folder: Holds flywheel.yaml, the SQL file and the trainer.
        project: What flywheel.yaml declares, profile and overrides laid over it.
    """

    folder: Path
    project: config.Project

    @classmethod
    def open(cls, folder: Path, profile: str | None = None, overrides: Iterable[str] = ()) -> Workspace:
        """Return the workspace of `folder`.

        Raises:
            ConfigError: flywheel.yaml, or a file that it names, is missing or wrong.
        """
        here = cls(folder.resolve(), config.load(folder, profile, overrides))
        deploy = here.project.deploy
        if not isinstance(deploy, config.OfRows):
            return here
        whole = deploy.of(here.project.source, here.deployed_query())
        return cls(here.folder, here.project.model_copy(update={"deploy": whole}))

    @property
    def state(self) -> Path:
        """Where runs, ledger, reports and the served model are kept."""
        return self.folder / STATE

    @property
    def serving(self) -> Path:
        """The folder that `flywheel serve` watches; a target other than `local` writes nothing there."""
        deploy = self.project.deploy
        return Path(self.target) if isinstance(deploy, config.Local) else self.folder / config.Local().folder

    @property
    def target(self) -> str:
        """What `deploy` is handed: where the champion is served, a folder in it absolute."""
        return self.project.deploy.within(self.folder).text()

    @property
    def requests(self) -> Path:
        """The folder that `flywheel serve` logs requests to, a folder a model."""
        return self.state / "requests"

    @property
    def warehouse(self) -> str:
        """URL of the warehouse, a file in it absolute."""
        return self._absolute(self.project.source.warehouse)

    @property
    def ledger(self) -> str:
        """MLflow tracking URI, a file in it absolute."""
        return self._absolute(self.project.ledger.tracking_uri)

    @property
    def schema(self) -> Path:
        """The schema that people curate and commit; absent before the first run."""
        return self.folder / SCHEMA

    def query(self) -> str:
        """Return the SQL text.

        Raises:
            ConfigError: There is no such file, or it is empty.
        """
        return self._sql("query", self.project.source.query)

    def serving_query(self) -> str:
        """Return the SQL text that gives logged requests; empty when there is none, or no file that it could read.

        Raises:
            ConfigError: A file is named that is not there, or is empty.
        """
        named, where = self.project.source.serving, self.project.source.serving_warehouse
        if named and where and _is_empty(self._absolute(where)):
            return ""  # nothing has been logged yet
        return self._sql("serving", named) if named else ""

    def deployed_query(self) -> str:
        """Return the SQL text that gives the rows that a target takes: its own, else that of the source.

        Raises:
            ConfigError: There is no such file, or it is empty.
        """
        deploy = self.project.deploy
        named = deploy.query if isinstance(deploy, config.OfRows) else ""
        return self._sql("query", named, "deploy") if named else self.query()

    def sql(self, file: str) -> str:
        """Return the text of an SQL file of this folder.

        Raises:
            ConfigError: There is no such file, or it is empty.
        """
        return self._sql("--query", file, "")

    def labels_query(self) -> str:
        """Return the SQL text that gives labels as they arrive; empty when there is none.

        Raises:
            ConfigError: A file is named that is not there, or is empty.
        """
        named = self.project.monitor.labels
        return self._sql("labels", named, "monitor") if named else ""

    def logged(self) -> str:
        """Return the folder that requests of this model are logged to here; empty where that is not this machine's."""
        deploy = self.project.deploy
        return str(self.requests / self.project.name) if isinstance(deploy, config.Local) and deploy.log else ""

    def compilable(self) -> config.Project:
        """Return the project as a pipeline on this machine has it: what is no parameter of the pipeline is absolute."""
        source = self.project.source
        if not source.serving_warehouse:
            return self.project
        absolute = {"serving_warehouse": self._absolute(source.serving_warehouse)}
        return self.project.model_copy(update={"source": source.model_copy(update=absolute)})

    def _sql(self, key: str, named: str, section: str = "source") -> str:
        file = self.folder / named
        try:
            text = file.read_text()
        except (FileNotFoundError, IsADirectoryError):
            found = ", ".join(sorted(path.name for path in self.folder.glob("*.sql"))) or "none"
            raise ConfigError(
                f"{section}{'.' if section else ''}{key} names {named!r}, which is no file in {self.folder}",
                f"write that file, or name another; SQL files there: {found}.",
            ) from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{file} is not UTF-8 text: {error}", "save it as UTF-8.") from None
        if not text.strip():
            raise ConfigError(f"{file} is empty", "write a SELECT with @start and @end.")
        return text

    def check_trainer(self) -> None:
        """Look, without importing anything, whether the trainer is there, and that of the baseline.

        Raises:
            ConfigError: A module is not in the folder, does not parse, or has no such function.
        """
        self._trainers()

    def trainer_imports(self) -> dict[str, tuple[str, ...]]:
        """Return the modules that the trainers' files import from outside the folder, for the step that calls them."""
        own = {path.stem for path in self.folder.iterdir()}
        names = dict.fromkeys(name for tree in self._trainers() for name in _imported(tree))
        return {"train": tuple(name for name in names if name.split(".")[0] not in own)}

    def _trainers(self) -> list[ast.Module]:
        baseline = self.project.train.for_baseline()
        named = {"train.trainer": self.project.train.trainer}
        if baseline:
            named["train.baseline"] = baseline.trainer
        return [self._trainer(key, name) for key, name in named.items()]

    def _trainer(self, key: str, name: str) -> ast.Module:
        module, _, function = name.partition(":")
        folder = _INSTALLED if module.startswith("flywheel.trainers.") else self.folder
        base = folder / Path(*module.split("."))
        file = next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)
        if file is None:
            found = ", ".join(sorted(path.name for path in base.parent.glob("[!_]*.py"))) or "none"
            raise ConfigError(
                f"{key} names module {module!r}, which is not in {folder}",
                f"write {module}.py, or name another; Python files there: {found}.",
            )
        try:
            tree = ast.parse(file.read_text(), str(file))
        except SyntaxError as error:
            raise ConfigError(f"{file}, line {error.lineno}: {error.msg}", "mend it at that line.") from None
        names = {name for node in tree.body for name in _bound(node)}
        if function not in names:
            hint = meant(function, names).rstrip() or f"define `def {function}(context)` there."
            raise ConfigError(f"{file} has no function {function!r}", hint)
        return tree

    def pack(self) -> str:
        """Return the path of a content-addressed archive of the folder's code as it is now: its data is none of it."""
        packed = archive.pack(self.folder, self.state / "code", self._data())
        ignored = self.state / ".gitignore"
        if not ignored.exists():
            ignored.write_text("*\n")  # whoever commits the folder does not commit its state
        return str(packed)

    def _data(self) -> set[Path]:
        """Return the files and folders that warehouses are of, as far as they stand in files of this machine."""
        source = self.project.source
        urls = [self._absolute(url) for url in (source.warehouse, source.serving_warehouse) if url]
        named = [url.partition(":///")[::2] for url in urls]
        files = {Path(path) for scheme, path in named if scheme == "duckdb"}
        globs = [pattern for scheme, pattern in named if scheme in ("parquet", "csv")]
        return files | {Path(path) for pattern in globs for path in glob.iglob(pattern, recursive=True)}

    def resolve(self, url: str) -> str:
        """Return a warehouse's URL with a relative path taken from the project's folder."""
        return self._absolute(url)

    def _absolute(self, url: str) -> str:
        return config.absolute(url, self.folder)


def _is_empty(warehouse: str) -> bool:
    """Return whether a warehouse is of files, and there are none."""
    scheme, _, pattern = warehouse.partition(":///")
    return scheme in ("parquet", "csv") and not any(glob.iglob(pattern, recursive=True))


def _bound(node: ast.stmt) -> list[str]:
    """Return the names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules that the source imports, at its top or within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
