"""Images to features, once per study. A feature record holds the tensors of one image: ``pooler_output`` ``[t, H]`` (t
image tokens; ``[tiles, t, H]`` in families that give tiles of one length as one tensor), and ``deepstack_<k>``
``[t, H]`` in families that add features to deeper layers (Qwen3-VL)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from apo_lightning.caches.features import FeatureCache
from apo_lightning.scoring.image_records import join_images, split_images
from apo_lightning.scoring.parts import Parts
from apo_lightning.scoring.windows import windows_at_once
from apo_lightning.types import PromptBatch

Features = dict[str, Tensor]


def encode(parts: Parts, vision: dict[str, Tensor]) -> list[Features]:
    """Run the vision tower over all images at once.

    Args:
        vision: images as `image_records` holds them.

    Returns:
        one record per image. No graph, where the tower is frozen.
    """
    if "tiles" in vision:
        return _encode_tiles(parts, vision)
    with windows_at_once(parts):
        output = parts.trunk.get_image_features(**vision, return_dict=True)
    deep = getattr(output, "deepstack_features", None) or []
    return [
        {"pooler_output": image, **{f"deepstack_{k}": layer[i] for k, layer in enumerate(deep)}}
        for i, image in enumerate(output.pooler_output)
    ]


def _encode_tiles(parts: Parts, vision: dict[str, Tensor]) -> list[Features]:
    inputs, tiles = {name: value for name, value in vision.items() if name != "tiles"}, vision["tiles"].tolist()
    kind = parts.whole.config.model_type
    if kind == "llava_onevision":
        return [{"pooler_output": image} for image in _encode_one_vision(parts, inputs, tiles)]
    if kind in ("idefics3", "smolvlm"):  # they take studies of tiles; one tile per study needs no padding
        inputs = {name: value[:, None] for name, value in inputs.items()}
    found = parts.trunk.get_image_features(**inputs, return_dict=True).pooler_output
    if isinstance(found, Tensor):  # [tiles, t, H]
        return [{"pooler_output": image} for image in found.split(tiles)]
    return [{"pooler_output": torch.cat(list(found[a:b]))} for a, b in pairwise([0, *accumulate(tiles)])]


def _encode_one_vision(parts: Parts, inputs: dict[str, Tensor], tiles: list[int]) -> list[Tensor]:
    """An image of a single tile is one of several of its study. The library tells that from the number of images of a
    study, so those are asked for as one study, twice over so that they are several; each other image is its own."""
    several = [i for i, count in enumerate(tiles) if count == 1]
    alone = [i for i, count in enumerate(tiles) if count > 1]
    order = [*several, *several[: len(several) == 1], *alone]
    pixels, sizes = inputs["pixel_values"].split(tiles), inputs["image_sizes"]
    output = parts.trunk.get_image_features(
        pixel_values=torch.cat([pixels[i] for i in order]),
        image_sizes=sizes[order],
        batch_num_images=[*([len(order) - len(alone)] if several else []), *[1] * len(alone)],
        return_dict=True,
    )
    return list(dict(zip(order, output.pooler_output, strict=True))[i] for i in range(len(tiles)))


def encode_images(parts: Parts, batch: PromptBatch, cache: FeatureCache | None = None) -> int:
    """Put the features of all images into a batch, so that policy, reference and every mode share them.

    Args:
        cache: where features are kept between batches; images that it does not know are encoded and stored. The batch
            must bring ``image_keys`` along.

    Returns:
        number of images that went through the tower: 0 for a batch that has its features already.
    """
    if batch.features is not None or not batch.vision:
        return 0
    images = split_images(batch.vision)
    records = cache.read(batch.image_keys) if cache is not None else [None] * len(images)
    missing = [i for i, record in enumerate(records) if record is None]
    with torch.set_grad_enabled(torch.is_grad_enabled() and _is_trained(parts)):
        made = encode(parts, join_images([images[i] for i in missing])) if missing else []
    if cache is not None and missing:
        cache.write([batch.image_keys[i] for i in missing], made)
    for i, record in zip(missing, made, strict=True):
        records[i] = record
    device = batch.prefix_ids.device
    batch.features = [{name: value.to(device) for name, value in record.items()} for record in records]
    return len(missing)


def _is_trained(parts: Parts) -> bool:
    """Whether anything beside the decoder is. Checkpointing makes the inputs of a frozen tower ask for gradients."""
    beside = (part for part in parts.trunk.children() if part is not parts.decoder)
    return any(parameter.requires_grad for part in beside for parameter in part.parameters())


def of_rows(features: Sequence[Features], counts: Sequence[int], rows: Sequence[int]) -> list[Features]:
    """Features of the images that the given studies show, study by study; a study may come more than once."""
    starts = [sum(counts[:study]) for study in range(len(counts))]
    return [features[image] for study in rows for image in range(starts[study], starts[study] + counts[study])]


def as_encoder_outputs(features: Sequence[Features]) -> dict[str, BaseModelOutputWithPooling] | None:
    """Features in the form in which transformers takes images that are already encoded (``mm_encoder_outputs``)."""
    if not features:
        return None
    pooled = [record["pooler_output"] for record in features]
    output = BaseModelOutputWithPooling(pooler_output=torch.cat(pooled) if pooled[0].dim() == 3 else tuple(pooled))
    deep = sorted((key for key in features[0] if key.startswith("deepstack_")), key=lambda key: int(key[10:]))
    if deep:
        output["deepstack_features"] = [tuple(record[key] for record in features) for key in deep]
    return {"image": output}
