"""Image keys, and image features that a frozen tower computes once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from apo_lightning.caches.features import FeatureCache
from apo_lightning.caches.keys import image_key
from apo_lightning.caches.tensor_store import TensorStore


def cache(path: Path, **identity: str) -> FeatureCache:
    return FeatureCache(TensorStore(path / "features.db", {"tower": "aa", **identity}))


def image(seed: int = 0) -> dict[str, Tensor]:
    values = torch.randn(16, 6, generator=torch.Generator().manual_seed(seed))
    return {"pixel_values": values, "image_grid_thw": torch.tensor([1, 4, 4])}


def features(seed: int) -> dict[str, Tensor]:
    batch = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(seed)).bfloat16()
    return {"pooler_output": batch[0], "deepstack_0": batch[1], "deepstack_1": batch[2]}


def test_features_come_back_in_the_towers_precision(tmp_path: Path) -> None:
    keys = [image_key(image(seed)) for seed in range(3)]
    cache(tmp_path).write(keys[:2], [features(0), features(1)])
    warm = cache(tmp_path)
    first, none, second = warm.read([keys[1], keys[2], keys[0]])
    assert none is None
    for got, seed in ((first, 1), (second, 0)):
        assert got is not None and got.keys() == features(seed).keys()
        assert all(tensor.dtype == torch.bfloat16 for tensor in got.values())
        assert all(torch.equal(got[name], tensor) for name, tensor in features(seed).items())
    assert (warm.store.hits, warm.store.misses, warm.store.written) == (2, 1, 0)


def test_every_image_needs_its_features(tmp_path: Path) -> None:
    own = cache(tmp_path)
    with pytest.raises(ValueError, match="shorter"):
        own.write([b"a", b"b"], [features(0)])
    assert len(own.store) == 0


def test_an_image_key_does_not_depend_on_the_order_of_names_or_on_the_batch() -> None:
    own = image()
    assert image_key(own) == image_key(dict(reversed(own.items()))) == image_key(image())
    batch = torch.cat([image(1)["pixel_values"], own["pixel_values"], image(2)["pixel_values"]])
    assert image_key({**own, "pixel_values": batch[16:32]}) == image_key(own)
    assert image_key({**own, "pixel_values": own["pixel_values"].t().contiguous().t()}) == image_key(own)


@pytest.mark.parametrize("name", ["pixel_values", "image_grid_thw"])
def test_an_image_key_sees_one_bit(name: str) -> None:
    changed = image()
    changed[name].view(-1)[-1:].view(torch.uint8)[0] ^= 1
    assert image_key(changed) != image_key(image())


def test_an_image_key_sees_names_shapes_and_dtypes() -> None:
    values = torch.zeros(4, 6)
    others = [values.view(6, 4), values.int(), values.bfloat16(), values[:0]]
    keys = [image_key({"a": values}), image_key({"b": values}), image_key({"a": values, "b": values}), image_key({})]
    keys += [image_key({"a": other}) for other in others]
    assert len(set(keys)) == 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.bool, torch.int64])
def test_any_dtype_has_a_key(dtype: torch.dtype) -> None:
    scalar = torch.tensor(1).to(dtype)
    assert image_key({"a": scalar}) != image_key({"a": torch.zeros_like(scalar)})
    assert image_key({"a": scalar}) != image_key({"a": scalar[None]})
