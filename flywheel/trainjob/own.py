"""What the step's own pod says: what its TrainJob goes with, what the nodes need too, and whether the run is over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flywheel.trainjob.cluster import Cluster

_WORKFLOW = "workflows.argoproj.io/workflow"


def on_kubeflow() -> bool:
    """Return whether this process is a step that Kubeflow started: the launcher says so."""
    return bool(os.environ.get("KFP_POD_NAME"))


@dataclass(frozen=True)
class Own:
    """The step's own pod.

    Attributes:
        found: The pod; empty when it may not be read.
        cluster: Where it is.
    """

    found: Mapping[str, Any]
    cluster: Cluster

    @classmethod
    def of(cls, cluster: Cluster) -> Own:
        """Return this step's pod."""
        name = os.environ.get("KFP_POD_NAME", "")
        return cls((cluster.pod(name) if name else None) or {}, cluster)

    @property
    def owner(self) -> dict[str, Any] | None:
        """What the TrainJob is deleted with: the run's workflow, which outlives its pods; else this pod."""
        meta = self.found.get("metadata")
        if meta is None:
            name, uid = os.environ.get("KFP_POD_NAME"), os.environ.get("KFP_POD_UID")
            return _reference("v1", "Pod", name, uid) if name and uid else None
        for each in meta.get("ownerReferences") or ():
            if each["kind"] == "Workflow":
                return _reference(each["apiVersion"], each["kind"], each["name"], each["uid"])
        return _reference("v1", "Pod", meta["name"], meta["uid"])

    @property
    def shares(self) -> dict[str, Any]:
        """What the nodes' pods need of this one's: who it is, and how it may pull images."""
        spec = self.found.get("spec", {})
        return {key: spec[key] for key in ("serviceAccountName", "imagePullSecrets") if spec.get(key)}

    @property
    def env(self) -> list[dict[str, Any]]:
        """Variables that refer to secrets and config maps; values stay here."""
        containers = self.found.get("spec", {}).get("containers", ())
        main: Mapping[str, Any] = next((each for each in containers if each["name"] == "main"), {})
        kinds = ("secretKeyRef", "configMapKeyRef")
        return [
            {"name": each["name"], "valueFrom": each["valueFrom"]}
            for each in main.get("env") or ()
            if any(kind in (each.get("valueFrom") or {}) for kind in kinds)
        ]

    def run_is_over(self) -> bool:
        """Return whether this run was terminated or deleted; false when that cannot be known."""
        name = (self.found.get("metadata", {}).get("labels") or {}).get(_WORKFLOW, "")
        workflow = self.cluster.other("argoproj.io", "v1alpha1", "workflows", name) if name else None
        if not workflow:
            return False
        spec = workflow.get("spec", {})
        ended = spec.get("activeDeadlineSeconds") == 0 or bool(spec.get("shutdown"))  # how Kubeflow and Argo end a run
        return ended or bool(workflow["metadata"].get("deletionTimestamp"))


def _reference(version: str, kind: str, name: str, uid: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "name": name, "uid": uid}
