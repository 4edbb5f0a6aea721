"""The HTTP side, and the stand-in as a whole."""

import json
import re
import threading
import traceback
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qsl, urlsplit

from tests.stand_ins.kfp import store
from tests.stand_ins.kfp.controller import Cron, next_time
from tests.stand_ins.kfp.openapi import OpenApi
from tests.stand_ins.kfp.store import Refused, page, public
from tests.stand_ins.served import Served

_OPENAPI = OpenApi()
_CODES = {400: 3, 401: 16, 404: 5, 409: 6, 429: 8, 500: 13, 503: 14}  # of gRPC
_OVER = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")


class StandIn(Served):
    """A Kubeflow Pipelines on this machine; `with StandIn() as kubeflow:` and `kubeflow.url` is its endpoint.

    Args:
        now: Where its clock stands.
        token: What every call has to bring as bearer; none, and all may come.
        multi_user: Whether runs and experiments are of namespaces.
        zone: In which its controller reads cron.
        takes: How long a run goes on.

    Attributes:
        now: What its clock says; `advance` moves it.
        on_run: Called with each run when it begins; may return the state that it will end in.
        controller: Whether recurring runs start runs; false is an outage.
        asked: Every call, as (operation, path values and query).
        violations: What in an exchange was not of the published shape.
    """

    def __init__(self, *, now=datetime(2026, 1, 1, tzinfo=UTC), token="", multi_user=False, zone="UTC",
                 takes=timedelta(minutes=10)):  # fmt: skip
        self.now, self.token, self.multi_user, self.zone, self.takes = now, token, multi_user, zone, takes
        self.on_run, self.controller = lambda run: None, True
        self.experiments, self.pipelines, self.pipeline_versions, self.runs, self.recurring_runs = {}, {}, {}, {}, {}
        self.asked, self.violations = [], []
        self._faults, self._frames, self._lock = [], [], threading.RLock()
        self.serve(_Handler)

    @property
    def calls(self):
        """How often each operation was called."""
        return Counter(operation for operation, _ in self.asked)

    def fail(self, status, *, times=1, after=0, done=False, only=""):
        """Answer `status` to the next `times` calls, from the one that comes after `after` others.

        Args:
            status: 429, 503, 500, …
            times: How often.
            after: How many calls go well before.
            done: Whether what was asked for is done all the same: the answer was lost.
            only: Part of the name of the operations that are meant; all by default.
        """
        self._faults.append({"status": status, "times": times, "after": after, "done": done, "only": only})

    def heal(self):
        """Forget all faults that have not come true."""
        self._faults.clear()

    def play(self, *frames):
        """Let the runs that begin from now on show one frame after another when they are looked at.

        Args:
            frames: (state of the run, {task: state}); the last one stays.
        """
        self._frames = list(frames)

    # What a clock does

    def advance(self, to):
        """Move the clock to `to`, a time or how long from now; runs end, and recurring runs start runs on the way."""
        to = self.now + to if isinstance(to, timedelta) else to
        with self._lock:
            self._sync()
            while (event := self._next_event(to)) is not None:
                self.now = event
                self._sync()
            self.now = to

    def _next_event(self, to):
        times = [run["_ends"] for run in self.runs.values() if run["state"] == "RUNNING" and run["_ends"]]
        if self.controller:
            times += [at for each in self.recurring_runs.values() if (at := self._due(each))]
        later = [at for at in times if self.now < at <= to]
        return min(later, default=None)

    def _due(self, recurring):
        return next_time(recurring, self.now, self.zone) if recurring["mode"] == "ENABLE" else None

    def _sync(self):
        for run in list(self.runs.values()):
            if run["state"] == "RUNNING" and run["_ends"] and run["_ends"] <= self.now:
                self._change(run, run["_end_state"])
        for recurring in list(self.recurring_runs.values()) if self.controller else ():
            while (due := self._due(recurring)) and due <= self.now and self._active(recurring):
                recurring["_last"] = due
                recurring["_index"] += 1
                self._start_scheduled(recurring, due)

    def _active(self, recurring):
        mine = [run for run in self.runs.values() if run.get("recurring_run_id") == recurring["recurring_run_id"]]
        going = sum(run["state"] not in _OVER for run in mine)
        return going < int(recurring["max_concurrency"])

    def _start_scheduled(self, recurring, due):
        asked = {name: recurring[name] for name in ("pipeline_version_reference", "runtime_config", "experiment_id")}
        asked |= {"display_name": f"{recurring['display_name']}-{recurring['_index']}"}
        self._start(asked | {"recurring_run_id": recurring["recurring_run_id"], "_due": due})

    # What the API does

    def handle(self, verb, path, query, headers, sent):
        """Return the answer to a call, held against the description both ways."""
        operation, at = _OPENAPI.find(verb, path)
        if operation is None:
            raise Refused(404, f"the stand-in has no {verb} {path}")
        body = None if operation.files or not sent else json.loads(sent)
        self._check(_OPENAPI.check_call(operation, query, body))
        name = operation.id.split("_service_")[-1]
        with self._lock:
            self.asked.append((name, at | query))
            fault = self._fault(name)
            if fault and not fault["done"]:
                raise Refused(fault["status"], "as the test has it")
            if self.token and headers.get("Authorization") != f"Bearer {self.token}":
                raise Refused(401, "Unauthenticated: request header error: there is no user identity header")
            given = _parts(headers, sent) if operation.files else body
            answer = getattr(self, f"_{name}")(at, query, given)
            self._check(_OPENAPI.check(answer, operation.answer, f"answer to {name}") if operation.answer else [])
            if fault:
                raise Refused(fault["status"], "as the test has it, and it was done")
        return answer

    def _check(self, wrong):
        self.violations += wrong
        if wrong:
            raise Refused(400, f"not of the published shape: {wrong}")

    def _fault(self, name):
        for fault in self._faults:
            if fault["times"] and fault["only"] in name:
                if fault["after"]:
                    fault["after"] -= 1
                else:
                    fault["times"] -= 1
                    return fault
        return None

    def _get_healthz(self, at, query, body):
        return {"multi_user": self.multi_user}

    def _in_namespace(self, kept, query, *, filed=True):
        """Return those of the namespace and experiment that are asked for."""
        if query.get("experiment_id"):
            self._one("experiments", query["experiment_id"])
            return [each for each in kept.values() if each.get("experiment_id") == query["experiment_id"]]
        if self.multi_user and filed and not query.get("namespace"):
            raise Refused(400, "Invalid input error: in multi-user mode, a namespace is required")
        if not self.multi_user and query.get("namespace"):
            raise Refused(400, "Invalid input error: in single-user mode, namespace must be empty")
        wanted = query.get("namespace", "")
        experiments = {id for id, each in self.experiments.items() if each.get("namespace", "") == wanted}
        return [
            each for each in kept.values()
            if (each.get("experiment_id") in experiments if "_of" in each else each.get("namespace", "") == wanted)
        ]  # fmt: skip

    def _one(self, kind, id):
        kept = getattr(self, kind)
        if id not in kept:
            raise Refused(404, f"ResourceNotFoundError: {kind} {id} not found.")
        return kept[id]

    def _make(self, kind, key, about, unique=True):
        kept, id = getattr(self, kind), str(uuid.uuid4())
        if not about.get("display_name"):
            raise Refused(400, "Invalid input error: display name is required")
        same = ("display_name", "pipeline_id" if kind == "pipeline_versions" else "namespace")
        if unique and any(all(each.get(name) == about.get(name) for name in same) for each in kept.values()):
            raise Refused(
                409, f"Already exist error: The name {about['display_name']} already exist. Specify a new name."
            )
        kept[id] = {key: id, "created_at": _text(self.now)} | {
            name: value for name, value in about.items() if value is not None
        }
        return kept[id]

    def _create_experiment(self, at, query, body):
        if self.multi_user != bool(body.get("namespace")):
            raise Refused(400, "Invalid input error: namespace does not suit the mode of the server")
        return self._make("experiments", "experiment_id", body | {"storage_state": "AVAILABLE"})

    def _get_experiment(self, at, query, body):
        return self._one("experiments", at["experiment_id"])

    def _list_experiments(self, at, query, body):
        return page("experiments", self._in_namespace(self.experiments, query), query)

    def _create_pipeline(self, at, query, body):
        return self._make("pipelines", "pipeline_id", body)

    def _list_pipelines(self, at, query, body):
        return page("pipelines", self._in_namespace(self.pipelines, query, filed=False), query)

    def _upload_pipeline_version(self, at, query, parts):
        self._one("pipelines", query.get("pipelineid"))
        about = {"pipeline_id": query["pipelineid"], "description": query.get("description")}
        about |= {"display_name": query.get("name"), "pipeline_spec": store.spec_of(parts["uploadfile"])}
        return self._make("pipeline_versions", "pipeline_version_id", about)

    def _list_pipeline_versions(self, at, query, body):
        self._one("pipelines", at["pipeline_id"])
        mine = [each for each in self.pipeline_versions.values() if each["pipeline_id"] == at["pipeline_id"]]
        return page("pipeline_versions", mine, query)

    def _get_pipeline_version(self, at, query, body):
        return self._one("pipeline_versions", at["pipeline_version_id"])

    def _delete_pipeline_version(self, at, query, body):
        del self.pipeline_versions[self._one("pipeline_versions", at["pipeline_version_id"])["pipeline_version_id"]]
        return {}

    def _check_what_runs(self, body):
        self._one("experiments", body.get("experiment_id"))
        reference = body.get("pipeline_version_reference") or {}
        version = self._one("pipeline_versions", reference.get("pipeline_version_id"))
        store.check_arguments(version["pipeline_spec"], body.get("runtime_config", {}).get("parameters", {}))
        return version

    def _create_run(self, at, query, body):
        return public(self._start(body))

    def _start(self, body):
        version = self._check_what_runs(body)
        kept = {"_of": "experiment", "_due": self.now, "_frames": list(self._frames), "_history": []}
        run = self._make("runs", "run_id", kept | body | {"storage_state": "AVAILABLE"}, unique=False)
        run |= {"state": "PENDING", "scheduled_at": _text(self.now), "_version": version}
        run |= {"_end_state": self.on_run(run) or "SUCCEEDED", "_ends": None if self._frames else self.now + self.takes}
        self._change(run, "PENDING" if self._frames else "RUNNING")
        return run

    def _change(self, run, state):
        run["state"] = state
        run["_history"].append({"update_time": _text(self.now), "state": state})
        if state in _OVER:
            run["finished_at"] = _text(self.now)

    def _get_run(self, at, query, body):
        run = self._one("runs", at["run_id"])
        tasks = {}
        if run["_frames"]:
            state, tasks = run["_frames"].pop(0) if len(run["_frames"]) > 1 else run["_frames"][0]
            self.now += timedelta(seconds=10)
            if state != run["state"]:
                self._change(run, state)
        details = [detail for name, state in tasks.items() for detail in self._details(run, name, state)]
        return public(run) | {"state_history": run["_history"], "run_details": {"task_details": details}}

    def _details(self, run, name, state):
        """Return a task as Argo has it: its driver, itself, and the node in which it executes."""
        nodes = [(f"{name}-driver", "SUCCEEDED")] if state != "PENDING" else []
        for node, how in [*nodes, (name, state), *([("executor", state)] if state in ("RUNNING", "FAILED") else [])]:
            key = f"{name}/{node}"
            began = run.setdefault("_began", {}).setdefault(key, self.now)
            detail = {"run_id": run["run_id"], "task_id": key, "display_name": node, "state": how,
                      "create_time": _text(began), "start_time": _text(began)}  # fmt: skip
            if how == "FAILED":
                detail["error"] = {"code": 13, "message": f"{name}: main: Error (exit code 1)", "details": []}
            if how in _OVER:
                detail["end_time"] = _text(run.setdefault("_over", {}).setdefault(key, self.now))
            yield detail

    def _list_runs(self, at, query, body):
        return page("runs", self._in_namespace(self.runs, query), query)

    def _terminate_run(self, at, query, body):
        self._change(self._one("runs", at["run_id"]), "CANCELED")
        return {}

    def _create_recurring_run(self, at, query, body):
        trigger = body.get("trigger") or {}
        cron, interval = trigger.get("cron_schedule"), trigger.get("periodic_schedule")
        if bool(cron) == bool(interval) or not 1 <= int(body.get("max_concurrency") or 0) <= 10:
            raise Refused(400, "Invalid input error: a trigger, and max_concurrency from 1 to 10, are required")
        try:
            Cron(cron["cron"]) if cron else int(interval["interval_second"])
        except (ValueError, KeyError) as error:
            raise Refused(400, f"Invalid input error: Schedule cron is not a supported format: {error}") from None
        if body.get("mode") not in ("ENABLE", "DISABLE"):
            raise Refused(400, "Invalid input error: the mode is required")
        self._check_what_runs(body)
        about = body | {"_of": "experiment", "_index": 0, "max_concurrency": str(body["max_concurrency"])}
        about |= {"status": f"{body['mode']}D", "updated_at": _text(self.now)}
        if interval:
            about["trigger"] = {"periodic_schedule": interval | {"interval_second": str(interval["interval_second"])}}
        made = self._make("recurring_runs", "recurring_run_id", about, unique=False)
        self._sync()
        return public(made)

    def _get_recurring_run(self, at, query, body):
        return public(self._one("recurring_runs", at["recurring_run_id"]))

    def _list_recurring_runs(self, at, query, body):
        return page("recurring_runs", self._in_namespace(self.recurring_runs, query), query)

    def _enable_recurring_run(self, at, query, body):
        self._one("recurring_runs", at["recurring_run_id"]).update(
            mode="ENABLE", status="ENABLED", updated_at=_text(self.now)
        )
        self._sync()
        return {}

    def _disable_recurring_run(self, at, query, body):
        self._one("recurring_runs", at["recurring_run_id"]).update(
            mode="DISABLE", status="DISABLED", updated_at=_text(self.now)
        )
        return {}

    def _delete_recurring_run(self, at, query, body):
        del self.recurring_runs[self._one("recurring_runs", at["recurring_run_id"])["recurring_run_id"]]
        return {}


def _text(at):
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _parts(headers, sent):
    """Return the parts of a multipart body by name."""
    message = message_from_bytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + sent)
    return {part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
            for part in message.get_payload()}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits 40 ms for its second half

    def do_GET(self):
        self._answer("GET")

    def do_POST(self):
        self._answer("POST")

    def do_DELETE(self):
        self._answer("DELETE")

    def log_message(self, *_):
        """Say nothing."""

    def _answer(self, verb):
        stand_in, url = self.server.stand_in, urlsplit(self.path)
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = re.sub(r"^/pipeline(?=/apis)", "", url.path)
        try:
            self._send(200, stand_in.handle(verb, path, dict(parse_qsl(url.query)), self.headers, sent))
        except Exception as raised:
            error = raised if isinstance(raised, Refused) else Refused(500, f"in the stand-in: {raised!r}")
            if error is not raised:
                stand_in.violations.append(traceback.format_exc())
            told = {
                "error": error.message,
                "code": _CODES.get(error.status, 2),
                "message": error.message,
                "details": [],
            }
            self._send(error.status, told)

    def _send(self, status, body):
        packed = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(packed)))
        self.end_headers()
        self.wfile.write(packed)
