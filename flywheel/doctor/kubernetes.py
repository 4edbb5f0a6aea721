"""Whether the Kubernetes cluster answers, and lets the flywheel do what its settings make it do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from flywheel.config import KServe, Project
from flywheel.doctor.finding import Finding
from flywheel.errors import ClusterError, MissingExtra
from flywheel.kubeflow.rights import Right, rights
from flywheel.workspace import Workspace

_SECONDS = 10


def check(workspace: Workspace) -> Iterator[Finding]:
    """Yield the cluster, its namespaces and the rights there; one skipped finding when no step talks to Kubernetes."""
    needed = rights(workspace.project)
    if workspace.project.kubeflow.service_account:
        yield _account(workspace.project)
    if not needed:
        yield Finding("kubernetes", "skip", "no step of this flywheel talks to Kubernetes")
        return
    deploy = workspace.project.deploy
    api, own = connect(deploy.context if isinstance(deploy, KServe) else "")
    yield Finding("kubernetes", "ok", f"{_version(api)} at {api.configuration.host}")
    for namespace in sorted({right.namespace or own for right in needed}):
        yield _namespace(api, namespace)
    yield _permissions(api, own, needed)


def _account(project: Project) -> Finding:
    """Look whether the service account of the steps is there; a cluster out of reach tells nothing."""
    account = project.kubeflow.service_account or ""
    try:
        api, own = connect()
    except ClusterError:
        return Finding("account", "skip", f"whether there is a service account {account!r} cannot be seen from here")
    from kubernetes import client
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        namespace = project.kubeflow.namespace or own
        client.CoreV1Api(api).read_namespaced_service_account(account, namespace, _request_timeout=_SECONDS)
    except ApiException as error:
        if error.status == 404:
            cure = "make it, as by `flywheel compile --kubernetes`, or name another in kubeflow.service_account."
            return Finding("account", "fail", f"there is no service account {account!r} in {namespace!r}", cure)
        return Finding("account", "skip", f"whether there is a service account {account!r} may not be looked at")
    except HTTPError:
        return Finding("account", "skip", f"whether there is a service account {account!r} cannot be seen from here")
    return Finding("account", "ok", f"service account {account!r} is in {namespace!r}")


def connect(context: str = "") -> tuple[Any, str]:
    """Return a client of the cluster that this process runs in, or that kubectl talks to, and its namespace.

    Raises:
        ClusterError: There is none.
        MissingExtra: The client is not installed.
    """
    try:
        from kubernetes import client, config
    except ImportError as error:
        raise MissingExtra(f"this needs {error.name!r}", "pip install 'ai-flywheel[kubeflow]'") from None
    settings = client.Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST") and not context:
            config.load_incluster_config(client_configuration=settings)
            with open("/var/run/secrets/kubernetes.io/serviceaccount/namespace") as file:
                namespace = file.read().strip()
        else:
            file_ = os.environ.get("KUBECONFIG")
            config.load_kube_config(config_file=file_, context=context or None, client_configuration=settings)
            known, current = config.list_kube_config_contexts(file_)
            chosen = next((each for each in known if each["name"] == context), current)
            namespace = chosen["context"].get("namespace", "default")
    except (config.ConfigException, OSError) as error:
        told = str(error).splitlines()[0]
        raise ClusterError(
            f"there is no Kubernetes cluster here: {told}", "set KUBECONFIG, or log in as you do for kubectl."
        ) from None
    settings.retries = False
    return client.ApiClient(settings), namespace


def _version(api: Any) -> str:
    from kubernetes import client
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        told = client.VersionApi(api).get_code(_request_timeout=_SECONDS)
    except ApiException as error:
        raise _refused(api, error) from None
    except HTTPError as error:
        raise ClusterError(
            f"Kubernetes at {api.configuration.host} does not answer: {type(error).__name__}: {error}",
            "start it, connect to its network, or choose another context of the kubeconfig.",
        ) from None
    return f"Kubernetes {told.git_version}"


def _namespace(api: Any, name: str) -> Finding:
    from kubernetes import client
    from kubernetes.client import ApiException

    try:
        client.CoreV1Api(api).read_namespace(name, _request_timeout=_SECONDS)
    except ApiException as error:
        if error.status == 404:
            cure = "make it, or name another in deploy.namespace or the kubeconfig's context."
            return Finding("namespace", "fail", f"there is no namespace {name!r}", cure)
        if error.status == 403:  # few may look at namespaces, and nobody has to
            return Finding("namespace", "skip", f"whether there is a namespace {name!r} may not be looked at")
        raise _refused(api, error) from None
    return Finding("namespace", "ok", name)


def _permissions(api: Any, own: str, needed: tuple[Right, ...]) -> Finding:
    """Ask by a SelfSubjectAccessReview for each verb: they are the rights of whoever asks."""
    missing = []
    for right in needed:
        refused = [verb for verb in right.verbs if not _may(api, right, verb, right.namespace or own)]
        if refused:
            what = f"{right.resource}.{right.group}" if right.group else right.resource
            missing.append(f"{' '.join(refused)} {what} in {right.namespace or own}, to {right.why}")
    if missing:
        return Finding("permissions", "fail", "not allowed: " + "; ".join(missing),
                       "ask for a Role with these verbs, as docs/kubeflow.md has it.")  # fmt: skip
    return Finding("permissions", "ok", f"all {sum(len(right.verbs) for right in needed)} that the steps need")


def _may(api: Any, right: Right, verb: str, namespace: str) -> bool:
    from kubernetes import client
    from kubernetes.client import ApiException

    resource, _, part = right.resource.partition("/")
    asked = client.V1ResourceAttributes(
        group=right.group, resource=resource, subresource=part or None, verb=verb, namespace=namespace
    )
    spec = client.V1SelfSubjectAccessReviewSpec(resource_attributes=asked)
    review = client.V1SelfSubjectAccessReview(
        api_version="authorization.k8s.io/v1", kind="SelfSubjectAccessReview", spec=spec
    )
    try:
        answer = client.AuthorizationV1Api(api).create_self_subject_access_review(review, _request_timeout=_SECONDS)
    except ApiException as error:
        raise _refused(api, error) from None
    return bool(answer.status.allowed)


def _refused(api: Any, error: Any) -> ClusterError:
    try:
        said = str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        said = str(error.reason)
    cure = "log in anew, as you do for kubectl." if error.status == 401 else "try again, or ask whoever keeps it."
    return ClusterError(f"Kubernetes at {api.configuration.host} answers {error.status}: {said}", cure)
