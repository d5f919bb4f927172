"""A model folder from elsewhere: what it holds is refused in a sentence, by its size before it is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from apo_lightning.errors import ConfigError
from apo_lightning.files.limits import MAX_MODEL_TEXT, MAX_TOKENIZER_TEXT
from apo_lightning.models import network
from apo_lightning.models.model_folder import require_bounded
from apo_lightning.models.network import load_network
from apo_lightning.settings import StudentSettings
from tests.helpers import tiny


def claim(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("config.json", MAX_MODEL_TEXT),
        ("model.safetensors.index.json", MAX_MODEL_TEXT),
        ("tokenizer.json", MAX_TOKENIZER_TEXT),
        ("merges.txt", MAX_TOKENIZER_TEXT),
    ],
)
def test_texts_are_refused_by_their_size_and_weights_are_not(name: str, most: int, tmp_path: Path) -> None:
    claim(tmp_path / "model.safetensors", 10 * MAX_TOKENIZER_TEXT)
    claim(tmp_path / name, most)
    require_bounded(tmp_path)
    claim(tmp_path / name, most + 1)
    with pytest.raises(ValueError, match=rf"^{name} has {most + 1:,} bytes; at most {most:,} are read$"):
        require_bounded(tmp_path)


def test_a_hub_name_is_no_folder() -> None:
    require_bounded("Qwen/Qwen2.5-VL-7B-Instruct")


HEADER = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'


def vocabulary(size: int) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        own = json.loads((folder / "config.json").read_text())
        own.get("text_config", own)["vocab_size"] = size
        (folder / "config.json").write_text(json.dumps(own))

    return write


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", 2**63 - 1) + b"{}"), "header too large"),
        (lambda f: (f / "model.safetensors").write_bytes(struct.pack("<Q", len(HEADER)) + HEADER), "not fully covered"),
        (lambda f: (f / "generation_config.json").write_text("[1]"), "'list' object is not a mapping"),
        (vocabulary(10**12), "weights have another shape than config.json says"),
    ],
)
def test_weights_that_claim_anything_are_refused(spoil: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    folder = tiny.folder(tmp_path / "model")
    spoil(folder)
    with pytest.raises(ConfigError, match=rf"could not be loaded \(.*{says}"):
        load_network(StudentSettings(model=str(folder)))


def test_a_trained_student_is_not_to_be_removed_for_want_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the base model any failure is a sentence; of what was trained only a damaged file is one, with what to do."""
    folder = tiny.folder(tmp_path / "model")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(network.AutoModelForImageTextToText, "from_pretrained", fail)
    with pytest.raises(ConfigError, match=r"could not be loaded \(not enough memory"):
        load_network(StudentSettings(model=str(folder)))
    with pytest.raises(RuntimeError, match="not enough memory"):
        load_network(StudentSettings(model=str(folder)), saved=folder)
