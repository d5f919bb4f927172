"""All tokens of a batch in one line and one pass: prompts, then their answers, without padding.

Everything but attention works token by token, so a layer runs once for prompts and answers together, as it would for
one long text: half the launches of a pass over prompts and another one over answers, no copy of keys and values, and
nothing that stands in the way of recomputing layers. Attention is `functional.shared_prefix`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from apo_lightning.functional.shared_prefix import Ends, Layout, shared_prefix_attention
from apo_lightning.scoring.branches import Chunk
from apo_lightning.scoring.parts import Parts, image_kinds, prompt_positions
from apo_lightning.scoring.vision import Features, as_encoder_outputs, of_rows
from apo_lightning.types import BranchBatch

ATTENTION = "shared_prefix"
"""Name under which the library knows the attention below. A model keeps it once it was asked in this way, since a layer
that is recomputed in the backward must find it; without a layout it is SDPA."""
LAYOUT = "shared_prefix_layout"
WIDEST = 256


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """What the library calls in every layer: ``[1, heads, L, d]`` to ``[1, L, heads, d]``."""
    layout: Layout | None = kwargs.pop(LAYOUT, None)
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    lines = [states[0].transpose(0, 1) for states in (query, key, value)]
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return shared_prefix_attention(*lines, layout, scale)[None], None


AttentionInterface.register(ATTENTION, attend)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


def why_not(parts: Parts) -> str:
    """Why a model cannot be asked in this way; empty where it can."""
    config = parts.whole.config.get_text_config()
    if getattr(config, "_attn_implementation", None) not in ("sdpa", ATTENTION):
        return "student.attention is not sdpa"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "some of its layers see a window of the text"
    if any(getattr(config, name, None) for name in ("attention_dropout", "attn_logit_softcapping")):
        return "its attention drops or caps values"
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if parts.embed.weight.is_cuda and (width % 8 or width > WIDEST):
        return f"its heads are {width} wide, and FlashAttention takes multiples of 8 up to {WIDEST}"
    if image_kinds(parts, torch.zeros(1, 1, dtype=torch.long)):
        return "its image tokens see each other in both directions"
    return ""


@dataclass(frozen=True)
class _Line:
    """Token ids and positions of a packed line, how it is made up, and by study and branch the places in it of what
    predicts the answer's tokens: the prompt's last token, then the answer's own."""

    ids: Tensor
    positions: Tensor
    layout: Layout
    predictors: dict[tuple[int, int], Tensor]


def packed(parts: Parts, features: list[Features], batch: BranchBatch, chunks: Sequence[Chunk]) -> Tensor:
    """Hidden states of all scored tokens, chunk by chunk, ``[M, H]``.

    Raises:
        ValueError: the model cannot be asked in this way.
    """
    if reason := why_not(parts):
        raise ValueError(f"mode 'packed' cannot be used with this model: {reason}; use joint or branchwise")
    parts.whole.config.get_text_config()._attn_implementation = ATTENTION
    rows = sorted(
        (study, branch, length)
        for chunk in chunks
        for study, branch, length in zip(chunk.studies.tolist(), chunk.branches.tolist(), chunk.lengths, strict=True)
    )
    studies = sorted({study for study, *_ in rows})
    line = _line(batch, prompt_positions(parts, batch), rows, studies)
    output = parts.trunk(
        input_ids=line.ids,
        position_ids=line.positions,
        use_cache=False,
        mm_encoder_outputs=as_encoder_outputs(of_rows(features, batch.image_counts, studies)),
        **{LAYOUT: line.layout},
    )
    wanted = [line.predictors[study, branch] for chunk in chunks for study, branch in _places(chunk)]
    return output.last_hidden_state[0].index_select(0, torch.cat(wanted).to(line.ids.device))


def _places(chunk: Chunk) -> list[tuple[int, int]]:
    return list(zip(chunk.studies.tolist(), chunk.branches.tolist(), strict=True))


def _line(batch: BranchBatch, positions: Tensor, rows: list[tuple[int, int, int]], studies: list[int]) -> _Line:
    """Studies without an answer are left out. ``rows``: study, branch and length of each answer, in order."""
    device, real = batch.prefix_ids.device, batch.prefix_mask.bool()
    prompts = [int(count) for count in batch.prefix_mask.sum(-1)[studies]]
    steps = torch.arange(1, max(length for *_, length in rows) + 1, device=device)
    ids = [batch.prefix_ids[study, real[study]] for study in studies]
    places = [positions[..., study, real[study]] for study in studies]
    ends = dict(zip(studies, accumulate(prompts), strict=True))
    predictors, start = {}, sum(prompts)
    for study, branch, length in rows:
        ids.append(batch.branch_ids[study, branch, :length])
        places.append(positions[..., study, -1:] + steps[:length])
        predictors[study, branch] = torch.tensor([ends[study] - 1, *range(start, start + length - 1)])
        start += length
    answers = [length for *_, length in rows]
    by_study = [sum(length for other, _, length in rows if other == study) for study in studies]
    layout = Layout(sum(prompts), *(Ends.of(lengths, device) for lengths in (prompts, answers, by_study)))
    return _Line(torch.cat(ids)[None], torch.cat(places, -1)[..., None, :], layout, predictors)
