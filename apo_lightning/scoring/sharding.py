"""What the scorer owes to FSDP2: all processes make the same passes, and gradients are reduced once.

A decoder layer runs several times before the backward: once with the prompts, once with each chunk of answers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.fsdp import FSDPModule

HELD = "_apo_wanted_sync"


def is_sharded(decoder: nn.Module) -> bool:
    """True where the layers of a decoder are spread over processes."""
    return isinstance(decoder.layers[0], FSDPModule)


def missing_passes(count: int, device: torch.device) -> int:
    """How many more chunks this process must run so that all run as many as the one with the most."""
    most = torch.tensor(count, device=device)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return int(most) - count


def hold_back_sync(decoder: nn.Module, last: Tensor) -> None:
    """Add gradients up locally until the backward reaches the prompts, and reduce them there.

    Args:
        last: last hidden states of the prompts; its gradient is the first of the prompts' backward.
    """
    layers = [module for module in decoder.modules() if isinstance(module, FSDPModule)]
    for layer in layers:
        if not hasattr(layer, HELD):  # still held where the backward of an earlier call never came
            setattr(layer, HELD, _syncs(layer))
        layer.set_requires_gradient_sync(False, recurse=False)

    def release(_: Tensor) -> None:
        for layer in layers:
            if hasattr(layer, HELD):
                layer.set_requires_gradient_sync(getattr(layer, HELD), recurse=False)
                delattr(layer, HELD)

    last.register_hook(release)


def _syncs(layer: FSDPModule) -> bool:
    """Whether a layer reduces its gradients now; False while gradients are accumulated over batches."""
    return all(group.reduce_grads for group in layer._get_fsdp_state()._fsdp_param_groups)
