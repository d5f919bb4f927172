"""The code of docs/lightning.md runs as it stands, and gives what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

PAGE = (ROOT / "docs" / "lightning.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page ends with."""
    names: dict[str, Any] = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two that spin beside a busy machine take minutes for what is seconds
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("page"))
        for number, block in enumerate(BLOCKS):
            exec(compile(block, f"docs/lightning.md, block {number + 1}", "exec"), names)
    torch.set_num_threads(threads)
    return names


def test_the_first_block_is_short() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line and not line.startswith(("from ", "import "))]
    assert len(BLOCKS) == 4 and len(lines) <= 25


def test_spd_learns_and_is_validated(ran: dict[str, Any]) -> None:
    assert {"train/loss", "val/loss", "val/nll", "val/logp/ann", "val/logp/bob"} <= ran["learned"].keys()
    assert ran["learned"]["val/nll"] == ran["learned"]["val/loss"]
    assert 0 < ran["learned"]["val/loss"] < 1.5


def test_every_study_has_a_preferred_text(ran: dict[str, Any]) -> None:
    assert len(ran["preferred"]) == 22 and all(ran["preferred"].values())


def test_apo_moves_the_rewards(ran: dict[str, Any]) -> None:
    found = ran["critique"]
    assert {"val/reward_accuracy", "val/margin", "val/logp_preferred", "val/logp/ann", "val/logp/bob"} <= found.keys()
    assert found["val/margin"] > 0 and 0 <= found["val/reward_accuracy"] <= 1
    assert ran["trainer"].global_step == 4


def test_answers_are_scored(ran: dict[str, Any]) -> None:
    assert len(ran["answers"]) == 6 and 0 < float(ran["accuracy"]) <= 1


def test_every_name_of_the_table_was_logged(ran: dict[str, Any]) -> None:
    table = re.findall(r"^\| (`.*?) \|", PAGE, re.M)
    names = {name.replace("<teacher>", "ann") for row in table for name in re.findall(r"`(.*?)`", row)}
    logged = {"train/loss", "val/loss"} | ran["critique"].keys()
    assert {name for name in names if not name.endswith("...")} <= logged


def test_the_readme_links_the_page() -> None:
    assert "](docs/lightning.md)" in (Path(ROOT) / "README.md").read_text()
