"""`apo list`: what can be named, whole sentences, no line wider than the terminal."""

from __future__ import annotations

import inspect

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
                first = listing.sentences(inspect.getdoc(item).split("\n\n")[0])
                assert first.endswith("."), f"{name}: the first sentence has no end: {first}"
                assert f" {name} {first} " in whole


def test_a_prompt_is_printed_whole(capsys: pytest.CaptureFixture) -> None:
    assert main(["list", "yes_no"]) == 0
    assert capsys.readouterr().out == "This is a frontal chest X-ray. Is there $findings? Answer yes or no.\n"


def test_a_damaged_prompt_is_told_and_the_others_listed(monkeypatch, tmp_path) -> None:
    from apo_lightning import prompts

    (tmp_path / "bad.txt").write_text("Costs $5.")
    monkeypatch.setattr(prompts, "__path__", [*prompts.__path__, str(tmp_path)])
    found = listing.prompts()
    assert "'$5.' is no place of a prompt" in found["bad"] and found["describe"].startswith("Describe")
