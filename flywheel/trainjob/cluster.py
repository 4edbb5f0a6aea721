"""The Kubernetes API as a TrainJob needs it: calls that outlive an outage, and errors that say what to do."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from flywheel.errors import ClusterError
from flywheel.trainjob.manifest import GROUP, PLURAL, VERSION

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_SECONDS = 30  # that a call may take
_RIGHTS = (
    "its Role needs create, get, list, watch, patch and delete of trainjobs.trainer.kubeflow.org, "
    "get and list of pods and pods/log."
)


class Outage(ClusterError):
    """The Kubernetes API cannot be reached, or is out of order, for longer than a call waits: try the step again."""


class Cluster:
    """TrainJobs in one namespace, and what belongs to them.

    Args:
        api: The `kubernetes` package's ApiClient.
        namespace: Where the jobs are.
        patience: Seconds of outage that a call waits out.
        sleep: Waits.
        clock: Gives seconds that only grow.
    """

    def __init__(
        self,
        api: Any,
        namespace: str,
        patience: float = 900.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from kubernetes import client

        self.namespace, self._patience, self._sleep, self._clock = namespace, patience, sleep, clock
        self._objects, self._core = client.CustomObjectsApi(api), client.CoreV1Api(api)

    @classmethod
    def here(cls) -> Cluster:
        """Return the cluster that this process runs in, or else the one that kubectl talks to.

        Raises:
            ClusterError: There is none.
        """
        from kubernetes import client, config

        settings = client.Configuration()
        try:
            if os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=settings)
                return cls(client.ApiClient(settings), _ACCOUNT.read_text().strip())
            file = os.environ.get("KUBECONFIG")
            config.load_kube_config(config_file=file, client_configuration=settings)
            context = config.list_kube_config_contexts(file)[1]["context"]
        except (config.ConfigException, OSError) as error:
            raise ClusterError(
                f"there is no Kubernetes cluster here: {error}",
                "run this as a step of a pipeline on a cluster, or leave train.resources.nodes out.",
            ) from error
        return cls(client.ApiClient(settings), context.get("namespace", "default"))

    def create(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Create a TrainJob, or return the one of that name that is there already.

        Unknown fields are refused, not dropped: Trainer before 2.2 would place the nodes anywhere, without storage.

        Raises:
            ClusterError: It may not be created, or is refused.
        """
        from kubernetes.client import ApiException

        name = job["metadata"]["name"]
        try:
            make = self._objects.create_namespaced_custom_object
            return dict(self._call(f"create TrainJob {name!r}", make, *self._jobs, job, field_validation="Strict"))
        except ApiException as error:
            if error.status == 409 and (there := self.get(name)):
                return there
            raise _refused(error, f"TrainJob {name!r}") from error

    def get(self, name: str) -> dict[str, Any] | None:
        """Return a TrainJob; None when there is none."""
        get = self._objects.get_namespaced_custom_object
        found: dict[str, Any] | None = self._found(f"get TrainJob {name!r}", get, *self._jobs, name)
        return found

    def find(self, selector: str) -> list[dict[str, Any]]:
        """Return the TrainJobs with a label, as `name=value`."""
        found = self._checked(
            "list TrainJobs", self._objects.list_namespaced_custom_object, *self._jobs, label_selector=selector
        )
        return list(found["items"])

    def patch(self, name: str, change: Mapping[str, Any]) -> None:
        """Lay a change over a TrainJob; one that is gone needs none."""
        self._found(f"patch TrainJob {name!r}", self._objects.patch_namespaced_custom_object, *self._jobs, name, change)

    def delete(self, name: str, within: float = 600.0) -> None:
        """Delete a TrainJob and wait until its pods are gone too: two jobs must not write to one model.

        Raises:
            ClusterError: It is still there after `within` seconds.
        """
        what, until = f"delete TrainJob {name!r}", self._clock() + within
        remove = self._objects.delete_namespaced_custom_object
        self._found(what, remove, *self._jobs, name, propagation_policy="Foreground")
        while self.get(name) is not None:
            if self._clock() >= until:
                raise ClusterError(
                    f"TrainJob {name!r} is still there {within:g} s after it was deleted",
                    f"kubectl -n {self.namespace} describe trainjob {name} says which finalizer holds it.",
                )
            self._sleep(1.0)

    def pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of a TrainJob."""
        selector = f"jobset.sigs.k8s.io/jobset-name={name}"
        return list(self._raw("list pods", self._core.list_namespaced_pod, label_selector=selector)["items"])

    def pod(self, name: str) -> dict[str, Any] | None:
        """Return a pod; None when it is gone or may not be read: what it says is a help, no need."""
        with suppress(ClusterError):
            return self._raw(f"get pod {name!r}", self._core.read_namespaced_pod, name)
        return None

    def log(self, pod: str, container: str, lines: int) -> list[str]:
        """Return the last lines of a pod's log; none when they cannot be had any more."""
        from kubernetes.client import ApiException

        read = self._core.read_namespaced_pod_log
        with suppress(ApiException):
            text = self._call(
                f"read the log of {pod!r}", read, pod, self.namespace, container=container, tail_lines=lines,
                _preload_content=False,
            )  # fmt: skip
            return bytes(text.data).decode(errors="replace").splitlines()
        return []

    def other(self, group: str, version: str, plural: str, name: str = "", selector: str = "") -> Any:
        """Return an object of another kind, or those with a label; None when there is none or it may not be read."""
        from kubernetes.client import ApiException

        at = (group, version, self.namespace, plural)
        with suppress(ApiException):
            if name:
                return self._call(f"get {plural} {name!r}", self._objects.get_namespaced_custom_object, *at, name)
            listed = self._objects.list_namespaced_custom_object
            return self._call(f"list {plural}", listed, *at, label_selector=selector)["items"]
        return None

    def wait(self, job: Mapping[str, Any], seconds: float) -> None:
        """Return when a TrainJob changes, at the latest after some seconds.

        What it changed to is not looked at: whoever waits looks anew. So a watch that breaks off, or that is out of
        date (410), loses nothing.
        """
        from kubernetes import watch
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        began, meta = self._clock(), job["metadata"]
        with suppress(ApiException, HTTPError, OSError, ValueError):
            changes = watch.Watch().stream(
                self._objects.list_namespaced_custom_object,
                *self._jobs,
                field_selector=f"metadata.name={meta['name']}",
                resource_version=meta["resourceVersion"],
                timeout_seconds=max(1, round(seconds)),
                _request_timeout=seconds + _SECONDS,
            )
            for _ in changes:
                return
        if self._clock() - began < min(1.0, seconds):
            self._sleep(min(1.0, seconds))  # it broke off at once: no reason to ask without pause

    @property
    def _jobs(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    def _raw(self, what: str, function: Callable[..., Any], *args: Any, **options: Any) -> dict[str, Any]:
        """Call one of the typed APIs and return its JSON: its models refuse what a newer cluster says."""
        answer = self._checked(what, function, *args, self.namespace, _preload_content=False, **options)
        return dict(json.loads(answer.data))

    def _checked(self, what: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        from kubernetes.client import ApiException

        try:
            return self._call(what, function, *args, **options)
        except ApiException as error:
            raise _refused(error, what) from error

    def _found(self, what: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        from kubernetes.client import ApiException

        try:
            return self._call(what, function, *args, **options)
        except ApiException as error:
            if error.status == 404:
                return None
            raise _refused(error, what) from error

    def _call(self, what: str, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call the API again and again while it is out of order.

        Raises:
            ApiException: It refuses.
            Outage: It was out of order for too long.
        """
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        until, wait = self._clock() + self._patience, 0.5
        while True:
            try:
                return function(*args, _request_timeout=_SECONDS, **options)
            except ApiException as error:
                if error.status not in _TRANSIENT:
                    raise
                problem: Exception = error
            except HTTPError as error:
                problem = error
            if self._clock() + wait >= until:
                raise Outage(
                    f"cannot {what}: the Kubernetes API has been out of order for {self._patience:g} s "
                    f"({type(problem).__name__}: {str(problem).splitlines()[0]})",
                    "when it is back, try the step again: it finds its TrainJob.",
                ) from problem
            self._sleep(wait)
            wait = min(2 * wait, 15.0)


def _refused(error: Any, what: str) -> ClusterError:
    """Say why the API refused, in its own words, and what to do."""
    try:
        said = str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        said = str(error.reason)
    if error.status == 403 and "admission webhook" not in said:
        return ClusterError(f"{what}: the step's service account may not: {said}", _RIGHTS)
    if error.status == 404:
        return ClusterError(
            f"{what}: this cluster knows no TrainJobs: {said}",
            "install Kubeflow Trainer 2.2 or newer, or leave train.resources.nodes out.",
        )
    if "unknown field" in said:
        return ClusterError(f"{what}: {said}", "this cluster's Kubeflow Trainer is too old: 2.2 or newer is needed.")
    return ClusterError(f"{what} is refused ({error.status}): {said}", "mend train.resources in flywheel.yaml.")
