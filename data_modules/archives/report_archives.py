"""XML reports in a folder or an archive, and the size of a zip archive: read by what they claim, nothing unpacked."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DTDForbidden
from defusedxml.ElementTree import fromstring

from apo_lightning.errors import DataError
from apo_lightning.files.bounded import open_bytes
from apo_lightning.files.limits import MAX_ARCHIVE_BYTES, MAX_MEMBERS, MAX_REPORT
from data_modules.tables import Faults

END, END64 = b"PK\x05\x06", b"PK\x06\x06"
END_BYTES = 22 + 65_535 + 20 + 56
"""The last records of a zip archive with the longest comment."""


def unpacked(folder: Path, faults: Faults) -> Iterator[tuple[str, bytes | None]]:
    """Name and content of the XML files of a folder; None for one that is too large."""
    for path in sorted(folder.glob("[!.]*.xml")):
        try:
            yield path.name, path.read_bytes() if path.stat().st_size <= MAX_REPORT else None
        except OSError as error:
            faults.append((f"{folder.name}:{path.name}", f"cannot be read ({error.strerror})"))


def archived(path: Path) -> Iterator[tuple[str, bytes | None]]:
    """The same of a gzipped tar archive.

    Raises:
        DataError: it cannot be read, or all of it is larger than ``MAX_ARCHIVE_BYTES``.
    """
    try:
        with open_bytes(path, MAX_ARCHIVE_BYTES) as file, tarfile.open(fileobj=file, mode="r|") as archive:
            while (member := archive.next()) is not None:
                archive.members = []  # type: ignore[misc]  # or it would keep a record of each
                name = PurePosixPath(member.name).name
                if member.isfile() and name.endswith(".xml") and not name.startswith("."):
                    yield name, archive.extractfile(member).read() if member.size <= MAX_REPORT else None
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an archive ({error}). Fetch the file again.") from error


def parse(content: bytes | None, where: str, faults: Faults) -> Element | None:
    """The XML, or None and a fault."""
    if content is None:
        faults.append((where, f"larger than {MAX_REPORT:,} bytes, which no report is"))
        return None
    try:
        return fromstring(content, forbid_dtd=True)
    except DTDForbidden:
        faults.append((where, "has a document type definition, through which a file can have others fetched; refused"))
    except (ParseError, ValueError, LookupError) as error:
        faults.append((where, f"cannot be read as XML ({error})"))
    return None


def refuse_large_zip(path: Path) -> None:
    """Look at the end of a zip archive, before a record is made of everything in it.

    Raises:
        DataError: it claims more than ``MAX_MEMBERS`` files, or a list of them of more than ``MAX_ARCHIVE_BYTES``.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - END_BYTES))
        tail = file.read()
    at, at64 = tail.rfind(END), tail.rfind(END64)
    count, size = (int.from_bytes(tail[at + first : at + last], "little") for first, last in ((10, 12), (12, 16)))
    if at64 >= 0 and (count == 0xFFFF or size == 0xFFFFFFFF):
        count, size = (int.from_bytes(tail[at64 + i : at64 + i + 8], "little") for i in (32, 40))
    if at >= 0 and (count > MAX_MEMBERS or size > MAX_ARCHIVE_BYTES):
        raise DataError(
            f"{path}: claims {count:,} files and {size:,} bytes of names; at most {MAX_MEMBERS:,} and "
            f"{MAX_ARCHIVE_BYTES:,} are read. Fetch the file again."
        )
