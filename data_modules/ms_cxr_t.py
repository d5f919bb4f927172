"""MS-CXR-T: pairs of MIMIC-CXR radiographs with the course of five findings by radiologists; for evaluation alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import pandas as pd

from apo_lightning.identifiers.forms import MIMIC_STUDY, MIMIC_SUBJECT, MIMIC_TREE
from apo_lightning.text.progression import CLASSES
from apo_lightning.types import Prior, Study
from data_modules import DATA
from data_modules.archives.mimic_tables import LABELERS, TABLE, locate_images, read_labels, say_unlabelled
from data_modules.folder import FolderDataModule, require_folder
from data_modules.tables import find, read_table
from data_modules.tables.identifiers import normal
from data_modules.tables.labels import check_policies

IMAGES = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"
FINDINGS = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
IDS = {
    "dicom_id": "image",
    "previous_dicom_id": "before",
    "subject_id": "patient",
    "study_id": "study",
    "previous_study_id": "study_before",
}
QUALITIES = ("one_expert", "multiple_experts", "disagreement")
TASKS = ("progression", "presence")
PRESENT = {"stable": 1.0, "worsening": 1.0, "improving": math.nan, "": math.nan}
"""What the course of a finding says of its presence on the later image."""
FORMS = {
    "image": MIMIC_TREE,
    "before": MIMIC_TREE,
    "patient": MIMIC_SUBJECT,
    "study": MIMIC_STUDY,
    "study_before": MIMIC_STUDY,
}

PLACES = (
    ("patient", "image", r"^p[0-9]{2}/p([0-9]{8})/"),
    ("patient", "before", r"^p[0-9]{2}/p([0-9]{8})/"),
    ("study", "image", r"^p[0-9]{2}/p[0-9]{8}/s([0-9]{8})/"),
)
"""(column, path that tells it too, where)."""


@DATA.register("ms_cxr_t")
@dataclass(eq=False, kw_only=True)
class MSCXRT(FolderDataModule):
    """MS-CXR-T 1.0.0, whose pairs lie in all three splits of MIMIC-CXR; here all are ``test``.

    Under ``progression`` a study has the earlier image in ``prior`` and the course of the findings that were judged in
    ``progression``. ``findings`` is our reading of it: what is stable or worsening is present, what is improving may be
    gone (unknown), and what was not judged is unknown. Under ``presence`` there is the current image alone, with the
    labels of its study from MIMIC-CXR-JPG.

    Args:
        task: ``progression``, what the set was made for, or ``presence``.
        quality: judgements that are used, by ``{finding}_label_quality``.
        images_root: folder of the images of MIMIC-CXR-JPG, in its layout or flat by name; None is ``root``.
        mimic_root: folder of the tables of MIMIC-CXR-JPG, for ``presence``; None is the folder of the images.
        labeler: whose labels under ``presence``: ``chexpert`` or ``negbio``.
        uncertain, unmentioned: what labels of -1 and empty ones become under ``presence``; see `labels`.
    """

    task: str = "progression"
    quality: list[str] = field(default_factory=lambda: list(QUALITIES))
    images_root: str | None = None
    mimic_root: str | None = None
    labeler: str = "chexpert"
    uncertain: str = "ignore"
    unmentioned: str = "absent"

    credentialed: ClassVar[bool] = True
    vocabulary: ClassVar[tuple[str, ...]] = FINDINGS
    splits: ClassVar[tuple[str, ...]] = ("test",)
    patients_of: ClassVar[str] = "mimic"
    citation: ClassVar[str] = (
        "S. Bannur, S. Hyland, Q. Liu, F. Perez-Garcia, M. Ilse, D. Coelho de Castro, B. Boecking, H. Sharma, "
        "K. Bouzid, A. Schwaighofer, M. T. Wetscherek, H. Richardson, T. Naumann, J. Alvarez Valle, O. Oktay. "
        "MS-CXR-T: Learning to Exploit Temporal Structure for Biomedical Vision-Language Processing (version 1.0.0). "
        "PhysioNet, 2023, https://physionet.org/content/ms-cxr-t/1.0.0/"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_policies(self.uncertain, self.unmentioned)
        for key, allowed in (("task", TASKS), ("labeler", LABELERS)):
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} must be {' or '.join(allowed)}, got '{getattr(self, key)}'")
        wrong = next((f"'{name}'" for name in self.quality if name not in QUALITIES), None)
        if wrong or not self.quality:
            raise ValueError(f"quality must name some of {', '.join(QUALITIES)}, got {wrong or 'none'}")

    def read_index(self) -> list[Study]:
        """Pairs, or under ``presence`` current images, in table order."""
        rows = self._rows()
        return self._with_presence(rows) if self.task == "presence" else self._with_progression(rows)

    def complete(self, studies: list[Study]) -> list[Study]:
        """Without pairs that lack the earlier image.

        Raises:
            DataError: images are not there and ``allow_missing`` is off.
        """
        kept = super().complete(studies)
        pairs = [study for study in kept if study.prior is None or study.prior.images]
        self._leave_out("pair whose earlier image is not there", len(kept) - len(pairs))
        return pairs

    def _leave_out(self, why: str, number: int) -> None:
        if number:
            self.left_out[why] += int(number)

    @cached_property
    def _images_folder(self) -> Path:
        """
        Raises:
            DataError: ``images_root`` is no folder.
        """
        if self.images_root is None:
            return self.folder / (self.images_dir or "")
        return _folder(self.images_root, "data.images_root")

    def _rows(self) -> pd.DataFrame:
        """One row per pair: ids, image paths below ``files`` without suffix, course and quality of each finding."""
        columns = IDS | {f"{name}_progression": name for name in FINDINGS}
        qualities = {f"{name}_label_quality": f"{name}_quality" for name in FINDINGS}
        optional = () if self._picks_quality else tuple(qualities)
        rows = read_table(
            find(self.folder, (IMAGES,), index=True),
            columns | qualities,
            self.faults,
            optional=optional,
            ids=tuple(IDS.values()),
        )
        rows = normal(rows, FORMS, self.faults, unique=("image", "before"))
        rows = self._as_their_paths(rows)
        for name in FINDINGS:
            for column, allowed in ((name, CLASSES), (f"{name}_quality", QUALITIES)):
                if column in rows:
                    wrong = ~rows[column].str.lower().isin(("", *allowed))
                    rows = self.faults.drop(rows, wrong, f"must be one of {', '.join(allowed)} or empty", column)
        self.say(f"{len(rows):,} pairs of {rows['patient'].nunique():,} patients from {IMAGES}")
        return rows

    def _as_their_paths(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Without rows whose patient or study is not that of a path in the official layout."""
        for column, path, pattern in PLACES:
            told = rows[path].str.extract(pattern, expand=False).fillna(rows[column])
            what = f"{FORMS[column].what} is not that of the {'earlier ' if path == 'before' else ''}image path"
            rows = self.faults.drop(rows, told != rows[column], what, column)
        return rows

    @property
    def _picks_quality(self) -> bool:
        return set(self.quality) != set(QUALITIES)

    def _with_progression(self, rows: pd.DataFrame) -> list[Study]:
        courses = self._courses(rows)
        judged = (courses != "").any(axis=1)
        self._leave_out("pair without a label of its course", (~judged).sum())
        rows, courses = rows[judged], courses[judged]
        trees = pd.concat([rows["image"], rows["before"]])
        paths = locate_images(self, self._images_folder, trees, setting="data.images_root")
        images = zip(paths[: len(rows)], paths[len(rows) :], strict=True)
        return [
            Study(
                name,
                row.patient,
                "test",
                (image,),
                {f: PRESENT[word] for f, word in course.items()},
                prior=Prior(f"s{row.study_before}", (before,)),
                progression={f: word for f, word in course.items() if word},
            )
            for name, row, course, (image, before) in zip(
                unique_ids(rows), rows.itertuples(), courses.to_dict("records"), images, strict=True
            )
        ]

    def _courses(self, rows: pd.DataFrame) -> pd.DataFrame:
        """One column per finding: its course, "" where it was not judged or the judgement is not used."""
        words = rows[list(FINDINGS)].apply(lambda column: column.str.lower())
        known = words.isin(CLASSES)
        if self._picks_quality:
            used = pd.DataFrame({f: rows[f"{f}_quality"].str.lower().isin(self.quality) for f in FINDINGS})
            self._leave_out(f"label whose quality is not {' or '.join(self.quality)}", (known & ~used).to_numpy().sum())
            known &= used
        return words.where(known, "")

    def _with_presence(self, rows: pd.DataFrame) -> list[Study]:
        rows = rows.drop_duplicates("image")
        folder = _folder(self.mimic_root, "data.mimic_root") if self.mimic_root else self._images_folder
        table = find(folder, (TABLE.format(self.labeler),), what="Set data.mimic_root to the folder of MIMIC-CXR-JPG.")
        patients = rows.drop_duplicates("study").set_index("study")["patient"]
        known = read_labels(
            table, self.faults, patients=patients, uncertain=self.uncertain, unmentioned=self.unmentioned
        )
        self.say(f"labels from {table}")
        labelled = rows["study"].isin(known.index)
        say_unlabelled(self, table, int((~labelled).sum()), len(rows))
        rows = rows[labelled]
        paths = locate_images(self, self._images_folder, rows["image"], setting="data.images_root")
        return [
            Study(name, row.patient, "test", (path,), {f: known[row.study][f] for f in FINDINGS})
            for name, row, path in zip(unique_ids(rows), rows.itertuples(), paths, strict=True)
        ]


def unique_ids(rows: pd.DataFrame) -> list[str]:
    """The study's id, with the name of the image where several rows are of one study, and with that of the earlier
    image where they share the later one too."""
    names = "s" + rows["study"]
    for column in ("image", "before"):
        image = rows[column].str.extract(r"([^/]*)$", expand=False)
        names = names.mask(names.duplicated(keep=False), names + "_" + image)
    return names.tolist()


def _folder(path: str, setting: str) -> Path:
    return require_folder(path, setting, "the folder of MIMIC-CXR-JPG")
