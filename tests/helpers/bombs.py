"""Small files that claim, or become, far more than they are. Each maker writes one below a folder and returns its path.

A table of what reads each, which is run as a program in a process of its own: it prints what was said and the peak of
memory that it took.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import resource
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from tests.helpers.dicom_files import dataset, dicom_file, table

ROOM = 500_000_000
"""Bytes that reading may take."""
MB = 1_000_000
SMALL = np.zeros((8, 8), np.uint8)


def written(path: Path, content: bytes, sparse: int = 0) -> Path:
    """A file, perhaps with a hole of ``sparse`` bytes behind the content, which takes no place on the disk."""
    path.write_bytes(content)
    if sparse:
        with path.open("r+b") as file:
            file.truncate(len(content) + sparse)
    return path


def zeros_deflated(count: int, head: bytes = b"", filler: bytes = b"\0") -> bytes:
    """A raw deflate stream of ``head`` and ``count`` times 16 MB of one byte, made in no time: a flushed block may be
    repeated."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    begin = pack.compress(head) + pack.flush(zlib.Z_FULL_FLUSH)
    block = pack.compress(filler * (16 * MB // len(filler))) + pack.flush(zlib.Z_FULL_FLUSH)
    return begin + block * count + pack.flush()


def gzipped(path: Path, count: int, head: bytes = b"", filler: bytes = b"\0") -> Path:
    """The same as a gzip file. Its checksum is wrong, which nobody will find out."""
    start = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    return written(path, start + zeros_deflated(count, head, filler) + struct.pack("<II", 0, count * 16 * MB % 2**32))


def dicom(folder: Path, pixels: Any = SMALL, **how: Any) -> Path:
    return dicom_file(folder / "a.dcm", pixels, **how)


def deflated(folder: Path) -> Path:
    """64 pixels, and 1 GB behind them."""
    plain, out = dataset(SMALL), io.BytesIO()
    plain.save_as(out, enforce_file_format=True)
    meta = dicom(folder, syntax=DeflatedExplicitVRLittleEndian).read_bytes()
    start = 144 + int.from_bytes(meta[140:144], "little")
    body = out.getvalue()[144 + int.from_bytes(out.getvalue()[140:144], "little") :]
    return written(folder / "a.dcm", meta[:start] + zeros_deflated(64, body))


def run_lengths(folder: Path) -> Path:
    """8 x 8 pixels by the header, 1 GB by the runs of its one segment."""
    return dicom(
        folder,
        encapsulate([struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 8_000_000]),
        syntax=RLELossless,
        Rows=8,
        Columns=8,
    )


def jpeg_claiming(side: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(SMALL).save(out, "JPEG")
    data = bytearray(out.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def jpeg_2000_claiming(side: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(SMALL).save(out, "JPEG2000", no_jp2=True)
    data = bytearray(out.getvalue())
    data[8:16] = struct.pack(">II", side, side)
    data[24:32] = struct.pack(">II", side, side)
    return bytes(data)


def nested(folder: Path) -> Path:
    """A million elements in a sequence without length; a record of each is made before the pixels are seen."""
    path = dicom(folder)
    data = path.read_bytes()
    at = data.index(b"\x08\0\x60\0CS")
    items = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + b"".join(
        b"\x09\0" + struct.pack("<H", n % 65536) + b"CS\0\0" for n in range(1_000_000)
    )
    sequence = b"\x08\0\x3f\0SQ\0\0\xff\xff\xff\xff" + items + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    return written(path, data[:at] + sequence + data[at:])


def element(folder: Path) -> Path:
    """An element that claims 4 GB."""
    data = dicom(folder).read_bytes()
    at = data.index(b"\xe0\x7f\x10\0OB")
    return written(folder / "a.dcm", data[: at + 8] + struct.pack("<I", 0xFFFFFFF0) + data[at + 12 :])


def png(folder: Path, width: int, height: int, bits: int = 8, *chunks: tuple[bytes, bytes], data: bytes = b"") -> Path:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    body = b"".join(chunk(kind, content) for kind, content in chunks)
    pixels = chunk(b"IDAT", data or zlib.compress(bytes(1 + width * bits // 8) * min(height, 8)))
    return written(folder / "a.png", b"\x89PNG\r\n\x1a\n" + head + body + pixels + chunk(b"IEND", b""))


def text_chunk(kind: bytes) -> tuple[bytes, bytes]:
    """1 GB of text in a chunk."""
    packed = b"x\x9c" + zeros_deflated(64, filler=b"a") + b"\0\0\0\0"
    return (b"zTXt", b"k\0\0" + packed) if kind == b"zTXt" else (b"iTXt", b"k\0\1\0\0\0" + packed)


def sparse_chunk(folder: Path) -> Path:
    """A chunk of 1 GB, all but its beginning a hole."""
    path = png(folder, 8, 8)
    head = path.read_bytes()[:33]
    return written(path, head + struct.pack(">I", 200 * MB) + b"tEXtk\0", sparse=200 * MB)


def webp(folder: Path) -> Path:
    Image.fromarray(SMALL).save(folder / "a.webp", lossless=True)
    frame = (folder / "a.webp").read_bytes()[12:]
    body = b"WEBPVP8X" + struct.pack("<II", 10, 0) + (16382).to_bytes(3, "little") * 2 + frame
    return written(folder / "a.webp", b"RIFF" + struct.pack("<I", len(body)) + body)


def gif(folder: Path) -> Path:
    """A million frames of one pixel."""
    frame = b"\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\0"
    return written(folder / "a.gif", b"GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff" + frame * 1_000_000 + b";")


def tiff(folder: Path) -> Path:
    claims = {256: 60_000, 257: 60_000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 60_000, 279: 64}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in claims.items())
    return written(folder / "a.tif", b"II*\0\x08\0\0\0" + struct.pack("<H", len(claims)) + entries + bytes(68))


def parquet(folder: Path, rows: int = 0, cell: int = 0) -> Path:
    """One value a million times in each of many groups, or one large value."""
    import pyarrow
    import pyarrow.parquet

    group = pyarrow.table({"image": ["a" * cell]}) if cell else pyarrow.table({"image": ["a"] * MB})
    with pyarrow.parquet.ParquetWriter(folder / "a.parquet", group.schema, compression="zstd") as out:
        for _ in range(max(1, rows // MB)):
            out.write_table(group)
    return folder / "a.parquet"


def tar(folder: Path, name: str = "big.bin", kind: bytes = tarfile.REGTYPE) -> Path:
    """An archive whose one member has 1 GB of zeros; under ``XHDTYPE`` these are the header of another."""
    member = tarfile.TarInfo(name)
    member.size, member.type = 64 * 16 * MB, kind
    return gzipped(folder / "NLMCXR_reports.tgz", 64, member.tobuf(tarfile.USTAR_FORMAT))


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("files/p10/p10000032/s50000001.txt", b"a" * 50 * MB)
        archive.writestr("files/p10/p10000032/s50000002.txt", b"FINDINGS: No effusion.")
    return folder / "mimic-cxr-reports.zip"


def many_reports(folder: Path) -> Path:
    """A hundred reports of the largest size that one may have, a thousandth of it each in the archive."""
    with zipfile.ZipFile(folder / "mimic-cxr-reports.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(100):
            archive.writestr(f"files/p10/p10000032/s{50000001 + number}.txt", b"a" * MB)
    return folder / "mimic-cxr-reports.zip"


def many_members(folder: Path) -> Path:
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\5\6")
    data[at + 12 : at + 16] = struct.pack("<I", 3_000 * MB)
    return written(path, bytes(data))


def xml(folder: Path, content: bytes) -> Path:
    (folder / "ecgen-radiology").mkdir()
    written(folder / "ecgen-radiology/1.xml", content)
    return folder / "ecgen-radiology"


LAUGHS = (
    b"<!DOCTYPE x [<!ENTITY a0 'ha'>"
    + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]><eCitation>&a11;</eCitation>"
)
HEADER = b"image,patient\n"
BOMBS: dict[str, tuple[Callable[[Path], Path], str, str]] = {
    "DICOM rows": (lambda f: dicom(f, Rows=65535, Columns=65535), "image", "claims 65535 x 65535 pixels; at most"),
    "DICOM frames": (lambda f: dicom(f, NumberOfFrames=2_000_000_000), "image", "holds 2000000000 frames"),
    "DICOM samples": (lambda f: dicom(f, SamplesPerPixel=60_000), "image", "60000 samples a pixel"),
    "DICOM colour": (lambda f: dicom(f, Rows=6000, Columns=6000, SamplesPerPixel=3), "image", "6000 x 6000 x 3 pixels"),
    "DICOM deflated": (deflated, "image", "inflates to more than"),
    "DICOM run lengths": (run_lengths, "image", "run-length code has more than"),
    "DICOM JPEG": (
        lambda f: dicom(f, encapsulate([jpeg_claiming(60_000)]), syntax=JPEGBaseline8Bit, Rows=8, Columns=8),
        "image",
        "its code holds 60000 x 60000 pixels of 1 samples, its header declares 8 x 8",
    ),
    "DICOM JPEG 2000": (
        lambda f: dicom(f, encapsulate([jpeg_2000_claiming(13_000)]), syntax=JPEG2000Lossless, Rows=8, Columns=8),
        "image",
        "its code holds 13000 x 13000 pixels",
    ),
    "DICOM nested": (nested, "image", "its header has more than 30,000 pieces"),
    "DICOM header": (
        lambda f: dicom(f, ICCProfile=bytes(7 * MB)),
        "image",
        "more than 6,000,000 bytes before any pixels",
    ),
    "DICOM sequence": (
        lambda f: dicom(f, VOILUTSequence=[table(0, [1] * 20_000, 16)] * 50),
        "image",
        "claims .* bytes; at most 1,000,000",
    ),
    "DICOM element": (element, "image", "truncated or damaged"),
    "DICOM sparse": (
        lambda f: written(f / "a.dcm", dicom(f, syntax=ExplicitVRLittleEndian).read_bytes(), 8_000 * MB),
        "image",
        "the file has 8,000,000,",
    ),
    "DICOM bits": (lambda f: dicom(f, BitsAllocated=4096), "image", "its BitsAllocated is 4096"),
    "PNG pixels": (lambda f: png(f, 65_000, 65_000), "image", "claims more pixels; at most"),
    "PNG of 16 bits": (lambda f: png(f, 8_000, 8_000, 16), "image", "claims 8000 x 8000 pixels; at most 40,000,000"),
    "PNG zTXt": (lambda f: png(f, 8, 8, 8, text_chunk(b"zTXt")), "image", "a.png"),
    "PNG iTXt": (lambda f: png(f, 8, 8, 8, text_chunk(b"iTXt")), "image", "a.png"),
    "PNG tEXt": (sparse_chunk, "image", "its chunk 'tEXt' claims 200,000,000 bytes; at most 4,000,000"),
    "PNG chunks": (lambda f: png(f, 8, 8, 8, *[(b"prVt", b"")] * 200_000), "image", "more than 100,000 chunks"),
    "PNG sparse": (lambda f: written(f / "a.png", png(f, 8, 8).read_bytes(), 4_000 * MB), "image", "file has 4,000,"),
    "JPEG": (lambda f: written(f / "a.jpg", jpeg_claiming(65_000)), "image", "claims more pixels"),
    "WebP": (webp, "image", "claims 16383 x 16383 pixels"),
    "GIF": (gif, "image", "holds 100 or more frames"),
    "TIFF": (tiff, "image", "claims more pixels"),
    "CSV line": (lambda f: written(f / "a.csv", HEADER + b"a" * 3 * MB), "table", "csv:2: the line has more than 2"),
    "CSV cell": (
        lambda f: written(f / "a.csv", HEADER + b'"' + b"word, word\n" * 1_000_000),
        "table",
        "a.csv:2: a cell of the row",
    ),
    "CSV columns": (
        lambda f: written(f / "a.csv", HEADER.strip() + b"," + b"c," * 900_000),
        "table",
        "has 900,003 columns; at most 5,000",
    ),
    "CSV sparse": (lambda f: written(f / "a.csv", HEADER, 9_000 * MB), "table", "has 9,000,000,014 bytes; at most"),
    "CSV gzipped": (lambda f: gzipped(f / "a.csv.gz", 128, HEADER, b"a.png,p1\n"), "table", "inflate to more than"),
    "Parquet rows": (lambda f: parquet(f, rows=12 * MB), "table", "claims 12,000,000 rows; at most 10,000,000"),
    "Parquet cell": (lambda f: parquet(f, cell=30 * MB), "table", "claims 30,"),
    "list of names": (
        lambda f: gzipped(f / "train_val_list.txt.gz", 64, filler=b"a"),
        "names",
        "line has more|inflate to more",
    ),
    "JSON values": (lambda f: written(f / "a.json", b"[" + b"[]," * 20_000_000 + b"0]"), "json", "some 40,000,001"),
    "JSON sparse": (lambda f: written(f / "a.json", b"[1", 4_000 * MB), "json", "has 4,000,000,002 bytes; at most"),
    "JSON gzipped": (lambda f: gzipped(f / "a.json.gz", 64, b"[1", b" "), "json", "inflate to more than"),
    "JSON depth": (lambda f: written(f / "a.json", b"[" * 4_000_000), "json", "cannot be read as JSON"),
    "JSON import": (lambda f: written(f / "a.json", b"[" + b"{}," * 8_000_000 + b"0]"), "import", "some 16,000,001"),
    "JSON line": (lambda f: written(f / "a.jsonl", b'{"id": "', 1_000 * MB), "import", "a.jsonl:1: the line has"),
    "XML entities": (lambda f: xml(f, LAUGHS), "xml", "document type definition"),
    "XML text": (lambda f: xml(f, b"<a>" + b"x" * 50 * MB + b"</a>"), "xml", "larger than 1,000,000 bytes"),
    "tar member": (tar, "xml", "inflate to more than"),
    "tar XML": (lambda f: tar(f, "1.xml"), "xml", "larger than 1,000,000 bytes"),
    "tar header": (lambda f: tar(f, "pax", tarfile.XHDTYPE), "xml", "inflate to more than"),
    "zip member": (zipped, "zip", "s50000001.txt claims 50,000,000 bytes; a report has at most 1,000,000"),
    "zip of reports": (many_reports, "zip", "its 100 files claim 100,000,000 bytes; at most 2"),
    "zip members": (many_members, "zip", "claims 2 files and 3,000,000,000 bytes of names"),
}
"""Kind to what makes it, what reads it (a key of ``READERS``), and what is said."""
LARGEST: dict[str, Callable[[Path], Path]] = {
    "PNG of 16 bits": lambda f: png(f, 6_300, 6_300, 16, data=zlib.compress(bytes(12_601) * 6_300, 1)),
    "JPEG in colour": lambda f: _saved(Image.new("RGB", (6_300, 6_300)), f / "a.jpg"),
    "PNG with alpha": lambda f: _saved(Image.new("RGBA", (6_300, 6_300)), f / "a.png"),
    "DICOM of 16 bits": lambda f: dicom(
        f,
        np.zeros((6_300, 6_300), np.uint16),
        BitsStored=12,
        PixelPaddingValue=3,
        WindowCenter=100,
        WindowWidth=200,
        RescaleSlope=2,
        RescaleIntercept=1,
    ),
    "DICOM in colour": lambda f: dicom(f, np.zeros((3_600, 3_600, 3), np.uint8), PhotometricInterpretation="YBR_FULL"),
}
"""Honest files at the limit, which are read, within ``ROOM`` too."""


def _saved(image: Image.Image, path: Path) -> Path:
    image.save(path, compress_level=1)
    return path


def _json(path: Path) -> Any:
    from data_modules.chestxdet10 import read_items

    return read_items(path)


def _table(path: Path) -> Any:
    from data_modules.tables import Faults, read_table

    return read_table(path, {"image": "image"}, Faults())


def _names(path: Path) -> Any:
    from data_modules.chestxray14 import read_list

    return read_list(path)


def _import(path: Path) -> Any:
    from apo_lightning.trajectories.importers import import_file

    return import_file("cxr_max", path, path.parent / "out/own.jsonl")


def _xml(path: Path) -> Any:
    """The fault of a report, or the error of an archive."""
    from data_modules.open_i import OpenI

    data = OpenI(root=str(path.parent))
    with contextlib.suppress(Exception):
        data.read_index()
    if data.faults:
        return data.faults
    return data.read_index()


def _zip(path: Path) -> Any:
    """The good report is read all the same."""
    from data_modules.archives.mimic_report_files import ReportFiles
    from data_modules.tables import Faults

    faults = Faults()
    found = ReportFiles(path).read([("s50000001", "10000032"), ("s50000002", "10000032")], faults)
    return [found["s50000002"], *faults]


def _image(path: Path) -> Any:
    from data_modules.images.transforms import read_radiograph

    return read_radiograph(path).size


READERS: dict[str, Callable[[Path], Any]] = {
    "image": _image,
    "table": _table,
    "names": _names,
    "json": _json,
    "import": _import,
    "xml": _xml,
    "zip": _zip,
}


def _status(name: str) -> int:
    """Bytes, of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


def said(reader: str, path: Path) -> dict[str, Any]:
    """What reading a file says, and by how much it raised the peak of resident memory."""
    Path("/proc/self/clear_refs").write_text("5")  # begin the peak anew
    before = _status("VmRSS")
    try:
        result = {"error": "", "text": repr(READERS[reader](path))[:2000]}
    except Exception as error:
        result = {"error": type(error).__name__, "text": str(error)[:2000]}
    return {**result, "peak": _status("VmHWM") - before}


if __name__ == "__main__":
    for name in ("monai.data.image_reader", "pyarrow.csv", "pyarrow.parquet", "data_modules.images.dicom"):
        importlib.import_module(name)  # what it takes to start is not the reader's
    for read in READERS.values():
        with contextlib.suppress(Exception):
            read(Path("none"))
    limit = _status("VmSize") + 2 * ROOM  # address space, of which threads and allocators reserve some
    if "--free" not in sys.argv:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        kind, reader, place = json.loads(line)
        print(json.dumps([kind, said(reader, Path(place))]), flush=True)
