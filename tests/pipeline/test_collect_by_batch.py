"""``apo collect --batch`` from the command line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from apo_lightning.cli.commands import main
from apo_lightning.collecting import batch
from tests.helpers.batch_server import BatchServer
from tests.pipeline.conftest import ROOT


@pytest.fixture
def server() -> Iterator[BatchServer]:
    own = BatchServer(looks=2)
    yield own
    own.close()


@pytest.fixture
def experiment(words: list[str], tmp_path: Path, server: BatchServer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("TEACHER_KEY", "sk-0123456789abcdefgh")
    monkeypatch.setattr(batch, "LONGEST_POLL", 0.01)
    teacher = {
        "kind": "api",
        "base_url": server.url,
        "model": "m",
        "key": "TEACHER_KEY",
        "folder": str(tmp_path / "said"),
    }
    own = {
        "extends": [str(ROOT / "experiments/base/nano.yaml"), str(ROOT / "experiments/base/stages_nano.yaml")],
        "name": "asked",
        "data": {"name": "phantom", "train": 4, "val": 2, "test": 2},
        "teachers": {"gpt": teacher},
        "arms": {"spd": {"label": "SPD", "stages": ["spd"]}},
    }
    (tmp_path / "asked.yaml").write_text(yaml.safe_dump(own))
    return [str(tmp_path / "asked.yaml"), words[0]]


def test_send_go_away_and_fetch(
    experiment: list[str], server: BatchServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", *experiment, "--batch", "--dry-run"]) == 0 and server.calls == []
    assert "50% of this" in capfd.readouterr().out
    assert main(["collect", *experiment, "--batch", "--no-wait"]) == 2
    assert "8 answers are lacking" in capfd.readouterr().err and len(server.batches) == 1
    assert main(["collect", *experiment]) == 2  # one by one it would be paid twice
    assert "add --batch" in capfd.readouterr().err
    assert main(["collect", *experiment, "--batch"]) == 0
    assert "all 8 answers are on disk" in capfd.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "said/gpt.jsonl").read_text().splitlines()]
    assert {row["how"] for row in rows} == {"batch"} and len({row["study"] for row in rows}) == len(rows) == 8
    assert max(Counter(server.asked).values()) == 1
    assert main(["collect", *experiment]) == 0  # nothing is left to ask
    assert main(["collect", *experiment, "--no-wait"]) == 2 and "goes with --batch" in capfd.readouterr().err
