"""Which of several machines this one is, as Kubeflow Trainer's torch runtimes say it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Nodes:
    """The machines that train together.

    Attributes:
        count: How many.
        rank: Which of them this is, from 0; the first packages and logs what comes of it.
        address: Host of the first.
        port: Where it waits for the others.
    """

    count: int = 1
    rank: int = 0
    address: str = "localhost"
    port: int = 29500

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Nodes:
        """Return what the environment says; one machine when it says nothing."""
        return cls(
            int(environment.get("PET_NNODES", 1)),
            int(environment.get("PET_NODE_RANK", 0)),
            environment.get("PET_MASTER_ADDR", "localhost"),
            int(environment.get("PET_MASTER_PORT", 29500)),
        )

    def environment(self) -> dict[str, str]:
        """Return what `torch.distributed.init_process_group()` looks for, with one process a machine."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.count),
            "LOCAL_RANK": "0",
            "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": self.address,
            "MASTER_PORT": str(self.port),
        }
