"""Transformed rows in the form that a trainer likes: record batches, arrays, pandas, tf.data, a torch DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from flywheel.artifacts import WEIGHT, Examples
from flywheel.errors import DataError
from flywheel.training.reader import Reader
from flywheel.transform.inputs import Input
from flywheel.transform.tensors import inputs_of, plain, tensor

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf
    from torch.utils.data import DataLoader

BUFFER = 64 * 1024
Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Share:
    """Which part of the minibatches one of several processes gets.

    All go through the same batches in the same order, so what is trained does not depend on how many there are.

    Attributes:
        rank: Number of the process among those that train together; it gets its part of the rows of every batch.
        world: How many train together.
        worker: Number of the process among those that load for one that trains; it gets every so manyth batch.
        workers: How many load.
    """

    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1

    def of_rows(self, first: int, last: int) -> tuple[int, int]:
        """Return where this process's part of a batch of rows `first` to `last` begins and ends."""
        rows = last - first
        return first + rows * self.rank // self.world, first + rows * (self.rank + 1) // self.world


class Rows:
    """Some spans of transformed examples, or a part of them.

    Args:
        examples: The transformed examples.
        spans: Which spans, oldest first.
        label: Name of the label's column.
        seed: Seeds the shuffling.
        start: First row, counted over all spans.
        stop: Row to stop before; None for all.
        held: Only those that `source.split` holds back for validation, or only the others; None for both.
        inputs: The model's inputs by name; a column that is none of them is a plain one.
        share: What this process gets of every minibatch.
    """

    def __init__(
        self,
        examples: Examples,
        spans: Sequence[str],
        label: str,
        seed: int,
        start: int = 0,
        stop: int | None = None,
        held: bool | None = None,
        inputs: Mapping[str, Input] | None = None,
        share: Share = Share(),
    ) -> None:
        self.spans, self._label, self._seed = tuple(spans), label, seed
        self._inputs = dict(inputs or {name: each for name, each in inputs_of(examples).items() if name != label})
        self._share = share
        self._weighted = WEIGHT in examples.schema.names
        self._schema = pa.schema([examples.schema.field(name) for name in examples.columns])
        self._reader = Reader(examples, self.spans, start, stop, held)

    def __len__(self) -> int:
        return len(self._reader)

    def __str__(self) -> str:
        return (
            ", ".join(self.spans)
            if self._reader.held is None
            else f"rows by key in {self.spans[0]} to {self.spans[-1]}"
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield record batches, oldest span first; one column a feature, and the label."""
        return self._reader.batches(self._schema.names)

    def arrays(self) -> tuple[Columns, NDArray[Any]]:
        """Return all rows at once: {feature: values}, and labels as the transform wrote them."""
        return self._split(pa.Table.from_batches(self.batches(), self._schema))[:2]

    def pandas(self) -> pd.DataFrame:
        """Return all rows at once, one column a feature, and the label."""
        return pa.Table.from_batches(self.batches(), self._schema).to_pandas()

    def weights(self) -> NDArray[Any] | None:
        """Return how much each row of `arrays` counts, as float32; None unless `train.weight` names a column.

        Raises:
            DataError: A weight is missing, below 0 or not finite.
        """
        if not self._weighted:
            return None
        parts = [_weights(batch.column(0)) for batch in self._reader.batches([WEIGHT])]
        weights: NDArray[Any] = np.concatenate([np.empty(0, np.float32), *parts])
        return weights

    def counts(self, classes: int) -> list[int]:
        """Return how many rows each class has, by its index; of several labels, how many have each."""
        found = np.zeros(classes, np.int64)
        for batch in self._reader.batches([self._label]):
            labels = plain(batch.column(0))
            if labels.ndim == 2:
                found += np.nansum(labels, axis=0).astype(np.int64)
            else:
                found += np.bincount(labels.astype(np.int64), minlength=classes)
        return [int(count) for count in found]

    def moments(self) -> tuple[float, float]:
        """Return mean and standard deviation (of the population) of the label."""
        count, mean, squares = 0, 0.0, 0.0
        for batch in self._reader.batches([self._label]):
            labels = batch.column(0).to_numpy(zero_copy_only=False).astype(np.float64)
            shift = labels.mean() - mean
            squares += labels.var() * len(labels) + shift**2 * count * len(labels) / (count + len(labels))
            count += len(labels)
            mean += shift * len(labels) / count
        return mean, float(np.sqrt(squares / max(count, 1)))

    def steps(self, size: int) -> int:
        """Return how many minibatches of `size` rows there are in an epoch."""
        return -(-len(self) // size)

    def minibatches(
        self, size: int, *, shuffle: bool = False, epoch: int = 0, buffer: int = BUFFER, skip: int = 0
    ) -> Iterator[tuple[Any, ...]]:
        """Yield ({feature: values}, labels) of `size` rows each, the last of fewer; never more than a buffer in memory.

        With `train.weight` it is ({feature: values}, labels, weights). A process that trains with others gets its part
        of the rows of each.

        Args:
            size: Rows a batch.
            shuffle: Whether rows are shuffled within a buffer, differently in each epoch.
            epoch: Which epoch this is.
            buffer: About how many rows are shuffled together: as many whole batches.
            skip: Begin after so many batches; their rows are not read where the files say how many they hold.
        """
        yield from self._minibatches(size, shuffle, epoch, buffer, skip, self._share)

    def tf(self, size: int = 512, *, shuffle: bool = False) -> tf.data.Dataset:
        """Return a tf.data.Dataset of what `minibatches` yields, `size` rows a batch, streamed from disk."""
        import tensorflow as tf

        types = {name: tf.TensorSpec((None, *shape), dtype) for name, (shape, dtype) in self._types().items()}
        label = types.pop(self._label)
        weight = (tf.TensorSpec((None,), "float32"),) if self._weighted else ()
        epochs = iter(range(2**31))

        def generate() -> Iterator[tuple[Any, ...]]:
            yield from self.minibatches(size, shuffle=shuffle, epoch=next(epochs))

        return tf.data.Dataset.from_generator(generate, output_signature=(types, label, *weight)).prefetch(2)

    def torch(
        self,
        size: int = 512,
        *,
        shuffle: bool = False,
        epoch: int = 0,
        skip: int = 0,
        buffer: int = BUFFER,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> DataLoader[Any]:
        """Return a torch DataLoader of what `minibatches` yields, as tensors, for one epoch.

        The batches and their order are the same with any number of workers.

        Args:
            size: Rows a batch.
            shuffle: Whether rows are shuffled within a buffer, differently in each epoch.
            epoch: Which epoch this is.
            skip: Begin after so many batches.
            buffer: About how many rows are shuffled together.
            workers: Processes that load; 0 loads in this one.
            pin_memory: Whether tensors go to memory from which a GPU copies faster.
        """
        import torch
        from torch.utils.data import DataLoader

        from flywheel.training.stream import Stream, as_it_is

        stream = Stream(partial(self._minibatches, size, shuffle, epoch, buffer, skip), self._share)
        own = torch.Generator()  # else every loader would draw from the one that training draws from
        return DataLoader(stream, None, num_workers=workers, pin_memory=pin_memory, collate_fn=as_it_is, generator=own)

    def _minibatches(
        self, size: int, shuffle: bool, epoch: int, buffer: int, skip: int, share: Share
    ) -> Iterator[tuple[Any, ...]]:
        batches = max(1, buffer // size)  # in a buffer
        names = [*self._schema.names, *([WEIGHT] if self._weighted else [])]
        first, number = skip // batches, skip
        for index, table in enumerate(self._reader.tables(names, batches * size, skip=first), start=first):
            order = np.arange(table.num_rows)
            if shuffle:
                np.random.default_rng((self._seed, epoch, index)).shuffle(order)
            held = self._held(table, order)
            for start in range((number - index * batches) * size, len(order), size):
                number += 1
                if (number - 1 - skip) % share.workers == share.worker:
                    yield self._taken(held, order, *share.of_rows(start, min(start + size, len(order))))

    def _held(self, table: pa.Table, order: NDArray[np.int64]) -> dict[str, Any]:
        """Return columns as arrays in this order; those of bytes as they are, since decoded they would not fit."""
        return {
            name: table.column(name).combine_chunks()
            if _is_bytes(table.schema.field(name).type)
            else self._array(name, table).take(order, axis=0)
            for name in table.schema.names
        }

    def _taken(self, held: dict[str, Any], order: NDArray[np.int64], first: int, last: int) -> tuple[Any, ...]:
        columns = {
            name: values[first:last]
            if isinstance(values, np.ndarray)
            else tensor(values.take(pa.array(order[first:last])), self._inputs[name])
            for name, values in held.items()
        }
        label = columns.pop(self._label)
        return (columns, label, columns.pop(WEIGHT)) if self._weighted else (columns, label)

    def _split(self, table: pa.Table) -> tuple[Columns, NDArray[Any]]:
        columns = {name: self._array(name, table) for name in table.schema.names}
        return columns, columns.pop(self._label)

    def _array(self, name: str, table: pa.Table) -> NDArray[Any]:
        if name in self._inputs:
            return tensor(table.column(name), self._inputs[name])
        return _weights(table.column(name)) if name == WEIGHT else plain(table.column(name))

    def _types(self) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape of a row and type of every input and of the label."""
        fields = {field.name: field.type for field in self._schema if field.name not in self._inputs}
        return {
            name: (self._inputs[name].shape, self._inputs[name].dtype) if name in self._inputs else _form(fields[name])
            for name in self._schema.names
        }


def split(
    examples: Examples,
    label: str,
    seed: int,
    inputs: Sequence[Any] = (),
    share: Share = Share(),
) -> tuple[Rows, Rows]:
    """Return the rows to train on and those held out to validate on.

    With `source.split` they are the rows whose key it chose, in all spans. Otherwise whole spans are held out, since
    rows of one day move together: judged on rows of days that it was trained on, a trainer stops too late. They are
    every eighth span, counted back from the fourth newest: so the newest are trained on, and days fall on different
    weekdays. (Flights, 28 days, mean AUC on the 14 days after: 0.667 so, 0.657 when the newest four days are held out,
    0.668 when none is.) A single span gives its last eighth.

    Args:
        examples: The transformed examples.
        label: Name of the label's column.
        seed: Seeds the shuffling.
        inputs: The model's inputs, as `TrainContext.features`.
        share: What this process gets of every minibatch.
    """
    named = {each.name: each for each in inputs}
    spans = [span for span in examples.spans if examples.rows_of([span])]

    def rows(spans: list[str], start: int = 0, stop: int | None = None, held: bool | None = None) -> Rows:
        return Rows(examples, spans, label, seed, start, stop, held, named, share)

    if Reader.by_key(examples):
        train, validation = rows(spans, held=False), rows(spans, held=True)
        if not len(train) or not len(validation):
            raise DataError(
                f"source.split leaves {len(train)} rows to train on and {len(validation)} to validate on",
                "take a key with more values, or another share of `validation`.",
            )
        return train, validation
    if len(spans) == 1:
        cut = examples.rows - max(1, examples.rows // 8)
        return rows(spans, 0, cut), rows(spans, cut)
    age = min(3, len(spans) - 1)
    held = [span for back, span in enumerate(reversed(spans)) if back % 8 == age][::-1]
    return rows([span for span in spans if span not in held]), rows(held)


def _form(type: pa.DataType) -> tuple[tuple[int, ...], Any]:
    """Return shape of a row and type of a column that is no input."""
    if pa.types.is_fixed_size_list(type):
        return (type.list_size,), type.value_type.to_pandas_dtype()
    return (), type.to_pandas_dtype()


def _is_bytes(type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type))


def _weights(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return weights as float32.

    Raises:
        DataError: A weight is missing, below 0 or not finite.
    """
    values = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    weights = values.astype(np.float32)
    wrong = weights[~(np.isfinite(weights) & (weights >= 0))]
    if len(wrong):
        raise DataError(
            f"the weight of {len(wrong)} rows is no number from 0 on, as {float(wrong[0])!r}",
            "give every row one in the column that train.weight names: `COALESCE(..., 1)`.",
        )
    return np.asarray(weights)
