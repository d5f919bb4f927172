"""The order of the site. What a name of the lists below does not stand for is put behind them, by folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import reference

HOW_TO = {
    "your_own": "Your own images, labels and texts",
    "data": "Bring your data",
    "own_texts": "Bring your teachers' texts",
    "collecting": "Ask teachers over a network",
    "open_teachers": "Open models as teachers",
    "adding": "Your loss, and other extensions",
    "use_the_student": "Use the student",
    "compare": "Compare runs",
    "watching": "Watch a run",
    "clusters": "Run on a cluster",
    "lightning": "With a plain Lightning Trainer",
    "drift": "Measure drift",
    "sweeps": "Sweep settings",
}
CONCEPTS = {"glossary": "Glossary", "architecture": "Architecture", "security": "Files from elsewhere"}
"""Pages of ``docs/``, without ending, and their names in the navigation; those that are not there are left out."""
OWN_PLACE = ("paper_map", "tour", "index")
RESULTS = "results"


def nav(root: Path) -> list[dict[str, Any]]:
    """The navigation as `mkdocs.yml` would hold it."""
    docs = root / "docs"
    told = {*HOW_TO, *CONCEPTS, *OWN_PLACE}
    others = [{title(path): path.name} for path in sorted(docs.glob("*.md")) if path.stem not in told]
    parts: dict[str, Any] = {
        "Home": "index.md",
        "Tour": "tour.md",
        "How to": [*_named(docs, HOW_TO), *others],
        "Paper map": "paper_map.md",
        "Concepts": _named(docs, CONCEPTS),
        "Reference": [{room: place} for room, place in reference.places().items()],
        "Results": [
            *(str(page.relative_to(docs)) for page in docs.glob(f"{RESULTS}/README.md")),  # of the tab itself
            *(_results(docs, folder) for folder in sorted((docs / RESULTS).iterdir()) if any(folder.rglob("*.md"))),
        ],
        "Project": [f"project/{name}.md" for name in ("changelog", "contributing", "log")],
    }
    return [{name: part} for name, part in parts.items()]


def title(path: Path) -> str:
    """The first heading of a page as plain text; its file's name where there is none."""
    found = re.search(r"^# (.+)$", path.read_text("utf-8"), re.M)
    return re.sub(r"[`*]|\\(?=\W|_)", "", found[1]) if found else path.stem


def _named(docs: Path, names: dict[str, str]) -> list[dict[str, str]]:
    return [{text: f"{name}.md"} for name, text in names.items() if (docs / f"{name}.md").is_file()]


def _results(docs: Path, folder: Path) -> dict[str, Any]:
    """One page, or a section whose first page is the folder's own."""
    pages = sorted(folder.rglob("*.md"), key=lambda path: (path.name != "README.md", path))
    entries = [{title(path): str(path.relative_to(docs))} for path in pages]
    return (
        entries[0] if len(entries) == 1 else {title(pages[0]) if pages[0].name == "README.md" else folder.name: entries}
    )
