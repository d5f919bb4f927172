"""Tokenizer and image processor as one callable, also where `AutoProcessor` cannot be built.

The processor class of Qwen2.5-VL needs torchvision for videos. This project shows it still images only, so where the
class does not construct, its two working halves are joined here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import AutoImageProcessor, AutoProcessor, AutoTokenizer, BatchFeature

from apo_lightning.errors import ConfigError

NANO = Path(__file__).parent / "assets" / "nano"
IMAGE_TOKEN = "<|image_pad|>"


def locate(model: str) -> str:
    """``nano`` is the embedded folder; anything else is a folder or a hub name."""
    return str(NANO) if model == "nano" else model


class JoinedProcessor:
    """The part of a Qwen-VL processor that still images need; called and used like the original.

    ``processor(text=[...], images=[...])`` repeats each image placeholder as often as the image has merged patches and
    returns ``input_ids, attention_mask, pixel_values, image_grid_thw``.
    """

    def __init__(self, tokenizer: Any, image_processor: Any) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor

    def apply_chat_template(self, messages: list[dict[str, Any]], **kwargs: Any) -> str:
        return self.tokenizer.apply_chat_template(messages, **kwargs)

    def __call__(self, *, text: Sequence[str], images: Sequence[Image.Image], **tokenize: Any) -> BatchFeature:
        pixels = self.image_processor(images=list(images), return_tensors="pt")
        counts = iter((pixels["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist())
        texts = [self._expand(one, counts) for one in text]
        return BatchFeature({**self.tokenizer(texts, **tokenize), **pixels})

    @staticmethod
    def _expand(text: str, counts: Any) -> str:
        head, *rest = text.split(IMAGE_TOKEN)
        return head + "".join(IMAGE_TOKEN * next(counts) + piece for piece in rest)


def load_processor(model: str, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """Processor of a model folder or hub name, padding on the left so that answers start at the last column.

    Raises:
        ConfigError: the folder or name holds no tokenizer or image processor.
    """
    path = locate(model)
    limits = {key: value for key, value in (("min_pixels", min_pixels), ("max_pixels", max_pixels)) if value}
    try:
        processor = _load(path, limits)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"student.model '{model}' has no usable tokenizer and image processor ({error}). "
            "Give 'nano', a folder with a saved model, or a hub name that is already downloaded."
        ) from error
    processor.tokenizer.padding_side = "left"
    return processor


def _load(path: str, limits: dict[str, int]) -> Any:
    try:
        return AutoProcessor.from_pretrained(path, **limits)
    except (ImportError, OSError, ValueError, TypeError, AttributeError):
        return JoinedProcessor(AutoTokenizer.from_pretrained(path), AutoImageProcessor.from_pretrained(path, **limits))


def split_images(vision: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The image processor's output cut into one record an image."""
    grids = vision.get("image_grid_thw")
    if grids is None:
        return [{name: value[i : i + 1] for name, value in vision.items()} for i in range(len(vision["pixel_values"]))]
    pixels = torch.split(vision["pixel_values"], grids.prod(-1).tolist())
    return [{"pixel_values": patch, "image_grid_thw": grids[i : i + 1]} for i, patch in enumerate(pixels)]


def join_images(records: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The inverse of `split_images`."""
    return {name: torch.cat([record[name] for record in records]) for name in records[0]}
