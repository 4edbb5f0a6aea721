"""Results too large to stream: EXPORT DATA to Parquet on Cloud Storage, read from there and cleaned up after."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flywheel.errors import ConfigError
from flywheel.warehouse.bigquery.errors import explained
from flywheel.warehouse.bigquery.types import ROWS, cast

if TYPE_CHECKING:
    from google.cloud import bigquery
    from google.cloud.storage import Blob, Client

_FOLDER = re.compile(r"gs://(?P<bucket>[\w.-]+)(?:/(?P<path>.*))?")


def can(fields: Sequence[bigquery.SchemaField]) -> bool:
    """Return whether EXPORT DATA keeps a result exactly: JSON and GEOGRAPHY only as columns of their own."""
    return not any(_inner(field) for field in fields)


def _inner(field: bigquery.SchemaField) -> bool:
    """Return whether text types stand inside of an ARRAY or STRUCT, where they cannot be written out as text."""
    texts = field.field_type in ("JSON", "GEOGRAPHY")
    return (texts and field.mode == "REPEATED") or any(
        each.field_type in ("JSON", "GEOGRAPHY") or _inner(each) for each in field.fields
    )


class Folder:
    """The folder of one export.

    Args:
        client: Cloud Storage.
        url: `gs://bucket/path` from flywheel.yaml.
        name: Name of the folder of this result in it.

    Raises:
        ConfigError: The URL is no folder on Cloud Storage.
    """

    def __init__(self, client: Client, url: str, name: str) -> None:
        found = _FOLDER.fullmatch(url.rstrip("/"))
        if found is None:
            raise ConfigError(f"`source.bigquery.export` is {url!r}", "write it as gs://bucket/path.")
        self._client, self._bucket = client, found["bucket"]
        self._prefix = "/".join(part for part in (found["path"], name) if part) + "/"

    def statement(self, body: str, fields: Sequence[bigquery.SchemaField]) -> str:
        """Return the SQL that writes the rows of `body` here; what Parquet has no type for goes as text."""
        texts = [field for field in fields if field.field_type in ("JSON", "GEOGRAPHY")]
        as_text = ", ".join(f"{_text(field)} AS {_quoted(field.name)}" for field in texts)
        columns = f"* REPLACE ({as_text})" if texts else "*"
        uri = f"gs://{self._bucket}/{self._prefix}*.parquet"
        options = f"uri = '{uri}', format = 'PARQUET', compression = 'ZSTD', overwrite = true"
        return f"EXPORT DATA OPTIONS ({options}) AS SELECT {columns} FROM {body}"

    def files(self) -> list[Blob]:
        """Return what was written, in the order of its rows."""
        with explained():
            blobs = self._client.list_blobs(self._bucket, prefix=self._prefix)
            return sorted(blobs, key=lambda blob: str(blob.name))

    def is_whole(self, job: bigquery.QueryJob) -> bool:
        """Return whether all that `job` wrote is still here: a step may be killed while it cleans up."""
        # The library has no other way to what BigQuery says of an export.
        written = job._properties.get("statistics", {}).get("query", {}).get("exportDataStatistics", {})
        return "fileCount" in written and len(self.files()) == int(written["fileCount"])

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield what was written, a row group at a time and only its part of a file in memory."""
        import pyarrow.parquet as pq

        with explained():
            for blob in self.files():
                with closing(blob.open("rb")) as remote:
                    for batch in pq.ParquetFile(pa.PythonFile(remote, "r")).iter_batches(ROWS):
                        yield cast(batch, schema)

    def clean(self) -> None:
        """Remove the folder."""
        with explained():
            for blob in self.files():
                blob.delete()


def _text(field: Any) -> str:
    name = _quoted(field.name)
    written = f"TO_JSON_STRING({name})" if field.field_type == "JSON" else f"ST_ASTEXT({name})"
    return f"IF({name} IS NULL, NULL, {written})"


def _quoted(name: str) -> str:
    return f"`{name}`"
