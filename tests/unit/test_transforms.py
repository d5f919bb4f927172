"""Reading radiographs: every kind of file becomes the same 8-bit grey, every bad file an error that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apo_lightning.errors import DataError
from data_modules.transforms import read_radiograph

RAMP = np.array([[0, 64, 128], [192, 254, 255]], dtype=np.uint8)


def saved(folder: Path, image: Image.Image, name: str = "image.png", **how) -> Path:
    image.save(folder / name, **how)
    return folder / name


def pixels(path: Path) -> list[list[int]]:
    image = read_radiograph(path)
    assert image.mode == "L"
    return np.asarray(image).tolist()


def as_cmyk() -> Image.Image:
    """Black ink alone: value = 255 - ink."""
    zero = Image.fromarray(np.zeros_like(RAMP))
    return Image.merge("CMYK", (zero, zero, zero, Image.fromarray(255 - RAMP)))


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (Image.fromarray(RAMP), "grey.png"),
        (Image.fromarray(RAMP).convert("RGB"), "colour.png"),
        (Image.fromarray(RAMP).convert("RGBA"), "opaque.png"),
        (Image.fromarray(RAMP).convert("LA"), "grey_alpha.png"),
        (Image.fromarray(RAMP).convert("P"), "palette.png"),
        (as_cmyk(), "cmyk.tiff"),
        (Image.fromarray(RAMP).convert("RGB"), "colour.bmp"),
    ],
)
def test_grey_survives_every_way_of_storing_it(tmp_path, image, name):
    assert pixels(saved(tmp_path, image, name)) == RAMP.tolist()


def test_sixteen_bits_are_stretched_over_their_own_range(tmp_path):
    """12-bit content from 100 to 4195 (4095 apart): 100 -> 0, 4195 -> 255, 2148 -> (2048/4095)*255 = 127.53 -> 128."""
    deep = np.array([[100, 4195, 2148]], dtype=np.uint16)
    assert pixels(saved(tmp_path, Image.fromarray(deep))) == [[0, 255, 128]]


def test_full_sixteen_bit_range_divides_by_257(tmp_path):
    deep = np.array([[0, 257, 65535]], dtype=np.uint16)
    assert pixels(saved(tmp_path, Image.fromarray(deep))) == [[0, 1, 255]]


def test_thirty_two_bits_and_floats_and_flat_images(tmp_path):
    assert pixels(saved(tmp_path, Image.fromarray(np.array([[-1, 0, 1]], np.int32)), "a.tiff")) == [[0, 128, 255]]
    assert pixels(saved(tmp_path, Image.fromarray(np.array([[0.0, 0.5]], np.float32)), "b.tiff")) == [[0, 255]]
    assert pixels(saved(tmp_path, Image.fromarray(np.full((1, 2), 7, np.uint16)), "c.png")) == [[0, 0]]


def test_transparent_pixels_are_black(tmp_path):
    """White under alpha 0, 51 and 255: 0, 51 and 255 on black."""
    image = Image.fromarray(np.array([[[255, 0], [255, 51], [255, 255]]], np.uint8), mode="LA")
    assert pixels(saved(tmp_path, image)) == [[0, 51, 255]]


def test_transparent_palette_entry_is_black(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), mode="P")
    image.putpalette([200, 200, 200, 90, 90, 90])
    assert pixels(saved(tmp_path, image, transparency=0)) == [[0, 90]]


def test_exif_orientation_is_applied(tmp_path):
    """Orientation 3 is upside down: the stored last pixel is the first one seen."""
    exif = Image.Exif()
    exif[0x0112] = 3
    assert pixels(saved(tmp_path, Image.fromarray(RAMP), exif=exif)) == RAMP[::-1, ::-1].tolist()


def test_one_bit_is_black_and_white(tmp_path):
    assert pixels(saved(tmp_path, Image.fromarray(np.array([[False, True]])))) == [[0, 255]]


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def claiming(path: Path, width: int, height: int) -> Path:
    """A PNG whose header claims another size."""
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def damaged(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    return written(path, bytes(data))


BAD = {
    "missing": (lambda folder: folder / "none.png", "no such file"),
    "empty": (lambda folder: written(folder / "a.png", b""), "empty file"),
    "folder": (lambda folder: folder, "cannot be read"),
    "text": (lambda folder: written(folder / "a.png", b"Image Index,Finding Labels\n" * 20), "not an image"),
    "cut png": (lambda folder: cut(saved(folder, noise())), "truncated"),
    "cut jpeg": (lambda folder: cut(saved(folder, noise(), "a.jpg")), "truncated"),
    "damaged png": (lambda folder: damaged(saved(folder, noise())), "damaged"),
    "bomb": (lambda folder: claiming(saved(folder, noise()), 20_000, 20_000), "header claims more"),
    "large": (lambda folder: claiming(saved(folder, noise()), 12_000, 10_000), "12000 x 10000"),
    "animated": (
        lambda folder: saved(folder, noise(), "a.gif", save_all=True, append_images=[Image.new("L", (64, 64), 9)]),
        "holds 2 frames",
    ),
    "dicom": (lambda folder: written(folder / "a", bytes(128) + b"DICM" + bytes(9)), "DICOM is not read"),
    "dicom by name": (lambda folder: written(folder / "a.dcm", b"no preamble"), "DICOM is not read"),
    "not finite": (
        lambda folder: saved(folder, Image.fromarray(np.array([[0, np.nan]], np.float32)), "a.tiff"),
        "not finite",
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_an_error_that_names_it(tmp_path, kind):
    make, reason = BAD[kind]
    path = make(tmp_path)
    with pytest.raises(DataError, match=reason) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("."), "says what to do"
