"""What the sets on MIMIC-CXR's images share: where the images are, and the labels of the studies."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.findings import CHEXPERT, canonical
from apo_lightning.identifiers.forms import MIMIC_STUDY, MIMIC_SUBJECT
from data_modules.folder import FolderDataModule
from data_modules.tables import Faults, numbers, read_table
from data_modules.tables.identifiers import normal
from data_modules.tables.labels import as_findings, settle

TABLE = "mimic-cxr-2.0.0-{}.csv"
"""Release 2.1.0 keeps the older number in these names."""
LABELERS = ("chexpert", "negbio")
LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
OPACITY = ("Lung Opacity", "Airspace Opacity")
"""What the labelers, and the radiologist of release 2.1.0, call the same finding."""
STATES = (1, 0, -1)
"""Present, absent, uncertain; an empty cell means that the report does not mention the finding."""
LAYOUTS = (
    ("files", False),
    ("official_data_iccv_final/files", False),
    ("", False),
    ("images", True),
    ("files", True),
    ("", True),
)
"""(folder of the images, whether they lie there side by side): the official one, copies of it, flat ones."""
PROBED = 64
"""Images that are looked for in each layout."""
MANY_UNLABELLED = 0.05
"""Share of studies without a label from which on their table is rather that of other studies."""
log = logging.getLogger(__name__)


def locate_images(data: FolderDataModule, base: Path, trees: pd.Series, *, setting: str) -> list[str]:
    """Paths of images, in the layout in which most of a few that are looked for are there; says which it is.

    Args:
        base: folder in which layouts are tried.
        trees: official paths below ``files`` without suffix, ``p10/p10000032/s50414267/02aa804e-...``.
        setting: the one that names ``base``, for the message.

    Raises:
        DataError: no layout has an image.
    """
    if trees.empty:
        return []
    picked = trees.iloc[np.unique(np.linspace(0, len(trees) - 1, PROBED).astype(int))]
    hits = {layout: sum(map(os.path.isfile, _paths(base, layout, picked))) for layout in LAYOUTS}
    best = max(LAYOUTS, key=hits.__getitem__)
    if not hits[best]:  # a small part of the set, of which none was picked
        best = next((layout for layout in LAYOUTS if _holds_images(base, layout)), None)
    if best is None:
        looked = ", ".join(dict.fromkeys(str(base / folder) for folder, _ in LAYOUTS))
        raise DataError(f"No image of the tables was found in {looked}. Set {setting} to the folder of the images.")
    data.say(
        f"images from {base / best[0]}{', side by side' if best[1] else ''}: "
        f"{hits[best]} of {len(picked)} that were looked for are there"
    )
    return _paths(base, best, trees)


def _paths(base: Path, layout: tuple[str, bool], trees: pd.Series) -> list[str]:
    folder, flat = layout
    return (f"{base / folder}/" + (trees.str.rpartition("/")[2] if flat else trees) + ".jpg").tolist()


def _holds_images(base: Path, layout: tuple[str, bool]) -> bool:
    folder, flat = base / layout[0], layout[1]
    if flat:
        return next(folder.glob("*.jpg"), None) is not None
    return any((folder / f"p{number}").is_dir() for number in range(10, 20))


def say_unlabelled(data: FolderDataModule, table: Path, lacking: int, total: int) -> None:
    """Note how many of ``total`` studies have no label in ``table``, and warn where they are many."""
    if not lacking:
        return
    data.left_out["no label"] += lacking
    text = f"{lacking:,} of {total:,} studies ({lacking / total:.1%}) have no label in {table.name} and are left out"
    data.say(text)
    if lacking > MANY_UNLABELLED * total:
        log.warning("%s: is the table that of these studies, and are its study ids unharmed?", text)


def read_labels(path: Path, faults: Faults, *, patients: pd.Series, uncertain: str, unmentioned: str) -> pd.Series:
    """Study id to findings; a study whose cells are all empty is left out.

    Studies with equal labels share one dict.

    Args:
        path: table with ``study_id`` and a column a label, and perhaps ``subject_id``.
        faults: takes rows without a study, or of another patient's, repeated studies and labels that are none of
            ``STATES``.
        patients: subject id of the studies that are wanted, by study id.
        uncertain, unmentioned: see `labels.settle`.

    Raises:
        DataError: the table cannot be read or lacks a label.
    """
    columns = {"study_id": "study", "subject_id": "subject"} | {n: canonical(n) for n in (*LABELS, *OPACITY)}
    rows = read_table(path, columns, faults, optional=("subject_id", *OPACITY), ids=("study",))
    if list(rows.columns).count(canonical(OPACITY[0])) > 1:
        raise DataError(f"{path} has the columns {' and '.join(OPACITY)}, which are one finding. Remove one of them.")
    rows = _of_their_patients(normal(rows, {"study": MIMIC_STUDY}, faults, unique=("study",)), patients, faults)
    if canonical(OPACITY[0]) not in rows:
        raise DataError(f"{path} has no column '{OPACITY[0]}'. {did_you_mean(OPACITY[0], LABELS)}")
    rows = numbers(rows, CHEXPERT, STATES, faults)
    raw = rows[list(CHEXPERT)].astype(float)
    kind = np.nan_to_num(raw.to_numpy() + 2) @ 4.0 ** np.arange(len(CHEXPERT))  # exact: 4 ** 14 is far below 2 ** 53
    _, first, which = np.unique(kind, return_index=True, return_inverse=True)
    settled = settle(raw.iloc[first], uncertain=uncertain, unmentioned=unmentioned)
    findings = np.array([*as_findings(settled).values()], dtype=object)[which]
    labelled = kind > 0
    return pd.Series(findings[labelled], index=rows["study"][labelled], dtype=object)


def _of_their_patients(rows: pd.DataFrame, patients: pd.Series, faults: Faults) -> pd.DataFrame:
    """Without rows whose patient is not that of the study: ids that were shifted or rounded are those of others."""
    if "subject" not in rows:
        return rows
    rows = normal(rows, {"subject": MIMIC_SUBJECT}, faults)
    told = patients.reindex(rows["study"]).to_numpy(object, na_value=None)
    other = ~np.equal(told, None) & (told != rows["subject"].to_numpy(object))
    return faults.drop(rows, other, "subject id is not that of the study", "subject")
