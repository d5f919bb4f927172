"""Log-probabilities of every branch of every study: the one place where a student is asked how likely a text is.

Plain form: each branch is its own sequence ``[prompt, branch]``. The interface does not promise that, so that the
prompt can be computed once for all branches without any caller noticing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from apo_lightning.functional.logprobs import token_logps
from apo_lightning.types import BranchBatch, PromptBatch, Scores


def model_inputs(model: nn.Module, batch: PromptBatch) -> dict[str, Tensor]:
    """Keyword arguments of a Hugging Face vision-language model for the prompts alone."""
    image_token = _image_token(model)
    return dict(
        input_ids=batch.prefix_ids, attention_mask=batch.prefix_mask, pixel_values=batch.pixel_values,
        image_grid_thw=batch.image_grid_thw, mm_token_type_ids=(batch.prefix_ids == image_token).int(),
    )  # fmt: skip


def _image_token(model: nn.Module) -> int:
    return model.config.image_token_id


def _rows(batch: BranchBatch) -> tuple[Tensor, Tensor]:
    """Studies and branches of the rows ``[R]`` that really exist."""
    studies, branches = batch.present.nonzero(as_tuple=True)
    return studies, branches


def _images_of(batch: BranchBatch, studies: Tensor, image_token: int, merge: int) -> tuple[Tensor, Tensor]:
    """Pixel patches and grids repeated for every row that shows them."""
    patches = batch.image_grid_thw.prod(-1)
    tokens = (batch.prefix_ids == image_token).sum(-1) * merge**2
    owner = torch.bucketize(patches.cumsum(0) - 1, tokens.cumsum(0), right=True)
    starts = patches.cumsum(0) - patches
    order = [image for study in studies.tolist() for image in (owner == study).nonzero().flatten().tolist()]
    pixels = [batch.pixel_values[starts[image] : starts[image] + patches[image]] for image in order]
    return torch.cat(pixels), batch.image_grid_thw[order]


def score(model: nn.Module, batch: BranchBatch) -> Scores:
    """Score every branch under ``model``.

    Args:
        model: image-text-to-text model (or its PEFT wrapper).
        batch: prompts with their branches; absent branches are not computed and score 0.

    Returns:
        Scores with gradients where gradients are enabled; log-probabilities are float32.
    """
    studies, branches = _rows(batch)
    prompt = batch.prefix_ids.shape[1]
    ids = torch.cat([batch.prefix_ids[studies], batch.branch_ids[studies, branches]], dim=1)
    mask = torch.cat([batch.prefix_mask[studies], batch.branch_mask[studies, branches]], dim=1)
    logits = _forward(model, batch, studies, ids, mask)
    tail = slice(prompt - 1, None)  # the last prompt position predicts the first branch token
    scored = torch.cat([torch.zeros_like(mask[:, :1]), batch.branch_mask[studies, branches]], dim=1)
    rows = token_logps(logits, ids[:, tail], scored)[:, 1:]
    token = torch.zeros(batch.branch_ids.shape, dtype=rows.dtype, device=rows.device)
    token = token.index_put((studies, branches), rows)
    lengths = (batch.branch_mask * batch.present[..., None]).sum(-1)
    return Scores(token, token.sum(-1), lengths)


def _forward(model: nn.Module, batch: BranchBatch, studies: Tensor, ids: Tensor, mask: Tensor) -> Any:
    image_token = _image_token(model)
    merge = model.config.vision_config.spatial_merge_size
    pixels, grids = _images_of(batch, studies, image_token, merge)
    output = model(
        input_ids=ids, attention_mask=mask, pixel_values=pixels, image_grid_thw=grids,
        mm_token_type_ids=(ids == image_token).int(), use_cache=False,
        logits_to_keep=batch.branch_ids.shape[-1] + 1,
    )  # fmt: skip
    return output.logits
