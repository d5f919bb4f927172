"""Control characters of names, ids and texts reach no terminal and no page as commands, wherever they are printed."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from optuna.distributions import CategoricalDistribution
from rich.text import Text

from apo_lightning import console, leader, reports
from apo_lightning.cli import check, commands, listing
from apo_lightning.errors import DataError
from apo_lightning.experiment import observing, run
from apo_lightning.experiment.processes import Outcome
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.sweeps import Plan, scores, tables
from apo_lightning.experiment.sweeps.parameters import Parameter
from apo_lightning.files import locks
from apo_lightning.files.characters import COMMANDS, visible
from apo_lightning.reports import data_summary, latex
from data_modules.summary import Summary
from tests.helpers import fake_run

EVIL = "gpt\x1b[2J\x1b]0;owned\x07\x9b31m\x08\r\u202e5\u2066\u200b\U000e0041\ud83d[red]a[/b]"
"""Clears the screen, sets its title, colours, goes back, turns the direction, hides; and rich's own marks."""


def test_what_commands_is_written_out_and_the_rest_stays() -> None:
    assert visible("a\x1b[2J\r\u202e\u2028") == "a\\x1b[2J\\r\\u202e\\u2028"
    plain = "Édème 肺炎 \U0001f469\u200d\U0001f467 a\tb\nc"
    assert visible(plain) == plain


def summary() -> Summary:
    return Summary(
        name=EVIL,
        citation="",
        credentialed=True,
        notes=[EVIL],
        counts={EVIL: {"studies": 1}},
        prevalence={EVIL: {EVIL: (1, 0, 0)}},
        missing={EVIL: 1},
        left_out={EVIL: 1},
        unusable=[(EVIL, EVIL)],
        patients_in_two_splits={EVIL: [EVIL]},
        duplicates=[[(EVIL, EVIL)]],
        duplicates_across=0,
        label_conflicts=[(EVIL, EVIL)],
        removed=0,
    )


def audit(tmp_path: Path) -> None:
    row = {"study": EVIL.replace("\ud83d", ""), "teacher": EVIL.replace("\ud83d", ""), "text": f"No edema. {EVIL}"}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    assert commands.main(["audit", str(tmp_path / "t.jsonl")]) == 0


def results(tmp_path: Path) -> None:
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2)
    evil, path = EVIL.replace("\ud83d", "").replace("\r", ""), folder / "results.csv"
    frame = pd.read_csv(path).replace({"label": {"Base": evil}, "finding": {"edema": evil}})
    frame.to_csv(path, index=False)
    reports.print_table(folder)


def failed_trial(tmp_path: Path) -> None:
    evil = EVIL.replace("\ud83d", "")
    row = {"trial": 1, "p": evil, "arm": evil, "split": evil, "error": "", "ended": "", "best": True, "seconds": 1.0}
    frame = pd.DataFrame([row | dict.fromkeys(scores.METRICS, 0.5)])
    varied = {"p": Parameter("p", ("a", "b"), CategoricalDistribution(["a", "b"]))}
    plan = Plan(tmp_path / f"{evil}.yaml", tmp_path, (), (), "grid", None, varied, 1)
    console.Console().print(tables.table_of(frame, plan))


def unseen(tmp_path: Path) -> None:
    folder = StageFolder(tmp_path / "[red]\x1b[2J", "spd", {}).begin().finish(callbacks={})
    observing.tell_unseen({EVIL: {}}, folder)


def introduced(tmp_path: Path) -> None:
    class Data:
        notes, bad = (EVIL,), ()

        def studies(self, split: str) -> list:
            return []

    class Settings:
        data, evaluate = {"name": "x"}, type("E", (), {"data": None})

    run._introduce(Data(), Settings())


def waiting(tmp_path: Path) -> None:
    (tmp_path / "l.lock.owner").write_text(json.dumps(EVIL))
    leader.say_plainly(locks.owner(tmp_path / "l.lock"))


PLACES: dict[str, Callable[[Path], object]] = {
    "an error": lambda _: console.show_error(EVIL),
    "an error of one of several processes": lambda _: commands.show_outcome(Outcome(2, EVIL)),
    "a traceback of one of several processes": lambda _: commands.show_outcome(Outcome(1, "", EVIL)),
    "what was checked": lambda _: check._print_checked(EVIL, EVIL, [EVIL]),
    "a list": lambda _: listing.show_group(EVIL, {EVIL: EVIL}, console.Console()),
    "a log": lambda _: logging.lastResort.handle(logging.LogRecord("x", logging.WARNING, "", 0, "%s", (EVIL,), None)),
    "a warning": lambda _: sys.stderr.write(warnings.formatwarning(EVIL, UserWarning, "f.py", 1, EVIL)),
    "a traceback": lambda _: sys.excepthook(DataError, DataError(EVIL), None),
    "a data summary": lambda _: data_summary.show(summary(), console.Console()),
    "an audit": audit,
    "results": results,
    "a sweep": failed_trial,
    "text with a style": lambda _: console.Console(force_terminal=False).print(Text(EVIL, style="bold")),
    "callbacks that saw nothing": unseen,
    "notes on a data set": introduced,
    "the owner of a lock": waiting,
}


@pytest.mark.parametrize("place", PLACES)
def test_no_place_prints_a_command(place: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(logging.lastResort, "formatter", None)
    console.make_safe()
    PLACES[place](tmp_path)
    out, err = capsys.readouterr()
    assert not COMMANDS.search(out + err)
    assert "\\x1b" in out + err


def test_every_room_prints_through_the_safe_console() -> None:
    own = ("apo_lightning", "data_modules", "callbacks")
    others = [
        path.name
        for package in own
        for path in (ROOT / package).rglob("*.py")
        if "from rich.console import" in path.read_text("utf-8")
    ]
    assert others == []


def test_written_reports_hold_no_command(tmp_path: Path) -> None:
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2, teacher_text=f"{EVIL} $x$")
    path = folder / "results.csv"
    frame = pd.read_csv(path).replace({"label": {"Base": "[x] \x1b*\u202e\n$"}, "finding": {"edema": "a\u202e|<b>"}})
    frame.to_csv(path, index=False)
    reports.write(folder)
    for name in ("report.html", "report.md", "report.tex", "table.tex", "report.csv"):
        text = (folder / name).read_text("utf-8")
        assert not COMMANDS.search(text) and "\\u202e" in text.replace("\\textbackslash{}", "\\"), name
    markdown = (folder / "report.md").read_text("utf-8")
    assert "| a\\\\u202e\\|&lt;b&gt; |" in markdown and r"\$x\$" in markdown


def test_a_label_ends_no_row_of_latex() -> None:
    assert latex._label("[2ex] a_b\n\n*") == r"{[}2ex] a\_b *"
