"""The docs site builds without a warning and without a network, and has every page."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import ROOT

for package in ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers.python"):
    pytest.importorskip(package, reason="needs the extra 'docs'")


def hook(name: str) -> ModuleType:
    """A module of ``docs/hooks``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs/hooks"))
        return importlib.import_module(name)


links, navigation, notebook, doctests = map(hook, ("links", "navigation", "notebook", "doctests"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make docs`` builds it, with addresses that no name leads to."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text("utf-8"))


def test_every_page_is_there(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")}
    expected = [path.parent / ("index.html" if path.name == "README.md" else f"{path.stem}.html") for path in pages]
    expected += [Path(name) for name in ("index.html", "tour.html", "project/log.html", "reference/losses.html")]
    assert [str(path) for path in expected if not (site / path).is_file()] == []


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    loads = re.compile(
        r"""<(?:script|img|iframe|source)[^>]*?src="?(https?:)?//|<link[^>]*rel="?(?:stylesheet|preconnect)[^>]*//"""
    )
    assert [str(page) for page in site.rglob("*.html") if loads.search(page.read_text("utf-8"))] == []
    assert [
        str(page) for page in site.rglob("*.css") if re.search(r"url\(.?(https?:)?//", page.read_text("utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("room", "module", "registry"),
    [
        ("losses", "apo_lightning.losses", "LOSSES"),
        ("stages", "apo_lightning.stages", "STAGES"),
        ("teachers", "apo_lightning.teachers", "TEACHERS"),
        ("positives", "apo_lightning.positives", "POSITIVES"),
        ("negatives", "apo_lightning.negatives", "NEGATIVES"),
        ("weighting", "apo_lightning.weighting", "WEIGHTS"),
        ("data_modules", "data_modules", "DATA"),
        ("callbacks", "callbacks", "CALLBACKS"),
    ],
)
def test_the_reference_has_everything_that_is_registered(site: Path, room: str, module: str, registry: str) -> None:
    page = (site / f"reference/{room}.html").read_text("utf-8")
    members = [item for _, item in getattr(importlib.import_module(module), registry).items()]
    ours = [item for item in members if not item.__module__.startswith("lightning.")]
    assert ours and [item for item in ours if f'id="{item.__module__}.{item.__qualname__}"' not in page] == []


def test_examples_of_docstrings_are_code(site: Path) -> None:
    page = (site / "reference/metrics.html").read_text("utf-8")
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page and "<blockquote>" not in page


def test_the_tour_shows_figures_tables_and_the_answer(site: Path) -> None:
    page = (site / "tour.html").read_text("utf-8")
    assert page.count('src="data:image/png;base64,') == 2 and "<td>" in page and "dataframe" not in page
    assert "student: " in text_of(site / "tour.html") and "\x1b[" not in page


def test_figures_of_the_results_lie_beside_them(site: Path) -> None:
    page = (site / "results/critique/index.html").read_text("utf-8")
    figures = re.findall(r'src="([^":]+\.png)"', page)
    assert len(figures) >= 4 and all((site / "results/critique" / name).is_file() for name in figures)


def test_links_out_of_docs_lead_to_pages() -> None:
    page = "[a](../README.md) [b](../LOG.md#x) [c](../experiments/smoke.yaml) "
    page += "[d](results/critique) [e](data.md) [f](../experiments)"
    assert links.rewritten(ROOT, "adding.md", page) == (
        "[a](index.md) [b](project/log.md#x) [c](files/experiments/smoke.yaml.md) [d](results/critique/README.md) "
        "[e](data.md) [f](files/experiments.md)"
    )
    assert links.rewritten(ROOT, "index.md", "[a](docs/data.md#b)") == "[a](data.md#b)"
    assert links.rewritten(ROOT, "project/log.md", "[a](docs/drift.md)") == "[a](../drift.md)"
    assert links.rewritten(ROOT, "results/critique/README.md", "[a](../../data.md)") == "[a](../../data.md)"


@pytest.mark.parametrize(
    "text",
    [
        "[a](https://x.org/README.md)",
        "[a](nothing.md)",
        "[a](#part)",
        "`[a](../README.md)`",
        "```\n[a](../LOG.md)\n```\n",
    ],
)
def test_other_links_and_code_stay(text: str) -> None:
    assert links.rewritten(ROOT, "adding.md", text) == text


def test_a_linked_file_becomes_a_page() -> None:
    made = links.shown(ROOT, {"adding.md": "[c](../experiments/smoke.yaml) [d](data.md) [f](results/cost)"})
    assert made.keys() == {"files/experiments/smoke.yaml.md", "files/docs/results/cost.md"}
    text = made["files/experiments/smoke.yaml.md"]
    assert text.startswith("# `experiments/smoke.yaml`\n\n`````yaml\n# All three stages")


def test_a_linked_folder_becomes_a_list() -> None:
    made = links.shown(ROOT, {"adding.md": "[a](results/cost) [b](../experiments/)"})
    assert "![cost.png](../../../results/cost/cost.png)" in made["files/docs/results/cost.md"]
    assert "\n- `smoke.yaml`\n" in made["files/experiments.md"]  # the site has no copy of it to link to


def test_a_page_that_nobody_listed_is_in_the_navigation(tmp_path: Path) -> None:
    (tmp_path / "docs/results/mine").mkdir(parents=True)
    (tmp_path / "docs/data.md").write_text("# Data sets\n")
    (tmp_path / "docs/new_page.md").write_text("# A *new* `page`\n")
    (tmp_path / "docs/results/mine/report.md").write_text("# my\\_run\n")
    nav = {name: part for entry in navigation.nav(tmp_path) for name, part in entry.items()}
    assert nav["How to"] == [{"Bring your data": "data.md"}, {"A new page": "new_page.md"}]
    assert nav["Results"] == [{"my_run": "results/mine/report.md"}]


def test_examples_are_fenced_to_the_next_empty_line() -> None:
    assert doctests.fenced("Says.\n\n>>> a\n1\n\nMore.") == "Says.\n\n```pycon\n>>> a\n1\n```\n\nMore."
    assert doctests.fenced("Nothing >>> here.") == "Nothing >>> here."


def test_long_prints_of_a_notebook_are_folded(tmp_path: Path) -> None:
    outputs = [[{"output_type": "stream", "text": [text]}] for text in ("x\n" * 40, "\x1b[1mone\x1b[0m")]
    cells = [{"cell_type": "code", "source": ["f()"], "outputs": each} for each in outputs]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    page = notebook.markdown(path)
    assert page.count("`````python\nf()\n`````") == 2
    assert '??? note "What it prints"\n\n    `````text\n    x\n' in page and "`````text\none\n`````" in page
