"""Every command that README and docs print in a block can be typed: commands, options and experiments exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from apo_lightning.cli.commands import parser
from apo_lightning.cli.words import expanded

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
BLOCK = re.compile(r"^```(?:bash|sh|console)?\n(.*?)^```$", re.M | re.S)
LINES = [
    pytest.param(line, id=f"{page.name}: {line}"[:90])
    for page in PAGES
    for block in BLOCK.findall(page.read_text("utf-8"))
    for line in block.splitlines()
    if re.match(r"(apo|make|source|pip|\.venv)\b", line)
]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
PLACEHOLDERS = re.compile(r"[A-Z_]+")
FOLDERS = {"EXP": "experiments", "SWEEP": "experiments/sweeps", "STUDY": "experiments/study"}


def test_there_are_some() -> None:
    assert len(LINES) > 40


@pytest.mark.parametrize("line", LINES)
def test_it_can_be_typed(line: str) -> None:
    for command in line.split("&&"):
        words = shlex.split(command, comments=True)
        if words and words[0] == "apo" and "--help" not in words:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("sys.exit", _refuse)
                _, left = parser().parse_known_args(expanded(words[1:]))
            assert all("=" in word and not word.startswith("-") for word in left), left
        elif words and words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= TARGETS
            for name, value in (word.split("=", 1) for word in words[1:] if "=" in word):
                if name in FOLDERS and not PLACEHOLDERS.fullmatch(value):
                    assert (ROOT / FOLDERS[name] / f"{value}.yaml").is_file()


def _refuse(status: object = None) -> None:
    raise AssertionError(f"not understood: {status}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_environment_is_activated_and_not_spelled_out(page: Path) -> None:
    text = page.read_text("utf-8")
    assert not re.search(r"\.venv/bin/(?!activate)", text)
    if re.search(r"^apo ", "\n".join(BLOCK.findall(text)), re.M):
        assert "source .venv/bin/activate" in text
