"""Open-I's reports as they are passed on: the official XML, Kaggle's tables, R2Gen's annotation file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

from apo_lightning.errors import AbsentError, DataError
from apo_lightning.files.bounded import read_json
from apo_lightning.identifiers.forms import OPEN_I_NUMBER, OPEN_I_UID, cleaned
from data_modules.archives.report_archives import archived, parse, unpacked
from data_modules.folder import FolderDataModule
from data_modules.loading.splits import NAMES
from data_modules.tables import UNREADABLE, Faults, find, look_for, read_table
from data_modules.tables.identifiers import listed, normal

SOURCES = ("ecgen-radiology", "NLMCXR_reports.tgz", "indiana_reports.csv", "annotation.json")
PROJECTIONS, R2GEN_SPLIT, ANNOTATION = "indiana_projections.csv", "r2gen_split.csv", "annotation.json"
SECTIONS = ("comparison", "indication", "findings", "impression")
VIEWS = {
    "frontal": "frontal",
    "pa": "frontal",
    "ap": "frontal",
    "lateral": "lateral",
    "large lateral": "lateral",
    "l": "lateral",
    "ll": "lateral",
    "rl": "lateral",
    "": "",
}
"""How tables call the views: Kaggle's two words, DICOM's view positions, torchxrayvision's PA and L."""
VIEW_COLUMNS = ("view", "projection", "tsne-view", "View Position")


@dataclass(frozen=True)
class Report:
    """One report with its images.

    Attributes:
        uid: ``CXR`` and a number.
        images: path and view (``frontal``, ``lateral``, "" unknown) of each, in the source's order.
        sections: text by name, of ``SECTIONS``.
        terms: index terms that labels are taken from, in lower case; None where the source has none.
        headings: the indexers' headings, in lower case: ``normal``, ``no indexing``, ``mass/lung``.
        split: where the source has one, otherwise "".
    """

    uid: str
    images: tuple[tuple[str, str], ...]
    sections: Mapping[str, str]
    terms: tuple[str, ...] | None = None
    headings: tuple[str, ...] = ()
    split: str = ""


def find_reports(folder: Path, chosen: str | None) -> Path:
    """What holds the reports: the chosen file or folder, or the first of ``SOURCES`` in ``folder``.

    Raises:
        DataError: there is none.
    """
    names = (chosen,) if chosen else SOURCES
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if path is None:
        raise AbsentError(
            f"{folder} has none of {', '.join(names)}. Fetch the reports where the images come from, "
            "or correct data.root or data.index_file."
        )
    return path


def read_reports(data: FolderDataModule, source: Path) -> list[Report]:
    """All reports of a source that can be used, by uid.

    Raises:
        DataError: the source is of no known kind or cannot be read, or none of its images is there.
    """
    if source.is_dir() or source.name.endswith((".tgz", ".tar.gz")):
        reports = _read_xml(data, source)
    elif ".csv" in source.suffixes:
        reports = _read_kaggle(data, source)
    elif source.suffix == ".json":
        reports = _read_r2gen(data, source)
    else:
        raise DataError(f"data.index_file: {source} is no folder of XML, .tgz, .csv or .json. Name one of these.")
    data.say(f"reports from {source.name}: {len(reports):,}")
    return sorted(reports, key=lambda report: int(report.uid[3:]))


def _read_xml(data: FolderDataModule, source: Path) -> list[Report]:
    files = archived(source) if source.is_file() else unpacked(source, data.faults)
    found: dict[str, tuple[str, list[str], Report]] = {}
    where = ""
    for name, content in files:
        where = f"{source.name}:{name}"
        root = parse(content, where, data.faults)
        if root is None:
            continue
        uid = root.find("uId").get("id", "") if root.find("uId") is not None else ""
        if not re.fullmatch(r"CXR\d+", uid) or uid in found:
            data.faults.append((where, f"uId '{uid}' is {'listed before' if uid in found else 'not CXR and a number'}"))
        else:
            names = [f"{node.get('id', '')}.png" for node in root.iter("parentImage")]
            found[uid] = (where, names, _report(uid, root))
    if not where:
        raise DataError(f"{source} holds no XML file. Fetch NLMCXR_reports.tgz again, or correct data.index_file.")
    wanted = (name for _, names, _ in found.values() for name in names)
    base = _image_folder(data, wanted, ("NLMCXR_png", "images", "."))
    reports = []
    for where, names, report in found.values():
        paths = _inside(data, names, base, where)
        if paths is not None:
            reports.append(replace(report, images=tuple((path, "") for path in paths)))
    return reports


def _report(uid: str, root: Element) -> Report:
    """What the XML says, without its images."""
    sections = {(node.get("Label") or "").lower(): _text(node) for node in root.iter("AbstractText")}
    terms, headings = (
        tuple(_text(node).lower() for node in root.iterfind(f"MeSH/{name}")) for name in ("automatic", "major")
    )
    return Report(uid, (), sections, terms, headings)


def _text(node: Element) -> str:
    return " ".join("".join(node.itertext()).split())


def _read_kaggle(data: FolderDataModule, source: Path) -> list[Report]:
    columns = ("uid", "MeSH", "Problems", *SECTIONS)
    rows = read_table(source, dict(zip(columns, columns, strict=True)), data.faults, ids=("uid",))
    known = set(rows["uid"])
    rows = normal(rows, {"uid": OPEN_I_NUMBER}, data.faults, unique=("uid",))
    known |= set(rows["uid"])
    columns = ("uid", "filename", "projection")
    shown = read_table(
        find(source.parent, (PROJECTIONS,)),
        dict(zip(columns, columns, strict=True)),
        data.faults,
        ids=("uid", "filename"),
        unique=("filename",),
    )
    shown = normal(shown, {"uid": OPEN_I_NUMBER}, data.faults)
    shown = data.faults.drop(shown, ~shown["uid"].isin(known), f"{source.name} has no such uid", "uid")
    shown = data.faults.drop(shown, ~shown["projection"].str.lower().isin(VIEWS), "unknown projection", "projection")
    base = _image_folder(data, shown["filename"], ("images/images_normalized", "images_normalized", "images", "."))
    images: dict[str, list[tuple[str, str]]] = {}
    for uid, name, projection, where in zip(*(shown[c] for c in (*columns, "where")), strict=True):
        for path in _inside(data, [name], base, where) or ():
            images.setdefault(uid, []).append((path, VIEWS[projection.lower()]))
    reports = []
    for row in rows.to_dict("records"):
        headings, problems = (tuple(t.strip().lower() for t in row[c].split(";")) for c in ("MeSH", "Problems"))
        pictures = tuple(images.get(row["uid"], ()))
        sections = {name: row[name] for name in SECTIONS}
        reports.append(Report(f"CXR{row['uid']}", pictures, sections, headings + problems, headings))
    return reports


def _read_r2gen(data: FolderDataModule, source: Path) -> list[Report]:
    items = list(_annotated(source, data.faults))
    base = _image_folder(data, (name for _, item in items for name in item["image_path"]), ("images", "."))
    reports: dict[str, Report] = {}
    for where, item in items:
        uid = OPEN_I_UID(item["id"])
        paths = _inside(data, item["image_path"], base, where)
        if uid in reports:
            data.faults.append((where, f"'{uid}' is listed before"))
        elif paths is not None:
            images = tuple((path, "") for path in paths)
            reports[uid] = Report(uid, images, {"findings": item.get("report") or ""}, split=item["split"])
    return list(reports.values())


def _annotated(path: Path, faults: Faults) -> Iterator[tuple[str, dict[str, Any]]]:
    """Items that can be used, with the split that they say themselves: one copy has its key ``test`` blanked out."""
    try:
        parts = read_json(path)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}). Fetch the file again.") from error
    if not isinstance(parts, dict) or not parts or not all(isinstance(items, list) for items in parts.values()):
        raise DataError(f"{path} must hold lists of items under train, val and test. Fetch R2Gen's file again.")
    for key, items in parts.items():
        for number, item in enumerate(items):
            where = f"{path.name}:{key}[{number}]"
            item = dict(item) if isinstance(item, dict) else {}
            item["split"] = NAMES.get(str(item.get("split", key)).lower())
            names = item.get("image_path")
            if not _is_uid(item.get("id")):
                faults.append((where, f"id {item.get('id')!r} does not begin with CXR and a number"))
            elif not item["split"]:
                faults.append((where, "neither its 'split' nor its list is called train, val or test"))
            elif not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                faults.append((where, f"image_path must be a list of paths, got {names!r}"))
            elif not isinstance(item.get("report"), str | None):
                faults.append((where, f"report must be a text, got {item['report']!r}"))
            else:
                yield where, item


def _is_uid(value: object) -> bool:
    try:
        return isinstance(value, str) and "cxr" in value.lower() and bool(OPEN_I_UID(value))
    except ValueError:
        return False


def r2gen_splits(folder: Path, faults: Faults) -> dict[str, str]:
    """Uid to split, from ``r2gen_split.csv`` or R2Gen's annotation file.

    Raises:
        DataError: neither is there, or it cannot be read.
    """
    path = look_for(folder, (R2GEN_SPLIT,))
    if path is None and (folder / ANNOTATION).is_file():
        return {OPEN_I_UID(item["id"]): item["split"] for _, item in _annotated(folder / ANNOTATION, faults)}
    if path is None:
        what = "Fetch R2Gen's annotation file, or set data.official_split=none."
        path = find(folder, (R2GEN_SPLIT, ANNOTATION), what=what)
    rows = read_table(path, {"uid": "uid", "split": "split"}, faults, ids=("uid",))
    rows = listed(rows, {"uid": OPEN_I_UID}, faults, unique=("uid",))
    rows = faults.drop(rows, ~rows["split"].str.lower().isin(NAMES), "unknown split", "split")
    return dict(zip(rows["uid"], rows["split"].str.lower().map(NAMES), strict=True))


def read_views(path: Path, faults: Faults) -> dict[str, str]:
    """`image_key` to view, of a table with ``imageid`` or ``filename`` and one of ``VIEW_COLUMNS``.

    Raises:
        DataError: the table is missing or lacks a column.
    """
    names = {"imageid": "image", "filename": "file", **{name: name for name in VIEW_COLUMNS}}
    rows = read_table(path, names, faults, optional=tuple(names))
    image = next((name for name in ("image", "file") if name in rows), None)
    view = next((name for name in VIEW_COLUMNS if name in rows), None)
    if image is None or view is None:
        lacking = "imageid or filename" if image is None else ", ".join(VIEW_COLUMNS)
        raise DataError(f"{path} (data.views_file) has no column {lacking}. Name the image and its view in each row.")
    rows = faults.drop(rows, ~rows[view].str.lower().isin(VIEWS), "unknown view", view)
    rows = rows.assign(key=rows[image].map(image_key))
    rows = faults.drop(rows, rows.duplicated("key"), "is listed before", image)
    return dict(zip(rows["key"], rows[view].str.lower().map(VIEWS), strict=True))


def image_key(reference: str) -> str:
    """What an image's official id and Kaggle's file name have in common.

    >>> image_key("CXR1_1_IM-0001-4001"), image_key("images/1_IM-0001-4001.dcm.png")
    ('1_IM-0001-4001', '1_IM-0001-4001')
    """
    name = re.sub(r"(\.(dcm|png|jpe?g))+$", "", cleaned(PurePosixPath(reference).name), flags=re.IGNORECASE)
    official = re.fullmatch(r"(?:CXR)?(?:\d+_)?(\d+_IM-[\d-]+)", name, re.IGNORECASE)
    return official[1].upper() if official else os.path.join(PurePosixPath(reference).parent.name, name)


def _image_folder(data: FolderDataModule, names: Iterable[str], candidates: Sequence[str]) -> Path:
    """``images_dir``, or the first candidate that holds an image which the reports name."""
    wanted = {name.partition("/")[0] for name in names}
    tried = [data.folder / name for name in ([data.images_dir] if data.images_dir else candidates)]
    for folder in tried:
        if folder.is_dir() and not wanted.isdisjoint(os.listdir(folder)):
            data.say(f"images from {folder.name}")
            return folder
    raise DataError(
        f"No image of the reports was found in {', '.join(map(str, tried))}. Set data.images_dir to the image folder."
    )


def _inside(data: FolderDataModule, names: Sequence[str], base: Path, where: str) -> list[str] | None:
    """Paths of a report's images; None, and a fault, if one leads out of ``data.root``."""
    paths = [data.inside(name, base) for name in names]
    if None in paths:
        data.faults.append((where, f"image path '{names[paths.index(None)]}' leads out of data.root"))
        return None
    return paths
