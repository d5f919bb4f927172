"""Trajectories of others into this project's file: one module a format, listed in ``FORMATS``.

A format is a function of a source and options (strings) that gives own lines, as `trajectory_files` describes them.
What it cannot read it refuses; it never mends or cleans a text.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from apo_lightning import prompts
from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.trajectories import records
from apo_lightning.trajectories.importers import cxr_max, ms_swift, teacher_folder

FORMATS: dict[str, Callable[..., list[dict[str, Any]]]] = {
    "cxr_max": cxr_max.read,
    "ms_swift": ms_swift.read,
    "teacher_folder": teacher_folder.read,
}


@dataclass(frozen=True)
class ImportSummary:
    """What was imported.

    Attributes:
        images: lines that were written.
        labelled: those with labels.
        reports: those with a report.
        trajectories: teacher to number of texts.
        empty: teacher to number of texts without a word.
        median_length: teacher to the median length of its texts, in characters.
    """

    images: int
    labelled: int
    reports: int
    trajectories: dict[str, int]
    empty: dict[str, int]
    median_length: dict[str, float]

    def __str__(self) -> str:
        lines = [f"{self.images:,} images, {self.labelled:,} with labels, {self.reports:,} with a report"]
        for name, count in self.trajectories.items():
            empty = f", {self.empty[name]:,} of them empty" if self.empty[name] else ""
            lines.append(f"{name}: {count:,} trajectories{empty}, median {self.median_length[name]:g} characters")
        return "\n".join(lines)


def import_file(format: str, source: Path, target: Path, /, **options: str) -> ImportSummary:
    """Read ``source`` and write ``target``, all of it or nothing.

    Args:
        format: a name in ``FORMATS``.
        source: a file or a folder.
        target: the JSONL file; one that is there is replaced.
        options: of the format, see its ``read``; and of all, ``prompt``: name of the prompt that the texts answer.

    Raises:
        DataError: an unknown format or option, or something in the source cannot be imported; all of it is named.
        ConfigError: ``prompt`` names none.
    """
    if format not in FORMATS:
        raise DataError(f"No format is named '{format}'. {did_you_mean(format, FORMATS)}")
    asked = options.pop("prompt", "")
    if asked:
        prompts.load(asked)
    known = [name for name, p in inspect.signature(FORMATS[format]).parameters.items() if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise DataError(f"Format '{format}' has no option '{name}'. {did_you_mean(name, [*known, 'prompt'])}")
    _check_target(source, target)
    rows = [row | ({"prompt": asked} if asked else {}) for row in FORMATS[format](source, **options)]
    if not any(row["trajectories"] for row in rows):
        raise DataError(f"{source} holds no trajectory; nothing was written.")
    write(rows, target)
    return summarise(rows)


def write(rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write own lines, all of them or nothing.

    Raises:
        DataError: a row is none.
    """
    rows = list(rows)
    for number, row in enumerate(rows, 1):
        try:
            records.check_image(row)
        except ValueError as error:
            raise DataError(f"{path}, line {number} would be wrong ({error}); nothing was written.") from None
    records.write(path, rows)


def summarise(rows: Iterable[Mapping[str, Any]]) -> ImportSummary:
    """Count own lines."""
    rows = list(rows)
    texts: dict[str, list[str]] = {}
    for row in rows:
        for name, text in row["trajectories"].items():
            texts.setdefault(name, []).append(text)
    return ImportSummary(
        images=len(rows),
        labelled=sum(row.get("labels") is not None for row in rows),
        reports=sum(bool((row.get("report") or "").strip()) for row in rows),
        trajectories={name: len(said) for name, said in texts.items()},
        empty={name: sum(not text.strip() for text in said) for name, said in texts.items()},
        median_length={name: median(map(len, said)) for name, said in texts.items()},
    )


def _check_target(source: Path, target: Path) -> None:
    """A file among the sources would be read as one the next time."""
    if target.suffix != ".jsonl":
        raise DataError(f"The target must end in .jsonl, got {target}.")
    if target.is_dir():
        raise DataError(f"The target {target} is a folder. Give a file.")
    place = source if source.is_dir() else source.parent
    inside = source.is_dir() and target.resolve().parent == place.resolve()
    if inside or target.resolve() == source.resolve():
        raise DataError(f"The target {target} lies among the sources in {place}. Write it to another folder.")
