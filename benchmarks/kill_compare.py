"""Whether what a torn command left is what an undisturbed one leaves: files, contents, each answer exactly once."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from apo_lightning.errors import ArtifactError
from apo_lightning.hashing import inventory

CLOCKED = ("manifest.json", "costs.csv", "digests.json", "report.html", "report.md", "report.tex", "study.db", ".log")
"""Ends of names of files that hold times or dates, or pages drawn from such: they must be there, with any content."""
TIMES = re.compile(r"seconds|minutes|time|started|finished|date|\bs\b|cost", re.IGNORECASE)
"""Columns of tables that say how long something took."""
CACHE = re.compile(r"(reference|features)-[0-9a-f]{12}\.sqlite")
"""Named after a student's files, in which peft writes the names of its layers in any order."""
ONCE = {
    "trajectories.jsonl": ("study", "teacher"),
    "preferred.jsonl": ("study",),
    "predictions.jsonl": ("study",),
    "metrics.jsonl": ("step",),
    "tiny.jsonl": ("study",),
}
"""What stands once in a file of answers, of training steps, or in a collector's journal."""
JOURNAL = "tiny.jsonl"
ATTEMPTS = re.compile(r"trial\d+\.jsonl")
"""What each attempt of a trial met and when; the undisturbed one had one."""


def differences(calm: Path, torn: Path) -> list[str]:
    """What differs, a sentence each; none where ``torn`` is equal to the last bit."""
    ours, theirs = files(calm), files(torn)
    found = [f"{name} is missing" for name in sorted(ours.keys() - theirs.keys())]
    found += [f"{name} is left over" for name in sorted(theirs.keys() - ours.keys())]
    for name in sorted(ours.keys() & theirs.keys()):
        if what := _differs(ours[name], theirs[name]):
            found.append(f"{name}: {what}")
    return [*found, *_twice(theirs), *_unsound(torn)]


def files(folder: Path) -> dict[str, Path]:
    """Everything below a folder by its name there; what a link leads to is seen once, where it lies."""
    return {
        CACHE.sub(r"\1.sqlite", str(path.relative_to(folder))): path
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def _differs(calm: Path, torn: Path) -> str:
    if calm.is_symlink() or torn.is_symlink():
        same = calm.is_symlink() and torn.is_symlink() and calm.readlink() == torn.readlink()
        return "" if same else "another link"
    if calm.name.endswith(CLOCKED):
        return "" if torn.stat().st_size else "empty"
    if calm.name == JOURNAL:
        return "" if _journal(calm) == _journal(torn) else "other answers"
    if ATTEMPTS.fullmatch(calm.name):
        return "" if _made(calm) == _made(torn) else f"made {_made(torn)}, not {_made(calm)}"
    if calm.name == "adapter_config.json":
        return "" if _sorted(json.loads(calm.read_bytes())) == _sorted(json.loads(torn.read_bytes())) else "differs"
    if calm.suffix == ".sqlite":
        return "" if _rows(calm) == _rows(torn) else "other rows"
    if calm.read_bytes() == torn.read_bytes():
        return ""
    return _cells(calm, torn) if calm.suffix == ".csv" else _lines(calm, torn)


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(own) for key, own in value.items()}
    return sorted(map(str, value)) if isinstance(value, list) else value


def _rows(path: Path) -> list[tuple]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
        return sorted(store.execute("SELECT key, value FROM rows"))


def _cells(calm: Path, torn: Path) -> str:
    """The largest difference of a table, beside the columns of times."""
    ours, theirs = (list(csv.DictReader(path.open(newline=""))) for path in (calm, torn))
    if len(ours) != len(theirs) or (ours and ours[0].keys() != theirs[0].keys()):
        return f"{len(ours)} rows became {len(theirs)}, or its columns are others"
    largest, words = 0.0, ""
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True), 2):
        for key in a:
            if a[key] == b[key] or TIMES.search(key) or _found_again(key, a[key], b[key]):
                continue
            try:
                largest = max(largest, abs(float(a[key]) - float(b[key])))
            except ValueError:
                words = words or f"row {number}, {key}: {a[key]!r} became {b[key]!r}"
    return words or (f"values differ by up to {largest:.3g}" if largest else "")


def _found_again(key: str, calm: str, torn: str) -> bool:
    """Log-probs that an attempt scored before it was killed are found by the next one, and no stage was there to say
    who made them. Scored where the undisturbed trial found them, they are a difference."""
    ours, theirs = (set(cell.split(", ")) - {""} for cell in (calm, torn))
    if key == "trained":
        return ours - theirs == {"reference"} and theirs <= ours
    return key == "reused" and theirs - ours == {"reference"} and ours <= theirs


def _lines(calm: Path, torn: Path) -> str:
    if calm.suffix not in (".jsonl", ".json", ".yaml", ".txt", ".csv"):
        return "differs"
    ours, theirs = (path.read_text(errors="replace").splitlines() for path in (calm, torn))
    other = next((n for n, pair in enumerate(zip(ours, theirs, strict=False), 1) if len(set(pair)) > 1), "the end")
    return f"differs from line {other} on ({len(ours)} lines, {len(theirs)} in the torn one)"


def _journal(path: Path) -> list[tuple[str, str]]:
    """Study and text of each answer: which comes first is the endpoint's matter."""
    rows = map(json.loads, path.read_text().splitlines())
    return sorted((row["study"], row["text"]) for row in rows if row.get("mark") != "broken")


def _made(path: Path) -> list[str]:
    """The stages that a trial made, over all attempts; one that it made twice stands there twice."""
    return sorted(row["stage"] for row in map(json.loads, path.read_text().splitlines()) if row["made"])


def _twice(found: dict[str, Path]) -> Iterator[str]:
    """Rows that stand there more than once."""
    for name, path in found.items():
        if path.name in ONCE and not path.is_symlink():
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            keys = Counter(tuple(row[key] for key in ONCE[path.name]) for row in rows if row.get("mark") != "broken")
            if twice := [key for key, count in keys.items() if count > 1]:
                yield f"{name}: {len(twice)} rows stand there twice, the first {twice[0]}"


def _unsound(folder: Path) -> Iterator[str]:
    """Stages and runs that are not what their manifest says."""
    for manifest in sorted(folder.rglob(inventory.MANIFEST)):
        try:
            record = inventory.read(manifest.parent)
            if "inputs_sha256" in record:
                inventory.check(manifest.parent, record, anew=True)
                continue
            for name in record.get("files", {}):
                if what := inventory.difference(manifest.parent / name, manifest.parent):
                    yield f"{name} {what}"
        except ArtifactError as error:
            yield str(error)
