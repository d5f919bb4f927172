"""An image processor's output as one record per image, so that features and log-probs can be kept by content and no
record depends on its neighbours. A batch is the records in order, joined.

Qwen-VL cuts an image into patches (``pixel_values`` ``[patches, d]``, ``image_grid_thw`` ``[n, 3]``). Every other
family makes one or more tiles of it (``pixel_values`` ``[tiles, C, H, W]``, ``tiles`` ``[n]`` says how many of each).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import torch
from torch import Tensor

OF_TILES = ("pixel_values", "pixel_attention_mask")
"""Tensors with one row a tile; ``tiles`` and ``image_sizes`` (before resizing) have one an image. A mask
``[tiles, H, W]`` is 1 on pixels that are not padding."""


def by_image(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a processor's image half returned, without padding between images and studies.

    Args:
        found: of all images of a batch.
    """
    if "image_grid_thw" in found:
        return dict(found)
    pixels = torch.as_tensor(found["pixel_values"])
    tiles = _tiles(found, pixels)
    # padded study by study (Idefics), [B, most, C, H, W]; or image by image, [n, most, C, H, W]; or not at all
    studies = _images_of(found["rows"]) if "rows" in found else [[image] for image in range(len(tiles))]
    rows = [sum(tiles[image] for image in study) for study in studies]
    mask = found.get("pixel_attention_mask")
    kept = {
        "pixel_values": _unpadded(pixels, rows, 5),
        "tiles": torch.tensor(tiles),
        **({} if mask is None else {"pixel_attention_mask": _unpadded(mask, rows, 4)}),
    }
    return {**{name: value for name, value in found.items() if name != "batch_num_images"}, **kept}


def _images_of(rows: Sequence[Sequence[int]]) -> list[range]:
    """Numbers of the images of each study."""
    return [range(start, end) for start, end in pairwise([0, *accumulate(map(len, rows))])]


def _tiles(found: Mapping[str, Any], pixels: Tensor) -> list[int]:
    """How many tiles each image was cut into."""
    if "rows" in found:
        pairs = zip(chain(*found["rows"]), chain(*found["cols"]), strict=True)
        return [int(rows) * int(cols) + 1 for rows, cols in pairs]
    if "num_patches" in found:
        return [int(count) for count in found["num_patches"]]
    if "num_crops" in found:
        return [int(count) + 1 for count in found["num_crops"]]
    if pixels.dim() == 5:  # padding tiles are all zero, which no image of 8 bits becomes when it is normalised
        return pixels.flatten(2).any(-1).sum(-1).tolist()
    return [1] * len(pixels)


def _unpadded(values: Tensor, rows: Sequence[int], padded: int) -> Tensor:
    """``[n, most, ...]`` to ``[sum(rows), ...]``; ``values`` with fewer than ``padded`` dimensions has no padding."""
    if values.dim() < padded:
        return values
    return torch.cat([value[:count] for value, count in zip(values, rows, strict=True)])


def split_images(vision: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The images of a batch cut into one record per image."""
    if "image_grid_thw" in vision:
        grids = vision["image_grid_thw"]
        pixels = torch.split(vision["pixel_values"], grids.prod(-1).tolist())
        return [{"pixel_values": patch, "image_grid_thw": grids[i : i + 1]} for i, patch in enumerate(pixels)]
    tiles = vision["tiles"].tolist()
    cut = {name: torch.split(value, tiles if name in OF_TILES else 1) for name, value in vision.items()}
    return [{name: parts[i] for name, parts in cut.items()} for i in range(len(tiles))]


def join_images(records: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The inverse of `split_images`."""
    return {name: torch.cat([record[name] for record in records]) for name in records[0]}
