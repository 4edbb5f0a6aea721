"""KServe's part: InferenceServices by server-side apply, with owners of fields, and its controller behind them."""

import copy
import json
import re
from pathlib import Path

import jsonschema

from tests.stand_ins.kubernetes import apply as ssa
from tests.stand_ins.kubernetes.refused import Refused
from tests.stand_ins.kubernetes.revisions import Controller

SCHEMA = json.loads((Path(__file__).parent / "inference_service.json").read_text())
PATH = re.compile(r"/apis/serving\.kserve\.io/v1beta1/namespaces/([^/]+)/inferenceservices/([^/]+)")


class KServe:
    """The InferenceServices of an API server.

    Attributes:
        objects: {(namespace, name): InferenceService}.
        controller: KServe's.
        before_write: Called once, before the next write, as another client that is quicker.
    """

    def __init__(self, stand_in):
        self.objects, self.owned = {}, {}
        self.controller, self.before_write = Controller(), None
        self._stand_in = stand_in

    def clear(self):
        """Take everything away."""
        for key in list(self.objects):
            del self.objects[key], self.owned[key]
            self.controller.forget(key)

    def get(self, name, namespace="default"):
        """Return the object as it is now, None for none."""
        with self._stand_in.changed:
            self._reconcile((namespace, name))
            return copy.deepcopy(self.objects.get((namespace, name)))

    def edit(self, name, path, value, manager="kubectl-edit", namespace="default"):
        """Change a field as another manager does that does not apply."""
        with self._stand_in.changed:
            live = self.objects[namespace, name]
            ssa.put(live, path, value)
            owned = self.owned[namespace, name]
            for other in owned:
                owned[other] = owned[other] - {path}
            owned[manager] = owned.get(manager, set()) | {path}
            self._store((namespace, name), live, owned, spec_changed=True)

    def handle(self, verb, key, query, body, kind):
        """Return the answer to a call about the object that `key` names."""
        with self._stand_in.changed:
            if verb != "get" and self.before_write:
                quicker, self.before_write = self.before_write, None
                quicker()
            self._reconcile(key)
            if verb == "get":
                return self._known(key)
            if verb == "delete":
                return self._delete(key, body or {})
            if verb == "patch" and kind == "application/apply-patch+yaml":
                return self._apply(key, query, body)
            raise Refused(415, f"{verb} of {kind} is not of this stand-in")

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
        metadata["resourceVersion"] = self._stand_in.next_version()
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
            live["metadata"]["resourceVersion"] = self._stand_in.next_version()
