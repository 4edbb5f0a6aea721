"""Nearest neighbours by Faiss: an index built, judged against exact search, kept as files, and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from faiss.contrib.exhaustive_search import knn_ground_truth

from flywheel.artifacts import Check
from flywheel.errors import ConfigError, ServingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flywheel.config import Index
    from flywheel.serving.embedding import Embeddings

    Floats = NDArray[np.float32]

INDEX, IDS, ABOUT = "index.faiss", "ids.parquet", "about.json"
FLAT_ROWS = 20_000
"""Up to here every vector is looked at: exact, and fast enough."""
_QUERIES = 1000
_TRAINED_ON = 200_000
_CHUNK = 65_536
_EFFORTS = (16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Nearest:
    """An index with the ids of what it holds.

    Attributes:
        index: Faiss'.
        ids: One a place.
        unit: Whether vectors are made of length 1 before they are compared.
    """

    index: Any
    ids: pa.Array
    unit: bool

    @classmethod
    def open(cls, folder: Path) -> Nearest:
        """Return the index in a version's folder.

        Raises:
            ServingError: There is none.
        """
        if not (folder / INDEX).is_file():
            raise ServingError(f"there is no index in {str(folder)!r}", "give the folder of a version, as …/flights/3.")
        about = json.loads((folder / ABOUT).read_text())
        ids = pq.read_table(folder / IDS)["id"].combine_chunks()
        index = faiss.read_index(str(folder / INDEX))
        if about["effort"]:
            _set_effort(index, about["effort"])
        return cls(index, ids, about["metric"] == "cosine")

    def search(self, vectors: Floats, k: int = 10) -> tuple[list[list[Any]], Floats]:
        """Return the ids of the `k` nearest to each vector, nearest first, and how near they are.

        Args:
            vectors: (rows, dimensions).
            k: How many; fewer come where there are fewer.

        Raises:
            ServingError: The vectors are of another length.
        """
        asked = np.ascontiguousarray(vectors, np.float32)
        if asked.ndim != 2 or asked.shape[1] != self.index.d:
            raise ServingError(
                f"vectors of shape {asked.shape} were asked for, the index holds {self.index.d} numbers each",
                f"give an array (rows, {self.index.d}).",
            )
        near, places = self.index.search(_unit(asked) if self.unit else asked, min(k, len(self.ids)))
        return [self._named(row) for row in places], near

    def similar(self, ids: Sequence[Any], k: int = 10) -> list[list[Any]]:
        """Return the ids of the `k` nearest to each of `ids`, nearest first and without itself.

        Raises:
            ServingError: One is not in the index.
        """
        import pyarrow.compute as pc

        places = pc.index_in(pa.array(ids, self.ids.type), self.ids)
        if places.null_count:
            lost = next(id for id, place in zip(ids, places.to_pylist(), strict=True) if place is None)
            raise ServingError(f"the id {lost!r} is not in the index", "it was not among the rows of its query.")
        at = places.to_numpy().astype(np.int64)
        if hasattr(self.index, "make_direct_map"):
            self.index.make_direct_map()
        vectors = np.stack([self.index.reconstruct(int(place)) for place in at])
        _, found = self.index.search(vectors, min(k + 1, len(self.ids)))
        return [self._named(row[row != place])[:k] for row, place in zip(found, at, strict=True)]

    def _named(self, places: NDArray[np.int64]) -> list[Any]:
        return list(self.ids.take(pa.array(places[places >= 0])).to_pylist())


def build(found: Embeddings, settings: Index, folder: Path) -> tuple[dict[str, Any], tuple[Check, ...]]:
    """Write the index of embeddings to `folder`; return figures, and how its recall was judged.

    How hard a search tries (HNSW's efSearch, IVF's nprobe) is the least that keeps the bar on some of the rows; it is
    judged on others.

    Raises:
        ConfigError: Faiss does not know the kind, or it needs more rows.
    """
    unit = settings.metric == "cosine"
    index = _made(found, settings, unit)
    for chunk in _chunks(found.vectors, unit):
        index.add(chunk)
    random = np.random.default_rng(0)
    queries = random.permutation(found.rows)[: 2 * _QUERIES]
    k = min(settings.k, found.rows - 1)
    exact = _Exact.of(found.vectors, queries, k, unit, settings.metric)
    half = len(queries) // 2
    effort = _tuned(index, exact, slice(0, half), settings.min_recall)
    recalls = exact.recall(index, slice(half, None))
    faiss.write_index(index, str(folder / INDEX))
    pq.write_table(pa.table({"id": found.ids}), folder / IDS, compression="zstd")
    about = {"metric": settings.metric, "effort": effort, "layer": settings.layer}
    (folder / ABOUT).write_text(json.dumps(about))
    facts = {
        "rows": found.rows,
        "rows left out": found.bad.total(),
        "dimensions": found.dimensions,
        "kind": _kind(found, settings),
        "effort of a search": effort or "everything is looked at",
        "megabytes": (folder / INDEX).stat().st_size / 1e6,
    }
    return facts, (_check(recalls, k, settings.min_recall),)


def _kind(found: Embeddings, settings: Index) -> str:
    if settings.kind != "auto":
        return settings.kind
    return "Flat" if found.rows <= FLAT_ROWS else "HNSW32"


def _made(found: Embeddings, settings: Index, unit: bool) -> Any:
    kind, metric = _kind(found, settings), faiss.METRIC_L2 if settings.metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if found.rows < 2:
        raise ConfigError("an index of one row has no neighbours", "let the query give more rows.")
    try:
        index = faiss.index_factory(found.dimensions, kind, metric)
        if not index.is_trained:
            some = np.sort(np.random.default_rng(0).permutation(found.rows)[:_TRAINED_ON])
            index.train(_unit(found.vectors[some]) if unit else np.ascontiguousarray(found.vectors[some]))
    except RuntimeError as error:
        said = str(error).splitlines()[0].rsplit("Error: ", 1)[-1]
        raise ConfigError(
            f"Faiss makes no index {kind!r} of {found.rows:,} vectors of {found.dimensions} numbers: {said}",
            "set deploy.kind to another, as HNSW32 or IVF256,Flat, or leave it out.",
        ) from error
    return index


@dataclass(frozen=True)
class _Exact:
    """What an exact search finds for some of the rows.

    Attributes:
        vectors: All of them.
        queries: Places of those that are asked about.
        k: How many neighbours, without itself.
        last: How near the k-th is.
        unit: Whether vectors are made of length 1.
        l2: Whether less is nearer.
    """

    vectors: Floats
    queries: NDArray[np.int64]
    k: int
    last: Floats
    unit: bool
    l2: bool

    @classmethod
    def of(cls, vectors: Floats, queries: NDArray[np.int64], k: int, unit: bool, metric: str) -> _Exact:
        """Look at every vector, chunk by chunk."""
        l2 = metric == "l2"
        asked = _unit(vectors[queries]) if unit else np.ascontiguousarray(vectors[queries])
        by = faiss.METRIC_L2 if l2 else faiss.METRIC_INNER_PRODUCT
        best, places = knn_ground_truth(asked, _chunks(vectors, unit), k + 1, by)
        others = places != queries[:, None]
        others[:, -1] &= ~others[:, :-1].all(axis=1)  # a row that does not find itself, for others are equal
        last = np.array([near[mask][-1] for near, mask in zip(best, others, strict=True)], np.float32)
        return cls(vectors, queries, k, last, unit, l2)

    def recall(self, index: Any, which: slice) -> NDArray[np.float64]:
        """Return the share of the k nearest that `index` finds, for each query.

        One that is as near as the k-th counts as well: which of equals is found does not matter.
        """
        queries, last = self.queries[which], self.last[which]
        asked = self._at(queries)
        _, places = index.search(asked, self.k + 1)
        found = np.empty(len(queries))
        for row, (place, vector) in enumerate(zip(places, asked, strict=True)):
            others = np.unique(place[(place >= 0) & (place != queries[row])])
            there = self._at(others)
            near = ((there - vector) ** 2).sum(axis=1) if self.l2 else there @ vector
            slack = 1e-4 * max(1.0, abs(float(last[row])))
            good = near <= last[row] + slack if self.l2 else near >= last[row] - slack
            found[row] = min(int(good.sum()), self.k) / self.k
        return found

    def _at(self, places: NDArray[np.int64]) -> Floats:
        vectors = np.asarray(self.vectors[places])
        return _unit(vectors) if self.unit else vectors


def _tuned(index: Any, exact: _Exact, which: slice, bar: float) -> int:
    """Set the least effort that keeps the bar and return it; 0 where there is nothing to set."""
    for effort in _EFFORTS:
        if not _set_effort(index, effort):
            return 0
        if exact.recall(index, which).mean() >= bar:
            break
    return effort


def _set_effort(index: Any, effort: int) -> bool:
    """Set how many candidates HNSW holds, or how many lists of IVF are looked at; False where it has neither."""
    inner = faiss.try_extract_index_ivf(index)
    if inner is not None:
        inner.nprobe = min(effort, inner.nlist)
        return True
    plain: Any = faiss.downcast_index(index)
    if hasattr(plain, "hnsw"):
        plain.hnsw.efSearch = effort
        return True
    return False


def _check(recalls: NDArray[np.float64], k: int, bar: float) -> Check:
    mean, error = float(recalls.mean()), float(recalls.std() / np.sqrt(len(recalls)))
    low = mean < bar
    return Check(
        f"recall of the {k} nearest at least {bar:g}",
        "fail" if low else "pass",
        observed=mean,
        bound=bar,
        interval=(max(0.0, mean - 1.96 * error), min(1.0, mean + 1.96 * error)),
        rows=len(recalls),
        reason=f"a search finds {mean:.1%} of the {k} nearest that exact search finds",
        remedy="take deploy.kind HNSW64, or Flat, which is exact." if low else "",
    )


def _chunks(vectors: Floats, unit: bool) -> Iterator[Floats]:
    for start in range(0, len(vectors), _CHUNK):
        chunk = np.ascontiguousarray(vectors[start : start + _CHUNK])
        yield _unit(chunk) if unit else chunk


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)
