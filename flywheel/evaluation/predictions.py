"""What each model predicts for each of the judge's rows: one Parquet file that everything else derives from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.evaluation.groups import Groups
from flywheel.evaluation.own import PREFIX
from flywheel.evaluation.regression import NAIVE

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from flywheel.evaluation.groups import Floats

FILE = "predictions.parquet"
CANDIDATE, CHAMPION, BASELINE = "candidate", "champion", "baseline"
MODELS = (CANDIDATE, CHAMPION, BASELINE)
SEARCHED, CLUSTER, LISTED = "search ", "cluster ", "list "
WEIGHT = "row weight"
ROWS = "rows"
RESERVED = ("span", "label", *MODELS, NAIVE, WEIGHT)
ABOUT = b"flywheel"
"""Under which the metadata of the file's schema say what it is about."""
_BINARY = b'{"task": "binary", "classes": []}'


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
        labels: For each row 0 or 1, the index of its class, or a number; of several labels (rows, labels), -1 where one
            is not known.
        scores: What each model predicts: `candidate`, and `champion` and `baseline` when there are such; `naive` is the
            forecast that a column of the examples gives. A number for each row, or (rows, classes or labels)
            probabilities.
        spans: The rows of each span.
        slices: The rows of each value, by slice column.
        task: `binary`, `multiclass`, `multilabel` or `regression`.
        classes: What the indices of classes mean, as text, or the labels; only when there are several.
        own: By metric of the user's own, what each model's prediction of a row is worth.
        better: For each of those, 1 when more is better and -1 when less is.
        searched: The rows of each value, by column in which slices are searched for.
        evidence: What counts as one piece of evidence, and how a difference is tested on it.
        clusters: The rows of each such piece; None when it is the span.
        ranked: The rows of each list that is ranked by itself, as of a query; None where nothing is ranked.
        tops: The places at which a ranking is measured.
        weights: How often each row counts in every metric; None where all count once.
        known: What was computed of these very rows already, by whoever computed it: a bootstrap is not made twice.
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
    weights: Floats | None = None
    known: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

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

    def weighed(self, rows: Any) -> Floats | None:
        """Return the weights of the rows that a mask or an index array chooses; None where all count once."""
        return None if self.weights is None else self.weights[rows]

    @property
    def naive(self) -> bool:
        """Whether a column gives a naive forecast."""
        return NAIVE in self.scores

    @classmethod
    def read(cls, file: Path) -> Predictions:
        """Return what `predict.write` wrote to `file`."""
        import pyarrow.parquet as pq

        return cls.of(pq.read_table(file))

    @classmethod
    def of(cls, table: pa.Table) -> Predictions:
        """Return what a table with the columns of such a file holds."""
        from flywheel.evaluation.worst import grouped
        from flywheel.transform.tensors import plain

        about = json.loads((table.schema.metadata or {}).get(ABOUT, _BINARY))
        labels = plain(table["label"])
        scores = [name for name in (*MODELS, NAIVE) if name in table.column_names]
        own, ours = about.get("own", {}), (PREFIX, SEARCHED, CLUSTER, LISTED)
        ranking = about.get("ranking")
        evidence = Evidence(**about.get("evidence", {}))
        slices = [name for name in table.column_names if name not in RESERVED and not name.startswith(ours)]
        return cls(
            labels=labels if about["task"] == "regression" else labels.astype("int64"),
            scores={name: plain(table[name]) for name in scores},
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
            weights=table[WEIGHT].to_numpy() if WEIGHT in table.column_names else None,
        )

    @classmethod
    def described(cls, file: Path) -> Predictions:
        """Return what `file` is about, without its rows: they may not fit in memory."""
        import numpy as np
        import pyarrow.parquet as pq

        schema = pq.read_schema(file)
        about = json.loads((schema.metadata or {}).get(ABOUT, _BINARY))
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
            weights=np.empty(0) if WEIGHT in schema.names else None,
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
        kept = {
            "labels": self.labels[rows],
            "scores": scores,
            "spans": spans,
            "own": own,
            "weights": self.weighed(rows),
        }
        chosen = replace(self, slices={}, searched={}, **kept)
        if self.ranked is not None:
            chosen = replace(chosen, ranked=Groups(self.ranked.keys, self.ranked.codes[rows]))
        if self.clusters is None:
            return chosen
        used, codes = np.unique(self.clusters.codes[rows], return_inverse=True)
        return replace(chosen, clusters=Groups(range(len(used)), codes))


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
