"""What each model predicts for each of the judge's rows: one Parquet file that everything else derives from."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.artifacts.examples import batch_rows
from flywheel.errors import ConfigError, DataError
from flywheel.evaluation.answers import PredictionError, answer, asked_columns, classes_of
from flywheel.evaluation.groups import Groups
from flywheel.evaluation.labels import check, classes_in, encoded, sorted_classes
from flywheel.evaluation.own import PREFIX, Own
from flywheel.evaluation.regression import NAIVE
from flywheel.transform import raw

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from flywheel.artifacts import Examples
    from flywheel.evaluation.groups import Floats

__all__ = ["BASELINE", "CANDIDATE", "CHAMPION", "FILE", "NAIVE", "PredictionError", "Predictions", "write"]

FILE = "predictions.parquet"
CANDIDATE, CHAMPION, BASELINE = "candidate", "champion", "baseline"
MODELS = (CANDIDATE, CHAMPION, BASELINE)
SEARCHED, CLUSTER, LISTED = "search ", "cluster ", "list "
ROWS = "rows"
_RESERVED = ("span", "label", *MODELS, NAIVE)
_ROWS = 64 * 1024
_ABOUT, _BINARY = b"flywheel", b'{"task": "binary", "classes": []}'


@dataclass(frozen=True)
class Evidence:
    """What counts as one piece of evidence, and how a difference is tested on it.

    Attributes:
        cluster: Column whose value rows share that are not independent, or `rows` when all of them are; empty for the
            span.
        test: `auto` or `bootstrap`.
    """

    cluster: str = ""
    test: str = "auto"

    @property
    def unit(self) -> str:
        """One of them, in words."""
        return {"": "span", ROWS: "row"}.get(self.cluster, self.cluster)


@dataclass(frozen=True)
class Predictions:
    """Labels and predictions of the judge's rows, as columns.

    Attributes:
        labels: For each row 0 or 1, the index of its class, or a number.
        scores: What each model predicts: `candidate`, and `champion` and `baseline` when there are such; `naive` is the
            forecast that a column of the examples gives. A number for each row, or (rows, classes) probabilities.
        spans: The rows of each span.
        slices: The rows of each value, by slice column.
        task: `binary`, `multiclass` or `regression`.
        classes: What the indices of classes mean, as text; only when there are several.
        own: By metric of the user's own, what each model's prediction of a row is worth.
        better: For each of those, 1 when more is better and -1 when less is.
        searched: The rows of each value, by column in which slices are searched for.
        evidence: What counts as one piece of evidence, and how a difference is tested on it.
        clusters: The rows of each such piece; None when it is the span.
        ranked: The rows of each list that is ranked by itself, as of a query; None where nothing is ranked.
        tops: The places at which a ranking is measured.
    """

    labels: NDArray[Any]
    scores: dict[str, Floats]
    spans: Groups
    slices: dict[str, Groups] = field(default_factory=dict)
    task: str = "binary"
    classes: tuple[str, ...] = ()
    own: dict[str, dict[str, Floats]] = field(default_factory=dict)
    better: dict[str, int] = field(default_factory=dict)
    searched: dict[str, Groups] = field(default_factory=dict)
    evidence: Evidence = Evidence()
    clusters: Groups | None = None
    ranked: Groups | None = None
    tops: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def models(self) -> tuple[str, ...]:
        """Those whose predictions there are."""
        return tuple(name for name in MODELS if name in self.scores)

    @property
    def units(self) -> Groups:
        """The rows of each piece of evidence: rows of different ones are independent."""
        return self.spans if self.clusters is None else self.clusters

    @property
    def naive(self) -> bool:
        """Whether a column gives a naive forecast."""
        return NAIVE in self.scores

    @classmethod
    def read(cls, file: Path) -> Predictions:
        """Return what `write` wrote to `file`."""
        import pyarrow.parquet as pq

        return cls.of(pq.read_table(file))

    @classmethod
    def of(cls, table: pa.Table) -> Predictions:
        """Return what a table with the columns of such a file holds."""
        from flywheel.evaluation.worst import grouped

        about = json.loads((table.schema.metadata or {}).get(_ABOUT, _BINARY))
        labels = table["label"].to_numpy()
        scores = [name for name in (*MODELS, NAIVE) if name in table.column_names]
        own, ours = about.get("own", {}), (PREFIX, SEARCHED, CLUSTER, LISTED)
        ranking = about.get("ranking")
        evidence = Evidence(**about.get("evidence", {}))
        slices = [name for name in table.column_names if name not in _RESERVED and not name.startswith(ours)]
        return cls(
            labels=labels if about["task"] == "regression" else labels.astype("int64"),
            scores={name: _scores(table[name], len(about["classes"])) for name in scores},
            spans=_groups(table["span"]),
            slices={name: _groups(table[name]) for name in slices},
            task=about["task"],
            classes=tuple(about["classes"]),
            own={metric: {name: table[f"{PREFIX}{metric} {name}"].to_numpy() for name in scores} for metric in own},
            better=own,
            searched={
                name.removeprefix(SEARCHED): grouped(table[name])
                for name in table.column_names
                if name.startswith(SEARCHED)
            },
            evidence=evidence,
            clusters=_clusters(table, evidence.cluster) if evidence.cluster else None,
            ranked=_groups(table[f"{LISTED}{ranking['group']}"]) if ranking else None,
            tops=tuple(ranking["at"]) if ranking else (),
        )

    @classmethod
    def described(cls, file: Path) -> Predictions:
        """Return what `file` is about, without its rows: they may not fit in memory."""
        import numpy as np
        import pyarrow.parquet as pq

        schema = pq.read_schema(file)
        about = json.loads((schema.metadata or {}).get(_ABOUT, _BINARY))
        scores = {name: np.empty(0) for name in (*MODELS, NAIVE) if name in schema.names}
        own = about.get("own", {})
        worth = {metric: dict.fromkeys(scores, np.empty(0)) for metric in own}
        ranked, classes = about.get("ranking"), tuple(about["classes"])
        return cls(
            np.empty(0),
            scores,
            Groups.whole(0),
            {},
            about["task"],
            classes,
            worth,
            own,
            ranked=Groups.whole(0) if ranked else None,
            tops=tuple(ranked["at"]) if ranked else (),
        )

    @classmethod
    def listed(cls, file: Path) -> str:
        """Return the column of `file` that says which list a row is ranked in; empty for none."""
        import pyarrow.parquet as pq

        names = [name for name in pq.read_schema(file).names if name.startswith(LISTED)]
        return names[0] if names else ""

    def select(self, rows: Any) -> Predictions:
        """Return the rows that a boolean mask or an index array chooses; slices and searched columns are left out."""
        import numpy as np

        scores = {name: values[rows] for name, values in self.scores.items()}
        spans = Groups(self.spans.keys, self.spans.codes[rows])
        own = {metric: {name: each[rows] for name, each in worth.items()} for metric, worth in self.own.items()}
        chosen = replace(self, labels=self.labels[rows], scores=scores, spans=spans, slices={}, own=own, searched={})
        if self.ranked is not None:
            chosen = replace(chosen, ranked=Groups(self.ranked.keys, self.ranked.codes[rows]))
        if self.clusters is None:
            return chosen
        used, codes = np.unique(self.clusters.codes[rows], return_inverse=True)
        return replace(chosen, clusters=Groups(range(len(used)), codes))


def write(
    examples: Examples,
    spans: Sequence[str],
    label: str,
    slices: Sequence[str],
    models: Mapping[str, Any],
    file: Path,
    task: str = "binary",
    naive: str = "",
    own: Own | None = None,
    search: Sequence[str] = (),
    evidence: Evidence | None = None,
    ranking: Mapping[str, Any] | None = None,
    watch: Callable[[pa.Array, pa.RecordBatch, pa.Array, Mapping[str, pa.Array], Sequence[str]], None] | None = None,
) -> int:
    """Write label, slice columns and every model's prediction of each row of `spans` to `file`; return the rows.

    Rows go through batch by batch, so memory stays flat. Slice columns are written as integers or as text;
    probabilities of several classes as a list a row, in the order of the classes that the file's metadata name.

    Args:
        examples: Raw rows.
        spans: Which of them.
        label: Column with the truth.
        slices: Columns to slice by.
        models: MLflow pyfunc models by name.
        file: Where to.
        task: `binary`, `multiclass` or `regression`.
        naive: Column with a naive forecast; empty for none.
        own: Metrics of the user's own; what each model's answer is worth by them is written beside it.
        search: Columns in which slices are searched for; those of no plain type are left out.
        evidence: What counts as one piece of evidence.
        ranking: `group`, the column whose value rows share that are ranked among each other, and `at`, some places.
        watch: Is shown each batch: the span of each row, raw rows, labels as written, answers by model, the classes.

    Raises:
        ConfigError: The label, a slice column, the cluster or the naive forecast is not in the examples, or has a name
            that this file needs.
        DataError: A model needs a column that is not there; a label or naive forecast is none; all labels are the same.
        PredictionError: A model fails, or does not answer every row as its task wants.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    schema = examples.schema
    evidence = evidence or Evidence()
    cluster = evidence.cluster if evidence.cluster != ROWS else ""
    listed = ranking["group"] if ranking else ""
    _check_columns(schema.names, label, slices, naive, cluster, listed)
    inputs = {name: asked_columns(name, model, schema.names, label) for name, model in models.items()}
    own = own or Own()
    _check_own(schema.names, own)
    search = [name for name in search if name in schema.names and _searchable(schema.field(name).type)]
    asked = {label, naive, cluster, listed, *slices, *own.columns, *search}.union(*inputs.values())
    wanted = [column for column in schema.names if column in asked]
    classes: tuple[str, ...] = ()
    if task == "multiclass":
        told = [value for name, model in models.items() for value in classes_of(name, model)]
        classes = sorted_classes({*told, *classes_in(examples, spans, label)})
    target = _schema(schema, slices, models, task, classes, naive, own, search, evidence, ranking)
    rows, seen = 0, set[Any]()
    with pq.ParquetWriter(file, target, compression="zstd") as writer:
        for parts in _together(examples.batches(spans, wanted), min(_ROWS, batch_rows(schema))):
            batch = parts[0][1] if len(parts) == 1 else _joined([each for _, each in parts])
            truth = [encoded(each.column(wanted.index(label)), task, classes, label, span) for span, each in parts]
            labels = pa.concat_arrays(truth)
            if len(seen) < 2:
                seen.update(pc.unique(labels)[:2].to_pylist())
            frame = raw.frame(batch)
            columns = [pa.concat_arrays([pa.repeat(span, each.num_rows) for span, each in parts]), labels]
            columns += [batch.column(wanted.index(name)).cast(target.field(name).type) for name in slices]
            answers = {name: answer(name, model, frame[inputs[name]], task, classes) for name, model in models.items()}
            if watch:
                watch(columns[0], batch, labels, answers, classes)
            if naive:
                forecasts = [_forecast(each.column(wanted.index(naive)), naive, span) for span, each in parts]
                answers[NAIVE] = pa.concat_arrays(forecasts)
            columns += [*answers.values(), *own.values(batch, label, answers, classes)]
            columns += [batch.column(wanted.index(name)) for name in search]
            if cluster:
                columns.append(batch.column(wanted.index(cluster)))
            if listed:
                columns.append(batch.column(wanted.index(listed)))
            columns = [each.cast(field.type) for each, field in zip(columns, target, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=target))
            rows += batch.num_rows
    check({classes[index] for index in seen} if classes else seen, task, label, spans)
    return rows


def _together(batches: Iterable[tuple[str, pa.RecordBatch]], rows: int) -> Iterator[list[tuple[str, pa.RecordBatch]]]:
    """Yield batches of several spans, up to `rows` rows at once: a call of a model takes milliseconds."""
    held: list[tuple[str, pa.RecordBatch]] = []
    for span, batch in batches:
        if held and sum(each.num_rows for _, each in held) + batch.num_rows > rows:
            yield held
            held = []
        if batch.num_rows:
            held.append((span, batch))
    if held:
        yield held


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    import pyarrow as pa

    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _schema(
    given: pa.Schema,
    slices: Sequence[str],
    models: Mapping[str, Any],
    task: str,
    classes: Sequence[str],
    naive: str,
    own: Own,
    search: Sequence[str],
    evidence: Evidence,
    ranking: Mapping[str, Any] | None,
) -> pa.Schema:
    import pyarrow as pa

    labels = {"binary": pa.int8(), "multiclass": pa.int64(), "regression": pa.float64()}
    score = pa.list_(pa.float64(), len(classes)) if task == "multiclass" else pa.float64()
    fields = [("span", pa.string()), ("label", labels[task])]
    fields += [(name, _sliceable(given.field(name).type)) for name in slices]
    fields += [(name, score) for name in models] + [(NAIVE, pa.float64())] * bool(naive)
    fields += [(name, pa.float64()) for name in own.names([*models, *[NAIVE] * bool(naive)])]
    fields += [(f"{SEARCHED}{name}", _searchable(given.field(name).type)) for name in search]
    if evidence.cluster not in ("", ROWS):
        fields += [(f"{CLUSTER}{evidence.cluster}", _sliceable(given.field(evidence.cluster).type))]
    if ranking:
        fields += [(f"{LISTED}{ranking['group']}", _sliceable(given.field(ranking["group"]).type))]
    about: dict[str, Any] = {"task": task, "classes": list(classes)} | ({"own": own.better} if own.asked else {})
    about |= {"evidence": asdict(evidence)} if evidence != Evidence() else {}
    about |= {"ranking": {"group": ranking["group"], "at": list(ranking["at"])}} if ranking else {}
    return pa.schema(fields, {_ABOUT: json.dumps(about).encode()})


def _check_own(names: Sequence[str], own: Own) -> None:
    for column in own.columns:
        if column not in names:
            raise ConfigError(
                f"a metric needs the column {column!r}, which is not in the examples, only {', '.join(names)}",
                "let the query give that column, or mend `columns` under `metrics`.",
            )


def _check_columns(
    names: Sequence[str], label: str, slices: Sequence[str], naive: str, cluster: str, listed: str
) -> None:
    asked = [(label, "label"), *((column, "slice column") for column in slices), (naive, "naive forecast")]
    for column, what in [*asked, (cluster, "column of `gates.cluster`"), (listed, "column of `ranking.group`")]:
        if column and column not in names:
            raise ConfigError(
                f"the {what} {column!r} is not in the examples, only {', '.join(names)}",
                "let the query give that column, or name another one.",
            )
    for column in slices:
        if column in _RESERVED:
            raise ConfigError(
                f"the slice column {column!r} has a name that the predictions need themselves",
                f"give it another name in the query: `{column} AS {column}_`.",
            )


def _searchable(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that a searched column is written as; None for times, bytes and what is nested."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _searchable(kind.value_type)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return pa.string()
    return pa.float64() if pa.types.is_integer(kind) or pa.types.is_floating(kind) else None


def _sliceable(kind: pa.DataType) -> pa.DataType:
    """Return the type that values of a slice column are written as: TFMA's slice keys are integers or text."""
    import pyarrow as pa

    return pa.int64() if pa.types.is_integer(kind) else pa.string()


def _forecast(column: pa.Array, naive: str, span: str) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    values = raw.numbers(column)
    if not np.isfinite(values).all():
        raise DataError(
            f"the naive forecast {naive!r} is missing in {int((~np.isfinite(values)).sum())} rows of span {span}",
            "COALESCE it with another forecast in the query, or leave those rows out.",
        )
    return pa.array(values)


def _scores(column: pa.ChunkedArray, classes: int) -> Floats:
    import numpy as np

    if not classes:
        scores: Floats = column.to_numpy()
        return scores
    parts = [chunk.flatten().to_numpy().reshape(-1, classes) for chunk in column.chunks]
    return np.concatenate(parts) if parts else np.empty((0, classes))


def _groups(column: pa.ChunkedArray) -> Groups:
    import numpy as np

    encoded = column.combine_chunks().dictionary_encode()
    keys = encoded.dictionary.to_pylist()
    order = sorted(range(len(keys)), key=keys.__getitem__)
    rank = np.empty(len(keys) + 1, np.int64)
    rank[order] = np.arange(len(keys))
    rank[-1] = -1  # rows without a value are in no group, as in TFMA
    return Groups(tuple(keys[index] for index in order), rank[encoded.indices.fill_null(-1).to_numpy()])


def _clusters(table: pa.Table, cluster: str) -> Groups:
    """Return rows by value of the cluster's column; a row without one stands for itself."""
    import numpy as np

    if cluster == ROWS:
        return Groups(range(len(table)), np.arange(len(table)))
    encoded = table[f"{CLUSTER}{cluster}"].combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy().astype(np.int64)
    known, alone = len(encoded.dictionary), np.flatnonzero(codes < 0)
    codes[alone] = known + np.arange(len(alone))
    return Groups(range(known + len(alone)), codes)


def groupings(found: Predictions) -> Iterator[tuple[str, Groups]]:
    """Yield (column, groups) to measure by: all rows as the column '', then each slice column."""
    yield "", Groups.whole(len(found))
    yield from found.slices.items()
