"""What FSDP2 spreads over processes one by one, of a student that is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule

from apo_lightning.caches.features import FeatureCache
from apo_lightning.stages.base import _shard
from tests.helpers import tiny


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[DeviceMesh]:
    """Of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def kind_of(module: nn.Module) -> str:
    """Its class, whose name FSDP2 prefixes."""
    return type(module).__name__.removeprefix("FSDP")


@pytest.mark.parametrize(("kind", "cached"), [("lora", False), ("full", False), ("lora", True)])
def test_layers_and_blocks_of_the_tower_are_sharded_one_by_one(
    mesh: DeviceMesh, tmp_path: Path, kind: str, cached: bool
) -> None:
    """Those of the frozen copy too; where features are cached the tower is left whole, since one process may know an
    image that another must encode."""
    student = tiny.student(kind=kind).make_trainable(0)
    if cached:
        student.feature_cache = FeatureCache.__new__(FeatureCache)
    _shard(student, mesh)
    found = [name for name, module in student.named_modules() if isinstance(module, FSDPModule) and name]
    wanted = [
        name
        for name, module in student.named_modules()
        if kind_of(module) == "Qwen2_5_VLDecoderLayer" or (kind_of(module) == "Qwen2_5_VLVisionBlock" and not cached)
    ]
    assert found == wanted and len(found) > 3
    assert any(name.startswith("frozen.") for name in found) == (kind == "full")
    assert isinstance(student, FSDPModule)
