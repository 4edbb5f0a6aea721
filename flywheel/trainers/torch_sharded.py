"""FSDP: of processes that train together, each keeps its share of every weight, gradient and optimiser state.

Zhao et al. 2023, by PyTorch's `fully_shard`. What is kept outside of training is whole, as that of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.modules.batchnorm import _BatchNorm

from flywheel.errors import ConfigError

_LEAST = 0.01  # of all weights, for a layer to be gathered by itself


def shard(module: nn.Module, device: torch.device, *, mixed: bool) -> nn.Module:
    """Return `module` with this process's share of its weights, which are those of the first process.

    A layer's weights are gathered when it is used, and let go after.

    Args:
        module: On its device; changed in place.
        device: What this process computes on.
        mixed: Whether weights are gathered in bfloat16; gradients are added up in float32 all the same.

    Raises:
        ConfigError: A weight is a scalar, of which there are no shares.
    """
    for name, weight in module.named_parameters():
        if weight.ndim == 0:
            raise ConfigError(
                f"parameters.sharded is set, but the weight {name!r} is a scalar", "make it a tensor of shape (1,)."
            )
    for each in (*module.parameters(), *module.buffers()):
        distributed.broadcast(each.detach(), 0)
    policy = MixedPrecisionPolicy()
    if mixed and not any(isinstance(each, _BatchNorm) for each in module.modules()):  # those compute in float32 only
        # Autocast casts what comes in, where that does no harm.
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for unit in (*_layers(module), module):
        # Always let go, so that between steps each weight is its share, whoever looks at it.
        fully_shard(unit, mesh=mesh, reshard_after_forward=True, mp_policy=policy)
    return module


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the larger members of sequences and lists, inner ones first; the rest is gathered together."""
    names = [name for name, _ in module.named_parameters()]
    if len(names) < len(list(module.named_parameters(remove_duplicate=False))):
        return  # weights that layers share have to be gathered together
    least = _LEAST * sum(each.numel() for each in module.parameters())
    for parent in reversed(list(module.modules())):
        if isinstance(parent, nn.Sequential | nn.ModuleList):
            for each in parent:
                callable_ = not isinstance(each, nn.ModuleList | nn.ModuleDict)
                if callable_ and sum(weight.numel() for weight in each.parameters()) >= max(1, least):
                    yield each


def local(values: torch.Tensor) -> torch.Tensor:
    """Return this process's share of `values`, not a copy."""
    return values.to_local() if isinstance(values, DTensor) else values


def whole(values: torch.Tensor) -> torch.Tensor:
    """Return all of `values`; where processes share them, all have to ask."""
    return values.full_tensor() if isinstance(values, DTensor) else values


def shares(state: dict[str, Any], part: Any) -> dict[str, Any]:
    """Return the whole `state` of a module or an optimiser as `part` holds it: cut where its weights are."""
    if isinstance(part, torch.optim.Optimizer):
        weights = [weight for group in part.param_groups for weight in group["params"]]
        cut = {number: _cut(own, dict.fromkeys(own, weights[number])) for number, own in state["state"].items()}
        return state | {"state": cut}
    return _cut(state, part.state_dict()) if isinstance(part, nn.Module) else state


def _cut(state: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    cut = dict(state)
    for name, values in state.items():
        weight = weights.get(name)
        if isinstance(weight, DTensor) and values.shape == weight.shape:  # a count of steps has another
            values = values.to(weight.device)
            # A copy, else the whole stays in memory under its share.
            cut[name] = distribute_tensor(values, weight.device_mesh, weight.placements, src_data_rank=None).clone()
    return cut
