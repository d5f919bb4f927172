"""`apo list`: what can be named, whole sentences, no line wider than the terminal."""

from __future__ import annotations

import re

import pytest

from apo_lightning.cli import listing
from apo_lightning.cli.commands import main
from apo_lightning.config.registered import ANSWERED, SECTIONS
from apo_lightning.prompts import names


def test_everything_is_listed_by_a_whole_sentence_within_the_width(monkeypatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    whole = " ".join(said.split())
    assert "yes_no This is a frontal chest X-ray. Is there $findings? Answer yes or no." in whole
    assert all(f"\n  {name} " in said for name in names())
    for section in SECTIONS:
        for name, item in section.registry().items():
            if section not in ANSWERED and not item.__module__.startswith("lightning."):
                first = listing.first_sentence(item)
                assert first.endswith("."), f"{name}: the first sentence has no end: {first}"
                assert f" {name} {first} " in whole
                assert not re.search(r"``|arXiv|sum_|log p|^[\W_]", first), f"{name} begins with a formula: {first}"


def test_a_prompt_is_printed_whole(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "yes_no"]) == 0
    assert capsys.readouterr().out == "This is a frontal chest X-ray. Is there $findings? Answer yes or no.\n"


def test_a_damaged_prompt_is_told_and_the_others_listed(monkeypatch, tmp_path) -> None:
    from apo_lightning import prompts

    (tmp_path / "bad.txt").write_text("Costs $5.")
    monkeypatch.setattr(prompts, "__path__", [*prompts.__path__, str(tmp_path)])
    found = listing.prompts()
    assert "'$5.' is no place of a prompt" in found["bad"] and found["describe"].startswith("Describe")


def test_one_kind_is_listed_by_its_name(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "losses"]) == 0
    said = capsys.readouterr().out
    assert "  sft " in said and "tabular" not in said and "experiments" not in said


def test_a_data_set_tells_of_its_kind_the_settings_alone(capsys: pytest.CaptureFixture) -> None:
    """The base classes' own words are for whoever writes a data set."""
    assert main(["list", "tabular"]) == 0
    said = capsys.readouterr().out
    assert "A CSV, TSV or Parquet table" in said and "max_side: images are shrunk" in said
    assert "A subclass gives" not in said and "seed: of the data fraction" in said
