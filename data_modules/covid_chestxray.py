"""The COVID-19 image data collection: radiographs from publications with cause of pneumonia and free text."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import ClassVar

import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.findings import NO_FINDING, canonical
from apo_lightning.identifiers.forms import COVID_PATIENT
from apo_lightning.types import Prior, Study
from data_modules import DATA
from data_modules.folder import FolderDataModule
from data_modules.tables import as_numbers, find, read_table
from data_modules.tables.identifiers import normal, told_apart

TABLE = "metadata.csv"
COLUMNS = {
    "patientid": "patient",
    "offset": "offset",
    "finding": "finding",
    "view": "view",
    "modality": "modality",
    "image": "image",
    "folder": "folder",
    "filename": "filename",
    "clinical_notes": "clinical",
    "imaging_notes": "imaging",
}
NEEDED = ("patientid", "offset", "finding", "view")
UNLABELLED = ("", "todo", "unknown")
RADIOGRAPH, TOMOGRAM = ("x-ray", ""), "ct"
FRONTAL = ("PA", "AP", "AP Supine", "AP erect", "AP semi erect", "")
LATERAL = "L"
CHOICES = {"unlabelled": ("drop", "keep"), "report": ("imaging", "clinical", "none")}

KINDS: dict[str, dict[str, float]] = {
    "viral": {"pneumonia": 1, "viral_pneumonia": 1, "bacterial_pneumonia": 0, "fungal_pneumonia": 0},
    "bacterial": {"pneumonia": 1, "bacterial_pneumonia": 1, "viral_pneumonia": 0, "fungal_pneumonia": 0, "covid_19": 0},
    "fungal": {"pneumonia": 1, "fungal_pneumonia": 1, "viral_pneumonia": 0, "bacterial_pneumonia": 0, "covid_19": 0},
    "pneumonia": {"pneumonia": 1},
    "ards": {"ards": 1},
    "other": {},
}
KINDS["covid_19"] = {**KINDS["viral"], "covid_19": 1}
KINDS["other virus"] = {**KINDS["viral"], "covid_19": 0}
KINDS["no infection"] = {**dict.fromkeys(KINDS["bacterial"], 0), "pneumonia": 1}
"""What is known of the findings from each kind of cause; what a kind does not name is unknown. An infection by a named
cause is a pneumonia of that kind and not of the others."""
CAUSES: dict[str, str] = {
    **{kind: kind for kind in ("covid_19", "viral", "bacterial", "fungal", "pneumonia", "ards")},
    **dict.fromkeys(
        ("sars", "mers_cov", "influenza", "h1n1", "swine_origin_influenza_a_h1n1", "herpes", "varicella"), "other virus"
    ),
    **dict.fromkeys(
        (
            "chlamydophila",
            "e_coli",
            "klebsiella",
            "legionella",
            "mrsa",
            "mycoplasma",
            "nocardia",
            "staphylococcus",
            "streptococcus",
        ),
        "bacterial",
    ),
    **dict.fromkeys(("aspergillosis", "invasive_aspergillosis", "pneumocystis"), "fungal"),
    **dict.fromkeys(("aspiration", "lobar", "multilobar", "round"), "pneumonia"),
    "lipoid": "no infection",
    **dict.fromkeys(
        (
            "tuberculosis",
            "spinal_tuberculosis",
            "allergic_bronchopulmonary_aspergillosis",
            "organizing",
            "cryptogenic_organizing",
            "cryptogenic_organising",
            "eosinophilic",
            "chronic_eosinophilic",
            "unusual_interstitial",
            "accelerated_phase_usual_interstitial",
            "lymphocytic_interstitial",
            "desquamative_interstitial",
        ),
        "other",
    ),
}
"""Cause, in the spelling of ``_cause``, to its kind. Aspiration may have any germ. ``other`` are diseases of the lung
that are no pneumonia by infection, or that the collection does not file under pneumonia."""


@DATA.register("covid_chestxray")
@dataclass(eq=False, kw_only=True)
class CovidChestXray(FolderDataModule):
    """The COVID-19 image data collection (github.com/ieee8023/covid-chestxray-dataset): a study is one frontal image.

    ``metadata.csv`` may be upstream's, with flat findings (``COVID-19``, until August 2020) or paths
    (``Pneumonia/Viral/COVID-19``), or have the image's path in a column ``image``. ``finding`` names a cause, which
    ``CAUSES`` and ``KINDS`` turn into labels; opacities, effusions and tubes are in the text alone. ``ards`` is 1
    where it is named, 0 where there is no finding and otherwise unknown.

    Each image has a licence of its own, in the table. No diagnostic claim may be made from a model trained on it.

    Args:
        views: which radiographs are studies, in the table's words; "" are those without a view. CT is never used.
        max_images: images of a study at most, >= 1. Above 1, lateral images (``L``) of the same patient and offset
            follow the frontal one; among several frontal ones of one offset, the first.
        report: ``imaging``: the imaging notes, cut out of the clinical ones where they have no column of their own, or
            the clinical notes if there are none; ``clinical``: the clinical notes, which may name the diagnosis;
            ``none``.
        unlabelled: ``drop`` images whose finding is ``todo`` or ``Unknown``, or ``keep`` them with unknown findings.
        prior: attach the patient's image before, by ``offset`` (days since onset or admission), with its notes.
    """

    views: list[str] = field(default_factory=lambda: list(FRONTAL))
    max_images: int = 1
    report: str = "imaging"
    unlabelled: str = "drop"
    prior: bool = False

    vocabulary: ClassVar[tuple[str, ...]] = (
        "ards",
        "bacterial_pneumonia",
        "covid_19",
        "fungal_pneumonia",
        "no_finding",
        "pneumonia",
        "viral_pneumonia",
    )
    citation: ClassVar[str] = (
        "J. P. Cohen, P. Morrison, L. Dao, K. Roth, T. Q. Duong, M. Ghassemi. COVID-19 Image Data Collection: "
        "Prospective Predictions Are the Future. MELBA 2020, arXiv:2006.11988. Credits of the images: metadata.csv"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} must be {' or '.join(allowed)}, got '{getattr(self, key)}'")
        known = {_view(view) for view in (*FRONTAL, LATERAL)}
        if not self.views or not {_view(view) for view in self.views} <= known:
            raise ValueError(f"views must be some of {', '.join((*FRONTAL[:-1], LATERAL))} and '', got {self.views}")
        if self.max_images < 1:
            raise ValueError(f"max_images must be >= 1, got {self.max_images}")

    def read_index(self) -> list[Study]:
        """Studies in table order."""
        rows = self._rows(find(self.folder, (TABLE,), index=True))
        rows, laterals = self._of_views(rows)
        priors = _priors(rows) if self.prior else {}
        used = self._labelled(rows)
        beside = self._laterals(used, laterals)
        findings = {cell: _findings(cell) for cell in used["finding"].unique()}
        studies = [
            Study(
                row["study"],
                row["patient"],
                "",
                (row["path"], *beside.get(row["study"], ())),
                findings[row["finding"]],
                report=row["text"] or None,
                views=(row["view"], *("LATERAL" for _ in beside.get(row["study"], ()))),
                prior=priors.get(row["study"]),
            )
            for row in used.to_dict("records")
        ]
        told = sum(study.report is not None for study in studies)
        self.say(f"{len(studies):,} images of {used['patient'].nunique():,} patients, {told:,} of them with notes")
        return studies

    def _rows(self, table: Path) -> pd.DataFrame:
        """Radiographs, with ``path``, ``study``, ``days`` (NaN where unknown) and ``text``."""
        optional = [name for name in COLUMNS if name not in NEEDED]
        rows = read_table(table, COLUMNS, self.faults, optional=optional, ids=("patient",))
        rows = told_apart(normal(rows, {"patient": COVID_PATIENT}, self.faults), "patient", "p", self.faults)
        if "image" not in rows and "filename" not in rows:
            raise DataError(f"{table} has no column 'image' nor 'filename'. Fetch the collection's own metadata.csv.")
        rows = rows.assign(**{name: "" for name in COLUMNS.values() if name not in rows})
        kinds = rows["modality"].str.lower()
        rows = self.faults.drop(rows, ~kinds.isin((*RADIOGRAPH, TOMOGRAM)), "must be X-ray, CT or empty", "modality")
        flat = rows["modality"].str.lower() == TOMOGRAM
        self.left_out.update(f"modality {name}" for name in rows["modality"][flat])
        rows = rows[~flat].assign(days=as_numbers(rows["offset"]))
        known = ~rows["view"].map(_view).isin([_view(view) for view in (*FRONTAL, LATERAL)])
        must = f"must be one of {', '.join((*FRONTAL[:-1], LATERAL))} or empty"
        rows = self.faults.drop(rows, known, must, "view")
        rows = self.faults.drop(rows, rows["days"].isna() & (rows["offset"] != ""), "offset is no number", "offset")
        rows = rows.assign(offset=[f"{days:g}" for days in rows["days"]])
        rows = rows.assign(path=[self._path(row) for row in rows.to_dict("records")])
        rows = self.faults.drop(rows, rows["path"].isna(), "image path is empty or leads out of data.root")
        rows = rows.assign(
            study=rows["path"].map(lambda path: PurePosixPath(path).stem),
            view=rows["view"].map(_view),
            text=[_notes(*notes, which=self.report) for notes in zip(rows["imaging"], rows["clinical"], strict=True)],
        )
        return self.faults.drop(rows, rows["study"].duplicated(), "an image of this name is listed before", "study")

    def _path(self, row: dict[str, str]) -> str | None:
        name = row["image"] or (row["filename"] and f"{row['folder'] or 'images'}/{row['filename']}")
        if name and self.images_dir:
            name = f"{self.images_dir}/{PurePosixPath(name).name}"
        return self.inside(name)

    def _of_views(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Rows of the wanted views, and lateral ones that may go beside them."""
        kept = rows["view"].isin({_view(view) for view in self.views})
        beside = ~kept & (rows["view"] == _view(LATERAL)) if self.max_images > 1 else kept & False
        self.left_out.update(f"view {view or 'unknown'}" for view in rows["view"][~kept & ~beside])
        return rows[kept], rows[beside]

    def _labelled(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Rows whose finding is known, or may be unknown."""
        known = {cell: _findings(cell) is not None for cell in rows["finding"].unique()}
        why = "unknown cause in 'finding'; add it to CAUSES or correct it"
        rows = self.faults.drop(rows, ~rows["finding"].map(known).astype(bool), why, "finding")
        open_ = rows["finding"].str.lower().isin(UNLABELLED)
        if self.unlabelled == "keep":
            return rows
        self.left_out.update(f"finding {cell or 'empty'}" for cell in rows["finding"][open_])
        return rows[~open_]

    def _laterals(self, rows: pd.DataFrame, laterals: pd.DataFrame) -> dict[str, list[str]]:
        """Study to the paths of its lateral images; those that belong to none are counted."""
        times = Counter(zip(rows["patient"], rows["offset"], strict=True))
        first: dict[tuple[str, str], str] = {}
        for study, patient, offset in zip(rows["study"], rows["patient"], rows["offset"], strict=True):
            if offset != "nan" or times[patient, offset] == 1:  # of several at unknown times, nobody knows which
                first.setdefault((patient, offset), study)
        beside: dict[str, list[str]] = {}
        for path, patient, offset in zip(laterals["path"], laterals["patient"], laterals["offset"], strict=True):
            held = beside.setdefault(first.get((patient, offset), ""), [])
            held.append(path)
        spare = {study: paths[self.max_images - 1 :] if study else paths for study, paths in beside.items()}
        self.left_out.update("view LATERAL" for paths in spare.values() for _ in paths)
        return {study: paths[: self.max_images - 1] for study, paths in beside.items() if study}


def _view(word: str) -> str:
    """The table's word as ``Study.views`` has it: upper case, ``LATERAL`` for ``L``."""
    return "LATERAL" if word.upper() == LATERAL else " ".join(word.upper().split())


def _cause(part: str) -> str:
    """``Pneumonia/Viral/Influenza/H1N1`` is ``h1n1``, ``Mycoplasma Bacterial Pneumonia`` is ``mycoplasma``."""
    name = canonical(part.split("/")[-1])
    for kind in ("_pneumonia", "_bacterial", "_viral"):
        name = name.removesuffix(kind)
    return name


def _findings(cell: str) -> dict[str, float] | None:
    """Labels of a cell; all unknown where it is unlabelled, None where it names a cause that is not in ``CAUSES``.

    >>> sorted(name for name, value in _findings("COVID-19, ARDS").items() if value == 1)
    ['ards', 'covid_19', 'pneumonia', 'viral_pneumonia']
    """
    if cell.lower() in UNLABELLED:
        return dict.fromkeys(CovidChestXray.vocabulary, math.nan)
    causes = [_cause(part) for part in cell.split(",")]
    if causes == [NO_FINDING]:
        return {name: float(name == NO_FINDING) for name in CovidChestXray.vocabulary}
    if not set(causes) <= set(CAUSES):
        return None
    found = {**dict.fromkeys(CovidChestXray.vocabulary, math.nan), NO_FINDING: 0.0}
    for cause in causes:  # what one cause makes present, another does not make absent
        found.update({name: float(value) for name, value in KINDS[CAUSES[cause]].items() if found[name] != 1})
    return found


def _notes(imaging: str, clinical: str, *, which: str) -> str:
    text = "" if which == "none" else clinical
    if which == "imaging":
        cut = re.search(r"imaging notes:(.*?)(?:discussion:|$)", clinical, re.IGNORECASE | re.DOTALL)
        text = imaging or (cut[1].strip() if cut else "") or clinical
    return re.sub(r"\.(\s*\.)+", ".", " ".join(text.split()))


def _priors(rows: pd.DataFrame) -> dict[str, Prior]:
    """Study to the patient's last one of an earlier day; studies without an offset have and are none."""
    dated = rows[rows["days"].notna()].sort_values("days", kind="stable")
    found: dict[str, Prior] = {}
    for _, visits in dated.groupby("patient", sort=False):
        for days, study in zip(visits["days"], visits["study"], strict=True):
            earlier = visits[visits["days"] < days]
            if len(earlier):
                last = earlier[earlier["days"] == earlier["days"].max()].iloc[0]
                found[study] = Prior(last["study"], (last["path"],), last["text"] or None)
    return found
