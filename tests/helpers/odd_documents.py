"""Every JSON file and every list of names that a data set, a teacher or an importer reads; see ``odd_sets``."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apo_lightning.errors import DataError
from apo_lightning.experiment.told_texts import tell
from apo_lightning.own_texts.reading import _cached
from apo_lightning.teachers.recorded import Recorded
from apo_lightning.trajectories.importers import import_file
from apo_lightning.types import Study
from tests.helpers import (
    chestxdet10_folder,
    chestxray14_folder,
    cxr_max_folder,
    open_i_folder,
)
from tests.helpers.odd_json import LINES, WHOLE, forms, name_lists, values
from tests.helpers.odd_sets import studies
from tests.helpers.odd_tables import Odd

NAN, INF = float("nan"), float("inf")
_NO_BOXES = (
    [NAN, 1, 2, 3],
    [-1, 0, 5, 5],
    [0, 0, 2000, 5],
    [5, 5, 5, 9],
    [9, 9, 1, 1],
    [1, 2, 3],
    [1, 2, 3, "4"],
    [0, 0, INF, 5],
    [0, 0, True, 5],
    None,
    "box",
    {"x": 1},
    [[0, 0, 5, 5]],
)


@dataclass(frozen=True)
class Document:
    """A file of items. As `odd_sets.Target`.

    Attributes:
        dump: items to text.
        key: one that every item must have.
        cells: key to values that an item must not have.
        seen: what a run would see, of the settings.
    """

    name: str
    make: Callable[[Path], dict[str, Any]]
    file: str
    key: str = ""
    dump: Callable[[Any], str] = WHOLE
    cells: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    seen: Callable[[dict[str, Any]], Any] = studies

    def parse(self, content: bytes) -> Any:
        text = content.decode()
        return [json.loads(line) for line in text.splitlines()] if self.dump is LINES else json.loads(text)

    def odd(self, items: Any) -> dict[str, Odd]:
        return {**forms(self.dump, self.key), **values(self.dump, self.cells)}


@dataclass(frozen=True)
class Listing:
    """A list of names, one a line. As `odd_sets.Target`."""

    name: str
    make: Callable[[Path], dict[str, Any]]
    file: str
    seen: Callable[[dict[str, Any]], Any] = studies

    def parse(self, content: bytes) -> list[str]:
        return content.decode().split()

    def odd(self, names: list[str]) -> dict[str, Odd]:
        return name_lists(names)


@dataclass(frozen=True)
class Annotated(Document):
    """R2Gen's file: items by split, of which the training ones are made odd."""

    def parse(self, content: bytes) -> Any:
        return json.loads(content)["train"]


def _annotation(items: Any) -> str:
    rest = {
        part: [
            {
                "id": f"CXR{uid}_IM-{uid:04d}",
                "report": open_i_folder.FINDINGS,
                "split": part,
                "image_path": [f"CXR{uid}_IM-{uid:04d}/{n}.png" for n in (0, 1)],
            }
            for uid in uids
        ]
        for part, uids in (("val", range(21, 25)), ("test", range(25, 31)))
    }
    return json.dumps({"train": items, **rest})


def _det10(folder: Path) -> dict[str, Any]:
    return {"name": "chestxdet10", **chestxdet10_folder.settings(folder)}


def _r2gen(folder: Path) -> dict[str, Any]:
    root = str(open_i_folder.r2gen_folder(folder))
    return {"name": "open_i", "root": root, "official_split": "r2gen", "views": ["frontal", "lateral"]}


def _cxr_max(folder: Path) -> dict[str, Any]:
    return {"name": "cxr_max", **cxr_max_folder.settings(folder)}


def _nih(folder: Path) -> dict[str, Any]:
    return {"name": "chestxray14", **chestxray14_folder.settings(folder)}


def _trajectories(folder: Path) -> dict[str, Any]:
    rows = [{"study": f"s{number}", "teacher": "gpt5", "text": f"Edema {number}."} for number in range(9)]
    cxr_max_folder.write(folder / "own.jsonl", rows)
    return {"path": str(folder / "own.jsonl"), "ids": [row["study"] for row in rows]}


def _images(folder: Path) -> dict[str, Any]:
    cxr_max_folder.write(folder / "own.jsonl", cxr_max_folder.lines())
    return {"path": str(folder / "own.jsonl"), "ids": [row["id"] for row in cxr_max_folder.lines()]}


def _said(settings: dict[str, Any]) -> Any:
    """What a recorded teacher says; a file that changes within a moment would be known by its stamp."""
    _cached.cache_clear()
    asked = [Study(name, name, "train", (), {}) for name in settings["ids"]]
    teacher = Recorded("gpt5", settings["path"])
    said, own = teacher.signal(asked, [0.0] * len(asked)), teacher.matched(asked)
    if own.silent or own.strangers or own.again or own.refused:  # a run goes on without these texts, and says so
        raise DataError(f"{settings['path']}: {'; '.join(tell({'gpt5': teacher}, asked, ('edema',))[0])}")
    return said


def _imported(kind: str, items: list[Any], **options: str) -> Callable[[Path], dict[str, Any]]:
    def make(folder: Path) -> dict[str, Any]:
        (folder / "gpt5.json").write_text(json.dumps(items))
        return {"kind": kind, "path": folder / "gpt5.json", "options": options}

    return make


def _rows(settings: dict[str, Any]) -> Any:
    target = settings["path"].parent / "out" / "own.jsonl"
    target.parent.mkdir(exist_ok=True)
    import_file(settings["kind"], settings["path"], target, **settings["options"])
    return target.read_text()


_TEXTS = [{"id": f"s{n}", "image": f"files/{n}.png", "text": f"Edema {n}.", "labels": ["Edema"]} for n in range(8)]
_MANY = [{"id": f"s{n}", "image": f"files/{n}.png", "trajectories": {"gpt5": f"Edema {n}."}} for n in range(8)]
_SWIFT = [
    {
        "images": [f"files/{n}.png"],
        "messages": [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": f"Edema {n}."}],
    }
    for n in range(8)
]
_NO_TEXT = (None, 3, [], {"a": 1}, NAN, True)
DOCUMENTS: tuple[Document | Listing, ...] = (
    *(
        Document(
            "chestxdet10",
            _det10,
            f"{part}.json",
            "file_name",
            WHOLE,
            {
                "boxes": (*([box] for box in _NO_BOXES), None, {}, "x", [], 3),
                "syms": (["Efusion"], None, "Effusion", [None], [["Mass"]], {}),
                "file_name": (None, 3, "", "../a.png", ["a.png"]),
            },
        )
        for part in ("train", "test")
    ),
    Annotated(
        "open_i",
        _r2gen,
        "annotation.json",
        "id",
        _annotation,
        {
            "id": (None, 3, "x", ""),
            "image_path": (None, "x", [3], [None], {}, ["../../x.png"]),
            "split": ("trian", 0, None, "", []),
            "report": (3, [], {}, True),
        },
    ),
    Document(
        "cxr_max",
        _cxr_max,
        "cxr_max.jsonl",
        "id",
        LINES,
        {
            "id": (None, 3, ""),
            "image": (None, "", [], "../x.jpg", 3),
            "labels": (["Edma"], "Edema", [3], {}),
            "patient": (3, "99", []),
            "split": ("trian", 3, "train"),
            "trajectories": (None, [], {"gpt5": None}, {"": "x"}),
            "report": (3, []),
        },
    ),
    Listing("chestxray14", _nih, "train_val_list.txt"),
    Listing("chestxray14", _nih, "test_list.txt"),
    Document(
        "teachers",
        _trajectories,
        "own.jsonl",
        "study",
        LINES,
        {"study": (None, 3, []), "text": _NO_TEXT, "teacher": (None, 3), "t": (NAN, "x", 2, -1, True, None)},
        _said,
    ),
    Document(
        "teachers",
        _images,
        "own.jsonl",
        "id",
        LINES,
        {"trajectories": (None, [], {"gpt5": 3}, "x", {"gpt5": None}), "id": (None, 3, "")},
        _said,
    ),
    Document(
        "importers",
        _imported("teacher_folder", _TEXTS),
        "gpt5.json",
        "text",
        WHOLE,
        {
            "text": _NO_TEXT,
            "image": (None, "", 3, [], "/a.png", "../a.png", "http://a/b.png"),
            "labels": ("Edema", [3]),
        },
        _rows,
    ),
    Document(
        "importers",
        _imported("cxr_max", _MANY),
        "gpt5.json",
        "trajectories",
        WHOLE,
        {"trajectories": (None, [], "x", {"gpt5": 3}), "id": ([], {}, True, 1.5)},
        _rows,
    ),
    Document(
        "importers",
        _imported("ms_swift", _SWIFT, teacher="gpt5"),
        "gpt5.json",
        "messages",
        WHOLE,
        {"messages": (None, [], "x", [{"role": "user"}], [3]), "images": (None, "x", [], [3])},
        _rows,
    ),
)
