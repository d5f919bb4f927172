"""How much memory a way of scoring needs, roughly, and which way to take."""

from __future__ import annotations

from dataclasses import dataclass

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


def estimate(parts: Parts, batch: BranchBatch, *, packed: bool = False) -> Estimate:
    """Activations that the backward needs, counted from the shapes of a pre-norm decoder with a gated MLP.

    Token-wise, in a network of 16 bits, whose adapters and norms are single operations (`layers`): the
    residual stream before and after attention, both normed, queries and what attention gives, keys and values, and
    four of the MLP's width. Elsewhere about 16 hidden-size tensors (norms work in float32), 4 of the MLP's width, 4 of
    the keys' width. Each answer also holds its prompt's keys and values once as stored and once repeated for the query
    heads, unless they are ``packed``. With checkpointing a layer keeps its input only, and one layer at a time is
    whole, with the gradients of its input and of two of the MLP's width. Without gradients only the prompt's keys and
    values last, and one layer at a time is whole. `benchmarks/gpu_proof.py` holds it beside what is measured.
    """
    config = parts.whole.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kv, queries, hidden = heads * width, config.num_attention_heads * width, config.hidden_size
    whole = 16 * hidden + 4 * config.intermediate_size + 4 * kv  # a token of a layer
    if _is_fused(parts):
        whole = 4 * hidden + 2 * queries + 2 * kv + 4 * config.intermediate_size
        if _drops(parts):  # what each of seven adapters reads: a copy, and a mask of a byte
            whole += (5 * hidden + queries + config.intermediate_size) * 3 // 2
    seen = 0 if packed else 2 * (kv + queries)  # a prompt token that an answer reads, a layer
    lengths = (batch.branch_mask * batch.present[..., None]).sum(-1)
    prompts, tokens = batch.prefix_ids.numel(), int(lengths.sum())
    longest, prompt = int(lengths.max()), batch.prefix_ids.shape[1]
    rows = int((lengths > 0).sum())
    read, kept = rows * prompt + tokens, _kept(parts, hidden)
    layers, unit = parts.layers, compute_dtype(parts.whole).itemsize
    if kept:
        whole += hidden + 2 * config.intermediate_size

    def held(count: int, context: int) -> int:
        if kept is None:
            return unit * layers * (count * whole + context * seen)
        return unit * (layers * count * kept + count * whole + context * seen)

    keys = 0 if packed else 2 * unit * layers * prompts * kv
    return Estimate(held(prompts, 0) + keys, held(longest, prompt + longest), held(tokens, read))


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
    weight = next(parts.whole.parameters())
    has_flash = weight.is_cuda and compute_dtype(parts.whole) in (torch.bfloat16, torch.float16)
    return has_flash and rows is None and not is_sharded(parts.decoder) and not why_not(parts)


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
