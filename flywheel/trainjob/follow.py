"""Start a TrainJob or find the one that was started, follow it to its end, begin again when its nodes are taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from flywheel.errors import ClusterError, FlywheelError, TrainerError
from flywheel.say import say
from flywheel.trainjob.cluster import Cluster
from flywheel.trainjob.look import Look, culprit, look, number
from flywheel.trainjob.manifest import ATTEMPT, JOB, LOST, PREEMPTIONS, SPOT, Plan, body

_LINES = 20
_MOST_KEPT = 50  # uids in an annotation


class Followed:
    """The TrainJobs of one step, one after another.

    Args:
        cluster: Where they are.
        plan: What they train.
        every: Seconds between looks, when nothing changes.
        clock: Gives seconds that only grow.
        tell: Tells whoever watches what happens.
    """

    def __init__(
        self,
        cluster: Cluster,
        plan: Plan,
        every: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = say,
    ) -> None:
        self.cluster, self.plan = cluster, plan
        self._every, self._clock, self._tell = every, clock, tell
        self._told = ""

    def run(self) -> None:
        """Return when the training is complete.

        Its nodes may be taken away: its pods then come again on others, and when it fails of it another TrainJob takes
        its place; after `spot.retries` of that, on nodes that stay.

        Raises:
            TrainerError: The trainer failed; the error shows the end of its log. The TrainJob stays, to be looked at.
            ClusterError: It never started, lost its nodes too often, or was deleted by somebody; it is deleted then.
        """
        job = self._newest() or self._start(0, 0, spot=bool(self.plan.resources.spot))
        while (following := self._followed(job)) is not None:
            job = following

    def stop(self) -> None:
        """Delete what is left of it."""
        for job in self.cluster.find(f"{JOB}={self.plan.name}"):
            self.cluster.delete(job["metadata"]["name"])

    def _newest(self) -> dict[str, Any] | None:
        jobs = self.cluster.find(f"{JOB}={self.plan.name}")
        newest = max(jobs, key=lambda job: int(_annotation(job, ATTEMPT)), default=None)
        if newest is None:
            return None
        if newest["metadata"].get("deletionTimestamp"):  # the step was killed while it moved on to the next
            return self._replaced(newest, int(_annotation(newest, PREEMPTIONS)))
        self._tell(f"TrainJob {newest['metadata']['name']} is there already and followed on")
        self._adopt(newest)
        return newest

    def _adopt(self, job: Mapping[str, Any]) -> None:
        """Let it go with this step too: the pod that started it may be gone."""
        owners = job["metadata"].get("ownerReferences", [])
        if self.plan.owner and self.plan.owner["uid"] not in [owner["uid"] for owner in owners]:
            owners = [*owners, dict(self.plan.owner)]
            self.cluster.patch(job["metadata"]["name"], {"metadata": {"ownerReferences": owners}})

    def _start(self, attempt: int, preemptions: int, *, spot: bool) -> dict[str, Any]:
        asked = body(self.plan, attempt, preemptions, spot=spot)
        job = self.cluster.create(asked)
        name = job["metadata"]["name"]
        if job["metadata"].get("labels", {}).get(JOB) != self.plan.name:
            raise ClusterError(f"there is a TrainJob {name!r} that is none of Flywheel's", "delete or rename it.")
        nodes = self.plan.resources.nodes
        self._tell(f"TrainJob {name}: {nodes} node{'s' * (nodes != 1)}" + (", on spot nodes" if spot else ""))
        return job

    def _followed(self, job: dict[str, Any]) -> dict[str, Any] | None:
        """Follow one TrainJob to its end; return the one that takes its place, None when training is complete."""
        name = job["metadata"]["name"]
        since = self._clock()
        while True:
            found = self.cluster.get(name)
            if found is None or found["metadata"].get("deletionTimestamp"):
                raise ClusterError(
                    f"TrainJob {name!r} was deleted while it trained", "somebody did that; run it again."
                )
            seen = look(found, self.cluster.pods(name))
            preemptions = self._counted(found, seen)
            self._say(name, seen.message)
            if seen.phase == "complete":
                self.cluster.delete(name)
                return None
            if self._has_to_move(found, preemptions) or seen.phase == "failed":
                return self._next(found, seen, preemptions)
            if seen.phase == "running":
                since = self._clock()
            elif self._clock() - since > self.plan.resources.start_within.total_seconds():
                raise self._never_started(found, seen)
            self.cluster.wait(found, self._every)

    def _counted(self, job: dict[str, Any], seen: Look) -> int:
        """Return how often nodes were taken away until now; those that went between two looks went at once.

        The count is kept on the TrainJob: a step that is tried again goes on from it.
        """
        known = frozenset(filter(None, _annotation(job, LOST).split(",")))
        count = int(_annotation(job, PREEMPTIONS))
        if new := seen.lost - known:
            count += 1
            kept = {PREEMPTIONS: str(count), LOST: ",".join([*sorted(known), *sorted(new)][-_MOST_KEPT:])}
            self.cluster.patch(job["metadata"]["name"], {"metadata": {"annotations": kept}})
            job["metadata"]["annotations"] |= kept
            self._tell(
                f"TrainJob {job['metadata']['name']} has lost {len(new)} of its pods to the cluster, time {count}"
            )
        return count

    def _has_to_move(self, job: Mapping[str, Any], preemptions: int) -> bool:
        """Return whether it has lost spot nodes more often than it may."""
        spot = self.plan.resources.spot
        return bool(spot and _annotation(job, SPOT) == "true" and preemptions > spot.retries)

    def _next(self, job: dict[str, Any], seen: Look, preemptions: int) -> dict[str, Any]:
        """Return the TrainJob that takes the place of one that failed or has to move.

        Raises:
            TrainerError: It failed by its own fault.
            ClusterError: It may not be tried again.
        """
        spot, name = self.plan.resources.spot, job["metadata"]["name"]
        if not _annotation(job, LOST):
            raise self._fault(name, seen)
        stayed = _annotation(job, SPOT) != "true"
        if spot is None or stayed or (preemptions > spot.retries and spot.fallback == "none"):
            self.cluster.delete(name)
            raise ClusterError(
                f"TrainJob {name!r} has lost its nodes {preemptions} times",
                "run it again, or set train.resources.spot: {fallback: on_demand}.",
            )
        return self._replaced(job, preemptions)

    def _replaced(self, job: dict[str, Any], preemptions: int) -> dict[str, Any]:
        spot = self.plan.resources.spot
        self.cluster.delete(job["metadata"]["name"])
        again = spot is not None and preemptions <= spot.retries
        return self._start(int(_annotation(job, ATTEMPT)) + 1, preemptions, spot=again)

    def _fault(self, name: str, seen: Look) -> FlywheelError:
        """Say why the training failed, with the end of the log of the node that failed first."""
        what = f"TrainJob {name!r} failed: {seen.reason}: {seen.message}".rstrip(": ")
        if seen.reason == "DeadlineExceeded":
            return TrainerError(what, "raise train.resources.timeout, or let the trainer do less.")
        found = culprit(self.cluster.pods(name))
        if found is None:
            return TrainerError(what, f"kubectl -n {self.cluster.namespace} describe trainjob {name} says more.")
        pod, how = found
        lines = self.cluster.log(pod["metadata"]["name"], "node", _LINES)
        tail = "".join(f"\n    {line}" for line in lines)
        remedy = "mend the trainer; the TrainJob stays until the run is deleted."
        if "OOMKilled" in how:
            remedy = "raise train.resources.memory, or give the trainer smaller batches."
        return TrainerError(
            f"{what}\n  node {number(pod)} (pod {pod['metadata']['name']}) ended first: {how}{tail}", remedy
        )

    def _never_started(self, job: dict[str, Any], seen: Look) -> ClusterError:
        """Say what it waits for, and take it out of the way: nobody would be there when it starts."""
        name, asked = job["metadata"]["name"], self.plan.resources
        why = seen.message
        remedy = "ask for less, or for other nodes, in train.resources; or wait longer: start_within."
        if seen.phase == "queued":
            said = self._admission(job)
            why += f": {said}" if said else ""
            if not said:
                remedy = (
                    "is Kueue there, and is TrainJob among its integrations? Nothing says that it looks at this queue."
                )
        self.cluster.delete(name)
        waited = asked.start_within.total_seconds()
        return ClusterError(f"TrainJob {name!r} did not start within {waited:g} s: it {why}", remedy)

    def _admission(self, job: Mapping[str, Any]) -> str:
        """Return what Kueue says of it; nothing when it says nothing, or may not be asked."""
        selector = f"kueue.x-k8s.io/job-uid={job['metadata']['uid']}"
        for version in ("v1beta2", "v1beta1"):
            for workload in self.cluster.other("kueue.x-k8s.io", version, "workloads", selector=selector) or ():
                for each in workload.get("status", {}).get("conditions", ()):
                    if each["type"] == "QuotaReserved" and each["status"] == "False":
                        return str(each["message"])
        return ""

    def _say(self, name: str, message: str) -> None:
        if message != self._told:
            self._told = message
            self._tell(f"TrainJob {name} {message}")


def _annotation(job: Mapping[str, Any], name: str) -> str:
    return str(job["metadata"].get("annotations", {}).get(name, "") or ("" if name == LOST else "0"))
