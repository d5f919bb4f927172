"""Forty studies, half of them broken in every way a download can be: each is named, none is lost in silence, and the
good ones come out whole."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLSLossless

from apo_lightning.cli import commands
from data_modules.tabular import Tabular
from tests.helpers.dicom_files import dicom_file
from tests.pipeline.conftest import ROOT

GOOD = 24


def noise(mode: str = "L") -> Image.Image:
    grey = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    return Image.fromarray(grey).convert(mode)


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def claim(path: Path, side: int) -> None:
    """A PNG whose header claims ``side`` x ``side`` pixels."""
    noise().save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def truncated_jpeg(path: Path) -> None:
    noise().save(path)
    cut(path, 900)


PACKED = encapsulate([b"\xff\xd8\xff\xf7" + bytes(60)])
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated.jpg": (truncated_jpeg, "truncated or damaged"),
    "zero.png": (lambda path: path.write_bytes(b""), "empty file (0 bytes)"),
    "bomb.png": (lambda path: claim(path, 30_000), "its header claims more pixels"),
    "animated.gif": (
        lambda path: noise().save(path, save_all=True, append_images=[Image.new("L", (64, 64), 9)]),
        "holds 2 frames",
    ),
    "text.png": (lambda path: path.write_text("<html>404</html>"), "not an image"),
    "loop.png": (loop, "cannot be read (Too many levels of symbolic links)"),
    "empty.dcm": (lambda path: dicom_file(path, None), "holds no pixel data"),
    "packed.dcm": (lambda path: dicom_file(path, PACKED, syntax=JPEGLSLossless), "Install one of"),
    "knee.dcm": (
        lambda path: dicom_file(path, np.ones((4, 4), np.uint8), BodyPartExamined="KNEE"),
        "BodyPartExamined is 'KNEE'",
    ),
}
FINE: dict[str, Callable[[Path], object]] = {
    "cmyk.jpg": lambda path: noise("CMYK").save(path),
    "alpha.png": lambda path: noise("LA").save(path),
    "palette.png": lambda path: noise("P").save(path),
    "one.png": lambda path: Image.new("L", (1, 1), 5).save(path),
    "really_png.jpg": lambda path: noise().save(path, format="PNG"),
    "really_dicom.png": lambda path: dicom_file(path, np.arange(16, dtype=np.uint8).reshape(4, 4)),
}
ROWS = [
    ("../outside.png", "p70", "1", "leads out of"),
    ("g0.png", "p0", "1", "is listed before"),
    ("g1.png", "nan", "1", "'patient' is empty"),
    ("y.png", "p80", "7", "none of -1, 0, 1"),
]
"""Rows that are refused: image, patient, label, reason."""


@pytest.fixture
def root(tmp_path) -> Path:
    """Written as a spreadsheet does: byte-order mark, semicolons, CRLF, and one name in latin-1 spelling."""
    Image.new("L", (8, 8)).save(tmp_path / "outside.png")
    folder = tmp_path / "set"
    folder.mkdir()
    names = [f"g{i}.png" for i in range(GOOD)]
    for i, name in enumerate(names):
        Image.new("L", (8, 8), i).save(folder / name)
    for name, (make, _) in BAD.items():
        make(folder / name)
    for name, make in FINE.items():
        make(folder / name)
    rows = [(name, f"p{i}", str(i % 2)) for i, name in enumerate([*names, *FINE, *BAD])]
    lines = ["image;patient;edema", *(";".join(row) for row in rows), *(";".join(row[:3]) for row in ROWS)]
    lines.append("x.png;p99;1;surplus")
    (folder / "index.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    return folder


def test_everything_bad_is_named_and_everything_good_is_kept(root, tmp_path):
    data = Tabular(root=str(root), index_file="index.csv", max_bad_share=0.5)
    data.check(report_path=tmp_path / "unusable.tsv")
    kept = {study.id for split in data.splits for study in data.studies(split)}
    assert kept == {Path(name).stem for name in [*(f"g{i}.png" for i in range(GOOD)), *FINE]}
    said = (tmp_path / "unusable.tsv").read_text().splitlines()
    expected = [
        *((name, why) for name, (_, why) in BAD.items()),
        *((f"index.csv:{len(kept) + len(BAD) + 2 + i}", why) for i, (*_, why) in enumerate(ROWS)),
    ]
    for where, why in [*expected, (f"index.csv:{len(kept) + len(BAD) + 2 + len(ROWS)}", "has 4 cells")]:
        assert any(where in line and why in line for line in said), (where, why, said)
    assert len(said) == len(data.bad) == len(BAD) + len(ROWS) + 1
    assert data.facts()["unusable"] == len(said)


def test_more_than_the_allowed_share_stops_the_run_with_the_list(root, capsys):
    words = [
        "runs_dir=runs",
        "wandb.mode=disabled",
        "data.name=tabular",
        f"data.root={root}",
        "data.index_file=index.csv",
    ]
    assert commands.main(["run", str(ROOT / "experiments/smoke.yaml"), *words]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "studies and rows cannot be used" in said and "data.max_bad_share=0.01" in said
    listed = Path("runs/smoke/unusable.tsv").read_text()
    assert len(listed.splitlines()) == len(BAD) + len(ROWS) + 1 and "bomb.png" in listed


def test_latin_1_names_are_read(root):
    text = (root / "index.csv").read_bytes().decode("utf-8-sig").replace("g0.png;p0;0", "g0.png;Müller;0", 1)
    (root / "index.csv").write_bytes(text.encode("latin-1"))
    data = Tabular(root=str(root), index_file="index.csv", max_bad_share=0.5)
    assert "Müller" in {study.patient for split in data.splits for study in data.studies(split)}
