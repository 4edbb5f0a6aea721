"""The HTTP side, and the stand-in as a whole."""

import json
import re
import shutil
import tempfile
import threading
import time
import traceback
from collections import Counter
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.stand_ins.bigquery import types
from tests.stand_ins.bigquery.discovery import Discovery
from tests.stand_ins.bigquery.engine import Engine, Refused
from tests.stand_ins.bigquery.jobs import Jobs
from tests.stand_ins.bigquery.storage_api import StorageApi
from tests.stand_ins.bigquery.uploads import Uploads
from tests.stand_ins.served import Served

_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}


class StandIn(Served):
    """A BigQuery on this machine; `with StandIn() as bigquery:` and `bigquery.environment` tells clients of it.

    Attributes:
        tables: Name to table; `put` and `put_view` fill them.
        submitted: Every job that was sent, dry runs aside.
        billed: Bytes of all of them.
        asked: Every call, as (method, what of it).
        violations: What in an exchange was not of the published shape.
        buckets: Folder of Cloud Storage.
    """

    def __init__(self):
        self.engine = Engine()
        self.jobs = Jobs(self.engine, self)
        self.uploads = Uploads(self.engine, self.jobs)
        self.submitted, self.billed, self.asked, self.violations = [], 0, [], []
        self.results, self._faults = {}, {}
        self._lock = threading.Lock()
        self.buckets = Path(tempfile.mkdtemp(prefix="stand-in-"))
        self.bigquery, self.storage = Discovery("bigquery.v2"), Discovery("storage.v1")
        self._storage_api = StorageApi(self)
        self.serve(_Handler)

    def __exit__(self, *_):
        super().__exit__()
        self._storage_api.close()
        shutil.rmtree(self.buckets)

    @property
    def environment(self):
        """Variables that lead the client libraries here."""
        return {
            "BIGQUERY_EMULATOR_HOST": self.url,
            "BIGQUERY_STORAGE_EMULATOR_HOST": f"127.0.0.1:{self._storage_api.port}",
            "STORAGE_EMULATOR_HOST": self.url,
        }

    def put(self, name, select, **about):
        """Write a table, or a newer version of it; see Engine.put."""
        self.engine.put(name, select, **about)

    def fail(self, fault, *, times=1, with_=True):
        """Let the next `times` chances of `fault` come true.

        `unavailable` (503), `rate_limit` (403), `too_many` (429), `quota` (403), `denied` (403): any REST call;
        `insert_answer_lost`: a job is begun and the client hears 503; `late_failure` (with_: the reason);
        `silent` (with_: seconds): a REST call is answered late;
        `slow_job` (with_: seconds); `storage_denied`; `broken_stream`; `lost_stream`;
        `objects_denied`; `table_hidden`, `job_hidden`: asking after one is denied.
        """
        self._faults[fault] = [with_] * times

    def fault(self, name):
        """Return what a fault is to come true with, or None."""
        with self._lock:
            waiting = self._faults.get(name)
            return waiting.pop() if waiting else None

    def note(self, method, what):
        """Keep what was asked."""
        with self._lock:
            self.asked.append((method, what))

    @property
    def calls(self):
        """How often each method was called."""
        return Counter(method for method, _ in self.asked)

    def expire_results(self):
        """Forget all results, as BigQuery does after a day."""
        for name in list(self.results):
            del self.results[name], self.engine.tables[name]

    def handle(self, verb, path, query, body):
        """Return the answer to a REST call of BigQuery's, held against the discovery document both ways."""
        id, at = self.bigquery.method(verb, path)
        if id is None:
            raise Refused(404, "notFound", f"the stand-in has no {verb} {path}")
        self._check(self.bigquery.check_call(id, query, body))
        self.note(id, at | query)
        self._fail_as_asked()
        time.sleep(self.fault("silent") or 0)
        answers = {
            "jobs.insert": lambda: self.jobs.insert(at["projectId"], body),
            "jobs.get": lambda: self._job(at["jobId"]),
            "jobs.cancel": lambda: self.jobs.cancel(at["jobId"]),
            "tables.get": lambda: self._table(f"{at['projectId']}.{at['datasetId']}.{at['tableId']}"),
            "tabledata.list": lambda: self._page(f"{at['projectId']}.{at['datasetId']}.{at['tableId']}", query),
        }
        answer = answers[id]()
        self._check(self.bigquery.check_answer(id, answer))
        return answer

    def upload(self, verb, path, query, sent, range):
        """Return the answer to a part of an upload, as (status, headers, object)."""
        if verb == "POST":
            id, at = self.bigquery.method(verb, path.removeprefix("/upload"))
            body = json.loads(sent)
            self._check(self.bigquery.check_call(id, {}, body))
            self.note(f"{id} (upload)", at)
            self._fail_as_asked()
            begun = self.uploads.begin(at["projectId"], body)
            where = f"{self.environment['BIGQUERY_EMULATOR_HOST']}{path}?uploadType=resumable&upload_id={begun}"
            return 200, {"Location": where}, {}
        self._fail_as_asked()
        job, held = self.uploads.take(query["upload_id"], sent, range)
        if job is None:
            return 308, {"Range": f"bytes=0-{held - 1}"} if held else {}, {}
        self._check(self.bigquery.check_answer("jobs.insert", job))
        return 200, {}, job

    def _job(self, job_id):
        if self.fault("job_hidden"):
            raise Refused(403, "accessDenied", f"Access Denied: Job {job_id}: Permission bigquery.jobs.get denied")
        return self.jobs.get(job_id)

    def _check(self, wrong):
        self.violations += wrong
        if wrong:
            raise Refused(400, "invalid", f"not of the published shape: {wrong}")

    def _fail_as_asked(self):
        faults = {
            "unavailable": (503, "backendError", "The service is currently unavailable."),
            "rate_limit": (403, "rateLimitExceeded", "Exceeded rate limits: too many api requests per user per method"),
            "too_many": (429, "rateLimitExceeded", "Too many requests"),
            "quota": (
                403,
                "quotaExceeded",
                "Quota exceeded: Your project exceeded quota for free query bytes scanned.",
            ),
            "denied": (403, "accessDenied", "Access Denied: Project p: User does not have bigquery.jobs.create"),
        }
        for name, error in faults.items():
            if self.fault(name):
                raise Refused(*error)

    def _table(self, name):
        table = self.engine.tables.get(name)
        if "._stand_in." not in name and self.fault("table_hidden"):
            raise Refused(403, "accessDenied", f"Access Denied: Table {name}: Permission bigquery.tables.get denied")
        project, dataset, short = name.split(".")
        if not re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", project):
            raise Refused(400, "invalid", f"Invalid project ID '{project}'.")
        if table is None:
            raise Refused(404, "notFound", f"Not found: Table {name}")
        rows = self.results.get(name)
        count = table.rows if rows is None else rows.num_rows
        made = {
            "kind": "bigquery#table",
            "etag": "e",
            "id": f"{project}:{dataset}.{short}",
            "tableReference": {"projectId": project, "datasetId": dataset, "tableId": short},
            "schema": {"fields": table.fields},
            "numRows": str(count),
            "numBytes": str((table.bytes or 0) if rows is None else rows.nbytes),
            "creationTime": str(int(table.versions[0][0].timestamp() * 1000)),
            "lastModifiedTime": str(int(table.changed.timestamp() * 1000)),
            "type": table.kind,
            "location": "US",
        }
        if table.view:
            made["view"] = {"query": table.view, "useLegacySql": False}
        if table.streaming:
            made["streamingBuffer"] = {"estimatedRows": "1", "estimatedBytes": "8", "oldestEntryTime": "1"}
        return made

    def _page(self, name, query):
        if name not in self.results:
            raise Refused(404, "notFound", f"Not found: Table {name}")
        rows, fields = self.results[name], {each["name"]: each for each in self.engine.tables[name].fields}
        names = query.get("selectedFields", ",".join(fields)).split(",")
        start = int(query.get("pageToken") or query.get("startIndex") or 0)
        page = rows.slice(start, min(int(query.get("maxResults", 10_000)), 10_000))
        whole = query.get("formatOptions.useInt64Timestamp", "").lower() == "true"
        cells = [[{"v": types.to_json(row[each], fields[each], whole)} for each in names] for row in page.to_pylist()]
        answer = {"kind": "bigquery#tableDataList", "etag": "e", "totalRows": str(rows.num_rows)}
        if start + page.num_rows < rows.num_rows:
            answer["pageToken"] = str(start + page.num_rows)
        return answer | {"rows": [{"f": row} for row in cells]}

    def objects(self, verb, path, query):
        """Return the answer to a call of Cloud Storage's: an object of JSON, or the bytes of a file."""
        download = path.startswith("/download")
        path = path.removeprefix("/download")
        id, at = self.storage.method(verb, path)
        if id is None:
            raise Refused(404, "notFound", f"the stand-in has no {verb} {path}")
        self._check(self.storage.check_call(id, query, None))
        self.note(id, at | query)
        bucket = self.buckets / at["bucket"]
        if id == "buckets.get":  # the client asks for it now and then, from its third version on
            return {"kind": "storage#bucket", "id": bucket.name, "name": bucket.name, "location": "US"}
        if id == "objects.list":
            names = sorted(str(file.relative_to(bucket)) for file in bucket.rglob("*") if file.is_file())
            found = [self._object(bucket, name) for name in names if name.startswith(query.get("prefix", ""))]
            return {"kind": "storage#objects", "items": found}
        name = unquote(at["object"])
        if not (bucket / name).is_file():
            raise Refused(404, "notFound", f"No such object: {name}")
        if query.get("alt") == "media" and self.fault("objects_denied"):
            raise Refused(403, "forbidden", "someone does not have storage.objects.get access to the object.")
        if id == "objects.delete":
            (bucket / name).unlink()
            return None
        return (bucket / name).read_bytes() if download or query.get("alt") == "media" else self._object(bucket, name)

    def _object(self, bucket, name):
        made = {
            "kind": "storage#object",
            "name": name,
            "bucket": bucket.name,
            "generation": "1",
            "size": str((bucket / name).stat().st_size),
        }
        self._check(self.storage.check(made, {"$ref": "Object"}, "object"))
        return made


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would wait for one another for 40 ms

    def do_GET(self):
        self._answer("GET")

    def do_POST(self):
        self._answer("POST")

    def do_PUT(self):
        self._answer("PUT")

    def do_DELETE(self):
        self._answer("DELETE")

    def log_message(self, *_):
        """Say nothing."""

    def _answer(self, verb):
        stand_in = self.server.stand_in
        url = urlsplit(self.path)
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(parse_qsl(url.query))
        try:
            if url.path.startswith("/upload/bigquery/"):
                code, headers, made = stand_in.upload(verb, url.path, query, sent, self.headers.get("Content-Range"))
                self._send(code, made, headers)
            elif url.path.startswith("/bigquery/"):
                self._send(200, stand_in.handle(verb, url.path, query, json.loads(sent) if sent else None))
            else:
                self._send(200, stand_in.objects(verb, url.path, query))
        except Exception as raised:
            error = raised if isinstance(raised, Refused) else Refused(400, "internal", f"in the stand-in: {raised!r}")
            if error is not raised:
                stand_in.violations.append(traceback.format_exc())
            detail = {"message": error.message, "domain": "global", "reason": error.reason}
            body = {"code": error.code, "message": error.message, "errors": [detail]}
            self._send(error.code, {"error": body | {"status": _STATUS.get(error.code, "UNAVAILABLE")}})

    def _send(self, code, body, headers=None):
        packed = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        asked = self.headers.get("Range")
        whole = len(packed)
        if isinstance(body, bytes) and asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            end = min(int(last) + 1 if last else whole, whole)
            if int(first) >= whole:
                code, packed = 416, b""
            else:
                code, packed = 206, packed[int(first) : end]
        self.send_response(204 if body is None else code)
        if code == 206:
            self.send_header("Content-Range", f"bytes {first}-{end - 1}/{whole}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)
