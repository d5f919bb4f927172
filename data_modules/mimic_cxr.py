"""MIMIC-CXR-JPG: 377,110 radiographs of 227,835 studies with labels mined from their reports; credentialed access."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.findings import CHEXPERT
from apo_lightning.identifiers.forms import MIMIC_DICOM, MIMIC_STUDY, MIMIC_SUBJECT
from apo_lightning.types import Prior, Study
from data_modules import DATA
from data_modules.archives.image_rows import agreeing
from data_modules.archives.mimic_report_files import ReportFiles, find_reports
from data_modules.archives.mimic_reports import SECTIONS, compose
from data_modules.archives.mimic_tables import LABELERS, TABLE, locate_images, read_labels, say_unlabelled
from data_modules.folder import FolderDataModule
from data_modules.loading.splits import NAMES
from data_modules.tables import Faults, as_numbers, find, read_table
from data_modules.tables.identifiers import normal
from data_modules.tables.labels import check_policies

RADIOLOGIST = "mimic-cxr-2.1.0-test-set-labeled.csv"
TEST_LABELS = ("labeler", "radiologist")
VIEWS = (
    "PA",
    "AP",
    "LATERAL",
    "LL",
    "AP AXIAL",
    "AP LLD",
    "AP RLD",
    "PA RLD",
    "PA LLD",
    "LAO",
    "RAO",
    "LPO",
    "XTABLE LATERAL",
    "SWIMMERS",
    "",
)
"""``ViewPosition``, in the order in which images of a study come; "" where the table says nothing."""
NONE: dict[str, str] = {}
"""Details and progression, shared by all studies."""


@DATA.register("mimic_cxr")
@dataclass(eq=False, kw_only=True)
class MIMICCXR(FolderDataModule):
    """MIMIC-CXR-JPG 2.0.0 or 2.1.0, one `Study` a study, its id ``s50414267``, in the official splits.

    Images may lie in the official folders or flat by name. Reports belong to MIMIC-CXR, of which this set has the
    images; they are looked for beside it: text files, ``mimic-cxr-reports.zip``, or ``mimic_cxr_sectioned.csv``.
    Studies without an image of ``views`` and studies without any label are left out.

    Args:
        labeler: whose labels: ``chexpert`` or ``negbio``.
        test_labels: ``labeler``, or ``radiologist``: the labels by hand of release 2.1.0, and only the test studies
            that have them.
        uncertain: what a label of -1 becomes: ``ignore`` (unknown), ``zeros``, ``ones`` or ``mixed``; see `labels`.
        unmentioned: what an empty label becomes: ``absent`` or ``unknown``.
        views: projections that are used, of ``ViewPosition``; "" stands for those without one, an empty list for all.
        max_images: images of a study that are used, PA before AP, LATERAL and LL, >= 1.
        prior: attach the patient's study before, by date and time: its id, its first image, its report.
        reports: read the reports.
        reports_root: folder or file in which they are; None looks in ``root`` and beside it.
        sections: sections of a report that make up ``Study.report``, in this order. ``last_paragraph`` is what the few
            reports have that have neither findings nor impression.
        drop_comparisons: without the sentences that compare with an earlier study, which one image cannot show.
    """

    labeler: str = "chexpert"
    test_labels: str = "labeler"
    uncertain: str = "ignore"
    unmentioned: str = "absent"
    views: list[str] = field(default_factory=lambda: ["PA", "AP"])
    max_images: int = 1
    prior: bool = False
    reports: bool = False
    reports_root: str | None = None
    sections: list[str] = field(default_factory=lambda: ["findings", "impression"])
    drop_comparisons: bool = False

    credentialed: ClassVar[bool] = True
    vocabulary: ClassVar[tuple[str, ...]] = CHEXPERT
    patients_of: ClassVar[str] = "mimic"
    citation: ClassVar[str] = (
        "A. E. W. Johnson, T. J. Pollard, N. R. Greenbaum, M. P. Lungren, C. Deng, Y. Peng, Z. Lu, R. G. Mark, "
        "S. J. Berkowitz, S. Horng. MIMIC-CXR-JPG, a large publicly available database of labeled chest radiographs. "
        "arXiv:1901.07042, 2019. PhysioNet, https://physionet.org/content/mimic-cxr-jpg/2.1.0/"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_policies(self.uncertain, self.unmentioned)
        for key, allowed in (("labeler", LABELERS), ("test_labels", TEST_LABELS)):
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} must be {' or '.join(allowed)}, got '{getattr(self, key)}'")
        for key, allowed in (("views", VIEWS), ("sections", SECTIONS)):
            for name in getattr(self, key):
                if name not in allowed:
                    raise ValueError(f"{key} must name some of {', '.join(filter(None, allowed))}, got '{name}'")
        if not self.sections:
            raise ValueError("sections must name at least one section, got []")
        if self.max_images < 1:
            raise ValueError(f"max_images must be >= 1, got {self.max_images}")
        self._report_files: ReportFiles | None = None

    def read_index(self) -> list[Study]:
        """Studies in the order of the metadata table."""
        rows = self._images_by_study(self._rows())
        first = np.flatnonzero(~rows["study"].duplicated())
        studies = rows.iloc[first]
        findings = self._findings(studies)
        priors = find_priors(studies) if self.prior else [None] * len(studies)
        paths, views = rows["path"].tolist(), rows["view"].tolist()
        columns = (studies["study"].tolist(), studies["subject"].tolist(), studies["split"].tolist())
        spans = zip(first.tolist(), np.append(first, len(rows))[1:].tolist(), strict=True)
        return [
            Study(
                f"s{study}",
                patient,
                split,
                tuple(paths[start:end]),
                labels,
                NONE,
                None,
                tuple(views[start:end]),
                (),
                before,
                NONE,
            )
            for study, patient, split, (start, end), labels, before in zip(
                *columns, spans, findings, priors, strict=True
            )
            if labels is not None
        ]

    def _rows(self) -> pd.DataFrame:
        """One row per image: dicom, subject, study, view, split, and date and time where priors are asked for."""
        columns = {"dicom_id": "dicom", "subject_id": "subject", "study_id": "study", "ViewPosition": "view"}
        times = {"StudyDate": "date", "StudyTime": "time"} if self.prior else {}
        rows = read_table(self._table("metadata"), columns | times, self.faults)
        forms = {"dicom": MIMIC_DICOM, "subject": MIMIC_SUBJECT, "study": MIMIC_STUDY}
        rows = normal(rows, forms, self.faults, unique=("dicom",))
        known = f"must be one of {', '.join(filter(None, VIEWS))} or empty"
        rows = self.faults.drop(rows, ~rows["view"].str.upper().isin(VIEWS), known, "view")
        rows = self._in_splits(rows.assign(view=rows["view"].str.upper()))
        rows = agreeing(rows, ("subject", "split"), self.faults)
        return self._timed(rows) if self.prior else rows

    def _in_splits(self, rows: pd.DataFrame) -> pd.DataFrame:
        path = self._table("split")
        columns = {"dicom_id": "dicom", "split": "split", "study_id": "study"}
        listed = read_table(path, columns, self.faults, optional=("study_id",))
        forms = {"dicom": MIMIC_DICOM, "study": MIMIC_STUDY}
        listed = normal(
            listed, {name: form for name, form in forms.items() if name in listed}, self.faults, unique=("dicom",)
        )
        split = listed["split"].str.lower().map(NAMES)
        unknown = split.isna().to_numpy()
        self.faults.drop(listed, unknown, f"split is none of {', '.join(NAMES)}", "split")
        place = pd.Index(listed["dicom"]).get_indexer(rows["dicom"])
        rows = rows.assign(split=split.to_numpy(object, na_value=None)[place])
        here = (place >= 0) & ~unknown[place]  # those of an unknown split are told just now
        self.faults.drop(rows, place < 0, f"has no split in {path.name}", "dicom")
        if "study" not in listed:
            return rows[here]
        other = here & (listed["study"].to_numpy(object)[place] != rows["study"].to_numpy(object))
        self.faults.drop(rows, other, f"study id is not that of the image in {path.name}", "study")
        return rows[here & ~other]

    def _timed(self, rows: pd.DataFrame) -> pd.DataFrame:
        """With ``when``, a number that grows with date and time. A time lacks its leading zeros (71903.25 is 07:19:03),
        so it is compared as a number."""
        for name, form in (("date", r"\d{8}"), ("time", r"\d{1,6}(?:\.\d*)?")):
            rows = self.faults.drop(rows, ~rows[name].str.fullmatch(form), f"is no {name} in digits alone", name)
        return rows.assign(when=as_numbers(rows["date"]) * 1e6 + as_numbers(rows["time"]))

    def _table(self, name: str) -> Path:
        return find(self.folder, (TABLE.format(name),), index=name == "metadata")

    def _images_by_study(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The images that are used, those of a study together and in order of their views, with their paths."""
        if self.views:
            total = rows["study"].nunique()
            rows = rows[rows["view"].isin(self.views)]
            wanted = ", ".join(view or "unknown" for view in self.views)
            self._leave_out(f"no image of view {wanted}", total - rows["study"].nunique())
        study, _ = pd.factorize(rows["study"])
        rank = rows["view"].map({view: place for place, view in enumerate(VIEWS)}).fillna(len(VIEWS))
        order = np.lexsort((rank, study))
        rows, study = rows.iloc[order], study[order]
        start = np.flatnonzero(np.diff(study, prepend=-1))
        place = np.arange(len(study)) - start[study]
        rows = rows[place < self.max_images]
        tree = "p" + rows["subject"].str[:2] + "/p" + rows["subject"] + "/s" + rows["study"] + "/" + rows["dicom"]
        base = self.folder / self.images_dir if self.images_dir else self.folder
        return rows.assign(path=locate_images(self, base, tree, setting="data.images_dir")).reset_index(drop=True)

    def _leave_out(self, why: str, number: int) -> None:
        if number:
            self.left_out[why] += number

    def _findings(self, studies: pd.DataFrame) -> np.ndarray:
        """Labels of each study, None where it has none."""
        found = self._labels(self._table(self.labeler), studies)
        hand = np.zeros(len(studies), bool)
        if self.test_labels == "radiologist":
            hand = (studies["split"] == "test").to_numpy()
            table = find(self.folder, (RADIOLOGIST,), what="It comes with release 2.1.0.")
            found[hand] = self._labels(table, studies[hand])
        lacking = np.equal(found, None)
        say_unlabelled(self, self._table(self.labeler), (lacking & ~hand).sum().item(), (~hand).sum().item())
        self._leave_out("test study that the radiologist did not label", (lacking & hand).sum().item())
        return found

    def _labels(self, table: Path, studies: pd.DataFrame) -> np.ndarray:
        patients = studies.set_index("study")["subject"]
        known = read_labels(
            table, self.faults, patients=patients, uncertain=self.uncertain, unmentioned=self.unmentioned
        )
        self.say(f"labels from {table.name}: {len(known):,} studies")
        return known.reindex(studies["study"]).to_numpy(object, copy=True, na_value=None)

    def complete(self, studies: list[Study]) -> list[Study]:
        """With their reports, where asked for.

        Raises:
            DataError: there are no reports, or their table lacks one of ``sections``.
        """
        studies = super().complete(studies)
        return self._with_reports(studies) if self.reports and studies else studies

    def _with_reports(self, studies: list[Study]) -> list[Study]:
        keys = {s.id: s.patient for s in studies} | {s.prior.id: s.patient for s in studies if s.prior}
        files = self._report_files = self._report_files or find_reports(self.folder, self.reports_root, [*keys.items()])
        lacking = [name for name in self.sections if files.sections and name not in files.sections]
        if lacking:
            raise DataError(
                f"data.sections names '{lacking[0]}', but {files.place} has only {', '.join(files.sections)}. "
                "Take one of these, or set data.reports_root to the text files."
            )
        faults = Faults()
        found = files.read([*keys.items()], faults)
        self.faults += [fault for fault in faults if fault not in self.faults]  # a table is read once per split
        texts = {
            study: compose(parts, self.sections, drop_comparisons=self.drop_comparisons)
            for study, parts in found.items()
        }
        split, total = studies[0].split, len(studies)
        told = sum(texts.get(study.id) is not None for study in studies)
        absent = sum(study.id not in found for study in studies)
        if absent == total:
            why = f" First of {len(faults):,} that cannot be used: {': '.join(faults[0])}." if faults else ""
            raise DataError(f"None of the {total:,} studies of split '{split}' has a report in {files.place}.{why}")
        self.say(
            f"reports of split '{split}' from {files.place}: {told:,} of {total:,} studies have "
            f"{' or '.join(self.sections)}, {absent:,} have no report at all"
        )
        return [_with_report(study, texts) for study in studies]


def _with_report(study: Study, texts: Mapping[str, str | None]) -> Study:
    before = study.prior and replace(study.prior, report=texts.get(study.prior.id))
    return replace(study, report=texts.get(study.id), prior=before)


def find_priors(studies: pd.DataFrame) -> list[Prior | None]:
    """The study of the same patient that comes last before each, by ``when``; None where there is none. Of two at the
    same moment neither is before the other.

    Args:
        studies: one row per study: study, subject, when, path of its first image.
    """
    patient, _ = pd.factorize(studies["subject"])
    when = studies["when"].to_numpy()
    order = np.lexsort((when, patient))
    patient, when = patient[order], when[order]
    starts = np.flatnonzero((np.diff(patient, prepend=-1) != 0) | (np.diff(when, prepend=-1.0) != 0))
    moment = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))
    before = starts[moment] - 1
    has = (before >= 0) & (patient[before] == patient)
    priors: list[Prior | None] = [None] * len(order)
    ids, paths = studies["study"].tolist(), studies["path"].tolist()
    for place, other in zip(order[has].tolist(), order[before[has]].tolist(), strict=True):
        priors[place] = Prior(f"s{ids[other]}", (paths[other],))
    return priors
