"""Load jobs whose file comes by a resumable upload: begun by a POST, sent in pieces by PUTs, run when it is whole."""

import itertools
import re
import tempfile
from pathlib import Path

from tests.stand_ins.bigquery.engine import Refused

_FORMS = {"HOUR": "%Y%m%d%H", "DAY": "%Y%m%d", "MONTH": "%Y%m"}
_RANGE = re.compile(r"bytes (?:(?P<first>\d+)-(?P<last>\d+)|\*)/(?P<whole>\d+|\*)")


class Uploads:
    """Uploads that were begun.

    Args:
        engine: Holds the tables.
        jobs: Of the stand-in.
    """

    def __init__(self, engine, jobs):
        self._engine, self._jobs = engine, jobs
        self._begun, self._ids = {}, itertools.count(1)

    def begin(self, project, body):
        """Return the id of an upload."""
        id = str(next(self._ids))
        self._begun[id] = (project, body, bytearray())
        return id

    def take(self, id, piece, range):
        """Take a piece; return the finished job when it was the last one, else None and how many bytes there are."""
        project, body, held = self._begun[id]
        found = _RANGE.fullmatch(range or "")
        if found is None:
            raise Refused(400, "invalid", f"no Content-Range: {range!r}")
        if found["first"] is not None and int(found["first"]) == len(held):
            held += piece
        if found["whole"] == "*" or len(held) < int(found["whole"]):
            return None, len(held)
        return self._jobs.loaded(project, body, lambda load: self._load(load, bytes(held))), len(held)

    def _load(self, load, content):
        """Put the rows in the partition that is named; return the error that the job ends with, if any."""
        place = load["destinationTable"]
        table, _, partition = place["tableId"].partition("$")
        by = load["timePartitioning"]
        if load["sourceFormat"] != "PARQUET" or load["writeDisposition"] != "WRITE_TRUNCATE" or not partition:
            return {"reason": "invalid", "message": "the stand-in loads Parquet over partitions alone"}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "rows.parquet")
            file.write_bytes(content)
            name = f"{place['projectId']}.{place['datasetId']}.{table}"
            return self._engine.load(name, file, by["field"], _FORMS[by["type"]], partition)
