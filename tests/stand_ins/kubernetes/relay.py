"""A real API server behind the stand-in's address: it stores, admits and fences, only the controllers are played.

The same tests run against both, so that the stand-in lets nothing through that Kubernetes does not. Faults on demand
still come from here, since a real server has none to give.
"""

import copy
import json
import os
from urllib.parse import quote

import pytest
import urllib3

from tests.stand_ins.kubernetes.kserve import KServe
from tests.stand_ins.kubernetes.refused import Refused
from tests.stand_ins.kubernetes.server import JOBS, PODS, StandIn, _Handler

VARIABLE = "FLYWHEEL_TEST_KUBECONFIG"
SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/{}/inferenceservices"
MERGE = "application/merge-patch+json"
_HELD = "tests.ai-flywheel/held"


class Relay(StandIn):
    """The API server of a kubeconfig, emptied of what the tests make; `with Relay() as kubernetes:`.

    Args:
        path: Of the kubeconfig, by default what FLYWHEEL_TEST_KUBECONFIG names.

    Attributes:
        asks_as: Who asks through the relay, as `system:serviceaccount:team:flywheel`; empty for the kubeconfig's own
            user, who plays the controllers.
    """

    def __init__(self, path=None):
        from kubernetes import client, config

        self.real = client.Configuration()
        config.load_kube_config(path or os.environ[VARIABLE], client_configuration=self.real)
        self.real.verify_ssl = bool(self.real.ssl_ca_cert)
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._pool = client.ApiClient(self.real).rest_client.pool_manager
        self._given = {"Authorization": self.real.get_api_key_with_prefix("authorization")}
        self.asks_as = ""
        super().__init__(_Relayed)
        self.objects = _Objects(self)
        self.kserve = _KServe(self)
        for path in (JOBS, PODS, "/apis/kueue.x-k8s.io/v1beta1/namespaces/team/workloads"):
            for name in self.objects[path]:
                self.gone(path, name)
        self.kserve.clear()

    def plays(self, what):
        pytest.skip(f"a bare API server has no {what}")

    def call(self, verb, path, body=None, kind="application/json", query="", who="", **options):
        """Return what the real server answers, as if `who` asked."""
        method = {"get": "GET", "create": "POST", "patch": "PATCH", "delete": "DELETE", "replace": "PUT"}[verb]
        url = f"{self.real.host}{path}" + (f"?{query}" if query else "")
        data = json.dumps(body) if body is not None else None
        headers = self._given | {"Accept": "application/json", "Content-Type": kind}
        headers |= {"Impersonate-User": who} if who else {}
        return self._pool.request(method, url, body=data, headers=headers, retries=False, timeout=40, **options)

    def told(self, verb, path, *given, **options):
        """Return the JSON that the real server answers; None where there is nothing.

        Raises:
            AssertionError: It refuses: a controller that is played must not.
        """
        answer = self.call(verb, path, *given, **options)
        if answer.status == 404:
            return None
        assert answer.status < 300, (verb, path, answer.status, answer.data)
        return json.loads(answer.data)

    def jobs(self):
        return self.objects[JOBS]

    def put(self, path, item, kind="MODIFIED"):
        """Write an object and its status, as controllers do."""
        name, item = item["metadata"]["name"], copy.deepcopy(item)
        status = item.pop("status", None)
        there = self.told("get", f"{path}/{name}")
        if there is None:
            kind = path.rpartition("/")[2]
            made = {"pods": ("v1", "Pod"), "workloads": ("kueue.x-k8s.io/v1beta1", "Workload")}[kind]
            item |= {"apiVersion": made[0], "kind": made[1]}
            item["metadata"].pop("uid", None)
            if kind == "pods":
                node = {"name": "node", "image": "flywheel/gpu"}
                item["spec"] = {"containers": [node], "automountServiceAccountToken": False}
            else:
                item["spec"] = {"podSets": [{"name": "node", "count": 1, "template": {"spec": {"containers": []}}}]}
            there = self.told("create", path, item)
        elif path == JOBS and item["spec"] != there["spec"]:
            there = self.told("patch", f"{path}/{name}", {"spec": item["spec"]}, MERGE)
        if status is not None:
            there = self.told("patch", f"{path}/{name}/status", {"status": _whole(status)}, MERGE)
        return there

    def drop(self, path, name):
        self.gone(path, name)

    def gone(self, path, name):
        """Let an object go at once, whatever holds it."""
        self.told("patch", f"{path}/{name}", {"metadata": {"finalizers": None}}, MERGE)
        self.told("delete", f"{path}/{name}", {"propagationPolicy": "Background", "gracePeriodSeconds": 0})

    def remove(self, path, name):
        """Delete an object that something holds."""
        self.told("patch", f"{path}/{name}", {"metadata": {"finalizers": [_HELD]}}, MERGE)
        return self.told("delete", f"{path}/{name}", {"propagationPolicy": "Background"})


class _Objects:
    """{path: {name: object}}, as the server has them now, in the order in which they were made."""

    def __init__(self, relay):
        self._relay = relay

    def __getitem__(self, path):
        found = self._relay.told("get", path)
        items = sorted((found or {"items": []})["items"], key=lambda item: _made(item["metadata"]))
        return {item["metadata"]["name"]: item for item in items}


def _made(metadata):
    return metadata["creationTimestamp"], metadata["name"]


class _KServe(KServe):
    """InferenceServices of the real server, and KServe's controller, which is played."""

    def clear(self):
        for namespace in ("default", "team"):
            where = SERVICES.format(namespace)
            for item in (self._stand_in.told("get", where) or {"items": []})["items"]:
                self._stand_in.gone(where, item["metadata"]["name"])
                self.controller.forget((namespace, item["metadata"]["name"]))

    def get(self, name, namespace="default"):
        self._reconcile((namespace, name))
        return self._stand_in.told("get", f"{SERVICES.format(namespace)}/{name}")

    def edit(self, name, path, value, manager="kubectl-edit", namespace="default"):
        for key in reversed(path):
            value = {key: value}
        where = f"{SERVICES.format(namespace)}/{name}"
        self._stand_in.told("patch", where, value, MERGE, query=f"fieldManager={manager}")

    def before(self, verb, key):
        """Do what happens before a call: somebody quicker writes, and the controller looks at the object."""
        if verb != "get" and self.before_write:
            quicker, self.before_write = self.before_write, None
            quicker()
        self._reconcile(key)

    def _reconcile(self, key):
        where = f"{SERVICES.format(key[0])}/{key[1]}"
        live = self._stand_in.told("get", where)
        if live is None:
            self.controller.forget(key)
            return
        status = self.controller.status(key, live)
        if status != live.get("status", {}):
            self._stand_in.told("patch", f"{where}/status", {"status": status}, MERGE, query="fieldManager=kserve")


class _Relayed(_Handler):
    """Passes calls on, after the faults that a test asked for."""

    def _answer(self, verb, path, query, body):
        relay = self.server.stand_in
        relay.refused()
        name = path.rpartition("/")[2]
        listing = "list" if verb == "get" and path.rstrip("/").endswith(("s", "/log")) else verb
        if relay.happens(f"forbidden {listing}"):
            raise Refused(403, f'{name} is forbidden: User "system:serviceaccount:team:default" cannot {verb} {name}')
        if key := relay.inference_service(path):
            relay.kserve.before(verb, key)
        if verb == "delete" and path.startswith(JOBS) and not relay.trainer.lingers:
            relay.told("patch", path, {"metadata": {"finalizers": None}}, MERGE)
        asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
        kind = self.headers.get("Content-Type") or "application/json"
        answer = relay.call(verb, path, body, kind, asked, relay.asks_as)
        if verb == "create" and relay.happens("answer_lost"):
            self.close_connection = True
            return
        self._send(answer.status, answer.data, answer.headers.get("Content-Type", "application/json"))

    def _events(self, path, query):
        asked = "&".join(f"{key}={quote(value)}" for key, value in query.items())
        relay = self.server.stand_in
        answer = relay.call("get", path, query=asked, who=relay.asks_as, preload_content=False)
        try:
            for line in answer:
                yield json.loads(line)
        finally:
            answer.close()


def _whole(status):
    """Return a status with what the server wants of it."""
    conditions = [
        {"lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Played", "message": ""} | each
        for each in status.get("conditions", ())
    ]
    return status | ({"conditions": conditions} if conditions else {})
