"""Tiny random models of each family that the scorer is shown on, with random batches; no weights are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import (
    AutoModelForImageTextToText,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen3VLConfig,
)

from apo_lightning.types import BranchBatch

IMAGE, START, END, WORDS = 90, 91, 92, 80
"""Token ids: image placeholder, its brackets; words are 1 to WORDS."""
VOCABULARY = 100
TEXT = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    tie_word_embeddings=False,
)
QWEN = dict(image_token_id=IMAGE, video_token_id=93, vision_start_token_id=START, vision_end_token_id=END)


def _qwen25() -> PreTrainedConfig:
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    vision = dict(
        depth=2,
        hidden_size=32,
        num_heads=2,
        intermediate_size=32,
        out_hidden_size=32,
        patch_size=4,
        spatial_merge_size=2,
        temporal_patch_size=1,
        window_size=16,
        fullatt_block_indexes=[1],
    )
    return Qwen2_5_VLConfig(text_config={**TEXT, "rope_parameters": rope}, vision_config=vision, **QWEN)


def _qwen3() -> PreTrainedConfig:
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True, "rope_theta": 10000.0}
    vision = dict(
        depth=3,
        hidden_size=32,
        num_heads=2,
        intermediate_size=32,
        out_hidden_size=32,
        patch_size=4,
        spatial_merge_size=2,
        temporal_patch_size=1,
        num_position_embeddings=64,
        deepstack_visual_indexes=[0, 1],
    )
    text = {**TEXT, "head_dim": 8, "rope_parameters": rope}
    return Qwen3VLConfig(text_config=text, vision_config=vision, **QWEN)


def _llava() -> PreTrainedConfig:
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=8, patch_size=4
    )
    return LlavaConfig(
        vision_config=vision, text_config=LlamaConfig(**TEXT), image_token_id=IMAGE, vision_feature_layer=-2
    )


FAMILIES = {"qwen2_5_vl": _qwen25, "qwen3_vl": _qwen3, "llava": _llava}


def network(family: str, *, seed: int = 0, attention: str = "sdpa", spread: float = 0.3) -> nn.Module:
    """A model in which nothing is negligible: weights are drawn wide, so that image, position and text matter."""
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(FAMILIES[family](), attn_implementation=attention)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=spread / parameter.shape[-1] ** 0.5 * 2)
    return model.eval()


def batch(
    family: str,
    *,
    images: Sequence[int] = (1,),
    words: Sequence[int] = (9,),
    lengths: Sequence[Sequence[int]] = ((5, 3),),
    seed: int = 0,
) -> BranchBatch:
    """Random studies.

    Args:
        images: images of each study.
        words: text tokens of each prompt.
        lengths: token counts of the answers of each study.
    """
    draw = torch.Generator().manual_seed(seed)
    grids = [[(1, 4, 4 + 2 * (i % 2)) if family != "llava" else (1, 2, 2) for i in range(n)] for n in images]
    prompts = [_prompt(family, grid, count, draw) for grid, count in zip(grids, words, strict=True)]
    width = max(map(len, prompts))
    ids, mask = torch.zeros(len(prompts), width, dtype=torch.long), torch.zeros(len(prompts), width, dtype=torch.long)
    for b, prompt in enumerate(prompts):
        ids[b, width - len(prompt) :], mask[b, width - len(prompt) :] = torch.tensor(prompt), 1
    return BranchBatch(
        [f"s{b}" for b in range(len(prompts))],
        ids,
        mask,
        _pixels(family, [g for row in grids for g in row], draw),
        list(images),
        **_branches(lengths, draw),
    )


def _prompt(family: str, grids: Sequence[tuple[int, int, int]], words: int, draw: torch.Generator) -> list[int]:
    text = torch.randint(1, WORDS, (words,), generator=draw).tolist()
    tokens = [h * w // 4 if family != "llava" else h * w for _, h, w in grids]
    shown = [token for count in tokens for token in (START, *[IMAGE] * count, END)]
    return [*text[:2], *shown, *text[2:]]


def _pixels(family: str, grids: list[tuple[int, int, int]], draw: torch.Generator) -> dict[str, torch.Tensor]:
    if not grids:
        return {}
    if family == "llava":
        tiles = torch.ones(len(grids), dtype=torch.long)
        return {"pixel_values": torch.randn(len(grids), 3, 8, 8, generator=draw), "tiles": tiles}
    patches = sum(h * w for _, h, w in grids)
    return {"pixel_values": torch.randn(patches, 3 * 16, generator=draw), "image_grid_thw": torch.tensor(grids)}


def _branches(lengths: Sequence[Sequence[int]], draw: torch.Generator) -> dict[str, object]:
    shape = (len(lengths), max(map(len, lengths)), max(n for row in lengths for n in row))
    ids = torch.randint(1, WORDS, shape, generator=draw)
    mask = torch.zeros(shape, dtype=torch.long)
    for b, row in enumerate(lengths):
        for u, n in enumerate(row):
            mask[b, u, :n] = 1
    present = mask.sum(-1) > 0
    return dict(
        branch_ids=ids,
        branch_mask=mask,
        present=present,
        weight=present.float(),
        agreement=present.float(),
        conflict=torch.zeros(shape, dtype=torch.bool),
        sources=[[f"t{u}" for u in range(len(row))] for row in lengths],
    )
