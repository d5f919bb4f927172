"""A row's label in a terminal: it folds between its words."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from apo_lightning import reports
from apo_lightning.console import Console
from tests.helpers import fake_run


@pytest.mark.parametrize("width", [80, 200])
def test_a_loss_in_brackets_is_not_cut(tmp_path: Path, width: int) -> None:
    run = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0,))
    text = (run / "results.csv").read_text()
    (run / "results.csv").write_text(text.replace('"SPD+MT, SFT on t+"', '"SPD+MT [apo.loss.name=apo_squared_margin]"'))
    console = Console(file=io.StringIO(), width=width)
    reports.print_table(run, console)
    said = console.file.getvalue()
    assert "[apo.loss.name=apo_squared_margin]" in said and "mar\ngin" not in said.replace(" ", "")
    assert max(map(len, said.splitlines())) <= max(160, width)
