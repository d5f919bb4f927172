"""Where the reports of MIMIC-CXR are on disk: text files, the archive of them, or the table of their sections."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from apo_lightning.errors import DataError
from apo_lightning.files.limits import MAX_RATIO, MAX_REPORT, MAX_TABLE_BYTES, RATIO_FROM
from apo_lightning.identifiers.forms import MIMIC_STUDY_ID
from apo_lightning.progress import watch
from data_modules.archives.mimic_reports import sections
from data_modules.archives.report_archives import refuse_large_zip
from data_modules.tables import Faults, read_table
from data_modules.tables.identifiers import normal

ZIP, SECTIONED = "mimic-cxr-reports.zip", "mimic_cxr_sectioned.csv"
SECTIONED_COLUMNS = ("impression", "findings", "last_paragraph", "comparison")
PATTERNS = ("files/p{two}/p{patient}/{study}.txt", "p{two}/p{patient}/{study}.txt", "{study}.txt")
PROBED = 32
"""Reports that are looked for in a folder."""
READERS, CHUNK = 16, 256
"""Threads, which mostly wait for the disk; from ``MANY`` reports on a bar shows how far they are."""

Key = tuple[str, str]
"""Study id such as ``s50414267``, and patient."""


@dataclass(frozen=True)
class ReportFiles:
    """
    Attributes:
        place: a folder of text files, an archive or a table.
        pattern: path of a text file in the folder; "" of an archive or a table.
    """

    place: Path
    pattern: str = ""

    @property
    def sections(self) -> tuple[str, ...] | None:
        """Those that can be had; None: all that the parser knows."""
        return SECTIONED_COLUMNS if not self.pattern and self.place.suffix != ".zip" else None

    def read(self, wanted: Sequence[Key], faults: Faults) -> dict[str, dict[str, str]]:
        """Study id to sections, of the reports that are there.

        Args:
            wanted: study id and patient id.
            faults: takes rows of a table that cannot be used, and reports that are too large; both count as missing.

        Raises:
            DataError: an archive or a table cannot be read.
        """
        if self.sections:
            return _read_sectioned(self.place, {study for study, _ in wanted}, faults)
        chunks = [wanted[start : start + CHUNK] for start in range(0, len(wanted), CHUNK)]
        with self._opened() as read, ThreadPoolExecutor(READERS) as pool:
            found = pool.map(lambda keys: [(key[0], _sections_of(read, *key, faults)) for key in keys], chunks)
            each = chain.from_iterable(found)
            return {study: parts for study, parts in watch(each, len(wanted), "reading reports") if parts is not None}

    @contextmanager
    def _opened(self) -> Iterator[Callable[[str, str], bytes]]:
        """What gives the bytes of a report; raises KeyError or OSError where it is not there."""
        if self.pattern:
            yield lambda study, patient: _small(Path(_text_path(self.place, self.pattern, study, patient)))
            return
        try:
            refuse_large_zip(self.place)
            with zipfile.ZipFile(self.place) as archive:
                _refuse_bomb(self.place, archive)
                members = {os.path.basename(name): name for name in archive.namelist()}
                yield lambda study, _: _small_member(archive, members[f"{study}.txt"])
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{self.place}: cannot be read ({error}). Fetch the file again.") from error


def find_reports(root: Path, reports_root: str | None, studies: Sequence[Key]) -> ReportFiles:
    """The first place that has reports: text files of some of the studies, the archive, or the table.

    Args:
        root: folder of the images. Looked at are it, and MIMIC-CXR beside it or beside the folder that it is in.
        reports_root: folder or file that is looked at instead.

    Raises:
        DataError: there are none; the message lists where they were looked for.
    """
    places = _places(root.resolve()) if reports_root is None else _places_in(Path(reports_root).expanduser())
    probed = studies[:: max(1, len(studies) // PROBED)]
    for place in places:
        if place.is_file():
            return ReportFiles(place)
        for pattern in PATTERNS:
            if any(os.path.isfile(_text_path(place, pattern, *key)) for key in probed):
                return ReportFiles(place, pattern)
        for name in (ZIP, SECTIONED, f"{SECTIONED}.gz"):
            if (place / name).is_file():
                return ReportFiles(place / name)
    raise DataError(
        f"No reports (files/p10/.../s....txt, {ZIP} or {SECTIONED}) in {', '.join(map(str, places)) or reports_root}. "
        "They belong to MIMIC-CXR, not to MIMIC-CXR-JPG: fetch them from there and set data.reports_root."
    )


def _places(root: Path) -> list[Path]:
    beside = [folder / "mimic-cxr" for folder in (root.parent, root.parent.parent)]
    return list(dict.fromkeys(place for base in (root, *beside, root.parent) for place in _places_in(base)))


def _places_in(base: Path) -> list[Path]:
    """The folder and the releases in it, the newest first, each with the usual folders of unpacked reports."""
    if base.is_file():
        return [base]
    bases = [base, *sorted(base.glob("2.*"), reverse=True)]
    return [place for one in bases for place in (one, one / "mimic-cxr-reports", one / "reports") if place.is_dir()]


def _text_path(place: Path, pattern: str, study: str, patient: str) -> str:
    return os.path.join(place, pattern.format(two=patient[:2], patient=patient, study=study))


def _small(path: Path) -> bytes:
    _refuse_large(str(path), path.stat().st_size)
    return path.read_bytes()


def _small_member(archive: zipfile.ZipFile, name: str) -> bytes:
    _refuse_large(name, archive.getinfo(name).file_size)
    return archive.read(name)  # gives no more than the size that was looked at


def _refuse_bomb(path: Path, archive: zipfile.ZipFile) -> None:
    """Each report may be of a permitted size, and all of them be a thousand times what the archive has. Those that are
    larger are refused one by one."""
    claimed = sum(member.file_size for member in archive.infolist() if member.file_size <= MAX_REPORT)
    allowed = min(max(RATIO_FROM, MAX_RATIO * path.stat().st_size), MAX_TABLE_BYTES)
    if claimed > allowed:
        raise DataError(
            f"{path}: its {len(archive.infolist()):,} files claim {claimed:,} bytes; at most {allowed:,} are read of "
            "an archive of its size. Fetch the file again."
        )


def _refuse_large(name: str, size: int) -> None:
    if size > MAX_REPORT:
        raise ValueError(f"{name} claims {size:,} bytes; a report has at most {MAX_REPORT:,}. Fetch it again.")


def _sections_of(read: Callable[[str, str], bytes], study: str, patient: str, faults: Faults) -> dict[str, str] | None:
    try:
        raw = read(study, patient)
    except (KeyError, OSError):
        return None
    except ValueError as error:
        faults.append((study, str(error)))
        return None
    try:
        return sections(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return sections(raw.decode("latin-1"))


def _read_sectioned(path: Path, wanted: set[str], faults: Faults) -> dict[str, dict[str, str]]:
    columns = {name: name for name in ("study", *SECTIONED_COLUMNS)}
    rows = read_table(path, columns, faults, ids=("study",))
    try:
        rows = normal(rows, {"study": MIMIC_STUDY_ID}, faults, unique=("study",))
    except DataError:
        return {}  # every row is a fault: who asked says the first one
    rows = rows[rows["study"].isin(wanted)]
    texts = rows[list(SECTIONED_COLUMNS)].to_dict("records")
    return {
        study: {name: " ".join(text.split()) for name, text in found.items() if text}
        for study, found in zip(rows["study"], texts, strict=True)
    }
