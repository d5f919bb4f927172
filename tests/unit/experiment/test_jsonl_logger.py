"""metrics.jsonl: one line a step, validations beside it, and what a resumed run drops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apo_lightning.experiment.jsonl_logger import JsonlLogger


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_drops_what_came_after_its_checkpoint_and_a_line_that_was_cut(tmp_path: Path) -> None:
    first = JsonlLogger(tmp_path, lambda: 0.5)
    first.continue_from(0)
    for step in (0, 1, 2):
        first.log_metrics({"train/loss": float(step), "epoch": 0}, step)
        if step:
            first.log_metrics({"val/loss": 10.0 * step, "epoch": 0}, step)
    with (tmp_path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 4, "lo')
    again = JsonlLogger(tmp_path, lambda: 0.25)
    again.continue_from(2)
    again.log_metrics({"train/loss": 9.0}, 2)
    assert rows(tmp_path) == [
        {"step": 1, "train/loss": 0.0, "train/lr": 0.5},
        {"step": 2, "train/loss": 1.0, "train/lr": 0.5},
        {"step": 2, "val/loss": 10.0},
        {"step": 3, "train/loss": 9.0, "train/lr": 0.25},
    ]


def test_a_value_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    JsonlLogger(tmp_path).log_metrics({"train/loss": float("nan")}, 0)
    assert rows(tmp_path) == [{"step": 1, "train/loss": None}]


def test_a_line_with_nothing_but_an_epoch_is_none(tmp_path: Path) -> None:
    JsonlLogger(tmp_path).log_metrics({"epoch": 1}, 0)
    assert not (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize("line", ["nonsense", "\0" * 30, "[1]", '{"loss": 1.0}', '{"step": "2"}', '{"step": [2]}'])
def test_a_damaged_line_costs_its_step_in_the_curve_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n' + line + '\n{"step": 3, "loss": 3.0}\n{"st')
    own = JsonlLogger(tmp_path)
    own.continue_from(3)
    own.log_metrics({"loss": 4.0}, 3)
    assert [row["step"] for row in rows(tmp_path)] == [1, 3, 4]
    assert "1 of the 3 steps before the checkpoint cannot be read (the first is 2)" in caplog.text


def test_a_step_that_nobody_asked_for_is_not_missed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """``log_every_n_steps`` 2."""
    own = JsonlLogger(tmp_path, every=2)
    for step in (1, 3):
        own.log_metrics({"loss": 1.0}, step)
    own.continue_from(5)
    assert [row["step"] for row in rows(tmp_path)] == [2, 4] and caplog.text == ""
