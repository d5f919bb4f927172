"""Log-probabilities of every branch of every study: the one place where a student is asked how likely a text is.

The prompt with its images is computed once for all branches of a study; each branch reads its keys and values, with
gradients. `score` is the door; `modes` has the ways through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from apo_lightning.scoring import modes
from apo_lightning.scoring.branches import Chunk, places, plan
from apo_lightning.scoring.divergences import Recorded, RowsOf, divergences
from apo_lightning.scoring.memory import choose, free_bytes
from apo_lightning.scoring.packed import packed
from apo_lightning.scoring.parts import Parts, allow_cache_under_checkpointing, model_inputs, prompt_positions
from apo_lightning.scoring.precision import compute_dtype
from apo_lightning.scoring.prefix import Prefix, read_prompts
from apo_lightning.scoring.sharding import hold_back_sync, is_sharded, missing_passes
from apo_lightning.scoring.top_k import Listed, of_forward, of_scorer
from apo_lightning.scoring.vision import as_encoder_outputs, encode_images
from apo_lightning.types import BranchBatch, Scores

__all__ = [
    "Listed",
    "Parts",
    "Recorded",
    "RowsOf",
    "as_encoder_outputs",
    "compare",
    "encode_images",
    "model_inputs",
    "score",
    "states",
    "top_k",
]

MODES = ("auto", "joint", "packed", "branchwise", "separate")


def score(
    model: nn.Module,
    batch: BranchBatch,
    *,
    mode: str = "joint",
    rows: int | None = None,
    grad_wrt_logps: Tensor | None = None,
    budget: int | None = None,
) -> Scores:
    """Score every branch under ``model``.

    Args:
        model: image-text-to-text model (or its PEFT wrapper).
        batch: prompts with their branches; absent branches are not computed and score 0.
        mode: ``joint``, ``packed``, ``branchwise``, ``separate``, or ``auto``: what fits the memory, packed on a GPU
            and joint elsewhere, else branchwise.
        rows: answers that run at a time, at most; None: all that fit (joint, separate), one (branchwise). Of no effect
            where they are packed.
        grad_wrt_logps: ``[B, U]`` derivative of the loss by each branch's log-prob, where it is known beforehand:
            branchwise then runs each chunk once instead of twice. Ignored by the other modes, and in float16, where
            gradients need the loss scaler's factor before they are formed.
        budget: bytes that ``auto`` may use; None: most of what is free.

    Returns:
        Scores with gradients where gradients are enabled; log-probabilities are float32. Every mode gives the same
        values and gradients up to rounding (and up to the draws of dropout, which ``separate`` makes more often).

    Raises:
        ValueError: unknown mode, a mode that the model does not allow, or a prompt that ends in an image.
    """
    parts = Parts.of(model)
    mode, rows = _way(parts, batch, mode, rows, budget)
    chunks = plan(batch, rows)
    if not chunks:
        flat = batch.weight.new_zeros(0)
    elif mode == "branchwise" and grad_wrt_logps is not None and _may_back_up_at_once(parts):
        flat = _at_once(parts, batch, chunks, grad_wrt_logps)
    else:
        flat = modes.vocabulary(parts, _hidden(parts, batch, chunks, mode), batch, chunks)
    token = torch.zeros(batch.branch_ids.shape, dtype=flat.dtype, device=flat.device)
    token = token.index_put(places(chunks, flat.device), flat)
    return Scores(token, token.sum(-1), (batch.branch_mask * batch.present[..., None]).sum(-1))


def compare(
    model: nn.Module,
    batch: BranchBatch,
    teachers: Mapping[str, nn.Module | Recorded],
    divergence: RowsOf,
    *,
    mixed: bool,
    mode: str = "joint",
    rows: int | None = None,
    budget: int | None = None,
) -> Tensor:
    """Divergence between teachers' and ``model``'s token distributions, ``[B, U, T]``; see `divergences`, and `score`
    for mode, rows and budget. Each teacher looks at the images with its own tower."""

    def hidden_of(who: nn.Module, asked: BranchBatch) -> tuple[Tensor, list[Chunk]]:
        return _states(who, asked if who is model else replace(asked, features=None), mode, rows, budget)

    return divergences(model, batch, teachers, divergence, mixed=mixed, hidden_of=hidden_of)


@torch.no_grad()
def top_k(
    model: nn.Module,
    batch: BranchBatch,
    k: int,
    *,
    vocabulary: int,
    temperature: float = 1.0,
    mode: str = "joint",
    rows: int | None = None,
    budget: int | None = None,
) -> Listed:
    """The K likeliest next tokens at every scored token of the branches, with the mass of all others.

    Args:
        model: an image-text-to-text model, or a causal language model that reads text only.
        k: how many.
        vocabulary: number of tokens that there are; rows of a padded head beyond them are left out.
        temperature: of the softmax.
        mode, rows, budget: see `score`; of no effect where the model reads text only.
    """
    if not (batch.branch_mask * batch.present[..., None]).any():
        return {}
    if not hasattr(model.config, "image_token_id"):
        return of_forward(model, batch, k, temperature=temperature, vocabulary=vocabulary)
    hidden_of = partial(_states, mode=mode, rows=rows, budget=budget)
    return of_scorer(model, batch, k, temperature=temperature, vocabulary=vocabulary, hidden_of=hidden_of)


def _states(
    model: nn.Module, batch: BranchBatch, mode: str, rows: int | None, budget: int | None
) -> tuple[Tensor, list[Chunk]]:
    """Hidden states of the scored tokens, and the chunks that they come from."""
    parts = Parts.of(model)
    way, count = _way(parts, batch, mode, rows, budget)
    chunks = plan(batch, count)
    return _hidden(parts, batch, chunks, way), chunks


def states(
    model: nn.Module, batch: BranchBatch, *, mode: str = "joint", rows: int | None = None, budget: int | None = None
) -> tuple[Tensor, Tensor]:
    """What the vocabulary projection reads: hidden states ``[M, H]`` that predict the scored tokens, and the place
    ``[M, 3]`` (study, branch, token) of each; see `score` for mode, rows and budget."""
    parts = Parts.of(model)
    mode, rows = _way(parts, batch, mode, rows, budget)
    chunks = plan(batch, rows)
    place = torch.stack(places(chunks, batch.branch_ids.device), 1)
    return (_hidden(parts, batch, chunks, mode) if chunks else parts.head.weight.new_zeros(0, 0)), place


def _way(parts: Parts, batch: BranchBatch, mode: str, rows: int | None, budget: int | None) -> tuple[str, int | None]:
    """Mode and rows that are meant."""
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got '{mode}'")
    if mode == "auto":
        mode, rows = choose(parts, batch, rows, budget or free_bytes(parts.whole))
    return mode, rows or (1 if mode == "branchwise" else None)


def _hidden(parts: Parts, batch: BranchBatch, chunks: Sequence[Chunk], mode: str) -> Tensor:
    """Hidden states that predict the scored tokens, chunk by chunk, ``[M, H]``."""
    if mode == "separate":
        encode_images(parts, batch)
        return modes.separate(parts, batch.features or [], prompt_positions(parts, batch), batch, chunks)
    if mode == "packed":
        encode_images(parts, batch)
        return packed(parts, batch.features or [], batch, chunks)
    prefix = _prefix(parts, batch)
    run = modes.branchwise if mode == "branchwise" else modes.joint
    if not is_sharded(parts.decoder):
        return run(parts, prefix, batch, chunks)
    return _sharded(parts, prefix, batch, chunks, run)


def _prefix(parts: Parts, batch: BranchBatch) -> Prefix:
    allow_cache_under_checkpointing(parts.decoder)
    encode_images(parts, batch)
    return read_prompts(parts, batch, batch.features or [])


def _sharded(
    parts: Parts, prefix: Prefix, batch: BranchBatch, chunks: Sequence[Chunk], run: Callable[..., Tensor]
) -> Tensor:
    """As many passes as the busiest process; what is only there to keep pace has a weight of 0, and so have the last
    hidden states of the prompts, whose place in the graph tells FSDP2 when the last layer is needed again."""
    extra = missing_passes(len(chunks), batch.prefix_ids.device)
    if torch.is_grad_enabled():
        hold_back_sync(parts.decoder, prefix.last)
    hidden = run(parts, prefix, batch, [*chunks, *list(chunks[:1]) * extra])
    real = sum(map(sum, (chunk.lengths for chunk in chunks)))
    return hidden[:real] + 0 * (hidden[real:].sum() + prefix.last.sum())


def _may_back_up_at_once(parts: Parts) -> bool:
    """Whether gradients may be formed in the forward. Not in float16: unscaled they vanish, and the loss scaler's
    factor (65,536 and more) is no float16 number that they could be multiplied by later."""
    if not torch.is_grad_enabled() or is_sharded(parts.decoder):
        return False
    return compute_dtype(parts.whole) != torch.float16


def _at_once(parts: Parts, batch: BranchBatch, chunks: Sequence[Chunk], grad_wrt_logps: Tensor) -> Tensor:
    """Log-prob of each scored token ``[M]``, every chunk backed up as soon as it has run."""
    prefix = _prefix(parts, batch)
    b, u, _ = places(chunks, grad_wrt_logps.device)
    leaves = (*prefix.tensors, *parts.trained)
    return modes.BackedUpAtOnce.apply(parts, prefix, batch, chunks, grad_wrt_logps[b, u], *leaves)
