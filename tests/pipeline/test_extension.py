"""An extension is one new file, with no other file touched: those that ``docs/adding.md`` shows, as they stand there.

Each is dropped into a folder of its package, named by words of the command line, and run.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from apo_lightning.cli import commands
from tests.helpers.adding_page import SHOWN
from tests.pipeline.conftest import ROOT, Drop

KINDS = {
    "losses",
    "positives",
    "negatives",
    "weighting",
    "data_modules",
    "teachers",
    "callbacks",
    "prompts",
    "report_text",
}

QUICK = (
    "wandb.mode=disabled",
    "stages.spd.steps=2",
    "stages.apo.steps=2",
    "evaluate.likelihood.form=off",
    "evaluate.likelihood.in_place=0",
    "evaluate.likelihood_studies=0",
)


def ran(arm: str, *words: str) -> Path:
    """The folder of one arm of ``smoke`` with ``words``."""
    assert commands.main(["run", str(ROOT / "experiments/smoke.yaml"), *words, f"only=[{arm}]", *QUICK]) == 0
    return Path("runs/smoke", arm, "seed0")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def ward7(root: Path, row: str = "") -> Path:
    """Thirty studies of fifteen patients in the layout of the page's data set, and perhaps one row more."""
    root.mkdir()
    lines = ["file,pid,edema,pneumonia", *(f"{i}.png,p{i // 2},{i % 2},{'' if i == 3 else 1}" for i in range(30))]
    (root / "index.csv").write_text("\n".join([*lines, row]))
    for i in range(30):
        Image.new("L", (112, 112), i).save(root / f"{i}.png")
    return root


def test_the_page_shows_one_file_of_each_kind() -> None:
    assert {file.parent.name or file.parent.parts[0] for file in SHOWN} >= KINDS


def test_a_loss_and_a_strategy(drop: Drop, words: list[str]) -> None:
    drop("apo_hinge", "longest")
    chosen = "stages.apo.loss={name: apo_hinge, beta: 0.5, nll_weight: 0.0, reduction: sum}"
    small = ("data.train=4", "data.val=2", "data.test=2")
    folder = ran("apo_listwise", *words, *small, chosen, "stages.self_distill.positive.name=longest")
    losses = [row["train/loss"] for row in rows(folder / "apo/metrics.jsonl") if "train/loss" in row]
    assert losses[0] == 1.0  # every gap is 0 before the first update
    assert losses[-1] < 1.0
    said: dict[str, list[str]] = {}
    for row in rows(folder / "collect/trajectories.jsonl"):
        said.setdefault(row["study"], []).append(row["text"])
    preferred = rows(folder / "self_distill/preferred.jsonl")
    assert preferred and all(row["text"] in said[row["study"]] for row in preferred)


def test_a_data_set_a_teacher_a_callback_and_a_prompt(drop: Drop, words: list[str], tmp_path: Path) -> None:
    drop("ward7", "tired", "learning_rates", "bedside")
    kept = [word for word in words if not word.startswith("data.")]
    folder = ran(
        "spd_mt",
        *kept,
        f"data={{name: ward7, root: {ward7(tmp_path / 'ward7')}}}",
        "prompt=bedside",
        "teachers={tom: {kind: tired, until: 0.5}}",
        "pool.select=[tom]",
        "callbacks.learning_rates={digits: 2}",
    )
    rates = (folder / "spd/learning_rates.txt").read_text().splitlines()
    assert [line.split()[0] for line in rates] == ["1", "2"]
    said = {row["text"] for row in rows(folder / "collect/trajectories.jsonl") if row["teacher"] == "tom"}
    assert {"There is edema. There is pneumonia.", "The lungs are clear."} <= said
    answered = {row["study"] for row in rows(folder / "evaluate/predictions.jsonl")}
    assert answered and answered <= {f"{i}.png" for i in range(30)}


def test_the_data_set_counts_a_row_that_cannot_be_used(
    drop: Drop, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    drop("ward7")
    assert commands.main(["data", "summary", "ward7", f"root={ward7(tmp_path / 'ward7', '30.png,,1,1')}"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"train +22 +11 +22", said), said  # 15 patients of two studies: 2 tested on, 2 of 13 validate
    assert "1 unusable rows" in said and "index.csv:32: column 'pid' is empty" in said


def test_a_metric_of_report_texts(drop: Drop) -> None:
    drop("copied")
    from apo_lightning.metrics.report_text import TEXT_METRICS
    from apo_lightning.metrics.report_text.base import Pairs, joined
    from apo_lightning.settings import ReportTextSettings

    pairs = Pairs(["No edema.", "Edema."], ["No edema.", "There is edema."])
    (tally,) = TEXT_METRICS["copied"](ReportTextSettings(backend="python")).measure(pairs)
    assert joined([tally], ["p1", "p2"]).rows() == [("copied:share", "mean", 0.5)]
