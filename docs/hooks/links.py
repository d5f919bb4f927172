"""Links between files of the repository, as links between pages of the site.

In the repository a page links to files beside it, also outside ``docs/``, and that works where the repository is read.
On the site such a file is a page too: its text, or a folder's list of files.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

PAGES = {
    "README.md": "index.md",
    "LOG.md": "project/log.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
}
"""Files of the root that are pages of the site, and where."""
NOTEBOOKS = {"docs/tour.ipynb": "tour.md"}
SHOWN = "files"
"""Folder of the site with what is linked and no page of its own."""
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json", ".csv": "text"}

_LINK = re.compile(r"(^(?P<fence>```+|~~~+).*?^(?P=fence)|`[^`\n]+`)|(?<=\]\()(?P<to>[^)\s#]+)", re.M | re.S)


def rewritten(root: Path, page: str, markdown: str) -> str:
    """``markdown`` of the page at ``page`` of the site, links to files of the repository leading to their pages."""

    def new(found: re.Match[str]) -> str:
        place = found["to"] and _place(root, page, found["to"])
        return posixpath.relpath(place, posixpath.dirname(page)) if place else found[0]

    return _LINK.sub(new, markdown)


def shown(root: Path, texts: Mapping[str, str]) -> dict[str, str]:
    """Pages of files and folders that ``texts`` (place on the site to markdown) link to and that are no page yet."""
    wanted = {path for page, text in texts.items() for path in _linked(root, page, text)}
    return {_shown_at(path): _shown(root, path) for path in sorted(wanted) if _page_of(root, path) is None}


def _linked(root: Path, page: str, text: str) -> Iterator[str]:
    for found in _LINK.finditer(text):
        if found["to"] and (path := _path(root, page, found["to"])) is not None:
            yield path


def _place(root: Path, page: str, target: str) -> str | None:
    """Where on the site ``target`` of a link is; None: the link stays as it is, and MkDocs says so if it is broken."""
    path = _path(root, page, target)
    return None if path is None else _page_of(root, path) or _shown_at(path)


def _path(root: Path, page: str, target: str) -> str | None:
    """The file or folder of the repository that a link means; None where it leads elsewhere or nowhere."""
    if re.match(r"[a-z]+:|/", target):
        return None
    home = next((name for name, place in {**PAGES, **NOTEBOOKS}.items() if place == page), f"docs/{page}")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(home), unquote(target)))
    return path if not path.startswith("..") and (root / path).exists() else None


def _page_of(root: Path, path: str) -> str | None:
    """The site's own page or copy of a file of the repository; None where there is none."""
    if path in PAGES or path in NOTEBOOKS:
        return {**PAGES, **NOTEBOOKS}[path]
    if (root / path).is_dir():
        return next(
            (_page_of(root, f"{path}/{name}") for name in ("README.md",) if (root / path / name).is_file()), None
        )
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def _shown_at(path: str) -> str:
    return f"{SHOWN}/{path}.md"


def _shown(root: Path, path: str) -> str:
    head = f"# `{path}`\n\n"
    if (root / path).is_dir():
        return head + _contents(root, path)
    fence = "`" * 5
    text = (root / path).read_text("utf-8")
    return f"{head}{fence}{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}\n{fence}\n"


def _contents(root: Path, path: str) -> str:
    """Names of the files in a folder, those that the site has as links, figures as figures."""
    lines = []
    for file in sorted(each for each in (root / path).rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        own, name = str(file.relative_to(root)), file.relative_to(root / path)
        place = _page_of(root, own)
        link = posixpath.relpath(place, posixpath.dirname(_shown_at(path))) if place else ""
        lines.append(f"- `{name}`" if not place else f"- [{name}]({link})")
        lines += [f"\n    ![{name}]({link})\n"] if place and file.suffix == ".png" else []
    return "\n".join(lines) + "\n"
