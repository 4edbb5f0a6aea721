"""What a TrainJob and its pods say: how far they are, which nodes were taken away, and why something failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flywheel.trainjob.manifest import NODE

Phase = Literal["queued", "starting", "running", "complete", "failed"]
_TAKEN = frozenset({"NodeLost", "NodeShutdown", "Preempted", "Preempting", "Shutdown", "Terminated"})
_INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Look:
    """One look at a TrainJob.

    Attributes:
        phase: How far it is: waiting for its queue, for nodes, at work, or at its end.
        message: What of it is worth saying.
        lost: Uids of its pods whose nodes were taken away.
        reason: Kubernetes' word for why it ended.
    """

    phase: Phase
    message: str
    lost: frozenset[str]
    reason: str = ""


def look(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Look:
    """Return what a TrainJob and its pods say."""
    lost = frozenset(pod["metadata"]["uid"] for pod in pods if _was_taken(pod))
    conditions = {each["type"]: each for each in job.get("status", {}).get("conditions", ())}
    nodes = job["spec"]["trainer"]["numNodes"]

    def holds(kind: str) -> bool:
        return bool(conditions.get(kind, {}).get("status") == "True")

    if holds("Complete"):
        return Look("complete", "is complete", lost)
    if holds("Failed"):
        told = conditions["Failed"]
        return Look("failed", str(told.get("message", "")), lost, str(told.get("reason", "")))
    if job["spec"].get("suspend"):
        queue = job["metadata"]["labels"].get("kueue.x-k8s.io/queue-name", "")
        return Look("queued", f"waits in the queue {queue!r}" if queue else "is suspended", lost)
    ready = sum(_is_at_work(pod) for pod in pods)
    if ready < nodes:
        why = next(filter(None, map(_waits_for, pods)), "")
        return Look("starting", f"has {ready} of {nodes} nodes" + (f": {why}" if why else ""), lost)
    done = job["status"].get("trainerStatus", {}).get("progressPercentage") if job.get("status") else None
    return Look("running", f"is at work on {nodes} nodes" + (f", {done}% done" if done is not None else ""), lost)


def culprit(pods: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], str] | None:
    """Return the pod that failed first and how it ended: the others failed for want of it."""
    ends = []
    for pod in pods:
        for status in pod.get("status", {}).get("containerStatuses", ()):
            ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated")
            if status["name"] == NODE and ended and ended.get("exitCode"):
                how = f"exit code {ended['exitCode']}" + (f", {ended['reason']}" if ended.get("reason") else "")
                ends.append((ended.get("finishedAt") or "", pod["metadata"]["name"], pod, how))
    if not ends:
        return None
    _, _, pod, how = min(ends, key=lambda end: end[:2])
    return pod, how


def number(pod: Mapping[str, Any]) -> str:
    """Return which node a pod is."""
    labels, annotations = pod["metadata"].get("labels") or {}, pod["metadata"].get("annotations") or {}
    return str(labels.get(_INDEX) or annotations.get(_INDEX) or "?")


def _was_taken(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod was ended from outside, for its node or its place on it; not by its own fault."""
    status = pod.get("status", {})
    disrupted = any(
        each["type"] == "DisruptionTarget" and each["status"] == "True" for each in status.get("conditions") or ()
    )
    return disrupted or (status.get("phase") == "Failed" and status.get("reason") in _TAKEN)


def _is_at_work(pod: Mapping[str, Any]) -> bool:
    return pod.get("status", {}).get("phase") in ("Running", "Succeeded") and not _was_taken(pod)


def _waits_for(pod: Mapping[str, Any]) -> str:
    """Return what keeps a pod from starting: no node that fits, or no image."""
    status = pod.get("status", {})
    if status.get("phase") != "Pending":
        return ""
    for each in status.get("containerStatuses") or ():
        waiting = each.get("state", {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}".rstrip(": ")
    placed = [each for each in status.get("conditions") or () if each["type"] == "PodScheduled"]
    return next((str(each.get("message", "")) for each in placed if each["status"] == "False"), "")
