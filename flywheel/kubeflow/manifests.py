"""What a flywheel is on Kubernetes, as manifests for GitOps: the pipeline and its version, and who may what."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from flywheel.archive import MADE
from flywheel.config import FILE
from flywheel.errors import ConfigError
from flywheel.kubeflow.cronjob import account_of, cron_job
from flywheel.kubeflow.rights import Right, launching, rights, triggering
from flywheel.kubeflow.versions import Package

_GROUP, _RBAC = "pipelines.kubeflow.org/v2beta1", "rbac.authorization.k8s.io"
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FILES = ("pipeline.yaml", "rbac.yaml", "trigger.yaml")
_KUSTOMIZATION = "kustomization.yaml"
Manifest = dict[str, Any]


def manifests(
    package: Package, namespace: str = "", profile: str = "", overrides: Iterable[str] = ()
) -> dict[str, list[Manifest]]:
    """Return the manifests of a flywheel, by the file that they go to.

    Args:
        package: What a cluster is given of it.
        namespace: Of its runs; by default `kubeflow.namespace`.
        profile: With which it is declared; empty without.
        overrides: `key.sub=value` that were laid over that.

    Raises:
        ConfigError: Namespace or service account are not said.
    """
    project = package.workspace.project
    where = namespace or project.kubeflow.namespace or ""
    if not _NAMESPACE.fullmatch(where):
        raise ConfigError(
            f"the namespace of the manifests is {where!r}" if where else "it is not said which namespace they are for",
            "give --namespace, or set kubeflow.namespace.",
        )
    account = project.kubeflow.service_account
    if not account:
        raise ConfigError(
            "kubeflow.service_account is not set, and rights are given to an account",
            "name one there: it is made, and the steps run as it.",
        )
    looking = [Package.of(package.workspace, monitoring=True)] if project.monitor.schedule else []
    made = {
        "pipeline.yaml": [each for whole in (package, *looking) for each in pipeline(whole, where)],
        "rbac.yaml": access(account, where, (*launching(), *rights(project))),
    }
    if project.trigger:
        runs_as = account_of(project)
        made["trigger.yaml"] = [*access(runs_as, where, triggering()), cron_job(package, where, profile, overrides)]
    return made


def pipeline(package: Package, namespace: str) -> list[Manifest]:
    """Return the pipeline and its version, as Kubeflow Pipelines takes them in its Kubernetes-native API mode.

    The version is displayed under the name that `flywheel submit` and `schedule apply` look for, so they find it there.
    """
    spec, *rest = yaml.safe_load_all(package.pipeline.read_text())
    told = {"displayName": package.version, "pipelineName": package.name, "pipelineSpec": spec}
    return [
        _manifest(
            _GROUP, "Pipeline", package.name, namespace, spec={"description": spec["pipelineInfo"]["description"]}
        ),
        _manifest(
            _GROUP,
            "PipelineVersion",
            f"{package.name}-{package.version}",
            namespace,
            spec=told | ({"platformSpec": rest[0]} if rest else {}),
        ),
    ]


def access(account: str, namespace: str, needed: Iterable[Right]) -> list[Manifest]:
    """Return a service account, and in each namespace a role with what it needs there, bound to it."""
    made = [_manifest("v1", "ServiceAccount", account, namespace)]
    needed = list(needed)
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    for where in dict.fromkeys(right.namespace or namespace for right in needed):
        rules = [_rule(right) for right in needed if (right.namespace or namespace) == where]
        role = {"apiGroup": _RBAC, "kind": "Role", "name": account}
        made.append(_manifest(f"{_RBAC}/v1", "Role", account, where, rules=rules))
        made.append(_manifest(f"{_RBAC}/v1", "RoleBinding", account, where, roleRef=role, subjects=[subject]))
    return made


def write(made: Mapping[str, list[Manifest]], folder: Path) -> list[Path]:
    """Write manifests and a kustomization of them to a folder, and return the files; equal input gives equal bytes.

    Raises:
        ConfigError: `folder` is a file, or holds a flywheel.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{str(folder)!r} is a file", "give the folder to write to.")
    if (folder / FILE).exists():
        raise ConfigError(f"{str(folder)!r} holds a flywheel", "give a folder of its own, as -o kubernetes.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MADE).write_text("Written by `flywheel compile --kubernetes`; no part of the code.\n")
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [*made]}
    written = []
    for name, documents in {**made, _KUSTOMIZATION: [kustomization]}.items():
        partial = folder / f".{os.getpid()}.{name}"
        partial.write_text(yaml.dump_all(documents, Dumper=_Plain, sort_keys=True, width=120))
        written.append(partial.replace(folder / name))
    for name in _FILES:
        if name not in made:
            (folder / name).unlink(missing_ok=True)
    return written


class _Plain(yaml.SafeDumper):
    """Writes what stands twice twice: people compare these files."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _rule(right: Right) -> Manifest:
    named = {"resourceNames": list(right.names)} if right.names else {}
    return {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs), **named}


def _manifest(version: str, kind: str, name: str, namespace: str, **rest: Any) -> Manifest:
    labels = {"app.kubernetes.io/managed-by": "ai-flywheel"}
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        **rest,
    }
