"""Jobs of the stand-in: resources as REST has them, with the faults that a test asks for."""

import itertools
import re
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.stand_ins.bigquery.engine import Refused

_EXPORT = re.compile(r"EXPORT DATA OPTIONS \((?P<options>.*?)\) AS (?P<query>SELECT.*)", re.S)
_URI = re.compile(r"uri = '(?P<uri>gs://[^']*)'")


class Jobs:
    """Every job that was sent.

    Args:
        engine: Runs the queries.
        stand_in: Knows faults, results and folders.
    """

    def __init__(self, engine, stand_in):
        self._engine, self._stand_in = engine, stand_in
        self.all, self._ids = {}, itertools.count(1)

    def insert(self, project, body):
        """Return the resource of a new job, or what a dry run finds.

        Raises:
            Refused: The name is taken, the query is wrong, or would be billed more than it may.
        """
        query = body["configuration"]["query"]
        dry = body["configuration"].get("dryRun", False)
        reference = {"projectId": project, "location": "US", **body.get("jobReference", {})}
        if not dry and reference["jobId"] in self.all:
            message = f"Already Exists: Job {project}:US.{reference['jobId']}"
            raise Refused(409, "duplicate", message)
        export = _EXPORT.fullmatch(query["query"].strip())
        default = query.get("defaultDataset")
        plan = self._engine.plan(
            export["query"] if export else query["query"],
            _parameters(query.get("queryParameters", [])),
            default and f"{default.get('projectId', project)}.{default['datasetId']}",
        )
        made = self._resource(reference, body["configuration"], plan)
        if dry:
            made["status"] = {"state": "DONE"}
            made["jobReference"].pop("jobId", None)
            return made
        self.all[reference["jobId"]] = made
        self._stand_in.submitted.append(made)
        made["_ready"] = time.monotonic() + (self._stand_in.fault("slow_job") or 0)
        made["_error"] = self._finish(made, plan, export)
        if self._stand_in.fault("insert_answer_lost"):
            raise Refused(503, "backendError", "the answer was lost")
        return self.get(reference["jobId"])

    def loaded(self, project, body, load):
        """Return the resource of a load job that `load` has done; its error is what that returns."""
        reference = {"projectId": project, "location": "US", **body.get("jobReference", {})}
        configuration = {**body["configuration"], "jobType": "LOAD"}
        made = {
            "kind": "bigquery#job",
            "id": f"{project}:US.{reference['jobId']}",
            "jobReference": reference,
            "configuration": configuration,
            "statistics": {"creationTime": _now(), "startTime": _now(), "load": {"outputRows": "0"}},
            "_ready": 0,
        }
        failed = self._stand_in.fault("late_failure")
        made["_error"] = {"reason": failed, "message": failed} if failed else load(configuration["load"])
        self.all[reference["jobId"]] = made
        self._stand_in.submitted.append(made)
        return self.get(reference["jobId"])

    def get(self, job_id):
        """Return a job as it is now."""
        if job_id not in self.all:
            raise Refused(404, "notFound", f"Not found: Job {job_id}")
        job = self.all[job_id]
        if time.monotonic() < job["_ready"]:
            job["status"] = {"state": "RUNNING"}
        else:
            job["status"] = {"state": "DONE"}
            if job["_error"]:
                job["status"] |= {"errorResult": job["_error"], "errors": [job["_error"]]}
            job["statistics"].setdefault("endTime", _now())
        return {key: value for key, value in job.items() if not key.startswith("_")}

    def cancel(self, job_id):
        """End a job that runs."""
        job = self.all[job_id]
        if time.monotonic() < job["_ready"]:
            job["_ready"] = 0
            job["_error"] = {"reason": "stopped", "message": "Job execution was cancelled: User requested cancellation"}
        return {"kind": "bigquery#jobCancelResponse", "job": self.get(job_id)}

    def _finish(self, job, plan, export):
        """Put the rows where they belong; the error that the job ends with, if any."""
        query = job["configuration"]["query"]
        if reason := self._stand_in.fault("late_failure"):
            return {"reason": reason, "message": f"The job encountered an error during execution: {reason}"}
        limit = query.get("maximumBytesBilled")
        if limit is not None and plan.bytes > int(limit):
            message = f"Query exceeded limit for bytes billed: {limit}. {plan.bytes} or higher required."
            return {"reason": "bytesBilledLimitExceeded", "message": message}
        if export:
            rows = self._engine.run(plan)
            files = self._write(_URI.search(export["options"])["uri"], rows)
            written = {"fileCount": str(files), "rowCount": str(rows.num_rows)}
            job["statistics"]["query"] |= {"statementType": "EXPORT_DATA", "exportDataStatistics": written}
            return None
        place = query["destinationTable"]
        name = f"{place['projectId']}.{place['datasetId']}.{place['tableId']}"
        self._stand_in.results[name] = self._engine.keep(name, plan)
        self._stand_in.billed += plan.bytes
        return None

    def _write(self, uri, rows):
        """Write Parquet as EXPORT DATA does, more than one file and TIMESTAMP without a zone; say how many files."""
        bucket, _, path = uri.removeprefix("gs://").partition("/")
        folder = self._stand_in.buckets / bucket / Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        schema = rows.schema
        for i, each in enumerate(schema):
            if getattr(each.type, "tz", None):
                schema = schema.set(i, each.with_type(pa.timestamp("us")))
        half = (rows.num_rows + 1) // 2
        parts = [rows.slice(0, half), rows.slice(half)]
        for i, part in enumerate(parts):
            pq.write_table(part.cast(schema), folder / f"{i:012d}.parquet", compression="zstd")
        return len(parts)

    def _resource(self, reference, configuration, plan):
        number = next(self._ids)
        query = {"priority": "INTERACTIVE", "useLegacySql": False, **configuration["query"]}
        place = {"projectId": reference["projectId"], "datasetId": "_stand_in", "tableId": f"anon{number}"}
        query["destinationTable"] = place
        job_id = reference.get("jobId", "")
        return {
            "kind": "bigquery#job",
            "etag": f"e{number}",
            "id": f"{reference['projectId']}:US.{job_id}",
            "selfLink": f"https://bigquery.googleapis.com/bigquery/v2/projects/x/jobs/{job_id}",
            "user_email": "someone@example.com",
            "jobReference": reference,
            "configuration": {**configuration, "jobType": "QUERY", "query": query},
            "statistics": {
                "creationTime": _now(),
                "startTime": _now(),
                "totalBytesProcessed": str(plan.bytes),
                "query": {
                    "totalBytesProcessed": str(plan.bytes),
                    "totalBytesBilled": "0" if configuration.get("dryRun") else str(plan.bytes),
                    "cacheHit": False,
                    "statementType": "SELECT",
                    "schema": {"fields": plan.fields},
                    "referencedTables": [_reference(table.name) for table in plan.tables],
                },
            },
        }


def _reference(name):
    project, dataset, table = name.split(".")
    return {"projectId": project, "datasetId": dataset, "tableId": table}


def _now():
    return str(int(time.time() * 1000))


def _parameters(given):
    return {
        each["name"].lower(): (each["parameterType"]["type"], _parse(each["parameterType"]["type"], each))
        for each in given
    }


def _parse(kind, parameter):
    value = parameter["parameterValue"]["value"]
    if kind == "DATE":
        return date.fromisoformat(value)
    moment = datetime.fromisoformat(value.replace(" ", "T", 1).replace(" ", ""))
    if (moment.tzinfo is None) != (kind == "DATETIME"):
        raise Refused(400, "invalid", f"Invalid value for {kind}: {value}")
    return moment.astimezone(UTC) if kind == "TIMESTAMP" else moment
