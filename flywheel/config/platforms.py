"""Whose Kubernetes it is: by which labels nodes say their GPU, their pool, and that they are spot nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PlatformName = Literal["gke", "eks", "eks-auto", "eks-groups", "aks", "aks-pools"]
DEFAULT: PlatformName = "gke"


@dataclass(frozen=True)
class Platform:
    """Labels of nodes.

    Attributes:
        kinds: Kinds of GPUs, and the labels of nodes that have them.
        spot: Label of spot nodes, as name=value.
        pool: Name of the label that names the pool.
    """

    kinds: Mapping[str, Mapping[str, str]]
    spot: str
    pool: str


def _google() -> dict[str, dict[str, str]]:
    names = {
        "nvidia-a100-40gb": "nvidia-tesla-a100",
        "nvidia-p100": "nvidia-tesla-p100",
        "nvidia-p4": "nvidia-tesla-p4",
        "nvidia-t4": "nvidia-tesla-t4",
        "nvidia-v100": "nvidia-tesla-v100",
    }
    same = ("a100-80gb", "b200", "gb200", "h100-80gb", "h100-mega-80gb", "h200-141gb", "l4", "rtx-pro-6000")
    names |= {f"nvidia-{name}": f"nvidia-{name}" for name in same}
    return {kind: {"cloud.google.com/gke-accelerator": names[kind]} for kind in sorted(names)}


def _amazon(domain: str) -> dict[str, dict[str, str]]:
    """Karpenter says name and memory of a GPU, the latter in MiB; memory tells the two A100 apart."""
    names = {"a10g": "a10g", "b200": "b200", "h100-80gb": "h100", "h200-141gb": "h200", "l4": "l4", "l40s": "l40s"}
    names |= {"t4": "t4", "v100": "v100"}
    kinds = {f"nvidia-{kind}": {f"{domain}/instance-gpu-name": name} for kind, name in names.items()}
    for kind, memory in (("nvidia-a100-40gb", "40960"), ("nvidia-a100-80gb", "81920")):
        kinds[kind] = {f"{domain}/instance-gpu-name": "a100", f"{domain}/instance-gpu-memory": memory}
    return dict(sorted(kinds.items()))


_AZURE = {
    f"nvidia-{name.lower()}": {"karpenter.azure.com/sku-gpu-name": name}
    for name in ("A10", "A100", "H100", "H200", "T4")
}
_KARPENTER = {"spot": "karpenter.sh/capacity-type=spot", "pool": "karpenter.sh/nodepool"}
PLATFORMS: dict[PlatformName, Platform] = {
    "gke": Platform(_google(), "cloud.google.com/gke-spot=true", "cloud.google.com/gke-nodepool"),
    "eks": Platform(_amazon("karpenter.k8s.aws"), **_KARPENTER),
    "eks-auto": Platform(_amazon("eks.amazonaws.com"), **_KARPENTER),
    "eks-groups": Platform({}, "eks.amazonaws.com/capacityType=SPOT", "eks.amazonaws.com/nodegroup"),
    "aks": Platform(_AZURE, **_KARPENTER),
    "aks-pools": Platform({}, "kubernetes.azure.com/scalesetpriority=spot", "kubernetes.azure.com/agentpool"),
}
"""Google's; Amazon's with Karpenter, in Auto Mode, with managed node groups; Azure's with node auto-provisioning, with
node pools. The nodes of `eks-groups` and `aks-pools` do not say which GPU they have."""


def known_kinds() -> list[str]:
    """Return every kind that some platform knows."""
    return sorted({kind for platform in PLATFORMS.values() for kind in platform.kinds})
