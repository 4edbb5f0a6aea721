"""A first flywheel.yaml and query for a table: what its columns look like decides what they are used as."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flywheel.config.strict import NAME, PATTERNS
from flywheel.errors import ConfigError, meant
from flywheel.spans import Every, Span, containing

if TYPE_CHECKING:
    import pyarrow as pa

    from flywheel.warehouse.duckdb import DuckDB

Task = Literal["binary", "multiclass", "multilabel", "regression"]
_ROWS = 200_000  # of the newest rows are looked at
_JUDGE, _WINDOW = 14, 28
_MOST_CLASSES, _MOST_CATEGORIES, _WORDS, _FEW_ROWS = 20, 1000, 4, 100
_ENDS = {".parquet": "parquet", ".csv": "csv", ".csv.gz": "csv", ".csv.zst": "csv"}


@dataclass(frozen=True)
class Draft:
    """The files of a new flywheel.

    Attributes:
        files: Text of each, by its name.
        newest: The last span that is not only begun.
        said: What was found and decided, a line each.
    """

    files: dict[str, str]
    newest: Span
    said: tuple[str, ...]


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str  # as a feature; empty for one that is left out
    why: str = ""

    @property
    def alias(self) -> str:
        return re.sub(r"\W+", "_", self.name).strip("_") or "column"

    @property
    def sql(self) -> str:
        return _quoted(self.name) if self.alias == self.name else f"{_quoted(self.name)} AS {_quoted(self.alias)}"


def _quoted(name: str) -> str:
    """Return a name as SQL has it: in backticks if it is a word of the language, or no plain name."""
    from sqlglot import exp

    return exp.to_identifier(name).sql("bigquery")


def url_of(data: str, folder: Path) -> str:
    """Return the warehouse that a path or URL names: relative to `folder` if it is in it, else absolute.

    Raises:
        ConfigError: There is no such file, or it is of no kind that is read.
    """
    if "://" in data:
        return data
    path, root = Path(data).absolute(), folder.absolute()
    if not path.exists():
        raise ConfigError(f"there is no {str(path)!r}", "give a Parquet, CSV or DuckDB file, a folder, or a URL.")
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    kinds = {kind for file in files for end, kind in _ENDS.items() if file.name.endswith(end)}
    if path.suffix in (".duckdb", ".db"):
        kinds = {"duckdb"}
    if len(kinds) != 1:
        found = " and ".join(sorted(kinds)) or "neither Parquet nor CSV files"
        raise ConfigError(
            f"{str(path)!r} holds {found}", "give files of one kind, or a URL as parquet:///data/*.parquet."
        )
    shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    return f"{kinds.pop()}:///{shown}"


def draft(
    warehouse: DuckDB,
    url: str,
    name: str,
    labels: Sequence[str],
    table: str = "",
    time: str = "",
    every: Every = "day",
) -> Draft:
    """Return the files of a flywheel that predicts a column of a table, or several of 0 and 1.

    Args:
        warehouse: Where the table is.
        url: The warehouse as flywheel.yaml is to name it.
        name: Of the flywheel.
        labels: Columns to predict.
        table: The table; the only one by default.
        time: Column that says when a row is from; the only one with dates or times by default.
        every: How long a span is.

    Raises:
        ConfigError: The name will not do; table, label or time is not there or could be several; there are too few
            spans.
    """
    if not re.match(NAME, name):
        raise ConfigError(f"no flywheel can be named {name!r}", f"give --name: {PATTERNS[NAME]}.")
    table = _chosen("table", table, warehouse.tables(), "--table")
    source = _quoted(table)
    schema = warehouse.schema(f"SELECT * FROM {source} WHERE @start < @end")
    labels = [_chosen("label", label, schema.names, "--label") for label in dict.fromkeys(labels or [""])]
    times = [field.name for field in schema if str(field.type).startswith(("date", "timestamp"))]
    time = _chosen("column with the time of a row", time, times, "--time")
    since = _quoted(time)
    query = f"SELECT * FROM {source} WHERE {since} >= @start AND {since} < @end"
    extent = warehouse.extent(query)
    if extent is None:
        raise ConfigError(f"table {table!r} has no rows with a {time!r}", "fill it first.")
    first, newest = (containing(every, at) for at in extent)
    spans = _between(first, newest)
    if spans < 2:
        raise ConfigError(
            f"all rows are of one {every}, {newest}", "give a table that covers several, or --every with a shorter one."
        )
    if 2 * warehouse.count(query, newest) < warehouse.count(query, newest.shift(-1)):
        newest = newest.shift(-1)  # the last one has only begun
    seen = _newest_rows(warehouse, query, newest)
    target = _target(seen, labels[0]) if len(labels) == 1 else _targets(seen, labels)
    judge = max(1, min(_JUDGE, spans // 4))
    columns = [_use(seen, column) for column in schema.names if column not in (*labels, time)]
    used = [column for column in columns if column.kind]
    if not used:
        raise ConfigError("no column is left to predict from", "write the query yourself, see docs/stages/extract.md.")
    named = [_Column(label, target.task) for label in labels]
    unknown = len(labels) == 1 and seen[labels[0]].null_count > 0
    sql = _sql(source, since, named, used, unknown)
    file = f"{re.sub(r'[^a-z0-9]+', '-', table.lower()).strip('-') or 'query'}.sql"
    settings = {"every": every, "window": max(1, min(_WINDOW, spans - judge)), "judge": judge}
    aliases = [each.alias for each in named]
    shown = aliases[0] if len(aliases) == 1 else f"[{', '.join(aliases)}]"
    yaml = _yaml(name, url, file, settings, shown, target, columns)
    said = (
        f"{table}: {spans:,} {every}s, {first} to {newest}, by {time}",
        f"label {' and '.join(labels)}: {target.task}, {target.why}",
        *([f"rows without {labels[0]} are left out: they cannot be learned from"] if unknown else []),
        *(f"left out: {column.name}, {column.why}" for column in columns if not column.kind),
    )
    return Draft({"flywheel.yaml": yaml, file: sql}, newest, said)


@dataclass(frozen=True)
class _Target:
    """What the label is, and what a model has to be better than: one that gives the same answer to every row."""

    task: Task
    why: str
    gates: tuple[str, ...]


def _chosen(what: str, given: str, known: Sequence[str], option: str) -> str:
    there = ", ".join(known) or "none"
    if given and given not in known:
        raise ConfigError(f"there is no {what} {given!r}", f"{meant(given, known)}there: {there}.")
    if not given and len(known) != 1:
        raise ConfigError(f"which {what}? there are {len(known)}", f"give {option} NAME; there: {there}.")
    return given or known[0]


def _between(first: Span, newest: Span) -> int:
    count = 1
    while first < newest:
        first, count = first.shift(1), count + 1
    return count


def _newest_rows(warehouse: DuckDB, query: str, newest: Span) -> pa.Table:
    """Return rows of the newest spans, as many as it takes to see what the columns are like."""
    import pyarrow as pa

    found: list[pa.RecordBatch] = []
    for back in range(_WINDOW):
        found += warehouse.batches(query, newest.shift(-back))
        if sum(len(batch) for batch in found) >= _ROWS:
            break
    return pa.Table.from_batches(found, found[0].schema)


def _target(seen: pa.Table, label: str) -> _Target:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.drop_null(seen[label])
    distinct = pc.count_distinct(values).as_py()
    whole = pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)
    if distinct < 2:
        raise ConfigError(f"label {label!r} has {distinct} values in the newest rows", "choose another --label.")
    if pa.types.is_boolean(values.type) or (whole and set(pc.unique(values).to_pylist()) <= {0, 1}):
        rate = float(np.mean(values.to_numpy().astype(float)))
        bars = (
            "{metric: auc, at_least: 0.55} # 0.5 is a guess",
            "{metric: auc, no_worse_than: champion, margin: 0.02}",
        )
        return _Target("binary", f"1 in {rate:.1%} of the rows", bars)
    if pa.types.is_string(values.type) or (whole and distinct <= _MOST_CLASSES):
        most = max(each["counts"].as_py() for each in pc.value_counts(values)) / len(values)
        bars = (
            f"{{metric: accuracy, at_least: {math.ceil(most * 100) / 100:g}}} # the most frequent class has {most:.1%}",
            "{metric: accuracy, no_worse_than: champion, margin: 0.02}",
        )
        return _Target("multiclass", f"{distinct} classes", bars)
    numbers = values.cast(pa.float64()).to_numpy()
    error = float(np.mean(np.abs(numbers - np.median(numbers))))
    bars = (
        f"{{metric: mae, at_most: {error:.3g}}} # what always saying the median is off by",
        f"{{metric: mae, no_worse_than: champion, margin: {error / 50:.2g}}}",
    )
    return _Target("regression", f"{numbers.min():.4g} to {numbers.max():.4g}", bars)


def _targets(seen: pa.Table, labels: Sequence[str]) -> _Target:
    """Return what several labels of a row are.

    Raises:
        ConfigError: One of them is not 0 and 1.
    """
    found = [_target(seen, label) for label in labels]
    for label, each in zip(labels, found, strict=True):
        if each.task != "binary":
            raise ConfigError(
                f"label {label!r} is {each.task}, {each.why}; several labels are 0 and 1 each", "give one --label."
            )
    bars = (
        "{metric: macro_auc, at_least: 0.55} # 0.5 is a guess",
        "{metric: macro_auc, no_worse_than: champion, margin: 0.02, labels: true}",
    )
    return _Target("multilabel", " and ".join(each.why for each in found), bars)


def _use(seen: pa.Table, name: str) -> _Column:
    """Return what a column is used as, or why it is not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.drop_null(seen[name])
    kind, rows = values.type, max(len(values), 1)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return _Column(name, "", f"{kind}: see `as: list`, `embedding` and `image` in docs/configuration.md")
    if str(kind).startswith(("date", "timestamp", "time")):
        return _Column(name, "", "a time: `as: timestamp`, if it is known before the label")
    distinct = pc.count_distinct(values).as_py()
    if distinct < 2:
        return _Column(name, "", "the same in all of the newest rows")
    if pa.types.is_string(kind):
        if distinct <= min(_MOST_CATEGORIES, rows // 2):
            return _Column(name, "category")
        words = pc.mean(pc.count_substring_regex(values, r"\S+")).as_py()
        return _Column(name, "text") if words >= _WORDS else _Column(name, "", "another value in most rows")
    if pa.types.is_integer(kind) and distinct == rows > _FEW_ROWS:
        return _Column(name, "", "another value in every row, as a number of the row has")
    return _Column(name, "numeric")


def _sql(source: str, time: str, labels: Sequence[_Column], used: Sequence[_Column], unknown: bool) -> str:
    chosen = ",\n  ".join(column.sql for column in (*labels, *used))
    known = f"\n  AND {_quoted(labels[0].name)} IS NOT NULL" if unknown else ""
    return (
        f"-- One row: the label, and what is known when the prediction is asked for. What is known only afterwards\n"
        f"-- would teach the model to cheat: take it out here.\n"
        f"SELECT\n  {chosen}\nFROM {source}\nWHERE {time} >= @start\n  AND {time} < @end{known}\n"
    )


def _yaml(
    name: str, url: str, file: str, settings: dict[str, Any], label: str, target: _Target, columns: Sequence[_Column]
) -> str:
    every = settings["every"]
    features = [f"  - {{column: {each.alias}, as: {each.kind}}}" for each in columns if each.kind]
    features += [f"  # {each.alias}: {each.why}" for each in columns if not each.kind]
    lines = [
        f"name: {name}",
        "source:",
        f"  warehouse: {url}",
        f"  query: {file}",
        f"  every: {every}",
        f"  window: {settings['window']} # {every}s trained on",
        f"  judge: {settings['judge']} # newest {every}s, held out, that judge",
        f"label: {label}",
        f"task: {target.task}",
        "features:",
        *features,
        "train:",
        "  trainer: flywheel.trainers.boosting:train # or trainer:train, a function of your own in trainer.py",
        "gates:",
        "  model:",
        *(f"    - {bar}" for bar in target.gates),
        "deploy: {target: local}",
    ]
    return "\n".join(lines) + "\n"
