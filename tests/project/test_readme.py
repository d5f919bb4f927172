"""What README and docs name exists: make targets, experiments, sweeps, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
PAPER_MAP = (ROOT / "docs" / "paper_map.md").read_text()


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"^(?:make|    make) ([a-z-]+)|`make ([a-z-]+)", TEXT, re.M))
    named = {word for pair in named for word in pair if word}
    assert named and named <= targets


@pytest.mark.parametrize(
    ("word", "folder"), [("EXP", "experiments"), ("SWEEP", "experiments/sweeps"), ("STUDY", "experiments/study")]
)
def test_every_experiment_and_sweep_exists(word: str, folder: str) -> None:
    named = set(re.findall(rf"{word}=([a-z0-9_]+(?:/[a-z0-9_]+)?)(?![/a-z0-9_])", TEXT))
    assert named
    assert not [name for name in named if not (ROOT / folder / f"{name}.yaml").is_file()]


def test_every_folder_and_file_that_is_named_exists() -> None:
    named = re.findall(r"`((?:apo_lightning|data_modules|callbacks|experiments|docs|functional)/[\w/.]*)`", TEXT)
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "apo_lightning"))]
    assert len(named) > 10 and not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.S)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    files = [link.split("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    assert not [file for file in files if not (page.parent / file).exists()]


def test_every_page_is_reached_from_the_readme() -> None:
    links = {link.removeprefix("docs/") for link in re.findall(r"\]\((docs/[\w/.]+)\)", PAGES[0].read_text())}
    pages = {page.name for page in PAGES if page.parent.name == "docs"}
    assert pages <= links


def test_the_paper_map_points_at_real_files_and_tests() -> None:
    named = re.findall(r"`((?:[\w]+/)*[\w]+\.(?:py|txt|yaml))", PAPER_MAP)
    homes = (ROOT, ROOT / "apo_lightning", ROOT / "tests")
    missing = [name for name in named if not any((home / name).is_file() for home in homes)]
    assert len(named) > 20 and not missing


def test_every_experiment_says_what_it_asks_in_its_first_line() -> None:
    for path in (ROOT / "experiments").rglob("*.yaml"):
        assert path.read_text().startswith("# "), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_those_of_an_active_environment(page: Path) -> None:
    """README says once that it is to be active; no page spells out where it lies."""
    assert not re.search(r"\.venv/bin/(?!activate)", page.read_text("utf-8"))
    assert "source .venv/bin/activate" in (ROOT / "README.md").read_text()
