"""How much memory a way of scoring needs, roughly, and which way to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil
import torch
from torch import distributed as dist
from torch import nn

from apo_lightning.scoring.packed import why_not
from apo_lightning.scoring.parts import Parts
from apo_lightning.scoring.precision import compute_dtype
from apo_lightning.scoring.sharding import is_sharded
from apo_lightning.types import BranchBatch

SHARE = 0.8
"""Part of the free memory that `auto` plans with; the rest is for what the estimate does not see."""


def free_bytes(model: nn.Module) -> int:
    """What `auto` may plan with on the device of ``model`` now; cached blocks of the allocator count as free."""
    device = next(model.parameters()).device
    if device.type != "cuda":
        return int(SHARE * psutil.virtual_memory().available)
    free, _ = torch.cuda.mem_get_info(device)
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(SHARE * (free + cached))


@dataclass(frozen=True)
class Estimate:
    """Bytes of activations.

    Attributes:
        prompt: what the prompts of the batch hold.
        branch: what its longest answer holds, the copy of its prompt's keys and values included.
        branches: what all answers hold.
    """

    prompt: int
    branch: int
    branches: int


@dataclass(frozen=True)
class Shape:
    """Widths of a decoder: of a hidden state, all queries, all keys, the MLP; and its number of layers."""

    hidden: int
    queries: int
    kv: int
    inner: int
    layers: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Of a text configuration."""
        width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        return cls(
            config.hidden_size,
            config.num_attention_heads * width,
            heads * width,
            config.intermediate_size,
            config.num_hidden_layers,
        )

    def token(self, *, fused: bool, drops: bool = False) -> int:
        """Numbers that the backward of a layer needs of a token, for a pre-norm decoder with a gated MLP.

        Args:
            fused: adapters and norms are single operations (`layers`): the residual stream before and after
                attention, both normed, queries and what attention gives, keys and values, four of the MLP's width.
                Else about 16 hidden-size tensors (norms work in float32), 4 of the MLP's width, 4 of the keys' width.
            drops: what each of seven adapters reads is a copy, with a mask of a byte.
        """
        if not fused:
            return 16 * self.hidden + 4 * self.inner + 4 * self.kv
        copies = (5 * self.hidden + self.queries + self.inner) * 3 // 2 if drops else 0
        return 4 * self.hidden + 2 * self.queries + 2 * self.kv + 4 * self.inner + copies


def activations(
    shape: Shape,
    prompts: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    token: int,
    unit: int,
    kept: int | None = None,
    packed: bool = False,
) -> Estimate:
    """Bytes that a pass over prompts and their answers holds until the backward.

    Each answer also holds its prompt's keys and values once as stored and once repeated for the query heads, unless
    they are ``packed``. `benchmarks/gpu_proof.py` holds this beside what is measured.

    Args:
        prompts: tokens of each prompt, padding included.
        answers: tokens of each answer to each prompt.
        token: see `Shape.token`.
        unit: bytes of a number.
        kept: numbers that a layer keeps of a token where it does not keep all: its input (checkpointing) or nothing (no
            gradients). One layer at a time is then whole, under checkpointing with the gradients of its input and of
            two of the MLP's width.
    """
    lengths = [length for row in answers for length in row if length]
    longest, widest = max(lengths, default=0), max(prompts)
    seen = 0 if packed else 2 * (shape.kv + shape.queries)  # a prompt token that an answer reads, a layer
    if kept:
        token += shape.hidden + 2 * shape.inner

    def held(count: int, context: int) -> int:
        if kept is None:
            return unit * shape.layers * (count * token + context * seen)
        return unit * (shape.layers * count * kept + count * token + context * seen)

    keys = 0 if packed else 2 * unit * shape.layers * sum(prompts) * shape.kv
    return Estimate(
        held(sum(prompts), 0) + keys,
        held(longest, widest + longest),
        held(sum(lengths), len(lengths) * widest + sum(lengths)),
    )


def estimate(parts: Parts, batch: BranchBatch, *, packed: bool = False) -> Estimate:
    """`activations` of a batch under a model as it is now. Without gradients only the prompt's keys and values last."""
    shape = Shape.of(parts.whole.config.get_text_config())
    lengths = (batch.branch_mask * batch.present[..., None]).sum(-1)
    return activations(
        shape,
        [batch.prefix_ids.shape[1]] * len(batch.prefix_ids),
        lengths.tolist(),
        token=shape.token(fused=_is_fused(parts), drops=_drops(parts)),
        unit=compute_dtype(parts.whole).itemsize,
        kept=_kept(parts, shape.hidden),
        packed=packed,
    )


def _is_fused(parts: Parts) -> bool:
    """Whether adapters and norms take what they read as it is."""
    half = (torch.bfloat16, torch.float16)
    return compute_dtype(parts.whole) in half and parts.embed.weight.dtype in half


def _drops(parts: Parts) -> bool:
    layer = parts.decoder.layers[0]
    return layer.training and any(isinstance(part, nn.Dropout) and part.p for part in layer.modules())


def _kept(parts: Parts, hidden: int) -> int | None:
    """Elements that a layer keeps of a token, where it does not keep everything."""
    if not torch.is_grad_enabled():
        return 0
    layer = parts.decoder.layers[0]
    return hidden if getattr(layer, "gradient_checkpointing", False) and layer.training else None


def _packs(parts: Parts, rows: int | None) -> bool:
    """Packed takes all answers at once, and pays where there is a FlashAttention for it."""
    return rows is None and _has_flash(parts) and not is_sharded(parts.decoder) and not why_not(parts)


def _has_flash(parts: Parts) -> bool:
    return parts.embed.weight.is_cuda and compute_dtype(parts.whole) in (torch.bfloat16, torch.float16)


def choose(parts: Parts, batch: BranchBatch, rows: int | None, budget: int) -> tuple[str, int | None]:
    """Packed (on a GPU, where the model allows it) or joint where the estimate fits ``budget`` bytes, else branchwise
    with as many answers at a time as fit (one, if none does).

    Args:
        rows: a limit of the user's, kept.

    Returns:
        mode and rows; under FSDP2 the most careful of all processes' choices, since all must do the same passes.
    """
    need, packs = estimate(parts, batch), _packs(parts, rows)
    fitting = max(1, (budget - need.prompt) // max(1, need.branch))
    whole = estimate(parts, batch, packed=True) if packs else need
    fits = whole.prompt + whole.branches <= budget
    if is_sharded(parts.decoder):
        agreed = torch.tensor([int(fits), fitting], device=batch.prefix_ids.device)
        dist.all_reduce(agreed, op=dist.ReduceOp.MIN)
        fits, fitting = bool(agreed[0]), int(agreed[1])
    if fits:
        return ("packed" if packs else "joint"), rows
    return ("branchwise" if torch.is_grad_enabled() else "joint"), min(rows or fitting, fitting)
