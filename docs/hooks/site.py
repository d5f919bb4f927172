"""What MkDocs calls: pages that are made, the navigation, links that leave ``docs/``.

Nothing is listed twice. A page of ``docs/`` that `navigation` does not name stands behind those that it names, by its
own title.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import links
import navigation
import notebook
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """The navigation, and what a change of rebuilds the site under ``mkdocs serve``."""
    config.nav = navigation.nav(ROOT)
    config.watch += [str(ROOT / name) for name in links.PAGES]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Pages that no file of ``docs/`` holds: from the repository's root, the notebook, the reference, linked files."""
    made = {place: (ROOT / name).read_text("utf-8") for name, place in links.PAGES.items()}
    made |= {place: notebook.markdown(ROOT / name) for name, place in links.NOTEBOOKS.items()}
    made |= reference.pages(ROOT)
    texts = {**{page.src_uri: page.content_string for page in files.documentation_pages()}, **made}
    made |= links.shown(ROOT, texts)
    for place, text in made.items():
        if files.get_file_from_path(place) is None:
            files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links as the site needs them."""
    return links.rewritten(ROOT, page.file.src_uri, markdown)
