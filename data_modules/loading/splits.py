"""Who is in which split. Every draw is by the hash of (seed, patient), so that it depends on nothing else.

Patients that are added or dropped do not reshuffle the others, a smaller share lies inside a larger one, and two
machines agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from apo_lightning.errors import DataError
from apo_lightning.files.formats import unquoted
from apo_lightning.identifiers.forms import TEXT
from apo_lightning.identifiers.matching import lookalikes, matched
from apo_lightning.types import Study
from data_modules.tables import Faults, read_table
from data_modules.tables.identifiers import listed

SPLITS = ("train", "val", "test")
NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""How files call the splits."""


def share_of_patients(patients: Iterable[str], share: float, seed: int) -> set[str]:
    """A seeded part of the patients, at least one; a smaller share (in (0, 1]) lies inside a larger one.

    >>> share_of_patients(["a", "b", "c", "d"], 0.25, 0) < share_of_patients(["a", "b", "c", "d"], 0.5, 0)
    True
    """
    names = sorted(set(patients), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    return set(names[: max(1, round(share * len(names)))]) if names else set()


def cut(studies: Sequence[Study], *, val: float, test: float, seed: int) -> list[Study]:
    """Studies without a split get one by patient; a set with an official test part and no validation gets that cut
    from its training patients. Sets that have all three are left as they are.

    Args:
        studies: their splits are ``train``, ``val``, ``test`` or "" where the set says nothing.
        val: share of the patients that are not tested on.
        test: share of all patients, where the set has no test part; 0 tests on none.
    """
    free = [s for s in studies if not s.split]
    if free:
        tested = share_of_patients((s.patient for s in free), test, seed) if test else set()
        studies = [s if s.split else replace(s, split="test" if s.patient in tested else "train") for s in studies]
    if any(s.split == "val" for s in studies) or not any(s.split == "train" for s in studies):
        return list(studies)
    held = share_of_patients((s.patient for s in studies if s.split == "train"), val, seed)
    return [replace(s, split="val") if s.split == "train" and s.patient in held else s for s in studies]


def read_split_file(path: Path, faults: Faults) -> dict[str, str]:
    """Study id to split, of a table with the columns ``study`` and ``split``: a run writes it as ``splits.csv``.

    Raises:
        DataError: unreadable, an id lost digits, or a split has another name than those in ``NAMES``.
    """
    rows = read_table(path, {"study": "study", "split": "split"}, faults, ids=("study",))
    rows = listed(rows, {"study": TEXT}, faults, unique=("study",))
    wrong = ~rows["split"].str.lower().isin(NAMES)
    if wrong.any():
        where, word = rows[wrong].iloc[0][["where", "split"]]
        raise DataError(f"{path} ({where}): split must be one of {', '.join(NAMES)}, got '{word}'.")
    return dict(zip(rows["study"].map(unquoted), rows["split"].str.lower().map(NAMES), strict=True))


def apply_split_file(studies: Sequence[Study], listed: dict[str, str], path: Path) -> list[Study]:
    """Studies that the file lists, in the splits that it says, however it writes their ids.

    Raises:
        DataError: it lists none of them, one twice, or one that may be another.
    """
    named = matched(listed, {study.id for study in studies})
    splits: dict[str, str] = {}
    for text, study in named.items():
        if study in splits:
            first = next(one for one, other in named.items() if other == study)
            raise DataError(f"{path} lists the study '{study}' twice, as '{first}' and as '{text}'. Remove one.")
        splits[study] = listed[text]
    _refuse_lookalikes(listed.keys() - named.keys(), [s.id for s in studies if s.id not in splits], path)
    kept = [replace(s, split=splits[s.id]) for s in studies if s.id in splits]
    if not kept:
        raise DataError(
            f"{path} lists none of the {len(studies)} studies. Study ids there look like '{next(iter(listed), '')}', "
            f"here like '{studies[0].id if studies else ''}'."
        )
    return kept


def _refuse_lookalikes(texts: Iterable[str], studies: Iterable[str], path: Path) -> None:
    """
    Raises:
        DataError: an id that is listed, and names no study, may be one that is not listed.
    """
    pairs = sorted(lookalikes(texts, studies, "s").items())
    if pairs:
        text, study = pairs[0]
        raise DataError(
            f"{path} lists '{text}', which is no study here, but may be '{study}' ({len(pairs):,} such ids). "
            "Write them as the data set does."
        )
