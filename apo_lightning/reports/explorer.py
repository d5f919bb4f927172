"""The trajectory explorer: every tested study with what was said of it, to filter and to leaf through, as HTML.

Its data is JSON inside the page, its script is the only one that the page's policy lets run, and texts reach the page
as text nodes alone: a teacher's text is written by others.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from rich.progress import track

from apo_lightning.console import Console
from apo_lightning.files.characters import visible
from apo_lightning.reports import samples, thumbnails
from apo_lightning.reports.studies import Author, Tested, as_read, gather

if TYPE_CHECKING:
    from apo_lightning.reports.marks import Said, Task

TEMPLATES = Path(__file__).parent / "templates"
PAGE_BYTES, IMAGE_BYTES, TEXT_BYTES = 11_000_000, 1_000_000, 40_000_000
"""Images fill the page up to the first and have the second at least. Studies beyond the third, in characters of texts,
are left out."""
SLOW = 2_000
"""Texts to be read from which on a bar is drawn."""
_UNSAFE = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def section(run_folder: Path, manifest: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """The section of the report, or a sentence that says why there is none.

    Args:
        run_folder: holds the arms' stages, and samples/ for images and reports.
        manifest: says whether texts and images may be shown, see `samples.withheld`.
        labels: arm to label, in experiment order.

    Raises:
        ArtifactError: a file is corrupt or leads out of the run folder.
    """
    note = samples.withheld(run_folder, manifest)
    found = None if note.startswith(samples.WITHHELD) else gather(run_folder, labels)
    if found is None or not found.truth or note:
        absent = found is not None and not found.truth
        return _template("explorer_empty.html.j2").render(note=samples.ABSENT if absent else note)
    content = payload(found, as_read(run_folder))
    left = max(IMAGE_BYTES, PAGE_BYTES - len(dumped(content)))
    images = _images(run_folder, found, content, left)
    return _template("explorer.html.j2").render(
        style=_source("explorer.css"), script=_source("explorer.js"), data=dumped(content), images=dumped(images)
    )


def policy(html: str) -> str:
    """The Content-Security-Policy of a page that holds `section`: nothing is fetched, and no other script runs."""
    rules = ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]
    if '<script id="explorer-code">' in html:
        rules.append(f"script-src 'sha256-{_digest(_source('explorer.js'))}'")
    return "; ".join(rules)


def dumped(content: Any) -> str:
    """JSON that ends no script element, whatever its texts hold."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).translate(_UNSAFE)


def payload(found: Tested, as_read: Callable[[str], str] = str) -> dict[str, Any]:
    """What the page's script reads; `apo_lightning/reports/templates/explorer.js` says what each key holds."""
    from apo_lightning.reports.marks import Task
    from apo_lightning.text.labeler import KINDS

    task = Task(found.findings, found.course, as_read)
    authors = [*found.teachers, *found.preferred, *found.arms]
    texts = Texts(task)
    studies = []
    for study in _watched(list(found.truth), len(authors)):
        studies.append(_study(study, found, texts))
        if texts.size > TEXT_BYTES:
            break
    places = {author.key: place for place, author in enumerate(authors)}
    return {
        "findings": [visible(name) for name in found.findings],
        "values": list(task.values),
        "course": found.course,
        "kinds": list(KINDS),
        "authors": [_author(author, places) for author in authors],
        "texts": texts.rows,
        "studies": studies,
        "all": len(found.truth),
    }


class Texts:
    """Every text once, with what it states; `size` counts its characters."""

    def __init__(self, task: Task) -> None:
        self.task, self.size = task, 0
        self.rows: list[list[Any]] = []
        self._known: dict[str, tuple[int, Said]] = {}

    def add(self, text: str) -> tuple[int, Said]:
        """Its place in `rows`, and its `Said`."""
        if text not in self._known:
            said = self.task.read(text)
            self._known[text] = len(self.rows), said
            self.rows.append([visible(text), self._kind(said.kind), self.told(said.values), self._spans(text, said)])
            self.size += len(text)
        return self._known[text]

    def told(self, values: Mapping[str, int | None]) -> str:
        """One character per finding: the number of its value, or a dash."""
        return "".join("-" if values.get(name) is None else str(values[name]) for name in self.task.findings)

    def _kind(self, kind: str) -> int:
        from apo_lightning.text.labeler import KINDS

        return KINDS.index(kind)

    def _spans(self, text: str, said: Said) -> list[list[int]]:
        """Of each sentence how far behind the last it begins and how long it is, as JavaScript counts in the visible
        text; then a number for each of its statements."""
        place = {name: number * len(self.task.values) for number, name in enumerate(self.task.findings)}
        packed, end = [], 0
        for span in said.spans:
            begin, before = _units(text, span.start), end
            end = _units(text, span.end)
            codes = [place[name] + value for name, (value, _) in span.stated.items()]
            packed.append([begin - before, end - begin, *codes])
        return packed


def _units(text: str, end: int) -> int:
    """UTF-16 units that the first ``end`` characters take once they are visible."""
    part = text[:end]
    return end if part.isascii() and part.isprintable() else len(visible(part).encode("utf-16-le")) // 2


def _study(study: str, found: Tested, texts: Texts) -> dict[str, Any]:
    from apo_lightning.reports.marks import majority, marks

    task = texts.task
    truth = {name: _label(value, task) for name, value in found.truth[study].items()}
    said: dict[str, tuple[int, Said]] = {}
    for author in (*found.teachers, *found.preferred, *found.arms):
        if study in author.rows:
            said[author.key] = texts.add(str(author.rows[study].get("text", "")))
    teachers = {author.key: said[author.key][1] for author in found.teachers if author.key in said}
    first = next((said[author.key][1] for author in reversed(found.preferred) if author.key in said), None)
    rows: list[Any] = []
    for author in (*found.teachers, *found.preferred, *found.arms):
        if author.key not in said:
            rows.append(0)
            continue
        number, own = said[author.key]
        best = None if author.kind == "preferred" else said[author.preferred][1] if author.preferred in said else first
        others = [other for key, other in teachers.items() if key != author.key]
        rows.append([number, marks(own, truth, others, best, task), *_counted(author, study, own, texts)])
    made: dict[str, Any] = {"i": visible(study), "t": texts.told(truth), "s": rows}
    made["m"] = texts.told(majority(list(teachers.values()), task)) if teachers else ""
    if study in found.patients:
        made["p"] = visible(found.patients[study])
    report = found.entries.get(study, {}).get("report")
    return made | ({"r": texts.add(str(report))[0]} if report else {})


def _label(value: Any, task: Task) -> int | None:
    return value if not task.course else task.values.index(value) if value in task.values else None


def _counted(author: Author, study: str, own: Said, texts: Texts) -> Iterator[dict[str, Any]]:
    """What the page must know of an answer beside its text; nothing of most."""
    row, more = author.rows[study], {}
    if author.kind == "arm" and not texts.task.course and isinstance(row.get("findings"), Mapping):
        told = texts.told({name: int(v) for name, v in row["findings"].items() if v in (0, 1)})
        more |= {"said": told} if told != texts.told(own.values) else {}
    if row.get("refused") and own.kind not in ("refused", "nothing"):
        more["refused"] = 1
    if likely := author.likelihoods.get(study):
        more["p"] = [round(100 * likely[name]) if name in likely else -1 for name in texts.task.findings]
    more |= {"from": visible(str(row["from"]))} if row.get("from") else {}
    more |= {"cut": 1} if row.get("cut") else {}
    if more:
        yield more


def _author(author: Author, places: Mapping[str, int]) -> dict[str, Any]:
    more = {name: places[key] for name, key in (("before", author.before), ("best", author.preferred)) if key in places}
    more |= {"p": 1} if author.likelihoods else {}
    more |= {"seed": author.seed} if author.seed is not None else {}
    return {"key": visible(author.key), "kind": author.kind, "label": visible(author.label), **more}


def _images(run_folder: Path, found: Tested, content: dict[str, Any], room: int) -> list[str]:
    """Images of the first studies that have one, as many as there is room for. Puts their places, and what was left
    out, into ``content``."""
    made: list[str] = []
    lacking = full = 0
    studies = list(zip(found.truth, content["studies"], strict=False))
    for study, shown in studies:
        path = samples.image_of(run_folder, found.entries.get(study, {}))
        if path is None:
            lacking += 1
        elif room <= 0:
            full += 1
        elif (image := thumbnails.uri(path)) is None:
            lacking += 1
        else:
            shown["g"] = len(made)
            made.append(image)
            room -= len(image)
    content["images"] = {"kept": len(made), "lacking": lacking, "full": full}
    return made


def _watched(studies: Sequence[str], authors: int) -> Iterator[str]:
    """With a bar on standard error where that is a terminal and it takes more than a few seconds."""
    console = Console(stderr=True)
    if len(studies) * authors < SLOW or not console.is_terminal:
        return iter(studies)
    return iter(track(studies, "  reading what was said", console=console, transient=True))


@cache
def _source(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined).get_template(name)
