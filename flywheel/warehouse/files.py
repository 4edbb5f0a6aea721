"""A folder of Parquet or CSV files as tables that DuckDB can read.

Below the folder in which the pattern's first wildcard stands, each thing is a table by its name: `flights.parquet`, and
`flights/` with all files in it. Folders below that are partitions when they are named like `day=2013-06-01`, which adds
a column. A pattern whose own folder holds the partitions, as `flights/day=*/*.parquet`, is one table of that folder's
name. A folder instead of a pattern stands for all files in it.
"""

from __future__ import annotations

import glob
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flywheel.errors import ConfigError

if TYPE_CHECKING:
    import duckdb

_ENDS = {"parquet": (".parquet",), "csv": (".csv", ".csv.gz", ".csv.zst")}


@dataclass(frozen=True)
class Folder:
    """The files that a pattern matched, by table.

    Attributes:
        kind: `parquet` or `csv`.
        root: Folder that holds the tables.
        tables: Files of each, in order of their paths.
    """

    kind: str
    root: Path
    tables: dict[str, tuple[Path, ...]]

    @classmethod
    def find(cls, kind: str, pattern: str) -> Folder:
        """Return what `pattern` matches.

        Raises:
            ConfigError: No file, or two tables of one name.
        """
        root = _root(pattern)
        whole = f"{glob.escape(pattern)}/**/*" if Path(pattern).is_dir() else pattern
        found = [Path(name) for name in sorted(glob.glob(whole, recursive=True)) if name.endswith(_ENDS[kind])]
        files = [file for file in found if file.is_file() and not file.name.startswith("_")]
        if not files:
            raise ConfigError(
                f"no {' or '.join(_ENDS[kind])} file matches {pattern!r}",
                "fill the folder first, or mend `source.warehouse`: a glob as data/**/*.parquet, or a folder.",
            )
        sources: dict[str, set[Path]] = {}
        tables: dict[str, list[Path]] = {}
        for file in files:
            name, source = _table(file, root, kind)
            sources.setdefault(name.lower(), set()).add(source)
            if len(of := sorted(sources[name.lower()])) > 1:
                raise ConfigError(
                    f"table {name!r} would be both {str(of[0])!r} and {str(of[1])!r}",
                    "rename one of them, or give a pattern that matches one alone.",
                )
            tables.setdefault(name, []).append(file)
        return cls(kind, root, {name: tuple(of) for name, of in tables.items()})

    def create(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Make a view of each table; a query can read these files then, and no others."""
        for name, files in self.tables.items():
            options = {"union_by_name": "true", "hive_partitioning": str(_partitioned(self.root, files)).lower()}
            if self.kind == "csv":
                options["header"] = "true"
            given = ", ".join(f"{key} = {value}" for key, value in options.items())
            view = '"' + name.replace('"', '""') + '"'
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_{self.kind}({_texts(files)}, {given})")
        every = [file for files in self.tables.values() for file in files]
        connection.execute(f"SET GLOBAL allowed_paths = {_texts(every)}")

    def state(self, tables: set[str]) -> str:
        """Return a text that is another one when files of `tables` came, went or changed; of all when one is unknown.

        Args:
            tables: Names, in lower case.
        """
        lower = {name.lower() for name in self.tables}
        kept = [file for name, of in self.tables.items() if name.lower() in tables or tables - lower for file in of]
        lines = []
        for file in kept:
            status = file.stat()
            lines.append(f"{file.absolute().relative_to(self.root)} {status.st_size} {status.st_mtime_ns}")
        return f"{len(kept)}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:32]}"


def _root(pattern: str) -> Path:
    """Return the folder before the first wildcard; what is matched below it are tables."""
    path = Path(pattern)
    if path.is_dir():
        return path.absolute()
    plain = [part for part in path.parts]
    while any(glob.has_magic(part) for part in plain) or not Path(*plain).is_dir():
        if len(plain) <= 1:
            return Path(path.anchor or ".").absolute()
        plain.pop()
    return Path(*plain).absolute()


def _table(file: Path, root: Path, kind: str) -> tuple[str, Path]:
    """Return the table that `file` is of, and the file or folder that is that table."""
    first, *below = file.absolute().relative_to(root).parts
    if "=" in first:
        return root.name, root
    if below:
        return first, root / first
    end = next(end for end in sorted(_ENDS[kind], key=len, reverse=True) if first.endswith(end))
    return first.removesuffix(end), root / first


def _partitioned(root: Path, files: tuple[Path, ...]) -> bool:
    return all(any("=" in part for part in file.absolute().relative_to(root).parts[:-1]) for file in files)


def _texts(files: list[Path] | tuple[Path, ...]) -> str:
    quoted = ("'" + str(file.absolute()).replace("'", "''") + "'" for file in files)
    return f"[{', '.join(quoted)}]"
