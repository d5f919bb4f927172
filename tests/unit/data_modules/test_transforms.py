"""Reading radiographs: every kind of file becomes the same 8-bit grey, every bad file an error that names it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apo_lightning.errors import ConfigError, DataError
from data_modules.images import transforms
from data_modules.images.pixels import shrink
from data_modules.images.transforms import is_dicom, read_radiograph, refuse_unreadable
from tests.helpers.dicom_files import dicom_file

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


@pytest.mark.parametrize("max_side", [None, 20])
def test_exif_orientation_turns_width_into_height(tmp_path, max_side):
    """Orientation 6: the stored left side is the upper one. Half white, half black: white comes to lie above."""
    exif = Image.Exif()
    exif[0x0112] = 6
    halves = np.zeros((40, 80), np.uint8)
    halves[:, :40] = 255
    path = saved(tmp_path, Image.fromarray(halves), "a.jpg", exif=exif, quality=95)
    image = read_radiograph(path, max_side=max_side)
    assert image.size == ((40, 80) if max_side is None else (10, 20))
    rows = np.asarray(image).mean(axis=1)
    assert rows[: len(rows) // 2 - 1].min() > 245 and rows[len(rows) // 2 + 1 :].max() < 10


def test_one_bit_is_black_and_white(tmp_path):
    assert pixels(saved(tmp_path, Image.fromarray(np.array([[False, True]])))) == [[0, 255]]


def test_cmyk_jpeg(tmp_path):
    image = Image.merge("CMYK", [Image.new("L", (16, 16), ink) for ink in (0, 0, 0, 100)])
    assert abs(pixels(saved(tmp_path, image, "a.jpg"))[8][8] - 155) <= 2


def test_colour_with_alpha_lies_on_black(tmp_path):
    """Red (luma 76) under alpha 255 and 0; half transparent red is 128 of 255: 38."""
    image = Image.fromarray(np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [255, 0, 0, 128]]], np.uint8), mode="RGBA")
    assert pixels(saved(tmp_path, image)) == [[76, 0, 38]]


def test_colours_of_a_palette_become_luma(tmp_path):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert pixels(saved(tmp_path, image)) == [[76, 150, 29]]
    assert pixels(saved(tmp_path, image, "a.gif")) == [[76, 150, 29]]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.tiff", "a.gif", "a.webp"])
def test_one_pixel(tmp_path, name):
    path = saved(tmp_path, Image.new("L", (1, 1), 200), name)
    assert abs(pixels(path)[0][0] - 200) <= 2
    assert read_radiograph(path, max_side=1).size == (1, 1)


@pytest.mark.parametrize(("kind", "name"), [("PNG", "a.jpg"), ("BMP", "a.dcm"), ("TIFF", "a")])
def test_content_counts_and_not_the_suffix(tmp_path, kind, name):
    assert pixels(saved(tmp_path, Image.fromarray(RAMP), name, format=kind)) == RAMP.tolist()


@pytest.mark.parametrize("name", ["a.png", "a.dcm", "a"])
def test_dicom_by_content(tmp_path, name):
    path = dicom_file(tmp_path / name, RAMP)
    assert pixels(path) == RAMP.tolist()
    assert is_dicom(refuse_unreadable(path))
    assert read_radiograph(path, max_side=2).size == (2, 1)


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (bytes(128) + b"DICM", True),
        (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", True),
        (b"\x08\x00\x08\x00\x10\x00\x00\x00DERIVED", True),
        (b"\x02\x00\x00\x00UL\x04\x00", True),
        (b"\x08\x00\x02" + bytes(15), False),  # Targa with an image id
        (b"\x08\x00\x05\x01CS\x0a\x00ISO_IR 100", False),  # no file begins in the middle of a group
        (b"\x08\x00", False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"", False),
    ],
)
def test_beginnings_of_dicom(head, answer):
    assert is_dicom(head) is answer


def smooth(width: int, height: int) -> Image.Image:
    """Gradients with an edge: what a radiograph is made of."""
    y, x = np.mgrid[:height, :width]
    waves = 120 + 60 * np.sin(x / width * 9) + 60 * np.cos(y / height * 7)
    return Image.fromarray((waves * (x < 0.8 * width)).astype(np.uint8))


@pytest.mark.parametrize("max_side", [100, 200, 399, 400, 401, 799])
def test_a_jpeg_decoded_small_is_the_jpeg_shrunk(tmp_path, max_side):
    path = saved(tmp_path, smooth(800, 600), "a.jpg", quality=95)
    small, whole = read_radiograph(path, max_side=max_side), shrink(read_radiograph(path), max_side)
    assert small.size == whole.size == (max_side, round(max_side * 0.75))
    assert np.abs(np.asarray(small).astype(float) - np.asarray(whole)).mean() < 1.5


@pytest.mark.parametrize(
    ("max_side", "decoded"), [(None, (800, 600)), (401, (800, 600)), (400, (400, 300)), (90, (100, 75))]
)
def test_a_jpeg_is_decoded_at_the_next_size_that_is_large_enough(tmp_path, monkeypatch, max_side, decoded):
    path, seen = saved(tmp_path, smooth(800, 600), "a.jpg"), []
    monkeypatch.setattr(transforms, "shrink", lambda image, side: seen.append(image.size) or shrink(image, side))
    read_radiograph(path, max_side=max_side)
    assert seen == [decoded]


def test_max_side_shrinks_and_never_enlarges(tmp_path):
    """The long side counts, whichever it is; deep images are stretched before they are shrunk."""
    wide, tall = saved(tmp_path, smooth(64, 16)), saved(tmp_path, smooth(16, 64), "b.png")
    assert read_radiograph(wide, max_side=32).size == (32, 8)
    assert read_radiograph(tall, max_side=32).size == (8, 32)
    assert read_radiograph(wide, max_side=64).size == read_radiograph(wide, max_side=500).size == (64, 16)
    assert pixels(wide) == np.asarray(smooth(64, 16)).tolist()
    deep = saved(tmp_path, Image.fromarray(np.repeat([[1000, 2000]], 8, axis=1).astype(np.uint16)), "c.png")
    small = read_radiograph(deep, max_side=8)
    assert small.size == (8, 1) and small.getextrema() == (0, 255)


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


def linked(path: Path, *targets: str) -> Path:
    """``path`` leads to the first target, that to the second, and so on."""
    for here, there in zip([path.name, *targets], targets, strict=False):
        (path.parent / here).symlink_to(path.parent / there)
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
    "animated png": (
        lambda folder: saved(folder, noise(), save_all=True, append_images=[Image.new("L", (64, 64), 9)]),
        "holds 2 frames",
    ),
    "pages": (
        lambda folder: saved(folder, noise(), "a.tiff", save_all=True, append_images=[noise(), noise()]),
        "holds 3 frames. Save the one",
    ),
    "zeros": (lambda folder: written(folder / "a.png", bytes(5000)), "not an image"),
    "loop": (lambda folder: linked(folder / "a.png", "b.png", "a.png"), "symbolic links"),
    "dangling": (lambda folder: linked(folder / "a.png", "none.png"), "no such file"),
    "cut dicom": (lambda folder: cut(dicom_file(folder / "a", np.asarray(noise()))), "truncated or damaged"),
    "empty dicom": (lambda folder: written(folder / "a", bytes(128) + b"DICM"), "holds no pixel data"),
    "text by another name": (lambda folder: written(folder / "a.dcm", b"no preamble"), "not an image"),
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


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 9 GiB for an array"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_a_lack_of_memory_is_not_called_a_damaged_image(tmp_path, monkeypatch, error):
    """Nor may the image be left out for it, as one that cannot be read: it stops the run."""
    Image.new("L", (8, 8)).save(tmp_path / "a.png")

    def lacking(*_, **__):
        try:
            raise error
        except Exception as cause:
            raise RuntimeError("all decoders failed") from cause

    monkeypatch.setattr("data_modules.images.transforms.refuse_picture", lacking)
    with pytest.raises(ConfigError, match=r"a\.png: there is not enough memory .* lower data.num_workers"):
        read_radiograph(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(1, 51), (51, 1), (3, 151), (1, 100_000)])
def test_a_strip_is_no_radiograph(tmp_path, size):
    """Processors of students refuse it in the middle of a run, and cannot name the file."""
    Image.new("L", size).save(tmp_path / "strip.png")
    with pytest.raises(DataError, match=rf"strip\.png: it is {size[0]:,} x {size[1]:,} pixels; at most 50 times"):
        read_radiograph(tmp_path / "strip.png")


def test_the_longest_image_that_is_read(tmp_path):
    Image.new("L", (3, 150), 7).save(tmp_path / "long.png")
    assert read_radiograph(tmp_path / "long.png").size == (3, 150)


def test_a_strip_in_dicom_is_refused_by_its_header(tmp_path):
    path = dicom_file(tmp_path / "strip.dcm", np.zeros((51, 1), np.uint16))
    with pytest.raises(DataError, match=r"strip\.dcm: it is 1 x 51 pixels; at most 50 times as long as wide"):
        read_radiograph(path)
