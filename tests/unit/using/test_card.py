"""What a model card says of terms, teachers, prompts and results."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.using import Chosen, card, card_results
from tests.helpers import fake_run
from tests.pipeline.conftest import ROOT


def chosen(run: Path, arm: str, *words: str) -> Chosen:
    cfg = config.load(ROOT / "experiments/ablation_apo.yaml", list(words)).resolved[arm]
    return Chosen(run, cfg, arm, 0, None)


@pytest.mark.parametrize(
    ("guarded", "says", "not_said"),
    [
        (["mimic_cxr"], "licence: mimic_cxr under a data use agreement", "not stated"),
        (["tabular"], "licence: not stated. `tabular` counts as credentialed", "tabular under a data use"),
        (["mimic_cxr", "tabular"], "licence: mimic_cxr under a data use agreement", "tabular under"),
        (["tabular"], "If they are under a data use agreement", "read it before you share"),
        ([], "none of the sets is marked", "not stated"),
    ],
)
def test_no_agreement_is_asserted_that_nobody_stated(guarded: list[str], says: str, not_said: str) -> None:
    said = "\n".join(card._licence(guarded))
    assert says in said and not_said not in said


def test_a_prompt_is_shown_where_it_was_asked(tmp_path: Path) -> None:
    """`ours` takes t+ from a vote: nobody was asked to write it."""
    assert "to write the preferred text" in card._prompts(chosen(tmp_path, "sft"))
    assert "to write the preferred text" not in card._prompts(chosen(tmp_path, "ours"))


def test_a_column_without_a_word_is_left_out(tmp_path: Path) -> None:
    own = chosen(tmp_path, "sft")
    assert "model" not in card._teachers(own.cfg, "sft")
    own.cfg.teachers["eager"]["model"] = "lab/net"
    table = card._teachers(own.cfg, "sft")
    assert "| teacher | kind | model | weight |" in table and "| eager | simulated | lab/net | 1 |" in table


def test_results_stand_beside_controls_and_constants(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0,))
    said = card_results.text(chosen(run, "sft"), {})
    head = next(line for line in said.splitlines() if line.startswith("| metric"))
    assert head.count("|") == 7 and head.endswith("| Majority vote of the teachers | Always no |")
    rows = (run / "intervals.csv").read_text().splitlines()
    value = next(row for row in rows if row.startswith("arm,spd_mt,accuracy,mean,")).split(",")[4]
    line = next(line for line in said.splitlines() if line.startswith("| accuracy |"))
    assert line.split(" | ")[3] == f"{float(value):.3f}"
    assert "exactly like" not in said


def test_a_student_that_answers_like_a_constant_says_so(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, arms=("sft",), seeds=(0,), findings=("edema",))
    rows = [
        f"{name},{label},{kind},0,{metric},edema,{value}\n"
        for name, label, kind in (("sft", "SFT", "arm"), ("always_no", "Always no", "baseline"))
        for metric, value in (("accuracy", 0.9), ("positive_f1", 0.0))
    ]
    (run / "results.csv").write_text("arm,label,kind,seed,metric,finding,value\n" + "".join(rows))
    assert "**SFT answers exactly like 'Always no'" in card_results.text(chosen(run, "sft"), {})
