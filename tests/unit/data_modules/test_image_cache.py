"""Decoded images on disk: read once, read anew when anything changes, never a wrong or half image."""

from __future__ import annotations

import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from apo_lightning.errors import DataError
from data_modules.chestxray14 import ChestXray14
from data_modules.images import cache as module
from data_modules.images.cache import DiskCache
from tests.helpers.chestxray14_folder import nih_folder

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8)


@pytest.fixture
def path(tmp_path) -> str:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    return str(tmp_path / "a.png")


@pytest.fixture
def decoded(monkeypatch) -> list[tuple[str, int | None]]:
    """What was decoded: (path, max_side)."""
    seen, read = [], module.read_radiograph

    def counted(path, *, max_side=None):
        seen.append((path, max_side))
        return read(path, max_side=max_side)

    monkeypatch.setattr(module, "read_radiograph", counted)
    return seen


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def values(image: Image.Image) -> list:
    assert image.mode == "L"
    return np.asarray(image).tolist()


def test_second_read_does_not_decode(tmp_path, path, decoded):
    """Nor does that of another process, which has a cache of its own in the same folder."""
    folder = tmp_path / "deep" / "cache"
    for cache in (
        DiskCache(folder, None),
        DiskCache(folder, None),
        pickle.loads(pickle.dumps(DiskCache(folder, None))),
    ):
        for _ in range(2):
            assert values(cache(path)) == RAMP.tolist()
    assert decoded == [(path, None)]
    assert len(entries(folder)) == 1


def test_images_can_be_changed_without_changing_the_entry(tmp_path, path):
    cache = DiskCache(tmp_path / "cache", None)
    cache(path).putpixel((0, 0), 200)
    assert values(cache(path)) == RAMP.tolist()


@pytest.mark.parametrize("same_size", [True, False])
def test_a_changed_file_is_read_anew(tmp_path, decoded, same_size):
    """Other content of other size, or of the same size at another time."""
    path, cache = tmp_path / "a.bmp", DiskCache(tmp_path / "cache", None)
    Image.fromarray(RAMP).save(path)
    cache(str(path))
    at = os.stat(path)
    Image.fromarray(255 - (RAMP if same_size else RAMP[:4])).save(path)
    assert (path.stat().st_size == at.st_size) is same_size
    os.utime(path, ns=(at.st_atime_ns, at.st_mtime_ns + same_size))
    assert values(cache(str(path))) == (255 - (RAMP if same_size else RAMP[:4])).tolist()
    assert len(decoded) == 2


def test_two_files_are_two_entries(tmp_path):
    """Also those of one size that were written in the same moment."""
    cache = DiskCache(tmp_path / "cache", None)
    for name, pixels in (("a.bmp", RAMP), ("b.bmp", 255 - RAMP)):
        Image.fromarray(pixels).save(tmp_path / name)
        os.utime(tmp_path / name, ns=(10**18, 10**18))
    for _ in range(2):
        assert values(cache(str(tmp_path / "a.bmp"))) == RAMP.tolist()
        assert values(cache(str(tmp_path / "b.bmp"))) == (255 - RAMP).tolist()


def test_another_size_and_another_way_of_reading_are_other_entries(tmp_path, path, decoded, monkeypatch):
    folder = tmp_path / "cache"
    assert DiskCache(folder, 4)(path).size == (4, 3)
    assert DiskCache(folder, None)(path).size == (8, 6)
    assert DiskCache(folder, 4)(path).size == (4, 3)
    assert [side for _, side in decoded] == [4, None]
    monkeypatch.setattr(module, "READING", module.READING + 1)
    DiskCache(folder, 4)(path)
    assert [side for _, side in decoded] == [4, None, 4]
    assert len(entries(folder)) == 3


def cut(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:100])


SPOILED = {
    "cut": cut,
    "empty": lambda entry: entry.write_bytes(b""),
    "other": lambda entry: entry.write_text("text" * 50),
}


@pytest.mark.parametrize("how", SPOILED)
@pytest.mark.filterwarnings("ignore:Corrupt cache file")
def test_a_damaged_entry_is_read_anew_and_kept_again(tmp_path, path, decoded, how):
    cache = DiskCache(tmp_path / "cache", None)
    cache(path)
    (entry,) = entries(cache.folder)
    SPOILED[how](entry)
    for _ in range(3):
        assert values(cache(path)) == RAMP.tolist()
    assert values(Image.fromarray(torch.load(entry).numpy())) == RAMP.tolist()
    before = len(decoded)
    cache(path)
    assert len(decoded) == before


def test_a_damaged_entry_is_told_once(tmp_path, path, caplog):
    cache = DiskCache(tmp_path / "cache", None)
    for _ in range(2):
        cache(path)
        cut(entries(cache.folder)[0])
        cache(path)
    assert [record.levelno for record in caplog.records if "decoded anew" in record.message] == [logging.WARNING]


def test_a_bad_image_says_why_and_keeps_nothing(tmp_path):
    cache = DiskCache(tmp_path / "cache", None)
    bad = tmp_path / "bad.png"
    bad.write_text("not an image")
    for path, reason in ((bad, "not an image that can be read"), (tmp_path / "none.png", "no such file")):
        with pytest.raises(DataError, match=f"{path}: {reason}"):
            cache(str(path))
    assert entries(cache.folder) == []


def test_a_full_disk_does_not_stop_reading(tmp_path, path, monkeypatch):
    def full(*args, **how):
        raise RuntimeError("[enforce fail] . PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    cache = DiskCache(tmp_path / "cache", None)
    assert values(cache(path)) == RAMP.tolist()
    assert entries(cache.folder) == []


def test_a_folder_that_cannot_be_used(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match=rf"data.cache_dir: {folder} cannot be used \(.*\)\. Name a folder\."):
            DiskCache(folder, None)


def test_a_data_set_reads_through_it(tmp_path, decoded):
    """``cache_dir`` of a set: a second data module decodes nothing, a bad image is still one of the bad ones."""
    root = nih_folder(tmp_path)
    bad = root / "images" / "00000003_000.png"
    bad.write_text("not an image")
    how = dict(root=str(root), cache_dir=str(tmp_path / "cache"), max_side=4, max_bad_share=0.05)
    data = ChestXray14(**how)
    data.check()
    assert [Path(reference).name for reference, _ in data.bad] == [bad.name]
    assert len(entries(tmp_path / "cache")) == 49
    decoded.clear()
    again = ChestXray14(**how)
    images = [again.images(study)[0] for split in ("train", "val", "test") for study in data.studies(split)]
    assert decoded == []
    assert {image.size for image in images} == {(4, 4)}
