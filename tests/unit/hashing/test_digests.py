"""Hashes of large files are remembered, and never for a file that has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apo_lightning.hashing import contents
from apo_lightning.hashing.contents import remembered_digest

LONG_AGO = 1_000_000_000


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a test are younger than any clock's tick."""
    monkeypatch.setattr(contents, "SETTLED", -1.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights.bin").write_bytes(b"12345678")
    (folder / "config.json").write_text("{}")
    return folder


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    plain = contents.file_digest
    monkeypatch.setattr(contents, "file_digest", lambda path: read.append(path) or plain(path))
    return read


def test_a_second_look_reads_no_file(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, read = remembered_digest(model, tmp_path / "known.json"), count_reads(monkeypatch)
    assert remembered_digest(model, tmp_path / "known.json") == first and read == []


@pytest.mark.parametrize("content", [b"12345679", b"1234"])
def test_a_changed_file_is_read_again_also_at_its_old_time(model: Path, tmp_path: Path, content: bytes) -> None:
    file = model / "weights.bin"
    os.utime(file, (LONG_AGO, LONG_AGO))
    first = remembered_digest(model, tmp_path / "known.json")
    file.write_bytes(content)
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert remembered_digest(model, tmp_path / "known.json") != first


def test_the_name_counts_and_the_place_does_not(model: Path, tmp_path: Path) -> None:
    first = remembered_digest(model, tmp_path / "known.json")
    moved = model.rename(tmp_path / "moved")
    assert remembered_digest(moved, tmp_path / "known.json") == first
    (moved / "weights.bin").rename(moved / "other.bin")
    assert remembered_digest(moved, tmp_path / "known.json") != first


@pytest.mark.parametrize("memory", ["", "[]", '{"x": 1', "null"])
def test_a_damaged_memory_costs_a_reading(model: Path, tmp_path: Path, memory: str) -> None:
    first = remembered_digest(model, tmp_path / "known.json")
    (tmp_path / "known.json").write_text(memory)
    assert remembered_digest(model, tmp_path / "known.json") == first


def test_a_file_that_was_just_written_is_not_remembered(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED", 3600.0)
    remembered_digest(model, tmp_path / "known.json")
    assert not (tmp_path / "known.json").exists()
