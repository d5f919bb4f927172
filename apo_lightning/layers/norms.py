"""RMS norms of a 16-bit network as one operation, PyTorch's, where the network's own does the same in eight."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn


def use_fused_norms(model: nn.Module) -> int:
    """Let every RMS norm of 16 bits ask `torch.nn.functional.rms_norm`. Whether a class is one is not told by its name
    alone but by its numbers, in float32: others (Gemma's, which scale by one plus the weight) stay as they are.

    The weight is then multiplied before the result is rounded and not after, so that one rounding is saved.

    Returns:
        number of norms that were changed.
    """
    known: dict[type, bool] = {}
    changed = 0
    for module in model.modules():
        kind = type(module)
        if not kind.__name__.endswith("RMSNorm") or not _has_16_bits(module):
            continue
        if kind not in known:
            known[kind] = _is_plain(module)
        if known[kind]:
            module.__class__ = _fused(kind)
            changed += 1
    return changed


def _has_16_bits(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.dtype in (torch.bfloat16, torch.float16) and not weight.is_meta


@torch.no_grad()
def _is_plain(module: nn.Module) -> bool:
    if not hasattr(module, "variance_epsilon"):
        return False
    width, device = module.weight.shape[0], module.weight.device
    x = torch.linspace(-2, 3, 2 * width, device=device).view(2, width)
    with torch.autocast(device.type, enabled=False):
        wanted = nn.functional.rms_norm(x, (width,), module.weight.float(), module.variance_epsilon)
        return torch.allclose(module(x).float(), wanted, rtol=1e-4, atol=1e-5)


@cache
def _fused(kind: type[nn.Module]) -> type[nn.Module]:
    def forward(self: Any, hidden_states: Tensor) -> Tensor:
        if hidden_states.dtype != self.weight.dtype:
            return kind.forward(self, hidden_states)
        with torch.autocast(hidden_states.device.type, enabled=False):
            return nn.functional.rms_norm(hidden_states, self.weight.shape, self.weight, self.variance_epsilon)

    return type(f"Fused{kind.__name__}", (kind,), {"forward": forward, "__doc__": kind.__doc__})
