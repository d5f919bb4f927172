"""DICOM radiographs: values worked out by hand, every refusal with its reason, and the real files where they exist."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from apo_lightning.errors import DataError
from data_modules.images import dicom_grey
from data_modules.images.dicom import DicomHeader, header, read_dicom
from data_modules.images.transforms import Refused, read_radiograph
from tests.helpers.dicom_files import UID_ROOT, dataset, dicom_file, table

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR CS")  # small letters, as some devices write
SAMPLE = Path(__file__).parents[4] / "shared/data/dicom_cxr"
BYTES = np.array([[0, 10, 250]], np.uint8)


def deep(*values: int, kind: type = np.uint16) -> np.ndarray:
    return np.array([values], kind)


@pytest.fixture
def shown(tmp_path):
    """Pixels of a made-up file, as they are shown."""

    def show(pixels, **how) -> list:
        image = read_dicom(dicom_file(tmp_path / "a.dcm", pixels, **how))
        assert image.mode == "L"
        values = np.asarray(image).tolist()
        return values[0] if len(values) == 1 else values

    return show


def test_rescale_and_window_of_twelve_bits(shown):
    """2 v - 1000 gives -1000, 500, 1000, 1500, 7190. Center 1000.5 and width 1001 (linear: less 0.5 and less 1) reach
    from 500 to 1500: ends 0 and 255, middle 127.5, what lies beyond is clipped."""
    how = dict(
        BitsStored=12, HighBit=11, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter="1000.5", WindowWidth=1001
    )
    assert shown(deep(0, 750, 1000, 1250, 4095), **how) == [0, 0, 128, 255, 255]
    assert shown(deep(0, 750, 1000, 1250, 4095), PhotometricInterpretation="MONOCHROME1", **how) == [
        255,
        255,
        127,
        0,
        0,
    ]


def test_falling_rescale_is_not_turned_twice(shown):
    """4095 - v: 4095, 2457, 0. The window 0..4095 shows 2457 as 153."""
    how = dict(BitsStored=12, RescaleSlope=-1, RescaleIntercept=4095, WindowCenter=2048, WindowWidth=4096)
    assert shown(deep(0, 1638, 4095), **how) == [255, 153, 0]


def test_kinds_of_window(shown):
    """Exact: 0..200, 50 is a quarter. Sigmoid: 255 / (1 + exp(-4 (v - 100) / 200)): 30.4, 127.5, 224.6."""
    how = dict(WindowCenter=100, WindowWidth=200)
    assert shown(deep(0, 50, 200), VOILUTFunction="LINEAR_EXACT", **how) == [0, 64, 255]
    assert shown(deep(0, 100, 200), VOILUTFunction="SIGMOID", **how) == [30, 128, 225]


def test_the_first_of_several_windows(shown):
    how = dict(WindowCenter=[100, 5000], WindowWidth=[200, 10], VOILUTFunction="LINEAR_EXACT")
    assert shown(deep(0, 50, 200), **how) == [0, 64, 255]


def test_without_a_window_deep_images_are_stretched(shown):
    """100..2100: 1100 is the middle, 127.5. Signed values too; a window without width is none."""
    assert shown(deep(100, 1100, 2100), BitsStored=12) == [0, 128, 255]
    assert shown(deep(-1000, 0, 1000, kind=np.int16), WindowCenter=5) == [0, 128, 255]
    assert shown(deep(100, 1100, 2100), PhotometricInterpretation="MONOCHROME1") == [255, 127, 0]
    assert shown(deep(7, 7)) == [0, 0]


def test_a_flat_image_is_shown_through_its_window(shown):
    assert shown(deep(50, 50), WindowCenter=100, WindowWidth=200, VOILUTFunction="LINEAR_EXACT") == [64, 64]
    assert shown(deep(500, 500), WindowCenter=100, WindowWidth=200) == [255, 255]


def test_eight_bits_stay_as_they_are(shown):
    """As those of a PNG do; 7 of 8 bits are stretched."""
    assert shown(np.array([[10, 200]], np.uint8)) == [10, 200]
    assert shown(np.array([[10, 200]], np.uint8), PhotometricInterpretation="MONOCHROME1") == [245, 55]
    assert shown(np.array([[10, 50, 110]], np.uint8), BitsStored=7, HighBit=6) == [0, 102, 255]
    assert shown(np.array([[10, 50, 110]], np.uint8), RescaleSlope=2, RescaleIntercept=0) == [0, 102, 255]


@pytest.mark.filterwarnings("error")
def test_empty_elements_are_absent_ones(shown):
    how = dict(RescaleSlope="", RescaleIntercept="", WindowCenter="", WindowWidth="", NumberOfFrames="")
    assert shown(deep(100, 1100, 2100), **how) == [0, 128, 255]


@pytest.mark.parametrize(("width", "function"), [(0, None), (-3, None), (0.5, ""), (0, "SIGMOID"), ("", None)])
def test_an_impossible_window_is_none(shown, width, function):
    """100..2100 over its own range; 0.5 is too narrow for LINEAR alone. It is no damage."""
    how = dict(WindowCenter=1000, WindowWidth=width, VOILUTFunction=function)
    assert shown(deep(100, 1100, 2100), **how) == [0, 128, 255]


def test_an_impossible_window_is_said_once(shown, caplog):
    dicom_grey._say.cache_clear()
    for _ in range(2):
        shown(deep(100, 1100, 2100), WindowCenter=[1000, 7], WindowWidth=[0, -1])
    assert [r.message for r in caplog.records if "impossible window" in r.message] == [
        "WindowWidth 0 -1 is an impossible window: such images are shown over their own range."
    ]


def test_the_first_possible_of_several_windows(shown):
    """0..200; half a grey level is wide enough where the window is exact: 99.75..100.25."""
    how = dict(WindowCenter=[5, 100, 9], WindowWidth=[0, 200, 50])
    assert shown(deep(0, 50, 200), VOILUTFunction="LINEAR_EXACT", **how) == [0, 64, 255]
    narrow = dict(WindowCenter=100, WindowWidth=0.5, VOILUTFunction="LINEAR_EXACT")
    assert shown(deep(99, 100, 101), **narrow) == [0, 128, 255]


def test_one_level_of_a_window_is_a_threshold(shown):
    """Width 1 (C.11.2.1.2): up to 99.5 black, above it white."""
    assert shown(deep(99, 100, 101), WindowCenter=100, WindowWidth=1) == [0, 255, 255]


@pytest.mark.parametrize("function", ["", "LOG"])
def test_a_function_that_does_not_exist_is_linear(shown, function):
    how = dict(WindowCenter=1000.5, WindowWidth=1001)
    assert shown(deep(500, 1000, 1500), VOILUTFunction=function, **how) == [0, 128, 255]


@pytest.mark.parametrize(
    ("kind", "shape", "inverted"),
    [
        ("MONOCHROME2", None, False),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", None, True),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
    ],
)
def test_presentation_lut_shape_turns_once(shown, kind, shape, inverted):
    """INVERSE is what MONOCHROME1 must have beside it, and turns nothing back; padding stays black."""
    how = dict(PhotometricInterpretation=kind, PresentationLUTShape=shape)
    assert shown(np.array([[10, 200]], np.uint8), **how) == ([245, 55] if inverted else [10, 200])
    assert shown(deep(0, 1000, 3000), PixelPaddingValue=0, **how) == ([0, 255, 0] if inverted else [0, 0, 255])


def test_padding_is_black_and_does_not_count(shown):
    """1000..3000 without the padding of 0, which must not become white where low values are bright."""
    assert shown(deep(0, 1000, 2000, 3000), PixelPaddingValue=0) == [0, 0, 128, 255]
    inverted = dict(PhotometricInterpretation="MONOCHROME1")
    assert shown(deep(0, 1000, 2000, 3000), PixelPaddingValue=0, **inverted) == [0, 255, 127, 0]
    assert shown(deep(0, 5, 1000, 3000), PixelPaddingValue=0, PixelPaddingRangeLimit=5, **inverted) == [0, 0, 255, 0]
    assert shown(deep(4, 4), PixelPaddingValue=4) == [0, 0], "an image of padding alone is shown as it is"


def test_voi_table_goes_before_a_window(shown):
    """Entries 0, 10, 30, 40 from value 100 on, over their own range: 0, 63.75, 191.25, 255; the ends take the rest."""
    how = dict(VOILUTSequence=[table(100, [0, 10, 30, 40], 16)], WindowCenter=5000, WindowWidth=2)
    assert shown(deep(0, 100, 101, 102, 103, 104), **how) == [0, 0, 64, 191, 255, 255]
    how["VOILUTSequence"] = [table(100, [0, 10, 30, 40], 8), table(0, [1], 8)]
    assert shown(deep(0, 100, 101, 102, 103, 104), **how) == [0, 0, 64, 191, 255, 255]


def test_voi_table_with_more_places_than_an_entry_has_values(shown):
    """511 entries of 8 bits: value v has entry v // 2."""
    entries = [v // 2 for v in range(511)]
    assert shown(deep(0, 255, 256, 510, 511), VOILUTSequence=[table(0, entries, 8)]) == [0, 127, 128, 255, 255]


def test_voi_table_begins_below_zero_or_takes_rescaled_values(shown):
    """v / 2 - 0.3 rounds to 0, 1, 2."""
    lut = table(0, [0, 50, 100], 16)
    assert shown(deep(0, 2, 4), RescaleSlope=0.5, RescaleIntercept=-0.3, VOILUTSequence=[lut]) == [0, 128, 255]
    lut = table(0, [0, 50, 100], 16)
    lut.add_new("LUTDescriptor", "SS", [3, -1, 16])
    assert shown(deep(-5, 0, 1, kind=np.int16), VOILUTSequence=[lut]) == [0, 128, 255]


def test_modality_table(shown):
    """Values 5, 6, 7 become 0, 1000, 4000, which the window 0..4000 shows as 0, 63.75, 255."""
    how = dict(ModalityLUTSequence=[table(5, [0, 1000, 4000], 16)], WindowCenter=2000, WindowWidth=4000)
    assert shown(deep(5, 6, 7), VOILUTFunction="LINEAR_EXACT", **how) == [0, 64, 255]


def test_colour_captures_become_luma(shown):
    """ITU-R 601: red 76, green 150, blue 29, grey stays."""
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [77, 77, 77]]], np.uint8)
    assert shown(pixels) == [76, 150, 29, 77]


def test_palettes_become_luma(shown):
    tables = {}
    for colour, values in (("Red", [0, 255, 80]), ("Green", [0, 0, 80]), ("Blue", [0, 0, 80])):
        tables[f"{colour}PaletteColorLookupTableDescriptor"] = [3, 0, 16]
        tables[f"{colour}PaletteColorLookupTableData"] = np.array(values, np.uint16).tobytes()
    how = dict(PhotometricInterpretation="PALETTE COLOR", **tables)
    assert shown(np.array([[0, 1, 2]], np.uint8), **how) == [0, 76, 80]


def test_run_length_and_jpeg_are_decoded(tmp_path):
    ramp = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    data = dataset(ramp)
    data.compress(RLELossless)
    data.save_as(tmp_path / "rle")
    assert np.array_equal(np.asarray(read_dicom(tmp_path / "rle")), ramp)
    out = io.BytesIO()
    Image.fromarray(ramp).save(out, "JPEG", quality=95)
    how = dict(syntax=JPEGBaseline8Bit, Rows=8, Columns=8)
    path = dicom_file(tmp_path / "jpeg", encapsulate([out.getvalue()]), **how)
    assert np.abs(np.asarray(read_dicom(path)).astype(int) - ramp).max() <= 6


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_syntaxes(shown, syntax):
    assert shown(deep(100, 1100, 2100), syntax=syntax) == [0, 128, 255]


@pytest.mark.parametrize("implicit", [True, False])
def test_a_file_without_preamble(tmp_path, implicit):
    """And without meta information, so that nothing says how it is encoded."""
    data = Dataset()
    data.update({element.tag: element for element in dataset(deep(100, 1100, 2100))})
    data.save_as(tmp_path / "a", implicit_vr=implicit, little_endian=True)
    assert (tmp_path / "a").read_bytes()[:2] == b"\x08\x00"
    assert np.asarray(read_radiograph(tmp_path / "a")).tolist() == [[0, 128, 255]]


@pytest.mark.parametrize("modality", ["CR", "DX", "DR", "RG", "cr", None])
def test_radiographs_by_modality(shown, modality):
    assert shown(BYTES, Modality=modality) == BYTES[0].tolist()


CHESTS = (
    "CHEST PA",
    "PORT CHEST",
    "AP SUPINE",
    "LLAT",
    "THORAX",
    "CHEST 2 VIEWS",
    "chest pa/lat",
    "CHEST_2VW",
    "Tórax",
    "PORTCHEST",
    "PA",
    ["CHEST", "PA"],
    ["ABDOMEN", "CHEST"],
    "CHEST\\THORAX",
    "2 VIEWS",
    "CXR PORTABLE",
)


@pytest.mark.parametrize("part", ["CHEST", "Thorax", " chest ", "LUNG", "", None, *CHESTS])
def test_chests_by_body_part(shown, part):
    assert shown(BYTES, BodyPartExamined=part) == BYTES[0].tolist()


@pytest.mark.parametrize("part", ["ABDOMEN", "ABDOMEN AP", "T SPINE", "CHEST RIBS", "HAND", ["PELVIS", "AP"], "??"])
def test_other_parts_are_refused_until_they_are_allowed(tmp_path, part):
    path = dicom_file(tmp_path / "a.dcm", BYTES, BodyPartExamined=part)
    with pytest.raises(DataError, match=r"BodyPartExamined is .*data\.body_parts lists\. Add it there"):
        read_radiograph(path, body_parts=["KNEE"])
    if part != "??":  # has no word that could be listed
        words = " ".join(part) if isinstance(part, list) else part
        assert np.asarray(read_radiograph(path, body_parts=["KNEE", words.lower()])).tolist() == BYTES.tolist()


@pytest.mark.parametrize("view", ["AP SUPINE", "LLAT", "chest pa", "PORT", "PA_ERECT", "CROSS TABLE LAT"])
def test_views_by_their_words(shown, view):
    assert shown(BYTES, ViewPosition=view) == BYTES[0].tolist()


def test_a_view_can_be_allowed(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", BYTES, ViewPosition="W033")
    with pytest.raises(DataError, match=r"view .* is 'W033'.*data\.view_positions"):
        read_radiograph(path)
    assert read_radiograph(path, view_positions=["w033"]).size == (3, 1)


@pytest.mark.parametrize(
    ("position", "lying", "view"),
    [
        ("PA", None, "PA"),
        ("AP", "HFS", "AP"),
        ("ll", "XX", "LL"),
        ("AP_AXIAL", None, "AP AXIAL"),
        (None, "PA", "PA"),
        ("", "lateral", "LATERAL"),
        (None, "HFS", ""),
        (None, "FFP", ""),
        (None, "HFDR", ""),
        (None, None, ""),
    ],
)
def test_view_of_viewposition_or_a_projection_in_patientposition(tmp_path, position, lying, view):
    path = dicom_file(tmp_path / "a", BYTES, ViewPosition=position, PatientPosition=lying)
    assert header(path).view == view
    assert read_dicom(path).size == (3, 1)


@pytest.mark.parametrize(("meaning", "view"), [("postero-anterior", "PA"), ("Left lateral", "LL"), ("oblique", "")])
def test_view_of_viewcodesequence(tmp_path, meaning, view):
    """What DX must have, where ViewPosition is free to be empty."""
    item = Dataset()
    item.CodeMeaning = meaning
    path = dicom_file(tmp_path / "a", BYTES, ViewPosition="", PatientPosition="HFS", ViewCodeSequence=[item])
    assert header(path).view == view
    assert header(dicom_file(tmp_path / "b", BYTES, ViewPosition="AP", ViewCodeSequence=[item])).view == "AP"


def test_header(tmp_path):
    path = dicom_file(tmp_path / "a", BYTES, PatientID=" 17 ", Modality="dx")
    study, series = UID_ROOT + "2", UID_ROOT + "3"
    found = DicomHeader("17", study, series, "PA", "DX", "CHEST", "20200102", "030405", "Chest")
    assert header(path) == found
    path.write_bytes(path.read_bytes()[:-4])
    assert header(path) == found, "the end is not needed"
    bare = dict.fromkeys(["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "ViewPosition", "Modality"])
    bare |= dict.fromkeys(["BodyPartExamined", "StudyDate", "StudyTime", "StudyDescription"])
    assert header(dicom_file(tmp_path / "b", BYTES, **bare)) == DicomHeader()


def test_header_of_what_cannot_be_read(tmp_path):
    with pytest.raises(Refused, match=r"truncated or damaged \(.*leave it out"):
        header(tmp_path / "none")


REFUSED = {
    "CT": (BYTES, dict(Modality="CT"), "its Modality is 'CT'; allowed are CR, DX, DR, RG"),
    "mammogram": (BYTES, dict(Modality="MG"), "its Modality is 'MG'"),
    "other": (BYTES, dict(Modality="OT"), "its Modality is 'OT'"),
    "abdomen": (BYTES, dict(BodyPartExamined="ABDOMEN"), "its BodyPartExamined is 'ABDOMEN'; allowed are CHEST"),
    "view": (BYTES, dict(ViewPosition="ZZ"), r"its view .* is 'ZZ'; allowed are AP, PA, LATERAL"),
    "position": (BYTES, dict(ViewPosition=None, PatientPosition="XX"), r"its view .*PatientPosition\) is 'XX'"),
    "no pixels": (None, {}, "holds no pixel data"),
    "empty pixels": (b"", {}, "holds no pixel data"),
    "frames": (np.zeros((4, 2), np.uint8), dict(Rows=2, NumberOfFrames=2), "holds 2 frames. Save the one"),
    "size": (BYTES, dict(Rows=20_000, Columns=10_000), "claims 10000 x 20000 pixels; at most 40,000,000"),
    "window": (deep(1, 2, 3), dict(WindowCenter=5000, WindowWidth=10), r"nothing is seen .* 5000.*; values 1 to 3\)"),
    "film": (encapsulate([b"0000"]), dict(syntax=MPEG2MPML), r"syntax is MPEG2.*1\.2\.840.*there is no decoder"),
    "twelve bit jpeg": (
        encapsulate([b"\xff\xd8\xff\xd9"]),
        dict(syntax=JPEGExtended12Bit, BitsAllocated=16, BitsStored=12, HighBit=11),
        "could not be decoded .*another codec may help",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_says_why_and_what_to_do(tmp_path, kind):
    pixels, how, reason = REFUSED[kind]
    path = dicom_file(tmp_path / "a.dcm", pixels, **how)
    with pytest.raises(Refused, match=reason) as caught:
        read_dicom(path)
    assert str(caught.value).endswith(".")
    with pytest.raises(DataError, match=reason) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("syntax", "packages"),
    [
        (JPEGLosslessSV1, r"pylibjpeg>=\S+ pylibjpeg-libjpeg>=\S+; python-gdcm>=\S+\."),
        (JPEGLSLossless, r"pylibjpeg>=\S+ pylibjpeg-libjpeg>=\S+; python-gdcm>=\S+; pyjpegls>=\S+\."),
        (HTJ2KLossless, r"pylibjpeg>=\S+ pylibjpeg-openjpeg>=\S+\."),
    ],
)
def test_a_codec_that_is_not_installed_is_named_by_its_package(tmp_path, syntax, packages):
    if get_decoder(syntax).is_available:
        pytest.skip("this machine can decode it")
    path = dicom_file(tmp_path / "a.dcm", encapsulate([b"0000"]), syntax=syntax)
    with pytest.raises(
        DataError, match=rf"a.dcm: its pixels are .*nothing installed decodes. Install one of: {packages}"
    ):
        read_radiograph(path)


def test_half_a_file_is_damaged(tmp_path):
    path = dicom_file(tmp_path / "a.dcm", np.zeros((64, 64), np.uint16))
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(DataError, match=r"a.dcm: truncated or damaged \(.*4096.*Fetch the file again"):
        read_radiograph(path)


sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real files are not here")


@sample
def test_real_jpeg_2000_is_inverted_and_shown_through_its_window():
    """Window 15000/30000 shows 0..29999; MONOCHROME1 turns it: the air beside the neck and the lungs become dark, the
    mediastinum bright. Own range would have given 0 and 255 at the ends."""
    path = SAMPLE / "RG1_J2KI.dcm"
    image = np.asarray(read_radiograph(path)).astype(int)
    stored = pixel_array(dcmread(path)).astype(float)
    assert image.shape == (1955, 1841)
    assert np.abs(image - (255 - np.round(stored / 29999 * 255))).max() <= 1
    assert (image.min(), image.max()) == (30, 248)
    corner, lungs, mediastinum = image[60:100, :60], image[600:800, [500, 1300]], image[600:800, 850:1000]
    assert corner.mean() < lungs.mean() < mediastinum.mean()
    assert corner.mean() < 100 and mediastinum.mean() > 180
    assert read_radiograph(path, max_side=512).size == (482, 512)


@sample
@pytest.mark.parametrize(
    ("name", "patient", "view"), [("test1", "2", "PA"), ("test2", "1", "AP"), ("test3", "61", "AP")]
)
def test_real_wrapped_files_are_their_pixels(name, patient, view):
    path = SAMPLE / f"{name}.dcm"
    assert np.array_equal(np.asarray(read_radiograph(path)), pixel_array(dcmread(path)))
    assert (header(path).patient, header(path).view) == (patient, view)


@sample
@pytest.mark.parametrize(
    ("name", "reason"),
    [("test4", "BodyPartExamined is 'RIBCAGE'"), ("test5", "Modality is 'CT'"), ("test6", "is 'XX'")],
)
def test_real_files_that_are_refused(name, reason):
    with pytest.raises(DataError, match=f"{name}.dcm: its .*{reason}"):
        read_radiograph(SAMPLE / f"{name}.dcm")
