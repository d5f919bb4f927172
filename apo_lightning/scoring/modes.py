"""Ways to the same log-probabilities and gradients. They differ in what is held in memory until the backward.

- joint: every chunk's activations, one backward through all of them.
- packed: the same without copies of the prompts' keys and values, in one pass over one line; see `packed`.
- branchwise: the prompt's activations and one chunk's; a chunk is run again in the backward.
- branchwise with a known grad_wrt_logps: the same memory; each chunk is backed up at once and run a single time.
- separate: every answer with its own copy of the prompt, as one would do without this package.

Gradients reach the prompt's keys and values summed over chunks, before the one backward through the prompt. A data
parallel wrapper sees a single backward, so it synchronises once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from apo_lightning.functional.vocabulary import head_token_logps
from apo_lightning.scoring.branches import Chunk, hidden_states
from apo_lightning.scoring.parts import Parts, image_kinds
from apo_lightning.scoring.prefix import Prefix
from apo_lightning.scoring.vision import Features, as_encoder_outputs, of_rows
from apo_lightning.types import BranchBatch


def joint(parts: Parts, prefix: Prefix, batch: BranchBatch, chunks: Sequence[Chunk]) -> Tensor:
    """Hidden states of all scored tokens, chunk by chunk, ``[M, H]``."""
    return torch.cat([hidden_states(parts, prefix, batch, chunk) for chunk in chunks])


def branchwise(parts: Parts, prefix: Prefix, batch: BranchBatch, chunks: Sequence[Chunk]) -> Tensor:
    """As `joint`; the activations of a chunk live only while it runs, forward and again in the backward."""
    if not torch.is_grad_enabled():
        return joint(parts, prefix, batch, chunks)
    return torch.cat([checkpoint(hidden_states, parts, prefix, batch, chunk, use_reentrant=False) for chunk in chunks])


def separate(
    parts: Parts, features: list[Features], positions: Tensor, batch: BranchBatch, chunks: Sequence[Chunk]
) -> Tensor:
    """As `joint`, with the prompt computed again for every answer. ``positions``: of the prompts, ``[..., B, P]``."""
    return torch.cat([_whole_sequences(parts, features, positions, batch, chunk) for chunk in chunks])


def _whole_sequences(
    parts: Parts, features: list[Features], positions: Tensor, batch: BranchBatch, chunk: Chunk
) -> Tensor:
    answers, prompt = chunk.ids(batch), batch.prefix_ids.shape[1]
    steps = torch.arange(1, answers.shape[1] + 1, device=answers.device)
    positions = positions[..., chunk.studies, :]
    mask = batch.prefix_mask[chunk.studies]
    kinds = {
        name: nn.functional.pad(value[chunk.studies], (0, answers.shape[1]))
        for name, value in image_kinds(parts, batch.prefix_ids).items()
    }
    output = parts.trunk(
        input_ids=torch.cat([batch.prefix_ids[chunk.studies], answers], 1),
        **kinds,
        attention_mask=torch.cat([mask, torch.ones_like(answers)], 1),
        position_ids=torch.cat([positions, positions[..., -1:] + steps], -1),
        use_cache=False,
        mm_encoder_outputs=as_encoder_outputs(of_rows(features, batch.image_counts, chunk.studies.tolist())),
    )
    return chunk.scored(output.last_hidden_state[:, prompt - 1 : -1])


def vocabulary(parts: Parts, hidden: Tensor, batch: BranchBatch, chunks: Sequence[Chunk]) -> Tensor:
    """Log-probability of every scored token, ``[M]`` float32, in the order of ``hidden`` ``[M, H]``."""
    targets = torch.cat([chunk.scored(chunk.ids(batch)) for chunk in chunks])
    return head_token_logps(hidden, parts.head.weight, targets, bias=getattr(parts.head, "bias", None))


class BackedUpAtOnce(torch.autograd.Function):
    """Token log-probs whose loss has a known grad_wrt_logps: every chunk runs forward and backward in one go.

    The gradients wait for the real backward, which multiplies them by the one factor that may have come on top
    (gradient accumulation, a loss scaler).
    """

    @staticmethod
    def forward(
        ctx: Any,
        parts: Parts,
        prefix: Prefix,
        batch: BranchBatch,
        chunks: Sequence[Chunk],
        grad_wrt_logps: Tensor,
        *leaves: Tensor,
    ) -> Tensor:
        """``grad_wrt_logps`` ``[M]``; ``leaves``: the prompt's tensors, then trained parameters."""
        count = len(prefix.tensors)
        own = [tensor.detach().requires_grad_() for tensor in leaves[:count]]
        wanted, prefix = [*own, *leaves[count:]], prefix.with_tensors(tuple(own))
        sums: list[Tensor | None] = [None] * len(wanted)
        values: list[Tensor] = []
        for chunk, part in zip(chunks, grad_wrt_logps.split([sum(chunk.lengths) for chunk in chunks]), strict=True):
            with torch.enable_grad():
                logps = vocabulary(parts, hidden_states(parts, prefix, batch, chunk), batch, [chunk])
                found = torch.autograd.grad(logps, wanted, part.to(logps.dtype), allow_unused=True)
            values.append(logps.detach())
            _add(sums, found)
        ctx.save_for_backward(grad_wrt_logps, *sums)
        return torch.cat(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_wrt_logps, *sums = ctx.saved_tensors
        factor = _factor(grad, grad_wrt_logps)
        scaled = (None if value is None else (value.float() * factor).to(value.dtype) for value in sums)
        return (None,) * 5 + tuple(scaled)


def _add(sums: list[Tensor | None], found: Sequence[Tensor | None]) -> None:
    for place, gradient in enumerate(found):
        if gradient is not None:
            sums[place] = gradient if sums[place] is None else sums[place].add_(gradient)


def _factor(grad: Tensor, grad_wrt_logps: Tensor) -> Tensor:
    """What ``grad`` is a multiple of ``grad_wrt_logps`` by.

    Raises:
        RuntimeError: it is not a multiple, so the gradients that were computed belong to another loss.
    """
    largest = grad_wrt_logps.abs().argmax()
    factor = torch.where(grad_wrt_logps[largest] == 0, 0, grad[largest] / grad_wrt_logps[largest])
    if not torch.allclose(grad, factor * grad_wrt_logps, rtol=1e-4, atol=1e-6 * float(grad.abs().max())):
        raise RuntimeError(
            "the loss says it is linear in the log-probabilities, but its gradient is not the grad_wrt_logps it gave "
            "beforehand: remove `linear` from the loss"
        )
    return factor
