"""The prompt, computed once: keys and values of every layer, which the branches of its study read with gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from apo_lightning.scoring.parts import Parts, image_kinds, prompt_positions, token_types
from apo_lightning.scoring.sharding import is_sharded
from apo_lightning.scoring.vision import Features, as_encoder_outputs
from apo_lightning.types import PromptBatch


class _Written(DynamicLayer):
    """Keeps what the prompt's first pass through a layer writes; a checkpoint's second pass leaves it as it is."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
        return key_states, value_states


class _Read(DynamicLayer):
    """Gives branches the prompt's keys and values before their own, and keeps nothing of theirs."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([self.keys, key_states], dim=-2), torch.cat([self.values, value_states], dim=-2)


@dataclass(frozen=True)
class Prefix:
    """Prompts without their last token, which every branch brings along so that its first logit is its own.

    Attributes:
        keys, values: one tensor ``[B, heads, P-1, head_dim]`` a layer.
        mask: ``[B, P-1]`` bool, True on real tokens (padding is on the left).
        positions: ``[B]`` or ``[3, B]`` position of the last prompt token.
        last: ``[B, P-1, H]`` hidden states after the last layer, under FSDP2. No branch reads them, and holding them
            holds the activations of half a layer.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor
    positions: Tensor
    last: Tensor | None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return (*self.keys, *self.values)

    def with_tensors(self, tensors: tuple[Tensor, ...]) -> Prefix:
        half = len(tensors) // 2
        return replace(self, keys=tensors[:half], values=tensors[half:])

    def cache(self, studies: Tensor, start: int) -> Cache:
        """Keys and values from column ``start`` on for branches of the given studies, ``[R, heads, P-1-start, d]``."""
        return Cache(
            layers=[
                _Read(_select(k, studies, start), _select(v, studies, start))
                for k, v in zip(self.keys, self.values, strict=True)
            ]
        )


def _select(states: Tensor, studies: Tensor, start: int) -> Tensor:
    if len(states) == 1:  # an expanded view: its gradient is one sum instead of a scatter
        return states[:, :, start:].expand(len(studies), -1, -1, -1)
    return states[:, :, start:].index_select(0, studies)


def read_prompts(parts: Parts, batch: PromptBatch, features: list[Features]) -> Prefix:
    """Run all prompts of a batch through the model.

    Raises:
        ValueError: a prompt ends in an image, so that its last token could not be brought along by a branch.
    """
    types = token_types(parts.whole, batch.prefix_ids)
    if types[:, -1].any():
        raise ValueError("a prompt must end in text, and one of this batch ends in an image placeholder")
    positions = prompt_positions(parts, batch)
    cache = Cache(layers=[_Written() for _ in range(parts.layers)])
    mask = batch.prefix_mask[:, :-1].bool()
    output = parts.trunk(
        input_ids=batch.prefix_ids[:, :-1],
        attention_mask=None if mask.all() else mask.long(),
        use_cache=False,
        position_ids=positions[..., :-1],
        past_key_values=cache,
        mm_encoder_outputs=as_encoder_outputs(features),
        **image_kinds(parts, batch.prefix_ids[:, :-1]),
    )
    keys, values = zip(*((layer.keys, layer.values) for layer in cache.layers), strict=True)
    last = output.last_hidden_state if is_sharded(parts.decoder) else None
    return Prefix(keys, values, mask, positions[..., -1], last)
