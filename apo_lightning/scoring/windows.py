"""A tower that looks at an image window by window asks for all windows at once.

The library's SDPA runs one window after the other, some fifty in every layer of Qwen2.5-VL, so that a GPU waits for
launches. Its FlashAttention path hands over where windows end, and PyTorch has the same kernel without a package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from apo_lightning.scoring.parts import Parts

ATTENTION = "flash_by_torch"
"""The library hands ends of windows over to what has "flash" in its name."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """``[1, heads, L, d]`` to ``[1, L, heads, d]``; each window sees itself."""
    if cu_seq_lens_q is None or max_length_q is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    q, k, v = (states[0].transpose(0, 1) for states in (query, key, value))
    ends = cu_seq_lens_q.int()
    out = torch.ops.aten._flash_attention_forward(
        q, k, v, ends, ends, max_length_q, max_length_q, 0.0, False, False, scale=scaling
    )[0]
    return out[None], None


AttentionInterface.register(ATTENTION, attend)


@contextmanager
def windows_at_once(parts: Parts) -> Iterator[None]:
    """Inside, a Qwen tower of 16 bits on a GPU has one launch a layer for all windows; others are as they were."""
    tower = getattr(parts.trunk, "visual", None)
    config, weight = getattr(tower, "config", None), next(iter(tower.parameters()), None) if tower is not None else None
    if weight is None or not weight.is_cuda or weight.dtype not in (torch.bfloat16, torch.float16):
        yield
        return
    before = config._attn_implementation
    config._attn_implementation = ATTENTION if before == "sdpa" else before
    try:
        yield
    finally:
        config._attn_implementation = before
