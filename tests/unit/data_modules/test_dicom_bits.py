"""Where a value lies in its cell: mixtures of allocated and stored bits, high bit and sign against plain Python."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from data_modules.images.dicom import read_dicom
from data_modules.images.dicom_bits import values_of
from tests.helpers.dicom_files import dataset, dicom_file

FAULTS = Path(__file__).parents[4] / "shared/faults/dicom"
MIXTURES = [
    (allocated, stored, high, signed)
    for allocated, signed in product((8, 16, 32), (0, 1))
    for stored in (1, 2, 7, 8, 10, 12, 15, 16, 31, 32)
    for high in range(stored - 1, allocated)
    if stored <= allocated and high - stored + 1 in (0, 1, 4, allocated - stored)
]


def by_hand(cell: int, stored: int, high: int, signed: int) -> int:
    """The value of one cell, bit by bit."""
    bits = [cell >> place & 1 for place in range(high - stored + 1, high + 1)]
    value = sum(bit << place for place, bit in enumerate(bits))
    return value - (bits[-1] << stored) if signed else value


@pytest.mark.parametrize(("allocated", "stored", "high", "signed"), MIXTURES)
def test_the_value_is_what_ends_at_the_high_bit(allocated, stored, high, signed):
    """Random cells: all bits beside the value are used, and mean nothing."""
    cells = np.random.default_rng(0).integers(0, 1 << allocated, 200, dtype=np.uint64).astype(f"u{allocated // 8}")
    header = dataset(None, BitsAllocated=allocated, BitsStored=stored, HighBit=high, PixelRepresentation=signed)
    found = values_of(cells.view(f"{'iu'[1 - signed]}{allocated // 8}"), header)
    assert found.tolist() == [by_hand(int(cell), stored, high, signed) for cell in cells]


def ramp() -> np.ndarray:
    return np.arange(4096, dtype=np.uint16).reshape(64, 64)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("noise", [0, 15])
def test_twelve_bits_end_at_the_last_bit(tmp_path, syntax, noise):
    """The same picture as with high bit 11, with or without an overlay in the bits below."""
    low = read_dicom(dicom_file(tmp_path / "a", ramp(), BitsStored=12, HighBit=11))
    path = dicom_file(tmp_path / "b", ramp() << 4 | noise, BitsStored=12, HighBit=15, syntax=syntax)
    assert np.array_equal(np.asarray(read_dicom(path)), np.asarray(low))


def test_run_length_code_of_the_last_bits(tmp_path):
    data = dataset(ramp() << 4, BitsStored=12, HighBit=15)
    data.compress(RLELossless)
    data.save_as(tmp_path / "a")
    assert np.asarray(read_dicom(tmp_path / "a"))[::63, ::63].tolist() == [[0, 4], [251, 255]]


def test_what_lies_above_the_value_is_an_overlay(tmp_path):
    dotted = ramp() | (np.arange(64) % 2 << 12).astype(np.uint16)
    found = read_dicom(dicom_file(tmp_path / "a", dotted, BitsStored=12, HighBit=11))
    assert np.array_equal(found, read_dicom(dicom_file(tmp_path / "b", ramp(), BitsStored=12, HighBit=11)))


def test_a_high_bit_that_the_cells_contradict_is_ignored(tmp_path):
    """0..4095 use the lowest four bits and nothing above the twelfth: no picture of the last twelve. Where an overlay
    is said to lie there, the header is right, and so it is where the lowest bits are empty."""
    plain = np.asarray(read_dicom(dicom_file(tmp_path / "a", ramp(), BitsStored=12, HighBit=11)))
    assert np.array_equal(read_dicom(dicom_file(tmp_path / "b", ramp(), BitsStored=12, HighBit=15)), plain)
    signed = ramp().astype(np.int16) - 2048
    assert np.array_equal(read_dicom(dicom_file(tmp_path / "c", signed, BitsStored=12, HighBit=15)), plain)

    data = dataset(ramp(), BitsStored=12, HighBit=15)
    data.add_new(0x60000100, "US", 16)
    data.add_new(0x60000102, "US", 1)
    assert values_of(ramp(), data).max() == 255
    dark = (np.arange(256, dtype=np.uint16) << 4).reshape(16, 16)
    found = np.asarray(read_dicom(dicom_file(tmp_path / "d", dark, BitsStored=12, HighBit=15)))
    assert found.ravel().tolist() == list(range(256))


@pytest.mark.parametrize("high", [3, 99, None])
def test_a_high_bit_without_room_is_ignored(tmp_path, high):
    found = read_dicom(dicom_file(tmp_path / "a", ramp(), BitsStored=12, HighBit=high))
    assert np.asarray(found)[-1, -1] == 255 and np.asarray(found)[0, 0] == 0


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("padding", "limit"), [(-2000, None), (-2000, -1900), (-1900, -2000), (-2100, 0)])
def test_signed_padding(tmp_path, syntax, padding, limit):
    """-2000 is padding, and -1000..1000 the picture, wherever the ends of the range stand; 0 is an end too."""
    cells = np.array([[-2000, 1, 500, 1000]], np.int16)
    how = dict(BitsStored=12, HighBit=11, PixelPaddingValue=padding, PixelPaddingRangeLimit=limit, syntax=syntax)
    assert np.asarray(read_dicom(dicom_file(tmp_path / "a", cells, **how))).tolist() == [[0, 0, 127, 255]]


def test_padding_that_no_value_can_have_is_looked_for_in_the_cells(tmp_path):
    """65535 with 12 bits: 4095 is the brightest value and no padding."""
    cells = np.array([[65535, 95, 2095, 4095]], np.uint16)
    found = read_dicom(dicom_file(tmp_path / "a", cells, BitsStored=12, HighBit=11, PixelPaddingValue=65535))
    assert np.asarray(found).tolist() == [[0, 0, 128, 255]]


@pytest.mark.skipif(not FAULTS.is_dir(), reason="the files are not here")
def test_real_faults():
    ramp_of_values = np.round(np.arange(4096) / 4095 * 255).reshape(64, 64)
    for name in ("high_bit_15", "window_width_0"):
        found = np.asarray(read_dicom(FAULTS / f"{name}.dcm")).astype(int)
        assert np.abs(found - ramp_of_values).max() <= 1, name
    plain = read_dicom(FAULTS / "body_part_port_chest.dcm")
    shown = np.clip((dcmread(FAULTS / "body_part_port_chest.dcm").pixel_array - 2047.5) / 1999 + 0.5, 0, 1)
    assert np.abs(np.asarray(plain) - shown * 255).max() <= 1
    turned = Image.fromarray(255 - np.asarray(plain))
    assert np.array_equal(read_dicom(FAULTS / "mono2_inverse_shape.dcm"), turned)
