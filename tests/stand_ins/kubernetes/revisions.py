"""What KServe and Knative make of an InferenceService: revisions, traffic, conditions.

The rules are those of KServe's own source: `createKnativeService` in ksvc_reconciler.go (which revision gets the rest
of the traffic) and `PropagateStatus` in inference_service_status.go (which one counts as rolled out).
"""

import copy
import json


class Controller:
    """KServe's controller.

    Attributes:
        broken: URIs of models that never become ready.
        unloadable: URIs of models that KServe says cannot be loaded.
        delay: How many looks a revision takes to become ready.
    """

    def __init__(self):
        self.broken, self.unloadable, self.delay = set(), set(), 1
        self._services = {}

    def forget(self, key):
        self._services.pop(key, None)

    def revisions(self, namespace, name):
        """Return the revisions that were made, as {name: its model's URI}."""
        return {revision: about["uri"] for revision, about in self._services[namespace, name]["revisions"].items()}

    def status(self, key, live):
        """Return the status after one look at the object."""
        service = self._services.setdefault(
            key, {"revisions": {}, "latest": "", "ready": "", "rolled": "", "previous": "", "shown": None}
        )
        if service["shown"] is None:  # the first look comes after the object: its status is empty till then
            service["shown"] = {}
            return live.get("status", {})
        self._revise(key, live, service)
        traffic = self._traffic(live["spec"]["predictor"].get("canaryTrafficPercent"), service)
        self._roll_out(traffic, service)
        return self._written(key, service, traffic)

    def _revise(self, key, live, service):
        predictor = copy.deepcopy(live["spec"]["predictor"])
        predictor.pop("canaryTrafficPercent", None)
        template = json.dumps([predictor, live["metadata"].get("annotations")], sort_keys=True)
        made = service["revisions"]
        if not made or made[service["latest"]]["template"] != template:
            service["latest"] = f"{key[1]}-predictor-{len(made) + 1:05d}"
            made[service["latest"]] = {"template": template, "uri": predictor["model"]["storageUri"], "looks": 0}
        newest = made[service["latest"]]
        newest["looks"] += 1
        if newest["looks"] > self.delay and newest["uri"] not in self.broken | self.unloadable:
            service["ready"] = service["latest"]

    def _traffic(self, percent, service):
        if not service["ready"]:
            return []
        last = service["rolled"]
        if percent is None or not last:
            return [{"latestRevision": True, "revisionName": service["ready"], "percent": 100}]
        targets = [{"latestRevision": True, "revisionName": service["ready"], "percent": percent}]
        if percent < 100:
            targets.append({"tag": "prev", "latestRevision": False, "revisionName": last, "percent": 100 - percent})
        return targets

    def _roll_out(self, traffic, service):
        for target in traffic:
            if not target["latestRevision"]:
                continue
            if service["rolled"] != service["ready"]:
                if target["percent"] == 100:
                    service["previous"], service["rolled"] = service["rolled"], service["ready"]
            elif service["ready"] == service["latest"] and target["percent"] < 100 and service["previous"]:
                service["rolled"] = service["previous"]  # it had all traffic and goes back

    def _written(self, key, service, traffic):
        newest = service["revisions"][service["latest"]]
        ready = service["ready"] == service["latest"]
        condition = {"type": "Ready", "status": "True" if ready else "False"}
        model = {"transitionStatus": "UpToDate" if ready else "InProgress"}
        if not ready:
            condition |= {"reason": "RevisionFailed", "message": "pods are not ready: waiting for the model"}
        if newest["uri"] in self.unloadable:
            model = {
                "transitionStatus": "BlockedByFailedLoad",
                "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "No module named 'flywheel'"},
            }
        return {
            "url": f"http://{key[1]}.{key[0]}.example.com",
            "conditions": [condition],
            "modelStatus": model,
            "components": {
                "predictor": {
                    "latestCreatedRevision": service["latest"],
                    "latestReadyRevision": service["ready"],
                    "latestRolledoutRevision": service["rolled"],
                    "previousRolledoutRevision": service["previous"],
                    "traffic": traffic,
                }
            },
        }
