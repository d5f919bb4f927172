"""Joins by identifiers, on small made-up copies of every set, and ways in which a table may write them."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from apo_lightning.errors import DataError
from apo_lightning.teachers.recorded import Recorded
from apo_lightning.trajectories.importers import import_file
from data_modules import DATA
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS
from data_modules.transfer import Transfer
from tests.helpers import chestxray14_folder as nih
from tests.helpers import chexpert_folder as chexpert
from tests.helpers import covid_chestxray_folder as covid
from tests.helpers import cxr_max_folder as cxr_max
from tests.helpers import dicom_files as dicom
from tests.helpers import mimic_cxr_folder as mimic
from tests.helpers import ms_cxr_t_folder as pairs
from tests.helpers import open_i_folder as open_i

Way = Callable[[str], str]
ANY: dict[str, Way] = {
    "clean": str,
    "padded with blanks": "  {}\t".format,
    "no-break space": "\u00a0{}\u202f".format,
    "apostrophe": "'{}".format,
    "formula": '="{}"'.format,
    "quotes": "“{}”".format,
    "zero width": lambda text: f"\ufeff{text[:2]}\u200b{text[2:]}\u2060",
    "wide digits": lambda text: text.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
    "other digits": lambda text: text.translate({ord("0") + n: 0x0660 + n for n in range(10)}),
    "NUL behind": "{}\0".format,
    "upper case": str.upper,
}
"""Ways that any identifier may be written in."""
NUMBERS: dict[str, Way] = {
    "float": "{}.0".format,
    "float, comma": "{},00".format,
    "zeros in front": "00{}".format,
    "letter in front": "p{}".format,
    "capital in front": "P{}".format,
    "thousands, comma": lambda text: f"{int(text):,}",
    "thousands, point": lambda text: f"{int(text):,}".replace(",", "."),
    "thousands, thin space": lambda text: f"{int(text):,}".replace(",", "\u202f"),
    "thousands and decimals": lambda text: f"{int(text):,}.00",
    "exponent, all digits": lambda text: f"{int(text):.{len(text) - 1}E}",
    "exponent, comma": lambda text: f"{int(text):.{len(text) - 1}E}".replace(".", ","),
    "exponent, rounded": lambda text: f"{int(text):.{max(len(text) - 4, 0)}E}",
    "plus": "+{}".format,
}
"""Ways of numbers alone."""
WAYS = {**ANY, **NUMBERS}


@dataclass(frozen=True)
class Join:
    """Something that is joined by identifiers.

    Attributes:
        name: set, table and column.
        count: of a folder and a way, what is found.
        letter: stands before numbers, "" where none may; None: the identifiers are no numbers.
    """

    name: str
    count: Callable[[Path, Way], int]
    letter: str | None = "p"

    def ways(self) -> dict[str, Way]:
        if self.letter is None:
            return ANY
        own = {name: lettered(way, self.letter) for name, way in NUMBERS.items() if self.letter or "front" not in name}
        return {**ANY, **own, "zeros in front": NUMBERS["zeros in front"]}


def lettered(way: Way, letter: str) -> Way:
    """The way with another letter in front than p."""
    capital = letter.upper()
    return lambda text: re.sub("^p", letter, re.sub("^P", capital, way(text)))


def make(name: str, root: Path, **settings: Any) -> CXRDataModule:
    return DATA[name](root=str(root), **settings)


def rewrite(path: Path, columns: tuple[str, ...], way: Way, rows: slice = slice(None)) -> None:
    """Write the identifiers of a CSV table anew."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    picked = set(range(len(table))[rows])
    for name in columns:
        own = lettered(way, "s") if "study" in name else way
        table[name] = [own(cell) if place in picked else cell for place, cell in enumerate(table[name])]
    table.to_csv(path, index=False)


def removed(source: CXRDataModule, target: CXRDataModule) -> int:
    data = Transfer(source, target)
    data.check()
    return data.removed


def pairs_rewritten(root: Path, way: Way) -> int:
    """Twelve tested patients are among those of MIMIC-CXR."""
    rows = _shared_pairs(root)
    pairs.save(root / "t", rows)
    rewrite(root / "t" / pairs.IMAGES, ("subject_id", "study_id", "previous_study_id"), way)
    mimic.mimic_folder(root / "m")
    return removed(make("mimic_cxr", root / "m"), make("ms_cxr_t", root / "t"))


def _shared_pairs(root: Path) -> list[dict[str, object]]:
    rows = []
    for number in range(12):
        (subject, study), *_ = mimic.studies_of(number)
        row = pairs.pair(0, pairs.COURSES[0]) | {"subject_id": subject, "study_id": study}
        row |= {"dicom_id": pairs.tree(subject, study), "previous_dicom_id": pairs.tree(subject, study + 1)}
        rows.append(row)
        for grey, name in enumerate(("dicom_id", "previous_dicom_id")):
            mimic.draw(root / f"t/files/{row[name]}.jpg", 2 * number + grey)
    return rows


def metadata_rewritten(root: Path, way: Way) -> int:
    pairs.save(root / "t", _shared_pairs(root))
    mimic.mimic_folder(root / "m")
    rewrite(root / "m" / mimic.TABLE.format("metadata"), ("subject_id", "study_id"), way)
    return removed(make("mimic_cxr", root / "m"), make("ms_cxr_t", root / "t"))


def dicoms_rewritten(root: Path, way: Way) -> int:
    pairs.save(root / "t", _shared_pairs(root))
    mimic.mimic_folder(root / "m")
    rewrite(root / "m" / mimic.TABLE.format("split"), ("dicom_id",), way)
    return removed(make("mimic_cxr", root / "m"), make("ms_cxr_t", root / "t"))


def labels_rewritten(root: Path, way: Way) -> int:
    mimic.mimic_folder(root)
    rewrite(root / mimic.TABLE.format("chexpert"), ("study_id",), way)
    return len(_checked(make("mimic_cxr", root)).index)


def reports_rewritten(root: Path, way: Way) -> int:
    """Reports of the table of sections."""
    mimic.mimic_folder(root)
    ids = [str(study) for number in range(len(mimic.SPLITS)) for _, study in mimic.studies_of(number)]
    empty = dict.fromkeys(("impression", "last_paragraph", "comparison"), "")
    rows = [{"study": f"s{study}" if way is str else way(study), "findings": "Clear.", **empty} for study in ids]
    pd.DataFrame(rows).to_csv(root / "mimic_cxr_sectioned.csv", index=False)
    data = _checked(make("mimic_cxr", root, reports=True))
    return sum(study.report is not None for split in data.splits for study in data.studies(split))


def cxr_max_rewritten(root: Path, way: Way) -> int:
    """Patients are in the key alone; the images lie side by side."""
    rows = [
        {**row, "image": f"{row['id']}.jpg", "patient": way(row["image"].split("/")[2][1:])} for row in cxr_max.lines()
    ]
    cxr_max.write(root / "c/cxr_max.jsonl", rows)
    cxr_max.draw(root / "c", rows)
    pairs.ms_cxr_t_folder(root / "t")
    return removed(make("cxr_max", root / "c"), make("ms_cxr_t", root / "t"))


def _nih_pair(root: Path) -> tuple[Path, Path]:
    """Patients 1 to 5 of NIH's training list are tested on in ChestX-Det10 under NIH's names."""
    nih.nih_folder(root / "n")
    (root / "d").mkdir()
    tested, trained = nih.names(range(1, 6), 1), nih.names(range(30, 36), 1)
    for part, names in (("train", trained), ("test", tested)):
        for number, name in enumerate(names):
            nih.Image.new("L", (8, 8), number).save(_there(root / "d/images") / name)
        (root / f"d/{part}.json").write_text(json.dumps([{"file_name": n, "syms": [], "boxes": []} for n in names]))
    return root / "n", root / "d"


def nih_rewritten(root: Path, way: Way) -> int:
    source, target = _nih_pair(root)
    table = source / "Data_Entry_2017_v2020.csv"
    header, *lines = table.read_text().splitlines()
    cells = [line.split(",") for line in lines]
    table.write_text("\n".join([header, *(",".join([*c[:3], _cell(way(c[3])), *c[4:]]) for c in cells)]) + "\n")
    return removed(make("chestxray14", source), make("chestxdet10", target))


def lists_rewritten(root: Path, way: Way) -> int:
    """Names of the images of the test list."""
    path = nih.nih_folder(root) / "test_list.txt"
    path.write_text("\n".join(map(way, path.read_text().split())), encoding="utf-8")
    return len(_checked(make("chestxray14", root)).studies("test"))


def det10_rewritten(root: Path, way: Way) -> int:
    source, target = _nih_pair(root)
    for path in (target / "train.json", target / "test.json"):
        items = [{**one, "file_name": way(one["file_name"])} for one in json.loads(path.read_text())]
        path.write_text(json.dumps(items))
    return removed(make("chestxray14", source), make("chestxdet10", target))


def chexpert_rewritten(root: Path, way: Way) -> int:
    """The patients of a copy's validation part are those of the training part."""
    chexpert.chexpert_folder(root / "a", test=False)
    chexpert.chexpert_folder(root / "b", test=False)
    archive, lines = root / "b" / chexpert.ARCHIVE, []
    for image in chexpert.places("valid", range(1, 7)):
        chexpert.draw(archive / image, 7)
        path, _, rest = chexpert.row(image, chexpert.EXPERT[0], rest="0.0").partition(",")
        lines.append(f"{_cell(way(path))},{rest}")
    chexpert.table(archive / "valid.csv", lines)
    return removed(make("chexpert", root / "a"), make("chexpert", root / "b"))


def open_i_rewritten(root: Path, way: Way) -> int:
    """Studies of Kaggle's reports that its table of images names."""
    open_i.kaggle_folder(root)
    rewrite(root / "indiana_projections.csv", ("uid",), way)
    return len(_checked(make("open_i", root)).index)


def r2gen_rewritten(root: Path, way: Way) -> int:
    open_i.open_i_folder(root)
    names = {"train": range(1, 9), "val": range(9, 12), "test": range(12, 15)}
    rows = [{"uid": way(str(uid)), "split": split} for split, uids in names.items() for uid in uids]
    pd.DataFrame(rows).to_csv(root / "r2gen_split.csv", index=False)
    return len(_checked(make("open_i", root, official_split="r2gen")).index)


def covid_rewritten(root: Path, way: Way) -> int:
    """Patients, where the second half of the table has another hand."""
    covid.covid_folder(root)
    rewrite(root / "metadata.csv", ("patientid",), way, slice(1, None, 2))
    return _patients(make("covid_chestxray", root))


def table_rewritten(root: Path, way: Way) -> int:
    """Patients of a user's table with two rows each, the second by another hand."""
    rows = [
        {"image": f"{n}_{m}.png", "patient": way(str(1_000_001 + n)) if m else str(1_000_001 + n), "Edema": m}
        for n in range(20)
        for m in range(2)
    ]
    for number, row in enumerate(rows):
        nih.Image.new("L", (8, 8), number).save(_there(root) / row["image"])
    pd.DataFrame(rows).to_csv(root / "index.csv", index=False)
    return _patients(make("tabular", root))


def headers_rewritten(root: Path, way: Way) -> int:
    """Patients of a folder of DICOM files, two each."""
    for n in range(12):
        for m in range(2):
            patient = str(1_000_001 + n)
            tags = {"PatientID": way(patient) if m else patient, "StudyInstanceUID": f"{dicom.UID_ROOT}{n}.{m}"}
            pixels = np.full((4, 4), 2 * n + m, np.uint8)
            dicom.dicom_file(root / f"{n}_{m}.dcm", pixels, SpecificCharacterSet="ISO_IR 192", **tags)
    return _patients(make("tabular", root))


def split_list_rewritten(root: Path, way: Way, name: str, build: Callable[[Path], Any], bare: bool = False) -> int:
    """Studies that a list of splits names, patients in turn for training, validation and test."""
    build(_there(root / "set"))
    studies = make(name, root / "set").index
    turn = {patient: SPLITS[n % 3] for n, patient in enumerate(dict.fromkeys(study.patient for study in studies))}
    rows = [{"study": way(_bare(study.id, bare)), "split": turn[study.patient]} for study in studies]
    pd.DataFrame(rows).to_csv(root / "splits.csv", index=False)
    return len(_checked(make(name, root / "set", split_file=str(root / "splits.csv"))).index)


def texts_rewritten(root: Path, way: Way, name: str, build: Callable[[Path], Any], bare: bool = False) -> int:
    """Studies of which a teacher's file has a text."""
    build(_there(root / "set"))
    studies = make(name, root / "set").index
    rows = [{"study": way(_bare(s.id, bare)), "teacher": "gpt5", "text": "No edema."} for s in studies]
    cxr_max.write(root / "t.jsonl", rows)
    return len(Recorded("gpt5", str(root / "t.jsonl")).signal(studies, [0.0] * len(studies)))


def imports_rewritten(root: Path, way: Way) -> int:
    """Images with texts of both teachers, whose files come from two hands."""
    ids = [str(50_000_001 + n) for n in range(6)]
    (root / "in").mkdir()
    first = [{"id": one, "image": f"{one}.jpg", "text": "Clear."} for one in ids]
    for name, rows in (("a", first), ("b", [{"id": way(one), "text": "Clear."} for one in ids])):
        (root / f"in/{name}.json").write_text(json.dumps(rows))
    import_file("teacher_folder", root / "in", root / "own.jsonl")
    return sum(len(json.loads(line)["trajectories"]) == 2 for line in (root / "own.jsonl").read_text().splitlines())


def _bare(study: str, bare: bool) -> str:
    """Without the letters before its number, as another program may list it."""
    return study.lstrip("sCXR") if bare else study


def _there(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _cell(text: str) -> str:
    """As a CSV has it."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text


def _checked(data: CXRDataModule) -> CXRDataModule:
    data.check()
    return data


def _patients(data: CXRDataModule) -> int:
    return len({study.patient for study in _checked(data).index})


def outcome(join: Join, way: Way) -> tuple[int | None, str]:
    """What is counted, or None and the message of the error."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return join.count(Path(folder), way), ""
        except DataError as error:
            return None, str(error).replace(folder, "")


def _of(what: Callable[..., int], *how: Any) -> Callable[[Path, Way], int]:
    return lambda root, way: what(root, way, *how)


JOINS = (
    Join("mimic_cxr -> ms_cxr_t: ids of MS-CXR-T's table", pairs_rewritten, "p"),
    Join("mimic_cxr -> ms_cxr_t: ids of MIMIC's metadata", metadata_rewritten, "p"),
    Join("mimic_cxr -> ms_cxr_t: dicom ids of MIMIC's splits", dicoms_rewritten, None),
    Join("mimic_cxr: studies of the labels", labels_rewritten, "s"),
    Join("mimic_cxr: studies of the sectioned reports", reports_rewritten, "s"),
    Join("cxr_max -> ms_cxr_t: patients of CXR-MAX", cxr_max_rewritten),
    Join("chestxray14 -> chestxdet10: Patient ID", nih_rewritten),
    Join("chestxray14 -> chestxdet10: names of ChestX-Det10", det10_rewritten, None),
    Join("chestxray14: names of the test list", lists_rewritten, None),
    Join("chexpert -> chexpert: Path of valid.csv", chexpert_rewritten, None),
    Join("open_i: uid of Kaggle's images", open_i_rewritten, ""),
    Join("open_i: uid of R2Gen's splits", r2gen_rewritten, ""),
    Join("covid_chestxray: patientid of every other row", covid_rewritten),
    Join("tabular: patient of every other row", table_rewritten),
    Join("DICOM folder: PatientID of every other file", headers_rewritten),
    Join("mimic_cxr: split_file", _of(split_list_rewritten, "mimic_cxr", mimic.mimic_folder, True), "s"),
    Join("chestxray14: split_file", _of(split_list_rewritten, "chestxray14", nih.nih_folder), None),
    Join("chexpert: split_file", _of(split_list_rewritten, "chexpert", chexpert.chexpert_folder), None),
    Join("open_i: split_file", _of(split_list_rewritten, "open_i", open_i.open_i_folder, True), ""),
    Join("mimic_cxr: a teacher's texts", _of(texts_rewritten, "mimic_cxr", mimic.mimic_folder, True), "s"),
    Join("chexpert: a teacher's texts", _of(texts_rewritten, "chexpert", chexpert.chexpert_folder), None),
    Join("open_i: a teacher's texts", _of(texts_rewritten, "open_i", open_i.open_i_folder, True), ""),
    Join(
        "covid_chestxray: a teacher's texts", _of(texts_rewritten, "covid_chestxray", covid.covid_folder, False), None
    ),
    Join("importers: ids of the second teacher", imports_rewritten, "s"),
)
