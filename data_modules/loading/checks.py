"""What is looked at in a data set before any training, and the hash of what was found."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, astuple
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.files.formats import write_csv
from apo_lightning.progress import watch
from apo_lightning.types import Study
from data_modules.images.augment import AUGMENT
from data_modules.images.transforms import refuse_unreadable
from data_modules.loading.sampler import OpenImages

log = logging.getLogger(__name__)

SAMPLE = 500
"""Studies of a large set that are decoded."""
CROWD = 10
"""Studies from which on a patient with most of them is doubted."""
DRAWN_SAMPLE = 8
"""Studies of a drawn set that are tried: a drawing cannot be truncated."""


def check_settings(data: Any) -> None:
    """
    Raises:
        ValueError: a setting of the base is out of range.
    """
    if data.seed < 0:
        raise ValueError(f"seed must be >= 0, got {data.seed}")
    if not 0 < data.data_fraction <= 1:
        raise ValueError(f"data_fraction must be in (0, 1], got {data.data_fraction}")
    if data.fraction_by not in ("patient", "study"):
        raise ValueError(f"fraction_by must be patient or study, got '{data.fraction_by}'")
    if data.limit_studies is not None and data.limit_studies < 1:
        raise ValueError(f"limit_studies must be >= 1, got {data.limit_studies}")
    for name in data.findings:
        if data.vocabulary and name not in data.vocabulary:
            raise ValueError(f"findings names '{name}'. {did_you_mean(name, data.vocabulary)}")
    if data.augment not in AUGMENT:
        raise ValueError(f"augment must be one of {', '.join(AUGMENT)}, got '{data.augment}'")
    if data.num_workers < 0:
        raise ValueError(f"num_workers must be >= 0, got {data.num_workers}")
    if not 0 <= data.max_bad_share <= 1:
        raise ValueError(f"max_bad_share must be in [0, 1], got {data.max_bad_share}")


def check_splits(splits: Mapping[str, Sequence[Study]], faults: Sequence[tuple[str, str]] = ()) -> None:
    """Every split has studies; no study or patient is in two.

    Args:
        splits: split to its studies.
        faults: rows of tables that cannot be used, which may be why.

    Raises:
        DataError: naming the split, or the first studies or patients that are shared.
    """
    with faults_first(faults):
        _check_splits(splits)


def _check_splits(splits: Mapping[str, Sequence[Study]]) -> None:
    for split, studies in splits.items():
        if not studies:
            if few := _few_patients(splits):
                raise DataError(f"Split '{split}' has no studies: {few}")
            raise DataError(
                f"Split '{split}' has no studies. Check split lists, image folder, data_fraction and what was left "
                "out. A set without a test part can be trained on with another one in evaluate.data."
            )
        wrong = next((study for study in studies if study.split != split), None)
        if wrong is not None:
            raise DataError(f"Study {wrong.id} says split '{wrong.split}' but is listed in '{split}'.")
    seen = Counter(study.id for studies in splits.values() for study in studies)
    twice = sorted(name for name, times in seen.items() if times > 1)
    if twice:
        raise DataError(f"{len(twice)} study ids occur twice: {_some(twice)}. Ids must be unique within a data set.")
    for one, two in combinations(splits, 2):
        shared = sorted({s.patient for s in splits[one]} & {s.patient for s in splits[two]})
        if shared:
            few = _few_patients(splits)
            raise DataError(
                f"{len(shared)} patients are both in '{one}' and in '{two}': {_some(shared)}. "
                f"Split by patient, or the test measures memory.{' But ' if few else ''}{few}"
            )


def _few_patients(splits: Mapping[str, Sequence[Study]]) -> str:
    """What is the matter where there are fewer patients than splits, or one has nearly all; else ""."""
    studies = Counter(study.patient for part in splits.values() for study in part)
    total = studies.total()
    few = len(studies) < len(splits) and len(studies) < total  # else there are too few studies, whoever they are of
    if not total or not (few or crowded(studies)):
        return ""
    (name, count), *_ = studies.most_common(1)
    who = f"all {total} studies carry" if count == total else f"{count} of {total} studies carry"
    if len(studies) > 1 and not crowded(studies):
        who = f"{total} studies are of {len(studies)} patients ({_some(sorted(studies))}); {count} of them carry"
    return (
        f"{who} the patient id '{name}', and a patient is never parted. Anonymising often leaves one PatientID for "
        "all. Name the column of the real ones in data.patient (with a table, data.index_file); or, if no patient has "
        "two studies, say data.study_is_patient=true, and each study counts as one."
    )


def crowded(studies: Counter[str]) -> bool:
    """Whether one patient has most of ten studies or more: rather what anonymising left than a patient."""
    return studies.total() >= CROWD and max(studies.values()) > studies.total() / 2


def check_findings(splits: Mapping[str, Sequence[Study]], known: Sequence[str]) -> None:
    """Every label is 0, 1 or NaN, and its name belongs to the data set.

    Raises:
        DataError: naming the study, the finding and the value.
    """
    for study in (study for studies in splits.values() for study in studies):
        for name, value in study.findings.items():
            if name not in known:
                raise DataError(f"Study {study.id} has a finding '{name}'. Known: {', '.join(known)}.")
            if value not in (0, 1) and value == value:  # NaN alone differs from itself
                raise DataError(
                    f"Study {study.id}: finding '{name}' is {value}; allowed are 1 (present), 0 (absent) and NaN "
                    "(unknown). Correct the label table."
                )


@contextmanager
def faults_first(faults: Sequence[tuple[str, str]]) -> Iterator[None]:
    """What is wrong with rows of tables is said with an error that may come of it."""
    try:
        yield
    except DataError as error:
        if not faults or faults[0][1] in str(error):
            raise
        (where, why), count = faults[0], len(faults)
        raise DataError(f"{error} Before that, {count:,} rows could not be used; first: {where}: {why}.") from error


def find_bad_images(
    studies: Sequence[Study], images: OpenImages, *, on_disk: bool, full: bool, seed: int
) -> tuple[dict[str, tuple[str, str]], set[str]]:
    """Studies whose images cannot be opened, id to (image references, reason), and the ids of those that were decoded:
    all of a small set, a seeded sample of another."""
    count = len(studies) if full else min(SAMPLE, len(studies))
    count = count if on_disk else min(DRAWN_SAMPLE, len(studies))
    picked = np.random.default_rng(seed).choice(len(studies), count, replace=False)
    decoded = {studies[i].id for i in picked}
    log.info(
        "Checking images: %d of %d studies are decoded%s.",
        count,
        len(studies),
        ", of the others the files are looked at" if on_disk and count < len(studies) else "",
    )

    def fault(study: Study) -> str | None:
        try:
            if study.id in decoded:
                images(study)
            elif on_disk:
                for path in [*(study.prior.images if study.prior else ()), *study.images]:
                    refuse_unreadable(Path(path))
        except DataError as error:
            return str(error)
        return None if study.images else "has no image"

    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        faults = watch(pool.map(fault, studies), len(studies), "opening images")
        bad = {s.id: (", ".join(s.images) or s.id, why) for s, why in zip(studies, faults, strict=True) if why}
    return bad, decoded


def report_bad(
    bad: Sequence[tuple[str, str]],
    *,
    used: int,
    allowed: float,
    report_path: Path | None,
    first: tuple[str, str] | None = None,
    decoded: int = 0,
    undecodable: int = 0,
) -> None:
    """Say how many studies and rows cannot be used, and write (reference, reason) lines to ``report_path``.

    Args:
        bad: (reference, reason) of each.
        used: studies and rows that were looked at, the bad ones included.
        allowed: share of them, and of those that were decoded, that may be bad.
        report_path: where to write; None writes nothing.
        first: the one that is said: that which was found first may have caused the others. None: the first of ``bad``.
        decoded, undecodable: studies whose images were decoded, and how many of them could not be. Of a large set only
            a sample is, and what is true of it is true of the whole.

    Raises:
        DataError: a share is above ``allowed``.
    """
    if not bad:
        return
    where = ""
    if report_path is not None:
        write_csv(report_path, (), bad, delimiter="\t")
        where = f" All of them are listed in {report_path}."
    reference, reason = first or bad[0]
    said = f"{reference}: {reason}" if reference not in reason else reason
    summary = f"{len(bad)} of {used} studies and rows cannot be used ({len(bad) / used:.1%}; first: {said}).{where}"
    if decoded and decoded < used and undecodable:
        summary += f" Of {decoded} studies that were decoded, {undecodable} could not be ({undecodable / decoded:.1%})."
    if max(len(bad) / used, undecodable / max(decoded, 1)) > allowed:
        raise DataError(f"{summary} Allowed is data.max_bad_share={allowed:g}: repair them or raise it.")
    log.warning("%s They are left out.", summary)


def hash_studies(studies: Sequence[Study], *, on_disk: bool, full: bool) -> str:
    """SHA-256 over studies in order of their ids; image files by content, or by size where not ``full``.

    Raises:
        DataError: an image file cannot be read.
    """
    digest = hashlib.sha256()
    for study in sorted(studies, key=lambda study: study.id):
        details = {name: asdict(detail) for name, detail in sorted(study.details.items())}
        labels = {name: float(value) for name, value in sorted(study.findings.items())}
        marks = [_mark(ref, on_disk, full) for ref in study.images]
        rest = [study.views, [astuple(box) for box in study.boxes], sorted(study.progression.items())]
        if study.prior:
            rest += [study.prior.id, study.prior.report, [_mark(ref, on_disk, full) for ref in study.prior.images]]
        record = [study.id, study.patient, study.split, labels, details, study.report, marks, rest]
        digest.update(json.dumps(record).encode() + b"\n")
    return digest.hexdigest()


def _mark(reference: str, on_disk: bool, full: bool) -> str:
    """A drawing by its reference, a file by its name and its content or size."""
    if not on_disk:
        return reference
    path = Path(reference)
    try:
        if not full:
            return f"{path.name}:{path.stat().st_size}"
        with path.open("rb") as file:
            mark = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Run check(): it names such files.") from error
    return f"{path.name}:{mark}"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
