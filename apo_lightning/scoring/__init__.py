"""Log-probabilities of every branch of every study: the one place where a student is asked how likely a text is.

The prompt with its images is computed once for all branches of a study; each branch reads its keys and values, with
gradients. `score` is the door; `modes` has the ways through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from apo_lightning.scoring import modes
from apo_lightning.scoring.branches import Chunk, plan
from apo_lightning.scoring.memory import Budget, choose
from apo_lightning.scoring.parts import Parts, allow_cache_under_checkpointing, model_inputs, prompt_positions
from apo_lightning.scoring.prefix import Prefix, read_prompts
from apo_lightning.scoring.sharding import hold_back_sync, is_sharded, missing_passes
from apo_lightning.scoring.vision import as_encoder_outputs, see
from apo_lightning.types import BranchBatch, Scores

__all__ = ["Budget", "Parts", "as_encoder_outputs", "model_inputs", "score", "see"]


def score(model: nn.Module, batch: BranchBatch, *, mode: str = "joint", rows: int | None = None,
          slope: Tensor | None = None, budget: Budget | None = None) -> Scores:  # fmt: skip
    """Score every branch under ``model``.

    Args:
        model: image-text-to-text model (or its PEFT wrapper).
        batch: prompts with their branches; absent branches are not computed and score 0.
        mode: ``joint``, ``branchwise``, ``separate``, or ``auto``: joint where it fits the memory, else branchwise.
        rows: answers that run at a time, at most; None: all that fit (joint, separate), one (branchwise).
        slope: ``[B, U]`` derivative of the loss with respect to each branch's log-prob, where it is known beforehand:
            branchwise then runs each chunk once instead of twice. Ignored by the other modes.
        budget: bytes that ``auto`` may use.

    Returns:
        Scores with gradients where gradients are enabled; log-probabilities are float32. Every mode gives the same
        values and gradients up to rounding (and up to the draws of dropout, which ``separate`` makes more often).

    Raises:
        ValueError: unknown mode, or a prompt that ends in an image.
    """
    if mode not in ("auto", "joint", "branchwise", "separate"):
        raise ValueError(f"mode must be one of auto, joint, branchwise, separate, got '{mode}'")
    parts = Parts.of(model)
    allow_cache_under_checkpointing(parts.decoder)
    if mode == "auto":
        mode, rows = choose(parts, batch, rows, budget or Budget.of(parts.whole))
    chunks = plan(batch, rows or (1 if mode == "branchwise" else None))
    flat = _token_logps(parts, batch, chunks, mode, slope) if chunks else batch.weight.new_zeros(0)
    return _placed(flat, batch, chunks)


def _token_logps(parts: Parts, batch: BranchBatch, chunks: Sequence[Chunk], mode: str, slope: Tensor | None) -> Tensor:
    see(parts, batch)
    features = batch.features or []
    if mode == "separate":
        hidden = modes.separate(parts, features, prompt_positions(parts, batch), batch, chunks)
        return modes.vocabulary(parts, hidden, batch, chunks)
    prefix, sharded = read_prompts(parts, batch, features), is_sharded(parts.decoder)
    if mode == "branchwise" and slope is not None and torch.is_grad_enabled() and not sharded:
        by_token = torch.cat([_by_token(chunk, slope) for chunk in chunks])
        leaves = (*prefix.tensors, *parts.trained)
        return modes.BackedUpAtOnce.apply(parts, prefix, batch, chunks, by_token, *leaves)
    run = modes.branchwise if mode == "branchwise" else modes.joint
    if sharded:
        return _sharded(parts, prefix, batch, chunks, run)
    return modes.vocabulary(parts, run(parts, prefix, batch, chunks), batch, chunks)


def _sharded(parts: Parts, prefix: Prefix, batch: BranchBatch, chunks: Sequence[Chunk],
             run: Callable[..., Tensor]) -> Tensor:  # fmt: skip
    """As many passes as the busiest process; what is only there to keep pace has a weight of 0, and so have the last
    hidden states of the prompts, whose place in the graph tells FSDP2 when the last layer is needed again."""
    extra = missing_passes(len(chunks), batch.prefix_ids.device)
    if torch.is_grad_enabled():
        hold_back_sync(parts.decoder, prefix.last)
    hidden = run(parts, prefix, batch, [*chunks, *list(chunks[:1]) * extra])
    real = sum(map(sum, (chunk.lengths for chunk in chunks)))
    flat = modes.vocabulary(parts, hidden[:real], batch, chunks)
    return flat + 0 * (hidden[real:].sum() + prefix.last.sum())


def _by_token(chunk: Chunk, slope: Tensor) -> Tensor:
    lengths = torch.tensor(chunk.lengths, device=slope.device)
    return slope[chunk.studies, chunk.branches].repeat_interleave(lengths)


def _placed(flat: Tensor, batch: BranchBatch, chunks: Sequence[Chunk]) -> Scores:
    """Line of scored tokens ``[M]`` to ``[B, U, T]``."""
    steps = torch.arange(batch.branch_ids.shape[-1], device=flat.device)
    place = [
        torch.stack([chunk.studies[i].expand(n), chunk.branches[i].expand(n), steps[:n]])
        for chunk in chunks
        for i, n in enumerate(chunk.lengths)
    ]
    token = torch.zeros(batch.branch_ids.shape, dtype=flat.dtype, device=flat.device)
    if place:
        token = token.index_put(tuple(torch.cat(place, 1)), flat)
    lengths = (batch.branch_mask * batch.present[..., None]).sum(-1)
    return Scores(token, token.sum(-1), lengths)
