"""The user's own radiographs: a table that names images, or a folder of DICOM files without one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.findings import canonical
from apo_lightning.types import Study
from data_modules import DATA
from data_modules.archives.image_rows import (
    agreeing,
    parted,
    split_names,
    with_ids,
    with_patients,
)
from data_modules.archives.table_roles import EXPECTED, read_header, require_images
from data_modules.folder import FolderDataModule
from data_modules.images.dicom_folder import read_folder
from data_modules.loading.splits import SPLITS
from data_modules.tables import column_names, read_table, require_index
from data_modules.tables.identifiers import own
from data_modules.tables.label_columns import by_column, by_list, merge, shared
from data_modules.tables.labels import check_policies

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet")
ROLES = ("image", "patient", "study", "split", "labels", "report", "view")
"""Settings that name a column."""
UNLABELLED = "not labelled"
INDEX = "index.csv"
"""The table that is taken where none is named."""


@DATA.register("tabular")
@dataclass(eq=False, kw_only=True)
class Tabular(FolderDataModule):
    """A CSV, TSV or Parquet table with a row per image or a row per study, or every DICOM file below ``root``.

    Patients are never parted by a split that is cut here, so say who is who: in the column ``patient``, or in the
    headers of DICOM images where there is no such column. Without either each study counts as a patient of its own.

    Args:
        index_file: table inside ``root``; None takes ``index.csv`` if it has the column ``image``, else the DICOM
            files below ``root``, told by content, with patients, studies and views from their headers and no labels.
        image: column of image paths below ``images_dir`` or ``root``, several of one study parted by "|"; where it is
            not named, ``image`` or one with a usual name (``file``, ``path``, ...), which is told.
        patient: column of patient ids; where it is not named, ``patient`` or one with a usual name (``patient_id``,
            ``subject``, ...). None, or the absence of such a column: see above.
        study_is_patient: each study counts as a patient of its own, whatever ids are there: for sets in which
            anonymising has left one id for all, and no patient has two studies.
        study: column of study ids; rows with one id are the images of one study. None: a row is a study, its id the
            column ``id`` if there is one, else the path of its first image without suffix.
        split: column of splits; empty cells and None leave it to ``val_fraction`` and ``test_fraction``.
        split_map: split as the table says it, to train, val or test; the usual names need not be mapped.
        findings_columns: column to finding, cells 1, 0, -1 (uncertain) or empty, or words for these (yes, no, true,
            absent, positive, uncertain, ...). Empty, and without ``labels``: all columns that bear the name of a known
            finding.
        labels: column that lists the findings of a study by name; those it does not list are absent. "No Finding" is
            the absence of all.
        separator: parts the names in ``labels``.
        label_map: name in ``labels`` to the finding that it stands for.
        unlabelled: names in ``labels`` that say nothing. Studies without any other label are left out and counted.
        uncertain: what -1 becomes, ``ignore``, ``zeros``, ``ones`` or ``mixed``; see ``labels.py``.
        unmentioned: what an empty cell becomes, ``absent`` or ``unknown``.
        report: column of reports.
        view: column of projections, parted as the images are.
        credentialed: nothing of the set leaves the machine unless the user says so at the place where it would.
        citation: who made the images and whom to cite.
    """

    index_file: str | None = None
    image: str = EXPECTED["image"]
    patient: str | None = EXPECTED["patient"]
    study_is_patient: bool = False
    study: str | None = None
    split: str | None = None
    split_map: dict[str, str] = field(default_factory=dict)
    findings_columns: dict[str, str] = field(default_factory=dict)
    labels: str | None = None
    separator: str = "|"
    label_map: dict[str, str] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=lambda: ["", "todo", "Unknown"])
    uncertain: str = "ignore"
    unmentioned: str = "unknown"
    report: str | None = None
    view: str | None = None
    credentialed: bool = True
    citation: str = "the user's own images"

    elsewhere: ClassVar[dict[str, str]] = {"table": "It is index_file now"}
    vocabulary: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        chosen = sorted(map(canonical, self.findings_columns.values()))
        if chosen and self.labels is None:
            self.vocabulary = tuple(chosen)
        super().__post_init__()
        if not self.findings:
            del self.findings  # the table says, once it is asked
        if len(set(chosen)) < len(chosen) or "" in chosen:
            raise ValueError(f"findings_columns must name different findings, got {dict(self.findings_columns)}")
        if self.index_file is not None and not self.index_file.lower().endswith(SUFFIXES):
            raise ValueError(f"index_file must end in {', '.join(SUFFIXES)}, got '{self.index_file}'")
        self._table = self.index_file if self.index_file is not None else self._index()
        idle = [key for key in ("study", "split", "labels", "report", "view", "findings_columns") if getattr(self, key)]
        if idle and self._table is None:
            raise ValueError(f"{idle[0]} names a column, got index_file=None and no {INDEX} with images in root")
        wrong = {word: name for word, name in self.split_map.items() if name not in SPLITS}
        if wrong:
            raise ValueError(f"split_map must map onto train, val and test, got {wrong}")
        if not self.separator:
            raise ValueError("separator must not be empty, got ''")
        check_policies(self.uncertain, self.unmentioned)

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """Where the settings name none: all that the table has labels for, which is read for it."""
        return self.vocabulary if self.index else ()

    @property
    def _image_folder(self) -> Path:
        return self.folder / (self.images_dir or "")

    def read_index(self) -> list[Study]:
        """Studies in the order in which the table, or the folder, first names them.

        Raises:
            DataError: see ``_table_rows`` and ``dicom_folder.read_folder``, or ``findings`` has a name that the table
                has no labels for.
        """
        if self._table is None:
            rows = self._folder_rows()
            labels = pd.DataFrame(index=rows.index)
        else:
            rows, labels = self._table_rows(require_index(self.folder / self._table))
        self._know(list(labels.columns))
        rows = with_patients(
            self._with_paths(rows), self.faults, self.say, alone=self.study_is_patient, headers=self._table is not None
        )
        images = agreeing(rows, ("patient", "split"), self.faults)
        return self._studies_of(images, self._by_study(images, labels))

    def _index(self) -> str | None:
        """The table that is read where the settings name none. A list of DICOM files may bear its name too."""
        path = Path(self.root).expanduser() / INDEX
        try:
            return INDEX if path.is_file() and self.image in column_names(path) else None
        except DataError:
            return INDEX  # damaged: said when it is read

    def _folder_rows(self) -> pd.DataFrame:
        """Every DICOM file. Where there is none, the error names the tables that lie in ``root``."""
        tables = sorted(path.name for path in self.folder.iterdir() if path.name.lower().endswith(SUFFIXES))
        beside = f"{', '.join(tables[:5])} in {self.folder}: name it in data.index_file to read it" if tables else ""
        try:
            rows = read_folder(self._image_folder, self.faults, self.body_parts, self.view_positions)
        except DataError as error:
            raise DataError(f"{error} There is {beside}.") if beside else error from error
        if beside:
            self.say(f"not read: {beside}")
        silent = (rows["modality"] == "").sum()
        self.say(f"{len(rows):,} DICOM files" + (f", {silent:,} of them without a modality" if silent else ""))
        return own(rows.assign(split="", report=""), {"patient": "p"}, self.faults, self.say)

    def _table_rows(self, path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One row per image, and labels by the same index.

        Raises:
            DataError: the table cannot be read, lacks a column that a setting names, or has an unknown split.
        """
        roles, columns = read_header(
            path,
            {role: getattr(self, role) for role in ROLES},
            self.findings_columns,
            lambda: require_images(self._image_folder, self.images_dir),
            self.say,
            alone=self.study_is_patient,
        )
        ids = [name for role, name in roles.items() if role in ("image", "patient", "study")]
        table = read_table(
            path, {name: name for name in (*roles.values(), *columns)}, self.faults, ids=ids, unique=(roles["image"],)
        )
        self.faults.headers[path.name] |= roles
        rows, labels = self._labels(table, columns)
        roled = {role: rows[name] for role, name in roles.items()}
        rows = pd.DataFrame({"where": rows["where"], **dict.fromkeys(ROLES, ""), **roled}, index=rows.index)
        rows = own(rows, {"study": "s", "patient": "p"}, self.faults, self.say)
        rows = parted(rows if self.study is not None else with_ids(rows, self.faults), self.faults)
        return rows.assign(split=split_names(rows, self.split_map, path)), labels.loc[rows.index.unique()]

    def _labels(self, rows: pd.DataFrame, columns: Mapping[str, str]) -> tuple[pd.DataFrame, pd.DataFrame]:
        rows, labels = by_column(rows, columns, self.faults, uncertain=self.uncertain, unmentioned=self.unmentioned)
        if self.labels is None:
            return rows, labels[sorted(labels.columns)]
        rows, listed = by_list(
            rows, self.labels, self.faults, separator=self.separator, names=self.label_map, unlabelled=self.unlabelled
        )
        labels = labels.loc[rows.index].combine_first(listed)
        return rows, labels[sorted(labels.columns)]

    def _know(self, found: list[str]) -> None:
        """Take the names of the labels for the vocabulary.

        Raises:
            DataError: ``findings`` has a name that is not among them.
        """
        self.vocabulary = tuple(found)
        for name in self.__dict__.get("findings", ()):
            if found and name not in found:
                raise DataError(
                    f"data.findings names '{name}', of which there are no labels. {did_you_mean(name, found)}"
                )

    def _with_paths(self, rows: pd.DataFrame) -> pd.DataFrame:
        base = self._image_folder
        rows = rows.assign(path=[self.inside(name, base) for name in rows["image"]])
        rows = self.faults.drop(rows, rows["path"].isna(), "image path leads out of data.root", "image")
        return self.faults.drop(rows, rows.duplicated("path"), "is listed before", "image")

    def _by_study(self, images: pd.DataFrame, labels: pd.DataFrame) -> dict[str, dict[str, float]]:
        """Study to labels, without those that have none although ``labels`` should list them."""
        rows = images[~images.index.duplicated()]
        if not len(labels.columns):
            return {study: {} for study in rows["study"]}
        merged, differing = merge(labels.loc[rows.index], rows["study"])
        if differing:
            self.say(f"{differing:,} studies have rows with different labels: present where any row says so")
        if self.labels is not None:
            silent = merged.isna().all(axis=1)
            self.left_out.update({UNLABELLED: int(silent.sum())} if silent.any() else {})
            merged = merged[~silent]
        return dict(zip(merged.index, shared(merged), strict=True))

    def _studies_of(self, images: pd.DataFrame, findings: Mapping[str, dict[str, float]]) -> list[Study]:
        paths, views = defaultdict(list), defaultdict(list)
        for study, path, view in zip(images["study"], images["path"], images["view"], strict=True):
            paths[study].append(path)
            views[study].append(view)
        told = images[images["report"] != ""].drop_duplicates("study")
        reports = dict(zip(told["study"], told["report"], strict=True))
        heads = images[images["study"].isin(findings)].drop_duplicates("study")
        self.say(f"{len(heads):,} studies of {heads['patient'].nunique():,} patients")
        return [
            Study(
                study,
                patient,
                split,
                tuple(paths[study]),
                findings[study],
                report=reports.get(study),
                views=tuple(views[study]) if any(views[study]) else (),
            )
            for study, patient, split in zip(heads["study"], heads["patient"], heads["split"], strict=True)
        ]
