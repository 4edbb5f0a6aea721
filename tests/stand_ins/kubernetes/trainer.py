"""The controllers' part: what Kubeflow Trainer, JobSet, Kueue and the nodes do to a TrainJob and its pods."""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

INDEX = "batch.kubernetes.io/job-completion-index"


class Trainer:
    """Moves TrainJobs on when it is told to; `run_for_real` makes it do so by itself."""

    def __init__(self, stand_in):
        self.stand_in, self._made, self._processes, self._threads = stand_in, 0, [], []
        self.folder = Path(tempfile.mkdtemp(prefix="stand-in-pods-"))
        self.lingers = False
        """Whether deleted jobs stay until `gone` is called, as with a finalizer."""

    def close(self):
        for process in self._processes:
            if process.poll() is None:
                process.kill()

    def newest(self):
        """Return the job that was created last."""
        return list(self.stand_in.jobs().values())[-1]

    def pods(self, job=None):
        """Return the pods of a job that are not over."""
        name = (job or self.newest())["metadata"]["name"]
        every = self.stand_in.objects["/api/v1/namespaces/team/pods"].values()
        mine = [pod for pod in every if pod["metadata"]["labels"].get("jobset.sigs.k8s.io/jobset-name") == name]
        return [pod for pod in mine if pod["status"]["phase"] in ("Pending", "Running")]

    def start(self):
        """Let all nodes of the newest job run."""
        job = self.newest()
        for number in range(job["spec"]["trainer"]["numNodes"]):
            self._pod(job, number, {"phase": "Running", "containerStatuses": [_container({"running": {}})]})
        self._touch(job)

    def pend(self, why):
        """Let the nodes of the newest job wait."""
        job = self.newest()
        said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        for number in range(job["spec"]["trainer"]["numNodes"]):
            self._pod(job, number, {"phase": "Pending", "conditions": [said]})
        self._touch(job)

    def admit(self):
        """Do what Kueue does when there is room."""
        job = self.newest()
        assert job["spec"]["suspend"]
        job["spec"]["suspend"] = False
        self.start()

    def say_queue(self, why):
        """Let Kueue say why it does not admit the newest job."""
        job = self.newest()
        said = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": why}
        labels = {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]}
        workload = {"metadata": {"name": f"trainjob-{job['metadata']['name']}", "labels": labels}}
        path = "/apis/kueue.x-k8s.io/v1beta1/namespaces/team/workloads"
        self.stand_in.put(path, workload | {"status": {"conditions": [said]}})

    def take(self, *numbers, again=True):
        """Take the nodes of some pods away; the Job controller makes others in their place."""
        job = self.newest()
        for pod in self.pods(job):
            number = int(pod["metadata"]["labels"][INDEX])
            if number not in numbers:
                continue
            said = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
            pod["status"] |= {"phase": "Failed", "reason": "Terminated", "conditions": [said]}
            self._write(pod)
            if again:
                self._pod(job, number, {"phase": "Running", "containerStatuses": [_container({"running": {}})]})
        self._touch(job)

    def fail(self, reason="FailedJobs", message="jobset failed due to one or more job failures"):
        """Fail the newest job."""
        self._end("Failed", reason, message)

    def die(self, number, code, lines=(), why="Error"):
        """Let the process of a node end badly."""
        for pod in self.pods():
            if pod["metadata"]["labels"][INDEX] == str(number):
                ended = {"exitCode": code, "reason": why, "finishedAt": f"2026-01-01T00:00:{self._made:02d}Z"}
                pod["status"] |= {"phase": "Failed", "containerStatuses": [_container({"terminated": ended})]}
                self._write(pod)
                self.stand_in.logs[pod["metadata"]["name"]] = list(lines)
                self._made += 1

    def finish(self):
        """Complete the newest job."""
        self._end("Complete", "AllJobsCompleted", "jobset completed successfully")

    def deleted(self, name):
        """Do what the garbage collector does: pods first, then the job."""
        if not self.lingers:
            self.gone(name)

    def gone(self, name):
        for pod in list(self.stand_in.objects["/api/v1/namespaces/team/pods"].values()):
            if pod["metadata"]["labels"].get("jobset.sigs.k8s.io/jobset-name") == name:
                self.stand_in.drop("/api/v1/namespaces/team/pods", pod["metadata"]["name"])
        self.stand_in.drop("/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs", name)

    def log(self, pod):
        file = self.folder / pod
        return file.read_text().splitlines() if file.exists() else self.stand_in.logs.get(pod, [])

    def run_for_real(self):
        """Run the newest job's command, a process a node, and give the job the conditions that follow."""
        thread = threading.Thread(target=self._run, args=(self.newest(),), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, job):
        trainer, name = job["spec"]["trainer"], job["metadata"]["name"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.start()
        running = {}
        for pod in self.pods(job):
            number = pod["metadata"]["labels"][INDEX]
            told = {"PET_NNODES": str(trainer["numNodes"]), "PET_NODE_RANK": number, "PET_MASTER_ADDR": "127.0.0.1"}
            told |= {
                "PET_MASTER_PORT": str(port),
                "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
                "OMP_NUM_THREADS": "1",
            }
            inherited = {key: value for key, value in os.environ.items() if not key.startswith("KFP_")}
            command = [sys.executable if part == "python" else part for part in trainer["command"]]
            with (self.folder / pod["metadata"]["name"]).open("w") as log:
                process = subprocess.Popen(command, env=inherited | told, stdout=log, stderr=subprocess.STDOUT)
            running[number] = process
            self._processes.append(process)
        codes = {number: process.wait() for number, process in running.items()}
        if name not in self.stand_in.jobs():
            return
        for number, code in codes.items():
            if code:
                self.die(int(number), code)
        self.fail() if any(codes.values()) else self.finish()

    def _end(self, kind, reason, message):
        job = self.newest()
        job.setdefault("status", {}).setdefault("conditions", []).append(
            {"type": kind, "status": "True", "reason": reason, "message": message}
        )
        self._touch(job)

    def _touch(self, job):
        self.stand_in.put("/apis/trainer.kubeflow.org/v1alpha1/namespaces/team/trainjobs", job)

    def _pod(self, job, number, status):
        self._made += 1
        name = f"{job['metadata']['name']}-node-0-{number}-{self._made}"
        labels = {"jobset.sigs.k8s.io/jobset-name": job["metadata"]["name"], INDEX: str(number)}
        self._write({"metadata": {"name": name, "uid": f"uid-{name}", "labels": labels}, "status": status})

    def _write(self, pod):
        self.stand_in.put("/api/v1/namespaces/team/pods", pod)


def _container(state):
    return {"name": "node", "state": state}
