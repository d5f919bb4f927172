"""Every table that a data set reads, the odd cells that it may have, and what reading an odd one comes to."""

from __future__ import annotations

import contextlib
import gzip
import math
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.errors import ApoError
from apo_lightning.types import Study
from data_modules import DATA
from tests.helpers import (
    chestxray14_folder,
    chexpert_folder,
    covid_chestxray_folder,
    mimic_cxr_folder,
    ms_cxr_t_folder,
    open_i_folder,
    tabular_folder,
)
from tests.helpers.odd_tables import FORMS, Odd, Table, read, text

LONGEST = 4_000
"""Characters of a message that somebody still reads."""
INWARD = re.compile(r"codec|Traceback|<class|NoneType|object at 0x|\\x00|[\0\x01-\x08]|KeyError|dtype|Errno|ordinal")
"""What a program says to itself."""
NO_LABELS = ("nan", "-", "yes", "TRUE", "2", "-2", "0.5", "1,0", "\uff11", "0x1", "inf", "1_0", "--1", "1 0", "\u22121")
NO_NUMBERS = ("nan", "", "-5", "-0.5", "1e9", "12,5", "abc", "inf", "1 2", "0x10", "-inf", "\u221212")


@dataclass(frozen=True)
class Target:
    """A table of a set.

    Attributes:
        make: draws the clean set into a folder and returns the settings that build it.
        file: the table below that folder.
        cells: column to values that it must not have; the message names column, line and value.
    """

    name: str
    make: Callable[[Path], dict[str, Any]]
    file: str
    wanted: tuple[str, ...]
    optional: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    cells: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def parse(self, content: bytes) -> Table:
        return read(content, self.wanted, self.optional, self.ids)

    def seen(self, settings: dict[str, Any]) -> Any:
        """Everything that a run would see of the studies, in order of their ids."""
        return studies(settings)

    def odd(self, table: Table) -> dict[str, Odd]:
        """All forms of it by name."""
        found = dict(FORMS)
        for column, values in self.cells.items():
            for value in values:
                found[f"{column} = {value!r}"] = Odd(
                    lambda t, column=column, value=value: text(t.with_cell(3, column, value)).encode(),
                    said=lambda t, column=column, value=value: (column, value.strip(), ":5"),
                )
        return found


@dataclass(frozen=True)
class Outcome:
    """``right``, ``refused``, ``silent`` (other studies, no word), ``crash`` or ``unclear``, and what was said."""

    kind: str
    text: str = ""


def studies(settings: dict[str, Any]) -> list[tuple[Any, ...]]:
    data = DATA[settings["name"]](**{key: value for key, value in settings.items() if key != "name"})
    data.check()
    return sorted(_seen(study) for split in data.splits for study in data.studies(split))


class Bench:
    """A set in a folder, one of whose files is made odd again and again.

    Args:
        target: `Target`, or what has its ``make``, ``file``, ``parse``, ``odd`` and ``seen``.
        folder: an empty one.
    """

    def __init__(self, target: Any, folder: Path) -> None:
        self.target, self.folder = target, folder
        self.settings = target.make(folder)
        self.path = folder / target.file
        self.clean = self.path.read_bytes()
        self.gzipped = self.path.suffix == ".gz"
        plain = gzip.decompress(self.clean) if self.gzipped else self.clean
        self.table = target.parse(plain)
        self.right = target.seen(self.settings)
        self.forms = target.odd(self.table)

    def outcome(self, form: str) -> Outcome:
        odd = self.forms[form]
        with self._damaged(odd):
            return judged(lambda: self.target.seen(self.settings), self.right, (self.path.name, *odd.said(self.table)))

    @contextlib.contextmanager
    def _damaged(self, odd: Odd) -> Iterator[None]:
        self.path.unlink()
        try:
            if odd.place is not None:
                odd.place(self.path)
            else:
                content = odd.make(self.table) or b""
                self.path.write_bytes(gzip.compress(content, 1) if self.gzipped and not odd.raw else content)
            yield
        finally:
            shutil.rmtree(self.path) if self.path.is_dir() else self.path.unlink(missing_ok=True)
            self.path.write_bytes(self.clean)


def judged(make: Callable[[], Any], right: Any, said: tuple[str, ...]) -> Outcome:
    """What ``make`` comes to: its value is ``right``, or it refuses and names all that is ``said``."""
    try:
        found = make()
    except ApoError as error:
        message = str(error)
        lacking = [word for word in said if word not in message]
        if lacking or len(message) > LONGEST or INWARD.search(message):
            why = f"does not name {lacking}" if lacking else "unreadable"
            return Outcome("unclear", f"{why}: {message[:3000]}")
        return Outcome("refused", message)
    except BaseException as error:  # the kind of an outcome, whatever it is
        return Outcome("crash", f"{type(error).__name__}: {error}")
    return Outcome("right") if found == right else Outcome("silent", _difference(found, right))


def _difference(found: Any, right: Any) -> str:
    if not isinstance(found, list):
        return f"{found!r:.700} for {right!r:.700}"
    new, lost = [x for x in found if x not in right], [x for x in right if x not in found]
    return f"{len(new)} other, {len(lost)} lost: {new[:1]} for {lost[:1]}"[:1500]


def _seen(study: Study) -> tuple[Any, ...]:
    labels = {name: "" if math.isnan(value) else str(value) for name, value in sorted(study.findings.items())}
    prior = study.prior and (study.prior.id, study.prior.images, study.prior.report or "")
    boxes = [str(box) for box in study.boxes]
    course = sorted(study.progression.items())
    return (
        study.id,
        study.patient,
        study.split,
        study.images,
        str(labels),
        study.report or "",
        study.views,
        str(boxes),
        str(course),
        str(prior),
    )


def _set(name: str, module: Any, **more: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"name": name, **module.settings(folder), **more}


def _boxes(folder: Path) -> dict[str, Any]:
    settings = chestxray14_folder.settings(folder)
    rows = [f"000000{patient}_001.png,Effusion,{patient},512,128,{64 + patient}.5" for patient in range(21, 26)]
    chestxray14_folder.box_file(folder, *rows, "00000022_000.png,Pneumonia,0,0,9,9")
    return {"name": "chestxray14", **settings}


def _mimic(**more: Any) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        settings = mimic_cxr_folder.settings(folder)
        known = pd.read_csv(folder / mimic_cxr_folder.TABLE.format("chexpert"))
        known.tail(6).drop(columns="subject_id").to_csv(folder / mimic_cxr_folder.RADIOLOGIST, index=False)
        texts = [
            {
                "study": f"s{study}",
                "impression": f"No edema {study}.",
                "findings": f"Clear, as {study}.",
                "last_paragraph": "",
                "comparison": "None.",
            }
            for study in known["study_id"]
        ]
        pd.DataFrame(texts).to_csv(folder / "mimic_cxr_sectioned.csv", index=False)
        return {"name": "mimic_cxr", **settings, **more}

    return make


def _kaggle(folder: Path) -> dict[str, Any]:
    return {"name": "open_i", "root": str(open_i_folder.kaggle_folder(folder)), "views": ["frontal", "lateral"]}


def _xml(file: str, header: str, row: Callable[[int], list[str]], **more: Any) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        open_i_folder.open_i_folder(folder)
        lines = [line for uid in open_i_folder.PATIENTS for line in row(uid)]
        (folder / file).write_text("\n".join([header, *lines]) + "\n")
        return {"name": "open_i", "root": str(folder), **more}

    return make


def _own(**more: Any) -> Callable[[Path], dict[str, Any]]:
    return lambda folder: {"name": "tabular", **tabular_folder.settings(folder), **more}


def _listing(folder: Path) -> dict[str, Any]:
    """Labels in one column."""
    settings = tabular_folder.settings(folder)
    rows = pd.read_csv(folder / "table.csv", dtype=str)
    words = ["Edema|Pneumonia", "No Finding", "Pleural Effusion", "Edema"]
    labels = [words[number % len(words)] for number in range(len(rows))]
    rows.drop(columns=["Edema", "Pleural Effusion", "Pneumonia"]).assign(labels=labels).to_csv(
        folder / "table.csv", index=False
    )
    return {"name": "tabular", **settings, "labels": "labels"}


def _split_file(folder: Path) -> dict[str, Any]:
    settings = {"name": "chestxray14", **chestxray14_folder.settings(folder)}
    data = DATA["chestxray14"](root=settings["root"])
    studies = [study for split in data.splits for study in data.studies(split)]
    rows = [f"{study.id},{study.split}" for study in studies]
    (folder / "splits.csv").write_text("\n".join(["study,split", *rows]) + "\n")
    return {**settings, "split_file": str(folder / "splits.csv")}


def _by_image(folder: Path) -> dict[str, Any]:
    """CheXpert's test labels by image."""
    settings = chexpert_folder.settings(folder)
    base = folder / "CheXpert"
    rows = pd.read_csv(base / "groundtruth.csv", dtype=str)
    rows["Study"] += "/view1_frontal.jpg"
    rows.rename(columns={"Study": "Path"}).to_csv(base / "test_labels.csv", index=False)
    (base / "groundtruth.csv").unlink()
    return {"name": "chexpert", **settings}


_CHEXPERT = chexpert_folder.LABELS
_FEW = dict.fromkeys(("Edema", "Support Devices"), NO_LABELS)
_TWICE = {"No Finding": NO_LABELS[:4], "Pleural Effusion": NO_LABELS}
_SPLITS = ("trian", "0", "holdout", "train,test", "-")
_MIMIC_IDS = {"study_id": ("s-1", "abc"), "subject_id": ("1x", "?")}
_T, _MS = mimic_cxr_folder.TABLE, ms_cxr_t_folder
_PAIR = ("dicom_id", "previous_dicom_id", "subject_id", "study_id", "previous_study_id")
_CHEXPERT_OPTIONAL = ("Frontal/Lateral", "AP/PA")
_BOX = dict.fromkeys(("Bbox [x", "y", "w", "h]"), NO_NUMBERS) | {"Finding Label": ("Efusion", "nan", "")}
TARGETS = (
    Target(
        "chestxray14",
        _set("chestxray14", chestxray14_folder),
        "Data_Entry_2017_v2020.csv",
        ("Image Index", "Finding Labels", "Patient ID", "View Position"),
        ("View Position",),
        ("Image Index",),
        {
            "Finding Labels": ("Efusion", "nan", "Effusion;Mass", "No Finding|Mass", "effusion", "Effusion||Mass"),
            "View Position": ("XX", "nan", "P A", "LATERAL"),
        },
    ),
    Target(
        "chestxray14",
        _boxes,
        "BBox_List_2017.csv",
        ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"),
        (),
        (),
        _BOX,
    ),
    Target(
        "chexpert",
        _set("chexpert", chexpert_folder),
        "CheXpert-v1.0-small/train.csv",
        ("Path", *_CHEXPERT_OPTIONAL, *_CHEXPERT),
        _CHEXPERT_OPTIONAL,
        ("Path",),
        {**_FEW, "Frontal/Lateral": ("Oblique", "nan", "F"), "AP/PA": ("XX", "nan")},
    ),
    Target(
        "chexpert",
        _set("chexpert", chexpert_folder),
        "CheXpert-v1.0-small/valid.csv",
        ("Path", *_CHEXPERT_OPTIONAL, *_CHEXPERT),
        _CHEXPERT_OPTIONAL,
        ("Path",),
        {**_TWICE, "Edema": ("-1",)},
    ),
    Target(
        "chexpert",
        _set("chexpert", chexpert_folder),
        "CheXpert/groundtruth.csv",
        ("Study", *_CHEXPERT),
        (),
        ("Study",),
        _FEW,
    ),
    Target("chexpert", _by_image, "CheXpert/test_labels.csv", ("Path", *_CHEXPERT), (), ("Path",), _TWICE),
    Target(
        "mimic_cxr",
        _mimic(prior=True, reports=True, max_images=2, views=[]),
        _T.format("metadata"),
        ("dicom_id", "subject_id", "study_id", "ViewPosition", "StudyDate", "StudyTime"),
        (),
        ("dicom_id",),
        {
            **_MIMIC_IDS,
            "ViewPosition": ("XX", "nan", "P A"),
            "StudyDate": ("nan", "2180-01-01", "", "yesterday"),
            "StudyTime": ("nan", "7:19", "noon", "-5", "inf"),
        },
    ),
    Target("mimic_cxr", _mimic(), _T.format("split"), ("dicom_id", "split"), (), ("dicom_id",), {"split": _SPLITS}),
    Target(
        "mimic_cxr", _mimic(), _T.format("chexpert"), ("study_id", *mimic_cxr_folder.LABELS), (), ("study_id",), _FEW
    ),
    Target(
        "mimic_cxr",
        _mimic(test_labels="radiologist"),
        mimic_cxr_folder.RADIOLOGIST,
        ("study_id", *mimic_cxr_folder.LABELS),
        (),
        ("study_id",),
        _TWICE,
    ),
    Target(
        "mimic_cxr",
        _mimic(reports=True),
        "mimic_cxr_sectioned.csv",
        ("study", "impression", "findings", "last_paragraph", "comparison"),
        (),
        ("study",),
    ),
    Target(
        "ms_cxr_t",
        _set("ms_cxr_t", _MS),
        _MS.IMAGES,
        (*(f"{name}_label_quality" for name in _MS.FINDINGS), *_PAIR, *(f"{n}_progression" for n in _MS.FINDINGS)),
        tuple(f"{name}_label_quality" for name in _MS.FINDINGS),
        ("dicom_id", "previous_dicom_id"),
        {"edema_progression": ("improvd", "nan", "-", "1", "stable,worsening")},
    ),
    Target(
        "ms_cxr_t",
        _set("ms_cxr_t", _MS, quality=["one_expert", "multiple_experts"]),
        _MS.IMAGES,
        (*(f"{name}_label_quality" for name in _MS.FINDINGS), *_PAIR, *(f"{n}_progression" for n in _MS.FINDINGS)),
        (),
        ("dicom_id", "previous_dicom_id"),
        {"edema_label_quality": ("one_exprt", "nan", "3")},
    ),
    Target(
        "ms_cxr_t",
        _set("ms_cxr_t", _MS, task="presence"),
        _T.format("chexpert"),
        ("study_id", *mimic_cxr_folder.LABELS),
        (),
        ("study_id",),
        _FEW,
    ),
    Target(
        "open_i",
        _kaggle,
        "indiana_reports.csv",
        ("MeSH", "Problems", "comparison", "indication", "impression", "uid", "findings"),
        (),
        ("uid",),
        {"uid": ("x", "1.5")},
    ),
    Target(
        "open_i",
        _kaggle,
        "indiana_projections.csv",
        ("filename", "uid", "projection"),
        (),
        ("filename",),
        {"projection": ("Oblique", "nan", "-"), "uid": ("999", "x")},
    ),
    Target(
        "open_i",
        _xml(
            "views.csv",
            "imageid,view",
            lambda uid: [f"{image},{'LL' if image.endswith('2001') else 'PA'}" for image in open_i_folder.ids(uid)],
            views_file="views.csv",
        ),
        "views.csv",
        ("imageid", "view"),
        (),
        ("imageid",),
        {"view": ("Oblique", "-")},
    ),
    Target(
        "open_i",
        _xml(
            "r2gen_split.csv",
            "uid,split",
            lambda uid: [f"CXR{uid},{'train' if uid <= 20 else 'val' if uid <= 24 else 'test'}"],
            official_split="r2gen",
        ),
        "r2gen_split.csv",
        ("uid", "split"),
        (),
        ("uid",),
        {"split": _SPLITS},
    ),
    Target(
        "covid_chestxray",
        _set("covid_chestxray", covid_chestxray_folder, prior=True),
        "metadata.csv",
        ("patientid", "modality", "folder", "filename", "clinical_notes", "view", "offset", "finding"),
        ("modality", "folder", "clinical_notes"),
        ("filename",),
        {
            "offset": ("nan", "4 days", "0,5", "inf", "-inf"),
            "view": ("XX", "nan", "P.A."),
            "modality": ("MR?", "nan"),
            "finding": ("Cold", "nan", "COVID", "No Finding, COVID-19"),
        },
    ),
    Target(
        "tabular",
        _own(),
        "table.csv",
        ("image", "view", "report", "patient", "Edema", "Pleural Effusion", "Pneumonia", "split"),
        ("patient",),
        ("image",),
        {"Edema": ("2", "0.5", "1,0", "maybe?", "-", "inf", "0x1", "\uff11"), "split": _SPLITS, "image": ("", "nan")},
    ),
    Target(
        "tabular",
        _own(findings_columns={"Pleural Effusion": "effusion"}),
        "table.csv",
        ("image", "split", "view", "report", "patient", "Pleural Effusion"),
        ("patient",),
        ("image",),
        {"Pleural Effusion": ("2", "-1.5", "\u2212")},
    ),
    Target(
        "tabular",
        _listing,
        "table.csv",
        ("image", "split", "view", "report", "patient", "labels"),
        ("patient",),
        ("image",),
        {"labels": ("No Finding|Edema",)},
    ),
    Target("split file", _split_file, "splits.csv", ("study", "split"), (), ("study",), {"split": _SPLITS}),
)
