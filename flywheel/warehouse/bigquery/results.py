"""Rows of a finished job: streams of the Storage Read API side by side, or pages by REST."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.api_core import exceptions

from flywheel.warehouse import ReadAgain
from flywheel.warehouse.bigquery import calls
from flywheel.warehouse.bigquery.errors import explained, message_of
from flywheel.warehouse.bigquery.types import as_text, cast, from_rows

if TYPE_CHECKING:
    from google.cloud import bigquery, bigquery_storage_v1

_STREAMS = 4
_AHEAD = 2
"""Messages that a stream is read ahead of what is written; of a few megabytes each."""

_PAGE = 10_000
_END = object()


class NotAllowed(Exception):
    """The Storage Read API may not be used."""


def by_storage(
    client: bigquery_storage_v1.BigQueryReadClient, project: str, table: bigquery.Table, schema: pa.Schema, order: bool
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `table` by the Storage Read API, a message of each stream in turn.

    A stream that breaks is taken up by the client where it broke.

    Args:
        client: Storage Read API.
        project: Who pays for the session.
        table: Result of a job.
        schema: What every batch is made to have.
        order: Whether the table's own order is kept; one stream does that, several do not.

    Raises:
        NotAllowed: Before any row: the account or the project may not use the API.
        ReadAgain: A stream is lost for good.
    """
    from google.cloud.bigquery_storage_v1 import types

    lz4 = types.ArrowSerializationOptions(buffer_compression=types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME)
    wanted = types.ReadSession(
        table=f"projects/{table.project}/datasets/{table.dataset_id}/tables/{table.table_id}",
        data_format=types.DataFormat.ARROW,
        read_options=types.ReadSession.TableReadOptions(arrow_serialization_options=lz4),
    )
    with explained():
        try:
            session = client.create_read_session(
                parent=f"projects/{project}", read_session=wanted, max_stream_count=1 if order else _STREAMS
            )
        except exceptions.PermissionDenied as error:
            raise NotAllowed(str(error.message)) from None
        if not session.streams:
            return
        given = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
        names = [stream.name for stream in session.streams]
        with _Readers(client, names, given) as readers:
            for batch in readers.in_turn():
                yield cast(batch, schema)


class _Readers:
    """Reads streams, each in a thread of its own and never far ahead; ends them all when its block ends."""

    def __init__(self, client: bigquery_storage_v1.BigQueryReadClient, names: list[str], schema: pa.Schema) -> None:
        self._client, self._schema = client, schema
        self._stopped = threading.Event()
        self._queues: list[queue.Queue[Any]] = [queue.Queue(_AHEAD) for _ in names]
        self._threads = [
            threading.Thread(target=self._read, args=(name, into), daemon=True, name=f"bigquery {i}")
            for i, (name, into) in enumerate(zip(names, self._queues, strict=True))
        ]

    def __enter__(self) -> _Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def in_turn(self) -> Iterator[pa.RecordBatch]:
        """Yield a batch of each stream in turn, whichever is ready first: the order is that of the streams alone."""
        open_ones = list(self._queues)
        while open_ones:
            for each in list(open_ones):
                item = each.get()
                if item is _END:
                    open_ones.remove(each)
                elif isinstance(item, exceptions.GoogleAPICallError):
                    found = f"the rows broke off: {message_of(item)}"
                    raise ReadAgain(found, "run again: the job is found again, and costs nothing more.") from None
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item

    def _read(self, name: str, into: queue.Queue[Any]) -> None:
        try:
            rows = self._client.read_rows(name)
            for message in rows:
                packed = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
                if not self._put(into, pa.ipc.read_record_batch(packed, self._schema)):
                    return
            self._put(into, _END)
        except BaseException as error:
            self._put(into, error)

    def _put(self, into: queue.Queue[Any], item: object) -> bool:
        """Put `item` unless nobody wants more: whether it was put."""
        while not self._stopped.is_set():
            with suppress(queue.Full):
                into.put(item, timeout=0.2)
                return True
        return False


def by_rest(client: bigquery.Client, table: bigquery.Table, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `table` page by page; slow, but all that it takes is to read the result."""
    with explained():
        fields = as_text(table.schema)
        pages = client.list_rows(table, selected_fields=fields, page_size=_PAGE, timeout=calls.ANSWER).pages
        for page in pages:
            rows = [row.values() for row in page]
            if rows:
                yield from_rows(rows, schema)
