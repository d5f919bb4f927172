"""An experiment on images, labels and teachers' texts that somebody has, written with what was found in their files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from apo_lightning import config
from apo_lightning.errors import ApoError, ConfigError, DataError
from apo_lightning.experiment import checks, matched_texts
from apo_lightning.own_texts import offered
from apo_lightning.starter.write import FILES, filled
from data_modules.archives.image_rows import SEPARATOR
from data_modules.archives.table_roles import read_header
from data_modules.loading.splits import NAMES, SPLITS
from data_modules.tables import column_names, read_table
from data_modules.tables.faults import Faults
from data_modules.tabular import ROLES, Tabular

NAME = "mine"
"""Of the experiment."""
TEMPLATE = FILES.with_name("own_files") / "mine.yaml.in"
TRIED = 200
"""Rows whose images are looked for."""
FRACTIONS = {"val_fraction": 0.2, "test_fraction": 0.3}


def write(folder: Path, images: Path, labels: Path, texts: Path) -> tuple[Path, list[str]]:
    """Write ``folder/experiments/mine.yaml``; ``folder`` is made where it is missing, and may hold the files.

    Args:
        folder: of the project: commands are started in it.
        images: folder of images.
        labels: table with a row an image: its file's name, perhaps a patient, findings.
        texts: teachers' texts in any form that ``own_texts`` reads.

    Returns:
        the file, and what was found: columns, studies, and how the texts match them.

    Raises:
        ConfigError: a file is there already, or what is given is not.
        DataError: table, images or texts cannot be used together; nothing is left behind.
    """
    target = folder / "experiments" / f"{NAME}.yaml"
    _require(folder, target, images, labels, texts)
    section, said = _data(images.resolve(), labels.resolve())
    teachers = offered.teachers(str(texts))
    words = {
        "name": NAME,
        "data": _block({**section, "root": _from(folder, Path(section["root"]))}),
        "texts": _flow(_from(folder, texts.resolve())),
        "teachers": ", ".join(teachers),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(filled(TEMPLATE.read_text("utf-8"), words), encoding="utf-8")
    try:
        return target, [*said, *_matching(folder, target)]
    except ApoError:
        target.unlink()
        raise


def _require(folder: Path, target: Path, images: Path, labels: Path, texts: Path) -> None:
    if target.exists():
        raise ConfigError(f"{target} is there already. Change it, or name another folder.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file. Name a folder.")
    if not images.is_dir():
        raise ConfigError(f"--images {images} is no folder. Give the folder that the images lie in.")
    for word, path in (("--labels", labels), ("--texts", texts)):
        if not path.exists():
            raise ConfigError(f"{word}: there is no file {path}. Correct the path.")


def _data(images: Path, labels: Path) -> tuple[dict[str, Any], list[str]]:
    """The section ``data`` with all columns that were found, and what was said of them.

    Raises:
        DataError: the table cannot be read, or its images are not there.
    """
    said: list[str] = []
    split, held = _split(labels), {role: value for role, value in vars(Tabular).items() if role in ROLES}
    own, findings = read_header(labels, {**held, **split}, {}, lambda: None, said.append, alone=False)
    base = _base(images, labels, own["image"])
    root = Path(os.path.commonpath([base, labels.parent]))
    section = {"name": "tabular", "root": str(root), "index_file": labels.relative_to(root).as_posix()}
    section |= {"images_dir": base.relative_to(root).as_posix()} if base != root else {}
    found = {role: own[role] for role in ("image", "patient", "study") if role in own}
    if "patient" not in own:
        said.append("patient: no column; each study counts as a patient of its own unless DICOM headers say otherwise")
    return {**section, **found, "findings_columns": findings, **(split or FRACTIONS)}, said


def _base(images: Path, labels: Path, column: str) -> Path:
    """The folder that names of images in the table begin from: that of the images, or one above.

    Raises:
        DataError: no image is found from any.
    """
    names = read_table(labels, {column: column}, Faults())[column].str.split(SEPARATOR, regex=False).str[0].str.strip()
    names = list(names.str.replace("\\", "/", regex=False))[:TRIED]
    folders = dict.fromkeys((images, images.parent, labels.parent))
    there = {folder: sum((folder / name).is_file() for name in names) for folder in folders}
    best = max(there, key=lambda folder: there[folder])
    if not there[best]:
        lie = ", ".join(sorted(path.name for path in images.iterdir())[:3]) or "nothing"
        raise DataError(
            f"None of the first {len(names):,} images of {labels} (column '{column}': {', '.join(names[:3])}) lies in "
            f"{images} (which has {lie}). Write their names as the files have them, or give another --images."
        )
    return best


def _split(labels: Path) -> dict[str, str]:
    """A column of splits, where its words are known ones."""
    for name in column_names(labels):
        if name.strip().lower() == "split":
            words = read_table(labels, {name: name}, Faults())[name].str.lower()
            if words.isin(["", *NAMES]).all():
                return {"split": name}
    return {}


def _from(folder: Path, path: Path) -> str:
    """As the experiment names it: from the folder that it is started in, where it lies there."""
    home = folder.resolve()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)


def _block(section: Mapping[str, Any]) -> str:
    """As YAML under a key, each value in one line."""
    return indent("\n".join(f"{key}: {_flow(value)}" for key, value in section.items()), "  ")


def _flow(value: Any) -> str:
    text = yaml.safe_dump([value], default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True)
    return text.strip()[1:-1]


def _matching(folder: Path, target: Path) -> list[str]:
    """What a run will say of data and texts."""
    with contextlib.chdir(folder):
        arms = config.load(target.relative_to(folder)).resolved
        first = next(iter(arms.values()))
        data = checks.build_data(first)
        lines = matched_texts.on(data, first, matched_texts.recorded(first))
        sizes = ", ".join(f"{split} {len(data.studies(split)):,}" for split in SPLITS)
        return [f"studies: {sizes}", *(note for note in data.notes if "labels from" not in note), *lines]
