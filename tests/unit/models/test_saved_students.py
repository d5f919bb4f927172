"""A damaged file of a saved student is named, with the command that removes its stage."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from apo_lightning.errors import ArtifactError
from apo_lightning.models.saved import adapters, read_record

TENSORS, CONFIG = "adapters/0/adapter_model.safetensors", "adapters/0/adapter_config.json"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "spd-abc" / "student"
    for number in (0, 1):
        own = folder / "adapters" / str(number)
        own.mkdir(parents=True)
        (own / "adapter_config.json").write_text("{}")
        save_file({"a": torch.ones(3)}, own / "adapter_model.safetensors")
    (folder / "student.json").write_text('{"kind": "lora"}')
    return folder


def test_whole_ones_are_read_and_strays_are_left_alone(saved: Path) -> None:
    (saved / "adapters" / ".DS_Store").write_text("x")
    (saved / "adapters" / "notes").mkdir()
    assert read_record(saved) == {"kind": "lora"}
    assert [path.name for path in adapters(saved)] == ["0", "1"]


@pytest.mark.parametrize(
    "content", [b"", b"a", bytes(200), b"text " * 50, b"[1, 2]", b"\xff\xfe", None, "cut", "folder"]
)
@pytest.mark.parametrize("name", ["student.json", TENSORS, CONFIG])
def test_a_damaged_file_is_named(saved: Path, name: str, content: bytes | str | None) -> None:
    path = saved / name
    whole = path.read_bytes()
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(whole[:-3] if content == "cut" else content)
    named = path if content is not None or not name.endswith("safetensors") else path.parent
    with pytest.raises(ArtifactError, match=rf"^{named} .*rm -r {saved.parent}$"):
        read_record(saved)


def test_a_gap_between_adapters_is_another_student(saved: Path) -> None:
    (saved / "adapters" / "0").rename(saved / "adapters" / "2")
    with pytest.raises(ArtifactError, match=r"must have the adapters 0, 1, \.\.\. and has 1, 2"):
        read_record(saved)
