"""The warehouse itself: one query, one span, one job, one stream of record batches."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from flywheel.errors import SQLError
from flywheel.say import say
from flywheel.spans import Span
from flywheel.warehouse import Options, sql
from flywheel.warehouse.bigquery import calls, requests, results
from flywheel.warehouse.bigquery.connect import Clients
from flywheel.warehouse.bigquery.errors import TooLarge, explain, explained, message_of, reason_of
from flywheel.warehouse.bigquery.export import Folder, can
from flywheel.warehouse.bigquery.jobs import JOB_ID, Jobs, Request, rows_there, try_look
from flywheel.warehouse.bigquery.snapshots import Snapshots, State
from flywheel.warehouse.bigquery.types import evenly, in_order, schema_of

if TYPE_CHECKING:
    from types import TracebackType

    from google.cloud import bigquery

SORTED = 64 * 1024**2
"""Results up to this many bytes are sorted here, so that equal rows are equal files; larger ones come as they are."""

_SOME_DAY = Span(datetime(2000, 1, 3), "day")
_TIMES = ("TIMESTAMP", "DATETIME", "DATE")


@dataclass(frozen=True)
class _Looked:
    """What dry runs said of a query: the types of its parameters, its columns, what it reads and where."""

    kinds: tuple[str, ...]
    fields: Sequence[bigquery.SchemaField]
    schema: pa.Schema
    tables: Sequence[bigquery.TableReference]
    location: str | None
    ordered: bool


class BigQuery:
    """A project of BigQuery.

    Args:
        project: Who pays; and where tables are that are named without a project.
        dataset: Where tables are that are named alone; empty for none.
        options: Limits, labels, and how results come.

    Raises:
        ConfigError: There are no credentials.
    """

    def __init__(self, project: str, dataset: str, options: Options) -> None:
        from google.cloud.bigquery import QueryJobConfig

        self._project, self._dataset, self._options = project, dataset, options
        self._clients = Clients(project, options.location)
        if dataset:
            self._client.default_query_job_config = QueryJobConfig(default_dataset=f"{project}.{dataset}")
        self._jobs = Jobs(self._client, options)
        self._snapshots = Snapshots(self._client, project, dataset)
        self._storage_api = options.storage_api and self._clients.has_storage_api
        self._looked: dict[str, _Looked] = {}
        self._lock = threading.Lock()

    @property
    def _client(self) -> bigquery.Client:
        return self._clients.bigquery

    def __enter__(self) -> BigQuery:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clients.close()

    def schema(self, query: str) -> pa.Schema:
        """Return the columns that `query` gives, by a dry run, which is free."""
        return self._look(query).schema

    def state(self, query: str) -> str:
        """Return when the tables of `query` last changed; another text each time while rows are streamed to one."""
        return str(self._state(query))

    def batches(self, query: str, span: Span, state: str = "") -> Iterator[pa.RecordBatch]:
        """Yield the rows of one span as of `state`, by a job that is found again when it was sent before."""
        looked = self._look(query)
        of = self._state(query, state)
        yield from self._rows(self._request(query, span, of, looked), looked, of)

    def count(self, query: str, span: Span) -> int:
        """Return how many rows a span has now; BigQuery reads no more columns than its conditions name."""
        looked = self._look(query)
        of = self._state(query)
        request = self._request(query, span, of, looked, around="SELECT COUNT(*) AS n FROM ({}\n)")
        (rows,) = self._one_row(request)
        return int(rows)

    def watermark(self, query: str) -> datetime | None:
        """Return the one time that `query` gives, asked anew each time."""
        tree = sql.parse(query)
        if taken := next((parameter.name for parameter in tree.find_all(exp.Parameter)), ""):
            raise SQLError(f"the watermark takes the parameter @{taken}", "write it without: it asks for now.")
        with explained():
            look = self._jobs.look(query)
        self._jobs.check_bytes(look)
        fields = look.schema or []
        kinds = [field.field_type for field in fields]
        if len(kinds) != 1 or kinds[0] not in _TIMES or fields[0].mode == "REPEATED":
            raise SQLError(f"the watermark gives {', '.join(kinds)}", f"let it give one column of {', '.join(_TIMES)}.")
        row = self._one_row(Request(query, ("watermark", uuid.uuid4().hex), location=look.location))
        return _plain(row[0]) if row else None

    def extent(self, query: str) -> None:
        """Return None: to know would cost a query."""

    def _look(self, query: str) -> _Looked:
        with self._lock:
            if query not in self._looked:
                self._looked[query] = self._look_anew(query)
            return self._looked[query]

    def _look_anew(self, query: str) -> _Looked:
        tree = sql.parse(query)
        sql.parameters(tree)
        first: Exception | None = None
        for kinds in requests.kinds_to_try(query):
            job, error = try_look(self._jobs, *requests.bind(query, kinds, _SOME_DAY))
            if job is not None:
                fields = list(job.schema or ())
                ordered = tree.args.get("order") is not None
                tables = list(job.referenced_tables)
                return _Looked(kinds, fields, schema_of(fields), tables, job.location, ordered)
            first = first or error
        assert first is not None, "there is at least one kind to try"
        raise explain(reason_of(first), message_of(first))

    def _state(self, query: str, state: str = "") -> State:
        """Return what `state` says, or how the tables of `query` are now."""
        return State.parse(state) if state else self._snapshots.state(query, self._look(query).tables)

    def _request(self, query: str, span: Span, of: State, looked: _Looked, around: str = "{}") -> Request:
        """Return what to send for a span as of a state; refuse it when it would read too much."""
        bound, parameters = requests.bind(query, looked.kinds, span)
        text = self._snapshots.at(bound, of, looked.tables)
        if around != "{}":
            text = around.format(requests.body(text))
        with explained():
            look = self._jobs.look(text, parameters)
        self._jobs.check_bytes(look)
        return Request(
            text=text,
            identity=(self._project, self._dataset, around, query, str(of)),
            parameters=parameters,
            location=look.location or looked.location,
            labels={"flywheel-span": span.name},
        )

    def _rows(self, request: Request, looked: _Looked, of: State) -> Iterator[pa.RecordBatch]:
        exports = bool(self._options.export) and can(looked.fields) and not looked.ordered
        try:
            job = self._jobs.run(request, rows_there(self._client))
        except TooLarge:
            if not exports:
                raise
            yield from self._exported(request, f"({requests.body(request.text)}\n)", looked)
            return
        self._snapshots.refuse_changed(request.text, of, looked.tables)
        with explained():
            table = self._client.get_table(job.destination, timeout=calls.ANSWER)
        size = table.num_bytes or 0
        if exports and size > self._options.export_over:
            come = self._exported(request, f"`{table.project}.{table.dataset_id}.{table.table_id}`", looked)
        else:
            come = self._streamed(table, looked)
        if looked.ordered or size > SORTED:
            yield from evenly(come, looked.schema)
        else:
            yield from in_order(come, looked.schema)

    def _streamed(self, table: bigquery.Table, looked: _Looked) -> Iterator[pa.RecordBatch]:
        if not table.num_rows:
            return
        if self._storage_api:
            try:
                yield from results.by_storage(self._clients.read(), self._project, table, looked.schema, looked.ordered)
                return
            except results.NotAllowed as error:
                self._storage_api = False
                say(f"  the Storage Read API is not allowed ({error}); results come by REST, which is slower")
        yield from results.by_rest(self._client, table, looked.schema)

    def _exported(self, request: Request, body: str, looked: _Looked) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `body` by way of Cloud Storage; what an interrupted run left there is used."""

        def folder(name: str) -> Folder:
            return Folder(self._clients.cloud_storage(), self._options.export, name)

        text = folder(JOB_ID).statement(body, looked.fields)
        identity = (*request.identity, "export", self._options.export)
        exporting = replace(request, text=text, identity=identity)
        job = self._jobs.run(exporting, lambda job: folder(job.job_id).is_whole(job))
        written = folder(job.job_id)
        yield from written.batches(looked.schema)
        written.clean()

    def _one_row(self, request: Request) -> Sequence[Any]:
        job = self._jobs.run(request, rows_there(self._client))
        with explained():
            found = self._client.list_rows(job.destination, max_results=2, timeout=calls.ANSWER)
            rows = [row.values() for row in found]
        if len(rows) > 1:
            raise SQLError("the query gives more than one row", "let it give one, as by MAX(…).")
        return rows[0] if rows else ()


def _plain(value: object) -> datetime | None:
    """Return a time in UTC, without zone."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return datetime.combine(value, time()) if isinstance(value, date) else None
