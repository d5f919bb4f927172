"""Images to features, once a study. A feature record holds the tensors of one image: ``pooler_output`` ``[t, H]`` (t
image tokens), and ``deepstack_<k>`` ``[t, H]`` in families that add features to deeper layers (Qwen3-VL)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from apo_lightning.processor import join_images, split_images
from apo_lightning.scoring.parts import Parts
from apo_lightning.stores.features import FeatureCache
from apo_lightning.types import PromptBatch

Features = dict[str, Tensor]


def encode(parts: Parts, vision: dict[str, Tensor]) -> list[Features]:
    """Run the vision tower over all images at once.

    Args:
        vision: the image processor's output.

    Returns:
        one record an image. No graph, where the tower is frozen.
    """
    output = parts.trunk.get_image_features(**vision, return_dict=True)
    deep = getattr(output, "deepstack_features", None) or []
    return [
        {"pooler_output": image, **{f"deepstack_{k}": layer[i] for k, layer in enumerate(deep)}}
        for i, image in enumerate(output.pooler_output)
    ]


def see(parts: Parts, batch: PromptBatch, cache: FeatureCache | None = None) -> int:
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
    made = encode(parts, join_images([images[i] for i in missing])) if missing else []
    if cache is not None and missing:
        cache.write([batch.image_keys[i] for i in missing], made)
    for i, record in zip(missing, made, strict=True):
        records[i] = record
    device = batch.prefix_ids.device
    batch.features = [{name: value.to(device) for name, value in record.items()} for record in records]
    return len(missing)


def of_rows(features: Sequence[Features], counts: Sequence[int], rows: Sequence[int]) -> list[Features]:
    """Features of the images that the given studies show, study by study; a study may come more than once."""
    starts = [sum(counts[:study]) for study in range(len(counts))]
    return [features[image] for study in rows for image in range(starts[study], starts[study] + counts[study])]


def as_encoder_outputs(features: Sequence[Features]) -> dict[str, BaseModelOutputWithPooling] | None:
    """Features in the form in which transformers takes images that are already encoded (``mm_encoder_outputs``)."""
    if not features:
        return None
    output = BaseModelOutputWithPooling(pooler_output=tuple(record["pooler_output"] for record in features))
    deep = sorted((key for key in features[0] if key.startswith("deepstack_")), key=lambda key: int(key[10:]))
    if deep:
        output["deepstack_features"] = [tuple(record[key] for record in features) for key in deep]
    return {"image": output}
