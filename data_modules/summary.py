"""The quality of a data set before anything is trained on it: sizes, prevalence, what is missing or contradictory."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from apo_lightning.findings import NO_FINDING
from apo_lightning.progress import watch
from apo_lightning.types import Study
from data_modules.base import CXRDataModule
from data_modules.loading.checks import find_bad_images
from data_modules.loading.splits import SPLITS
from data_modules.tables.labels import NOT_A_DISEASE

BLOCK = 1 << 16
"""Bytes that are compared first; most images of one size differ in them."""


@dataclass(frozen=True)
class Summary:
    """What `summarise` found. Everything is counted over the studies that a run would use, before unreadable ones go.

    Attributes:
        counts: split to numbers of studies, patients, images, reports, priors and boxes.
        prevalence: finding to split to (present, absent, unknown).
        missing: images that are not there, by split.
        left_out: studies that the settings exclude, by reason.
        unusable: (where, why) of rows and of studies whose images cannot be opened.
        patients_in_two_splits: pair of splits to patients.
        duplicates: groups of image files with the same content, by name; (study, path) each.
        duplicates_across: groups of which two images lie in different splits.
        label_conflicts: (where, why): equal images with unequal labels, and ``no_finding`` beside a disease.
        removed: training studies of patients that the evaluation set has too.
    """

    name: str
    citation: str
    credentialed: bool
    notes: list[str]
    counts: dict[str, dict[str, int]]
    prevalence: dict[str, dict[str, tuple[int, int, int]]]
    missing: dict[str, int]
    left_out: dict[str, int]
    unusable: list[tuple[str, str]]
    patients_in_two_splits: dict[str, list[str]]
    duplicates: list[list[tuple[str, str]]]
    duplicates_across: int
    label_conflicts: list[tuple[str, str]]
    removed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain containers, for JSON."""
        return asdict(self)


def summarise(data: CXRDataModule, name: str, *, quick: bool = False) -> Summary:
    """Look at a set, or at one with its evaluation set (`transfer.Transfer`), without stopping at what is wrong.

    Args:
        data: not checked yet; ``allow_missing`` is turned on, so that what is missing is counted.
        name: for the title.
        quick: look at tables only; no image is opened or hashed.

    Raises:
        DataError: a table cannot be read at all.
    """
    for one in data.sets:
        one.allow_missing = True
    splits = {split: data.studies(split) for split in SPLITS}
    used = [study for studies in splits.values() for study in studies]
    unusable = [fault for one in data.sets for fault in one.faults]
    duplicates: list[list[tuple[str, str]]] = []
    if not quick and all(one.on_disk for one in data.sets):
        bad, _ = find_bad_images(used, data.open_images, on_disk=True, full=True, seed=0)
        unusable += sorted(bad.values())
        duplicates = same_content([(s.id, path) for s in used for path in s.images])
    split_of = {study.id: study.split for study in used}
    return Summary(
        name=name,
        citation=data.citation,
        credentialed=data.credentialed,
        notes=[note for one in data.sets for note in one.notes],
        counts={split: _counts(studies) for split, studies in splits.items()},
        prevalence=prevalence(splits, list(dict.fromkeys([*data.findings, *data.scored_findings]))),
        missing={split: n for one in data.sets for split, n in getattr(one, "missing", {}).items()},
        left_out=dict(sum((one.left_out for one in data.sets), Counter())),
        unusable=unusable,
        patients_in_two_splits=patients_in_two(_comparable(data, splits)),
        duplicates=duplicates,
        duplicates_across=sum(len({split_of[study] for study, _ in group}) > 1 for group in duplicates),
        label_conflicts=label_conflicts(used, duplicates),
        removed=getattr(data, "removed", 0),
    )


def _comparable(data: CXRDataModule, splits: dict[str, list[Study]]) -> dict[str, list[Study]]:
    """Splits whose patient ids are of one numbering: two sets share one only where both say whose it is."""
    whose = {one.patients_of for one in data.sets}
    same = len(data.sets) == 1 or (len(whose) == 1 and whose != {""})
    return splits if same else {split: studies for split, studies in splits.items() if split != "test"}


def _counts(studies: Sequence[Study]) -> dict[str, int]:
    return {
        "studies": len(studies),
        "patients": len({s.patient for s in studies}),
        "images": sum(len(s.images) for s in studies),
        "reports": sum(s.report is not None for s in studies),
        "priors": sum(s.prior is not None for s in studies),
        "boxes": sum(len(s.boxes) for s in studies),
    }


def prevalence(
    splits: Mapping[str, Sequence[Study]], findings: Sequence[str]
) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Finding to split to how many studies have it, lack it, and do not say."""
    found: dict[str, dict[str, tuple[int, int, int]]] = {name: {} for name in findings}
    for split, studies in splits.items():
        held = Counter((name, value) for s in studies for name, value in s.findings.items() if not math.isnan(value))
        for name in findings:
            present, absent = held[name, 1.0], held[name, 0.0]
            found[name][split] = (present, absent, len(studies) - present - absent)
    return found


def patients_in_two(splits: Mapping[str, Sequence[Study]]) -> dict[str, list[str]]:
    """``train+test`` to the patients in both; pairs without any are left out."""
    patients = {split: {s.patient for s in studies} for split, studies in splits.items()}
    shared = {f"{a}+{b}": sorted(patients[a] & patients[b]) for a, b in combinations(patients, 2)}
    return {pair: names for pair, names in shared.items() if names}


def same_content(images: Sequence[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    """Groups of (study, path) whose files are equal byte for byte. Only files of one size are read, and of those only
    the first ``BLOCK`` bytes until these are equal too. Files that cannot be read are in no group.
    """
    groups = _refine([list(images)], lambda image: str(Path(image[1]).stat().st_size))
    groups = _refine(groups, lambda image: _hash(image[1], BLOCK))
    return sorted(_refine(groups, lambda image: _hash(image[1], -1)))


def _refine(groups: list[list], key: Callable[[tuple[str, str]], str]) -> list[list]:
    """Cut every group by ``key``; groups of one go."""

    def marked(image: tuple[str, str]) -> str | None:
        try:
            return key(image)
        except OSError:
            return None

    flat = [(number, image) for number, group in enumerate(groups) for image in group]
    with ThreadPoolExecutor() as pool:  # reading releases the interpreter lock
        marks = list(watch(pool.map(marked, [image for _, image in flat]), len(flat), "comparing images"))
    parts: dict[Any, list] = defaultdict(list)
    for (number, image), mark in zip(flat, marks, strict=True):
        if mark is not None:
            parts[number, mark].append(image)
    return [part for part in parts.values() if len(part) > 1]


def _hash(path: str, size: int) -> str:
    with open(path, "rb") as file:
        whole = size < 0
        return (hashlib.file_digest(file, "sha256") if whole else hashlib.sha256(file.read(size))).hexdigest()


def label_conflicts(studies: Sequence[Study], duplicates: Sequence[Sequence[tuple[str, str]]]) -> list[tuple[str, str]]:
    """(study or studies, what contradicts): ``no_finding`` beside a disease, and equal images with unequal labels."""
    found = []
    for study in studies:
        seen = [k for k, v in study.findings.items() if v == 1.0 and k != NO_FINDING and k not in NOT_A_DISEASE]
        if study.findings.get(NO_FINDING) == 1.0 and seen:
            found.append((study.id, f"no_finding beside {', '.join(seen)}"))
    labels = {study.id: study.findings for study in studies}
    for group in duplicates:
        names = sorted({study for study, _ in group})
        for name in labels[names[0]]:
            values = {value for study in names if not math.isnan(value := labels[study].get(name, math.nan))}
            if len(values) > 1:
                found.append((", ".join(names), f"the same image, and {name} is both present and absent"))
    return found
