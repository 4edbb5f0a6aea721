"""`flywheel doctor`: whether all that a flywheel needs is there, one check after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flywheel.doctor import bucket, clock, image, kubeflow, kubernetes, libraries, state
from flywheel.doctor.finding import Finding
from flywheel.errors import FlywheelError
from flywheel.workspace import Workspace

__all__ = ["Finding", "examine"]

CHECKS: dict[str, Callable[[Workspace], Iterator[Finding]]] = {
    "versions": libraries.check,
    "files": state.check_files,
    "warehouse": state.check_warehouse,
    "ledger": state.check_ledger,
    "storage": bucket.check,
    "kubeflow": kubeflow.check,
    "kubernetes": kubernetes.check,
    "image": image.check,
    "clock": clock.check,
}


def examine(workspace: Workspace) -> Iterator[Finding]:
    """Yield what each check finds, as it is found; one that fails keeps no other from being made.

    Nothing is changed: what is written to a bucket is removed again, and the warehouse is asked by a dry run.
    """
    for name, check in CHECKS.items():
        try:
            yield from check(workspace)
        except FlywheelError as error:
            yield Finding(name, "fail", error.message, error.remedy)
