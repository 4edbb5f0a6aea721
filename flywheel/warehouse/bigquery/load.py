"""A table of BigQuery that Flywheel writes: partitioned by span, and a load job puts a whole partition in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flywheel.errors import ConfigError, SQLError
from flywheel.spans import Span
from flywheel.warehouse import Options
from flywheel.warehouse.bigquery import calls
from flywheel.warehouse.bigquery.connect import Clients
from flywheel.warehouse.bigquery.errors import explained
from flywheel.warehouse.bigquery.warehouse import BigQuery
from flywheel.warehouse.tables import SPAN, VERSION

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

_PARTITIONS = {
    "hour": ("HOUR", "%Y%m%d%H"),
    "day": ("DAY", "%Y%m%d"),
    "week": ("DAY", "%Y%m%d"),
    "month": ("MONTH", "%Y%m"),
}
_LATEST = Span.parse("9000-01-01")
_ATTEMPTS = 5


@dataclass(frozen=True)
class BigQueryTable:
    """A table of a dataset.

    Attributes:
        project: Of the dataset, and who pays.
        dataset: Which there has to be.
        name: Of the table, which need not be there.
    """

    project: str
    dataset: str
    name: str

    @classmethod
    def of(cls, url: str, name: str) -> BigQueryTable:
        """Return a table of the dataset at `url`.

        Raises:
            ConfigError: It names no dataset.
        """
        project, _, dataset = url.removeprefix("bigquery://").strip("/").partition("/")
        if not dataset:
            raise ConfigError(f"{url!r} names no dataset to write to", "write it as bigquery://PROJECT/DATASET.")
        return cls(project, dataset, name)

    @property
    def where(self) -> str:
        """The table, as BigQuery has it."""
        return f"{self.project}.{self.dataset}.{self.name}"

    def versions(self, span: Span) -> dict[str, int]:
        """Return how many rows of each version a span has; only its partition is read."""
        within = f"{SPAN} >= @start AND {SPAN} < @end"
        query = f"SELECT {VERSION}, COUNT(*) AS n FROM `{self.where}` WHERE {within} GROUP BY 1"
        return {str(row[VERSION]): int(row["n"]) for row in self._ask(query, span)}

    def newest(self) -> str:
        """Return a version that rows of the newest span are of."""
        query = f"SELECT {VERSION}, MAX({SPAN}) AS last FROM `{self.where}` WHERE {SPAN} < @end GROUP BY 1"
        rows = sorted(self._ask(query, _LATEST), key=lambda row: row["last"])
        return str(rows[-1][VERSION]) if rows else ""

    def replace(self, span: Span, file: Path) -> None:
        """Load the file over the span's partition, which BigQuery does at once or not at all."""
        from google.cloud import bigquery

        kind, form = _PARTITIONS[span.every]
        options = bigquery.ParquetOptions()
        options.enable_list_inference = True
        config = bigquery.LoadJobConfig(
            source_format="PARQUET",
            write_disposition="WRITE_TRUNCATE",
            schema_update_options=["ALLOW_FIELD_ADDITION"],
            time_partitioning=bigquery.TimePartitioning(type_=kind, field=SPAN),
            parquet_options=options,
            labels={"flywheel-span": span.name.lower()},
        )
        partition = f"{self.where}${span.start.strftime(form)}"
        try:
            with self._client() as client, explained(), file.open("rb") as rows:
                # Without its size the client sends the file in pieces, which goes on after a piece that was lost.
                job = client.load_table_from_file(
                    rows, partition, num_retries=_ATTEMPTS, job_config=config, timeout=calls.ANSWER
                )
                job.result(timeout=calls.LOADED)
        except SQLError as error:
            said = error.message.split(": ", 1)[-1]
            raise ConfigError(
                f"BigQuery does not take rows for {self.where}: {said}",
                "make the dataset, and let the account write to it (BigQuery Data Editor); or name another table.",
            ) from error

    def _ask(self, query: str, span: Span) -> list[dict[str, Any]]:
        from google.api_core.exceptions import NotFound

        with self._client() as client, explained():
            try:
                client.get_table(self.where, timeout=calls.ANSWER)
            except NotFound:
                return []
        with BigQuery(self.project, self.dataset, Options()) as rows_of:
            return [row for batch in rows_of.batches(query, span) for row in batch.to_pylist()]

    @contextmanager
    def _client(self) -> Iterator[Client]:
        clients = Clients(self.project, None)
        try:
            yield clients.bigquery
        finally:
            clients.close()
