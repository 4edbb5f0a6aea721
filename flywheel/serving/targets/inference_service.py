"""KServe's InferenceService: what we apply, what its status says, and the API server behind both."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3
from kubernetes import client, config
from kubernetes.client import ApiClient, ApiException

from flywheel.config import KServe
from flywheel.errors import ServingError
from flywheel.serving.folder import Deployment

MANAGER = "flywheel"
GROUP, VERSION, PLURAL = "serving.kserve.io", "v1beta1", "inferenceservices"
_OURS = "ai-flywheel/"
_MODE = {"serving.kserve.io/deploymentMode": "Serverless"}  # only Knative splits traffic between revisions
_READABLE = ("gs", "s3", "pvc", "http", "https", "hdfs", "webhdfs")  # by KServe's storage initializer
_ATTEMPTS = 3
_FAILED_LOAD = ("BlockedByFailedLoad", "InvalidSpec")


class Changed(Exception):
    """The InferenceService is not what it was when it was read: read it again."""


@dataclass(frozen=True)
class State:
    """What there is of an InferenceService.

    Attributes:
        asked: The version that its spec asks for.
        former: The version that was in service when that one came.
        after: The revision that was the newest then; any other one is of the version that is asked for.
        spec: Digest of the settings that it was applied with.
        uri: Where the model is that it asks for.
        percent: The canary's share of the traffic; None for all of it.
        latest: The newest revision.
        rolled_out: The revision that last had all traffic.
        traffic: Revision to its percent.
        ready: Whether KServe says so.
        problem: What KServe says of a revision that is not ready, if anything.
        failed: Whether the model cannot be loaded, however long one waits.
        url: Where it answers.
        resource_version: Of what was read, the fence.
    """

    asked: Deployment | None
    former: Deployment | None
    after: str
    spec: str
    uri: str
    percent: int | None
    latest: str
    rolled_out: str
    traffic: Mapping[str, int] = field(default_factory=dict)
    ready: bool = False
    problem: str = ""
    failed: bool = False
    url: str = ""
    resource_version: str = ""

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> State:
        """Return what the API server's object says."""
        metadata, predictor = found["metadata"], found["spec"]["predictor"]
        notes, status = metadata.get("annotations") or {}, found.get("status") or {}
        seen = (status.get("components") or {}).get("predictor") or {}
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        model = status.get("modelStatus") or {}
        return cls(
            asked=_asked(metadata["name"], notes),
            former=_read(notes.get(f"{_OURS}former")),
            after=notes.get(f"{_OURS}after", ""),
            spec=notes.get(f"{_OURS}settings", ""),
            uri=(predictor.get("model") or {}).get("storageUri", ""),
            percent=predictor.get("canaryTrafficPercent"),
            latest=seen.get("latestCreatedRevision", ""),
            rolled_out=seen.get("latestRolledoutRevision", ""),
            traffic=_traffic(seen.get("traffic") or ()),
            ready=conditions.get("Ready", {}).get("status") == "True",
            problem=_problem(conditions, model),
            failed=model.get("transitionStatus") in _FAILED_LOAD,
            url=status.get("url", ""),
            resource_version=metadata["resourceVersion"],
        )

    @property
    def in_service(self) -> Deployment | None:
        """The version that answers the requests, all or most of them."""
        return self.asked if self.latest not in ("", self.after) and self.latest == self.rolled_out else self.former

    def has(self, percent: int | None) -> bool:
        """Whether the version that is asked for gets this share of the traffic, and is ready."""
        wanted = 100 if percent is None else percent
        return self.ready and self.latest != self.after and self.traffic.get(self.latest, 0) == wanted


class InferenceService:
    """The InferenceService of one name; each change is fenced by what was read before.

    Args:
        settings: `deploy` of flywheel.yaml.
        name: Of the model.
        api: A client of the API server; by default the pod's own, else the kubeconfig's.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self, settings: KServe, name: str, api: ApiClient | None = None, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._settings, self._name, self._sleep = settings, name, sleep
        self._api = api or _connect(settings.context)
        self._path = f"/apis/{GROUP}/{VERSION}/namespaces/{settings.namespace}/{PLURAL}/{name}"

    @property
    def digest(self) -> str:
        """Digest of the settings that make a revision: other ones are another deployment of the same version."""
        made = self._spec("", None)["predictor"]
        return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]

    def read(self) -> State | None:
        """Return what there is, None for nothing.

        Raises:
            ServingError: The API server does not answer, or refuses.
        """
        found = self._call("GET")
        return State.of(found) if found is not None else None

    def apply(
        self,
        asked: Deployment,
        uri: str,
        percent: int | None,
        former: Deployment | None,
        after: str,
        seen: State | None,
    ) -> None:
        """Apply the whole of what we own, by server-side apply.

        KServe hands annotations on to the revision: another one makes another revision. So they stay as they are
        as long as the version does, and `percent` alone moves the traffic.

        Args:
            asked: The version.
            uri: Where its model is.
            percent: Its share of the traffic; None for all of it.
            former: What is in service.
            after: The newest revision before this version came.
            seen: What was read; the change is refused if that is not so any more.

        Raises:
            Changed: It is not.
            ServingError: Somebody else manages a field of ours; the API server does not answer, or refuses.
        """
        notes = {f"{_OURS}{key}": value for key, value in asdict(asked).items() if key != "name"}
        notes |= {f"{_OURS}settings": self.digest, f"{_OURS}after": after}
        notes |= {f"{_OURS}former": json.dumps(asdict(former), sort_keys=True)} if former else {}
        fence = {"resourceVersion": seen.resource_version} if seen else {}
        body = {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "InferenceService",
            "metadata": {"name": self._name, "namespace": self._settings.namespace, "annotations": _MODE | notes}
            | fence,
            "spec": self._spec(uri, percent),
        }
        self._call("PATCH", body, [("fieldManager", MANAGER), ("fieldValidation", "Strict")])

    def delete(self, seen: State) -> None:
        """Take away what was read.

        Raises:
            Changed: It is something else by now.
        """
        self._call("DELETE", {"preconditions": {"resourceVersion": seen.resource_version}})

    def _spec(self, uri: str, percent: int | None) -> dict[str, Any]:
        given = self._settings
        amounts = {key: values for key in ("requests", "limits") if (values := getattr(given, key))}
        predictor: dict[str, Any] = {
            "minReplicas": given.min_replicas,
            "maxReplicas": given.max_replicas,
            "model": {
                "modelFormat": {"name": "mlflow"},
                "protocolVersion": "v2",
                "runtime": given.runtime,
                "storageUri": uri,
            },
        }
        if amounts:
            predictor["model"]["resources"] = amounts
        if given.service_account:
            predictor["serviceAccountName"] = given.service_account
        if percent is not None:
            predictor["canaryTrafficPercent"] = percent
        return {"predictor": predictor}

    def _call(self, method: str, body: Any = None, query: list[tuple[str, str]] | None = None) -> Any:
        """Call the API server; what passes by itself is tried again."""
        kind = "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._api.call_api(
                    self._path,
                    method,
                    query_params=query or [],
                    header_params={"Accept": "application/json", "Content-Type": kind},
                    body=body,
                    response_type="object",
                    auth_settings=["BearerToken"],
                    _return_http_data_only=True,
                    _request_timeout=30,
                )
            except ApiException as error:
                if method == "GET" and error.status == 404 and _known(error):
                    return None
                if attempt == _ATTEMPTS or not (error.status == 429 or error.status >= 500):
                    raise self._explain(error) from error
            except urllib3.exceptions.HTTPError as error:
                if attempt == _ATTEMPTS:
                    raise ServingError(
                        f"the Kubernetes API server does not answer: {error}",
                        "check `deploy.context` in flywheel.yaml, and that the cluster is up; then run again.",
                    ) from error
            self._sleep(float(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _explain(self, error: ApiException) -> Exception:
        what = f"InferenceService {self._name!r} of namespace {self._settings.namespace!r}"
        said = _message(error)
        if error.status == 409 and "FieldManagerConflict" in (error.body or ""):
            return ServingError(
                f"{what}: {said}",
                "somebody else changed a field that flywheel manages: let them take that back, or settle it by "
                "`kubectl apply --server-side --field-manager=flywheel --force-conflicts`.",
            )
        if error.status == 409:
            return Changed(said)
        if error.status in (401, 403):
            return ServingError(
                f"{what}: {said}",
                "give the service account get, patch and delete on inferenceservices.serving.kserve.io.",
            )
        if error.status == 404:
            return ServingError(f"{what}: {said}", "install KServe, and make the namespace.")
        return ServingError(f"{what}: {said}", "mend what the API server names, in `deploy` of flywheel.yaml.")


def readable(uri: str) -> str:
    """Return the URI of a model if KServe can read it.

    Raises:
        ServingError: It cannot.
    """
    scheme = urlsplit(uri).scheme
    if scheme not in _READABLE:
        raise ServingError(
            f"KServe cannot read the model at {uri!r}",
            f"keep MLflow's artifacts where a cluster can: {', '.join(f'{each}://' for each in _READABLE[:3])}.",
        )
    return uri


def _connect(context: str) -> ApiClient:
    try:
        if not context and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config()
            return client.ApiClient()
        return config.new_client_from_config(context=context or None)
    except config.ConfigException as error:
        raise ServingError(
            f"no Kubernetes cluster is known here: {error}", "give `deploy.context`, or set KUBECONFIG."
        ) from error


def _known(error: ApiException) -> bool:
    """Whether a 404 is about the object, not about a kind that the server does not know."""
    return "page not found" not in (error.body or "")


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"


def _traffic(targets: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for target in targets:
        found[target.get("revisionName", "")] = found.get(target.get("revisionName", ""), 0) + (
            target.get("percent") or 0
        )
    return found


def _problem(conditions: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    failure = model.get("lastFailureInfo") or {}
    if failure.get("message"):
        return f"{failure.get('reason', 'failed')}: {failure['message']}"
    said = [each for each in conditions.values() if each["status"] == "False" and each.get("message")]
    return "; ".join(dict.fromkeys(f"{each.get('reason', each['type'])}: {each['message']}" for each in said))


def _asked(name: str, notes: Mapping[str, str]) -> Deployment | None:
    keys = ("version", "span", "run", "digest")
    if f"{_OURS}version" not in notes:
        return None
    return Deployment(name, *(notes.get(f"{_OURS}{key}", "") for key in keys))


def _read(text: str | None) -> Deployment | None:
    return Deployment(**json.loads(text)) if text else None
