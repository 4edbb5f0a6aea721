"""The API server, over HTTP, and KServe's controller behind it."""

import copy
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import jsonschema

from tests.stand_ins.kserve import apply as ssa
from tests.stand_ins.kserve.controller import Controller

SCHEMA = json.loads((Path(__file__).parent / "inference_service.json").read_text())
_PATH = re.compile(r"/apis/serving\.kserve\.io/v1beta1/namespaces/([^/]+)/inferenceservices(?:/([^/]+))?")
_REASONS = {
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    400: "BadRequest",
    403: "Forbidden",
    503: "ServiceUnavailable",
}


class Refused(Exception):
    """What the API server answers instead."""

    def __init__(self, code, message, causes=()):
        super().__init__(message)
        self.code, self.message, self.causes = code, message, causes


class Cluster:
    """A cluster on this machine; `with Cluster() as cluster:` and `cluster.api()` is a client of it.

    Attributes:
        objects: {(namespace, name): InferenceService}.
        controller: KServe's.
        asked: Every call, as (method, path).
        before_write: Called once, before the next write, as another client that is quicker.
    """

    def __init__(self):
        self.objects, self.owned, self.asked, self.faults = {}, {}, [], []
        self.controller, self.before_write, self.writes = Controller(), None, 0
        self._version, self._lock = 100, threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.cluster = self
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def api(self):
        """Return a client of the real library."""
        from kubernetes import client

        settings = client.Configuration()
        settings.host, settings.retries = f"http://127.0.0.1:{self._server.server_port}", False
        return client.ApiClient(settings)

    def kubeconfig(self, path):
        """Write a kubeconfig for this cluster and return its path."""
        server = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "clusters": [{"name": "c", "cluster": server}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )
        return path

    def fail(self, code, times=1, message="no"):
        """Answer the next `times` calls with this status."""
        self.faults += [(code, message)] * times

    def clear(self):
        """Take everything away."""
        for key in list(self.objects):
            del self.objects[key], self.owned[key]
            self.controller.forget(key)

    def get(self, name, namespace="default"):
        """Return the object as it is now, None for none."""
        with self._lock:
            self._reconcile((namespace, name))
            return copy.deepcopy(self.objects.get((namespace, name)))

    def edit(self, name, path, value, manager="kubectl-edit", namespace="default"):
        """Change a field as another manager does that does not apply."""
        with self._lock:
            live = self.objects[namespace, name]
            ssa.put(live, path, value)
            owned = self.owned[namespace, name]
            for other in owned:
                owned[other] = owned[other] - {path}
            owned[manager] = owned.get(manager, set()) | {path}
            self._store((namespace, name), live, owned, spec_changed=True)

    def handle(self, method, path, query, body, kind):
        """Return the answer to a call."""
        with self._lock:
            self.asked.append((method, path))
            if self.faults:
                raise Refused(*self.faults.pop(0))
            found = _PATH.fullmatch(path)
            if not found or not found[2]:
                raise Refused(404, "404 page not found")
            key = (found[1], found[2])
            if method != "GET" and self.before_write:
                quicker, self.before_write = self.before_write, None
                quicker()
            self._reconcile(key)
            if method == "GET":
                return self._known(key)
            self.writes += 1
            if method == "DELETE":
                return self._delete(key, body or {})
            if method == "PATCH" and kind == "application/apply-patch+yaml":
                return self._apply(key, query, body)
            raise Refused(415, f"{method} of {kind} is not of this stand-in")

    def _known(self, key):
        if key not in self.objects:
            raise Refused(404, f'inferenceservices.serving.kserve.io "{key[1]}" not found')
        return self.objects[key]

    def _delete(self, key, options):
        live = self._known(key)
        wanted = (options.get("preconditions") or {}).get("resourceVersion")
        if wanted and wanted != live["metadata"]["resourceVersion"]:
            raise Refused(409, f"Precondition failed: ResourceVersion in precondition: {wanted}")
        del self.objects[key], self.owned[key]
        self.controller.forget(key)
        return {"kind": "Status", "status": "Success"}

    def _apply(self, key, query, body):
        manager = query.get("fieldManager")
        if not manager:
            raise Refused(400, "fieldManager is required for apply patch")
        try:
            jsonschema.validate(body, SCHEMA)
        except jsonschema.ValidationError as error:
            raise Refused(422, f"{error.json_path}: {error.message}") from None
        live, owned = self.objects.get(key, {}), self.owned.get(key, {})
        fence = body["metadata"].get("resourceVersion")
        if fence is not None and (not live or fence != live["metadata"]["resourceVersion"]):
            raise Refused(
                409,
                f'Operation cannot be fulfilled on inferenceservices.serving.kserve.io "{key[1]}": the object has been '
                "modified; please apply your changes to the latest version and try again",
            )
        try:
            after, owned = ssa.apply(live, owned, manager, body, force=query.get("force") == "true")
        except ssa.FieldConflict as conflict:
            fields = {"." + ".".join(path): other for path, other in conflict.fields.items()}
            said = "; ".join(f'conflict with "{other}": {field}' for field, other in fields.items())
            causes = [{"reason": "FieldManagerConflict", "field": field, "message": said} for field in fields]
            raise Refused(409, f"Apply failed with {len(fields)} conflict: {said}", causes) from None
        if after == live:
            return live
        changed = after.get("spec") != live.get("spec")
        return self._store(key, after, owned, spec_changed=changed)

    def _store(self, key, after, owned, *, spec_changed):
        metadata = after["metadata"]
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        metadata["generation"] = metadata.get("generation", 0) + bool(spec_changed)
        metadata["managedFields"] = [
            {
                "manager": manager,
                "operation": "Apply" if manager == "flywheel" else "Update",
                "fieldsType": "FieldsV1",
                "fieldsV1": ssa.fields_v1(paths),
            }
            for manager, paths in owned.items()
        ]
        self.objects[key], self.owned[key] = after, owned
        return after

    def _reconcile(self, key):
        """Let the controller look at the object; what it writes into the status makes another resource version."""
        if key not in self.objects:
            return
        live = self.objects[key]
        status = self.controller.status(key, live)
        if status != live.get("status"):
            live["status"] = status
            self._version += 1
            live["metadata"]["resourceVersion"] = str(self._version)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body in one packet: two would wait for one another for 40 ms

    def _answer(self):
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        try:
            code, answer = (
                200,
                self.server.cluster.handle(
                    self.command, parts.path, dict(parse_qsl(parts.query)), body, self.headers.get("Content-Type")
                ),
            )
            payload = json.dumps(answer).encode()
        except Refused as refused:
            code = refused.code
            status = {"kind": "Status", "status": "Failure", "message": refused.message, "code": code}
            status |= {"reason": _REASONS.get(code, ""), "details": {"causes": list(refused.causes)}}
            payload = json.dumps(status).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_PATCH = do_DELETE = do_POST = _answer

    def log_message(self, *_):
        pass
