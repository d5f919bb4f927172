"""Where a Hugging Face vision-language model keeps what the scorer calls. What differs between families is here."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from peft import PeftModel
from torch import Tensor, nn

from apo_lightning.types import PromptBatch


@dataclass(frozen=True)
class Parts:
    """The pieces of an image-text-to-text model.

    Attributes:
        whole: the model without its PEFT wrapper; adapter layers stay inside.
        trunk: images and text to hidden states.
        decoder: embeddings to hidden states, with a cache.
        embed: token embedding.
        head: vocabulary projection.
        layers: number of decoder layers.
    """

    whole: nn.Module
    trunk: nn.Module
    decoder: nn.Module
    embed: nn.Module
    head: nn.Module
    layers: int

    @classmethod
    def of(cls, model: nn.Module) -> Parts:
        """Take a model apart; it may be wrapped by PEFT."""
        whole = model.get_base_model() if isinstance(model, PeftModel) else model
        layers = whole.config.get_text_config().num_hidden_layers
        return cls(
            whole, whole.model, whole.get_decoder(), whole.get_input_embeddings(), whole.get_output_embeddings(), layers
        )

    @property
    def trained(self) -> list[nn.Parameter]:
        """Parameters that get a gradient."""
        return [parameter for parameter in self.whole.parameters() if parameter.requires_grad]


def image_token(model: nn.Module) -> int:
    """Id of the placeholder that an image's features replace; -1 of a model that reads text only."""
    return getattr(model.config, "image_token_id", -1)


def token_types(model: nn.Module, ids: Tensor) -> Tensor:
    """1 on image placeholders, 0 on text."""
    return (ids == image_token(model)).int()


def image_kinds(parts: Parts, ids: Tensor) -> dict[str, Tensor]:
    """What a family whose image tokens attend to each other in both directions (Gemma 3) must be told beside the ids:
    ``token_type_ids`` as `token_types` gives them. Nothing for the others."""
    told = "token_type_ids" in inspect.signature(parts.trunk.forward).parameters
    return {"token_type_ids": token_types(parts.whole, ids)} if told else {}


def prompt_positions(parts: Parts, batch: PromptBatch) -> Tensor:
    """Rotary positions of the prompts.

    Returns:
        ``[3, B, P]`` where the family counts time, height and width apart (M-RoPE), else ``[B, P]``. In both the
        positions of an answer go on from the last column by one a token. Padding has position 0.
    """
    if not hasattr(parts.trunk, "get_rope_index"):
        return (batch.prefix_mask.cumsum(-1) - 1).clamp_min(0)
    positions, _ = parts.trunk.get_rope_index(
        batch.prefix_ids,
        mm_token_type_ids=token_types(parts.whole, batch.prefix_ids),
        image_grid_thw=batch.vision.get("image_grid_thw"),
        attention_mask=batch.prefix_mask,
    )
    return positions


def model_inputs(model: nn.Module, batch: PromptBatch, encoded: dict[str, Any] | None = None) -> dict[str, Any]:
    """Keyword arguments of the model for the prompts alone, with pixels or, where given, encoded images.

    Raises:
        ValueError: the family takes its pixels in a form of its own, so its images must be encoded (`scoring.see`).
    """
    types = image_kinds(Parts.of(model), batch.prefix_ids)
    if "image_grid_thw" in batch.vision:
        types = {"mm_token_type_ids": token_types(model, batch.prefix_ids)}
    if "tiles" in batch.vision and not encoded:
        raise ValueError("images must be encoded first: call scoring.see, and pass scoring.as_encoder_outputs")
    grid = {key: value for key, value in batch.vision.items() if key == "image_grid_thw"}
    images = {**grid, "mm_encoder_outputs": encoded} if encoded else batch.vision
    return dict(input_ids=batch.prefix_ids, attention_mask=batch.prefix_mask, **images, **types)


def allow_cache_under_checkpointing(decoder: nn.Module) -> None:
    """Keep the cache where layers are checkpointed. The library drops it, since a second pass through a layer would
    write a second time; the caches of this package take a second write without changing."""
    for layer in decoder.layers:
        layer._can_checkpoint_with_cache = True
