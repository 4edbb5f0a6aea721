"""The HTTP side: objects in memory, and the answers and failures of an API server."""

import copy
import datetime
import json
import re
import threading
import traceback
from collections import Counter
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from tests.stand_ins.kubernetes.kserve import PATH as INFERENCE_SERVICE
from tests.stand_ins.kubernetes.kserve import KServe
from tests.stand_ins.kubernetes.refused import Refused
from tests.stand_ins.kubernetes.trainer import Trainer
from tests.stand_ins.served import Served

SCHEMA = json.loads((Path(__file__).parent / "trainjob.schema.json").read_text())
JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs"
PODS = "/api/v1/namespaces/team/pods"
KNOWN = {JOBS, PODS, "/apis/kueue.x-k8s.io/v1beta1/namespaces/team/workloads",
         "/apis/argoproj.io/v1alpha1/namespaces/team/workflows"}  # fmt: skip
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class StandIn(Served):
    """An API server on this machine, with the namespace `team`; `with StandIn() as kubernetes:`.

    Attributes:
        trainer: Plays the controllers of TrainJobs.
        kserve: InferenceServices, and their controller.
        story: What happens next: one function is called each time that somebody begins to watch.
        asked: Every call, as (verb, path).
        runtimes: ClusterTrainingRuntimes that there are.
        accounts: Service accounts of `team`.
        namespaces: Those that there are.
        forbidden: What nobody may, as (verb, resource), for whoever asks by a SelfSubjectAccessReview.
    """

    def __init__(self, handler=None):
        self.objects = {path: {} for path in KNOWN}
        self.logs, self.story, self.asked, self.runtimes = {}, [], [], {"torch-distributed"}
        self.namespaces, self.accounts, self.forbidden = {"team", "default"}, {"default"}, set()
        self._version, self._events, self._faults, self._refusals = 100, [], Counter(), []
        self.changed = threading.Condition(threading.RLock())
        self.trainer, self.kserve = Trainer(self), KServe(self)
        self.serve(handler or _Handler)

    def plays(self, what):
        """Say that what comes next is played here, and cannot be asked of a real API server."""

    def inference_service(self, path):
        """Return namespace and name of the InferenceService that a path is of, None for another."""
        found = INFERENCE_SERVICE.fullmatch(path)
        return found.groups() if found else None

    def __exit__(self, *_):
        self.trainer.close()
        super().__exit__()

    def api(self):
        """Return a client of the real library, that asks once."""
        from kubernetes import client

        settings = client.Configuration(host=self.url)
        settings.retries = False
        return client.ApiClient(settings)

    def kubeconfig(self, path):
        """Write a file that leads kubectl and the client libraries here."""
        context = {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "team"}}
        clusters, users = [{"name": "here", "cluster": {"server": self.url}}], [{"name": "me", "user": {"token": "t"}}]
        config = {"clusters": clusters, "users": users, "contexts": [context], "current-context": "here"}
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))
        return path

    def fail(self, fault, *, times=1):
        """Let the next `times` chances of `fault` come true.

        `unavailable` (503), `too_many` (429), `dropped`: any call but a watch; `answer_lost`: a job is created, and the
        connection closes; `forbidden create`, `forbidden list`, …: 403; `watch_gone` (410), `watch_dropped`.
        """
        self._faults[fault] += times

    def refuse(self, status, times=1, message="no"):
        """Answer the next `times` calls with this status."""
        self._refusals += [(status, message)] * times

    def refused(self):
        """Raise what the next call is refused with, if anything."""
        if self._refusals:
            raise Refused(*self._refusals.pop(0))

    def happens(self, fault):
        if self._faults[fault] > 0:
            self._faults[fault] -= 1
            return True
        return False

    def jobs(self):
        """Return the TrainJobs, by name."""
        return self.objects[JOBS]

    def next_version(self):
        """Return the resource version of a write."""
        with self.changed:
            self._version += 1
            return str(self._version)

    def put(self, path, item, kind="MODIFIED"):
        """Write an object, as a controller does."""
        with self.changed:
            item["metadata"]["resourceVersion"] = self.next_version()
            self.objects[path][item["metadata"]["name"]] = item
            self._note(kind, path, item)
        return item

    def drop(self, path, name):
        with self.changed:
            item = self.objects[path].pop(name, None)
            if item:
                self._version += 1
                self._note("DELETED", path, item)

    def _note(self, kind, path, item):
        self._events.append((self._version, kind, path, copy.deepcopy(item)))
        self.changed.notify_all()

    def create(self, path, item, strict):
        name = item["metadata"]["name"]
        if path == JOBS:
            self._check(item, strict)
        with self.changed:
            if name in self.objects[path]:
                message = f'trainjobs.trainer.kubeflow.org "{name}" already exists'
                raise Refused(409, message, reason="AlreadyExists")
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            item["metadata"] |= {"uid": f"uid-{name}-{self._version}", "creationTimestamp": now, "namespace": "team"}
            made = self.put(path, item, "ADDED")
            if self._orphaned(item):
                self.drop(path, name)
            return made

    def _orphaned(self, item):
        """Whether the garbage collector takes an object away: it has owners, and none of them is there."""
        places = {"Pod": PODS, "Workflow": "/apis/argoproj.io/v1alpha1/namespaces/team/workflows"}
        owners = item["metadata"].get("ownerReferences", [])
        there = {each["metadata"].get("uid") for path in places.values() for each in self.objects[path].values()}
        return bool(owners) and not any(each["uid"] in there for each in owners)

    def _check(self, item, strict):
        import jsonschema  # not in every family of dependencies

        faults = list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(item))
        unknown = [each for each in faults if each.validator == "additionalProperties"]
        if unknown and strict:
            where = ".".join(map(str, unknown[0].absolute_path))
            raise Refused(400, f'strict decoding error: unknown field "{where}": {unknown[0].message}')
        if faults:
            raise Refused(422, f'TrainJob "{item["metadata"]["name"]}" is invalid: {faults[0].message}')
        name = item["metadata"]["name"]
        if not _NAME.fullmatch(name) or len(name) > 63:
            raise Refused(422, "metadata.name must match RFC 1035 DNS label format and be no more than 63 characters")
        runtime = item["spec"]["runtimeRef"]["name"]
        if runtime not in self.runtimes:
            hook = 'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request'
            raise Refused(403, f'{hook}: ClusterTrainingRuntime.trainer.kubeflow.org "{runtime}" not found')

    def review(self, body):
        """Answer a SelfSubjectAccessReview."""
        assert (body["apiVersion"], body["kind"]) == ("authorization.k8s.io/v1", "SelfSubjectAccessReview"), body
        asked = body["spec"]["resourceAttributes"]
        what = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        return body | {"status": {"allowed": (asked["verb"], what) not in self.forbidden}}

    def remove(self, path, name):
        with self.changed:
            item = self.objects[path].get(name)
            if item is None:
                raise Refused(404, f'"{name}" not found')
            item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            self.put(path, item)
        self.trainer.deleted(name)
        return item

    def events(self, path, name, after, seconds):
        """Yield what happens to an object after a version, for some seconds."""
        until = datetime.datetime.now().timestamp() + seconds
        while True:
            with self.changed:
                new = [each for each in self._events if each[0] > after and each[2] == path]
                if not new:
                    left = until - datetime.datetime.now().timestamp()
                    if left <= 0 or not self.changed.wait(left):
                        return
                    continue
            for version, kind, _, item in new:
                after = version
                if item["metadata"]["name"] == name:
                    yield {"type": kind, "object": item}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would wait for one another for 40 ms

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._serve("get")

    def do_POST(self):
        self._serve("create")

    def do_PATCH(self):
        self._serve("patch")

    def do_DELETE(self):
        self._serve("delete")

    def _serve(self, verb):
        stand_in = self.server.stand_in
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        stand_in.asked.append((verb, parts.path))
        try:
            if query.get("watch") in ("true", "True"):
                self._watch(parts.path, query)
            elif stand_in.happens("dropped"):
                self.close_connection = True
            elif stand_in.happens("unavailable"):
                raise Refused(503, "etcdserver: leader changed")
            elif stand_in.happens("too_many"):
                raise Refused(429, "too many requests")
            else:
                self._answer(verb, parts.path, query, body)
        except Refused as refused:
            told = {"kind": "Status", "status": "Failure", "message": refused.message, "reason": refused.reason}
            self._send(refused.status, told | {"code": refused.status, "details": {"causes": refused.causes}})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        except Exception:
            self._send(500, {"kind": "Status", "message": traceback.format_exc(), "code": 500})

    def _answer(self, verb, path, query, body):
        stand_in = self.server.stand_in
        stand_in.refused()
        if key := stand_in.inference_service(path):
            self._send(200, stand_in.kserve.handle(verb, key, query, body, self.headers.get("Content-Type")))
            return
        if path in ("/version", "/version/"):
            told = {"major": "1", "minor": "31", "gitVersion": "v1.31.2", "gitCommit": "c", "gitTreeState": "clean"}
            self._send(200, told | {"buildDate": "d", "goVersion": "go", "compiler": "gc", "platform": "linux/amd64"})
            return
        if path == REVIEWS:
            self._send(201, stand_in.review(body))
            return
        if found := re.fullmatch(r"/api/v1/namespaces/([^/]+)", path):
            if stand_in.happens("forbidden get"):
                raise Refused(403, f'namespaces "{found[1]}" is forbidden')
            if found[1] not in stand_in.namespaces:
                raise Refused(404, f'namespaces "{found[1]}" not found')
            self._send(200, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": found[1]}})
            return
        if found := re.fullmatch(r"/api/v1/namespaces/team/serviceaccounts/([^/]+)", path):
            if found[1] not in stand_in.accounts:
                raise Refused(404, f'serviceaccounts "{found[1]}" not found')
            self._send(200, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": found[1]}})
            return
        if path.endswith("/log"):
            name = path.split("/")[-2]
            lines = stand_in.trainer.log(name)[-int(query.get("tailLines", 1000)) :]
            self._send(200, "".join(f"{line}\n" for line in lines).encode(), "text/plain")
            return
        collection, name = (path, "") if path in KNOWN else path.rsplit("/", 1)
        if collection not in KNOWN:
            raise Refused(404, "the server could not find the requested resource")
        verb = "list" if verb == "get" and not name else verb
        if stand_in.happens(f"forbidden {verb}"):
            kind = collection.rsplit("/", 1)[-1]
            raise Refused(403, f'{kind} is forbidden: User "system:serviceaccount:team:default" cannot {verb} {kind}')
        if verb == "create":
            item = stand_in.create(collection, body, query.get("fieldValidation") == "Strict")
            if stand_in.happens("answer_lost"):
                self.close_connection = True
                return
            self._send(201, item)
        elif verb == "list":
            self._send(200, {"kind": "List", "metadata": {}, "items": self._listed(collection, query)})
        else:
            self._one(verb, collection, name, body)

    def _one(self, verb, collection, name, body):
        stand_in = self.server.stand_in
        with stand_in.changed:
            item = stand_in.objects[collection].get(name)
            if item is None:
                raise Refused(404, f'{collection.rsplit("/", 1)[-1]} "{name}" not found')
            if verb == "patch":
                assert self.headers["Content-Type"] == "application/merge-patch+json", self.headers["Content-Type"]
                item = stand_in.put(collection, _merged(item, body))
            elif verb == "delete":
                assert (
                    body["propagationPolicy"] == "Foreground" if body else "propagationPolicy=Foreground" in self.path
                )
                item = stand_in.remove(collection, name)
            self._send(200, item)

    def _listed(self, collection, query):
        wanted = dict(each.split("=") for each in filter(None, query.get("labelSelector", "").split(",")))
        with self.server.stand_in.changed:
            items = list(self.server.stand_in.objects[collection].values())
        return [each for each in items if wanted.items() <= each["metadata"].get("labels", {}).items()]

    def _watch(self, path, query):
        stand_in = self.server.stand_in
        if stand_in.story:
            stand_in.story.pop(0)()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if stand_in.happens("watch_dropped"):
            self.close_connection = True
            return
        if stand_in.happens("watch_gone"):
            told = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            self._chunk({"type": "ERROR", "object": told})
        else:
            for event in self._events(path, query):
                self._chunk(event)
        self.wfile.write(b"0\r\n\r\n")

    def _events(self, path, query):
        name = query["fieldSelector"].removeprefix("metadata.name=")
        since, seconds = int(query["resourceVersion"]), float(query["timeoutSeconds"])
        return self.server.stand_in.events(path, name, since, seconds)

    def _chunk(self, event):
        line = json.dumps(event).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()

    def _send(self, status, value, kind="application/json"):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _merged(below, above):
    """Lay a merge patch over an object: a null takes a key away."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    kept = {key: value for key, value in below.items() if above.get(key, value) is not None}
    return kept | {key: _merged(below.get(key), value) for key, value in above.items() if value is not None}
