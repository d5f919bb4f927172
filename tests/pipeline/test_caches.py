"""What is computed once stays computed: a second arm, a second beta, a killed fill, a foreign file."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.run import run
from apo_lightning.models import network
from tests.pipeline.conftest import ROOT

ARMS = """
arms:
  first: {label: First, stages: [spd, self_distill, apo]}
  second: {label: Second, stages: [spd, self_distill, apo], set: {stages.apo.loss.name: apo_pairwise}}
  third: {label: Third, stages: [spd, self_distill, apo], set: {stages.apo.loss.beta: 0.7}}
"""


def go(words: list[str], folder: Path, *more: str) -> dict[str, dict[str, int]]:
    """Run three arms; what each computed in its last training stage."""
    file = folder / "arms.yaml"
    file.write_text(f"extends: [{ROOT}/experiments/smoke.yaml]\nname: caches\n{ARMS}")
    given = [*words, f"runs_dir={folder / 'runs'}", "wandb.mode=disabled", *more]
    path = run(config.load(file, given))
    return {
        arm: json.loads((path / arm / "seed0/apo/manifest.json").read_text())["computed"]
        for arm in ("first", "second", "third")
    }


def test_a_second_arm_and_a_second_beta_ask_the_reference_and_the_tower_nothing(
    words: list[str], tmp_path: Path
) -> None:
    computed = go(words, tmp_path, "cache.features=true")
    assert computed["first"]["reference passes"] > 0 and computed["first"]["reference rows written"] > 0
    for arm in ("second", "third"):
        assert computed[arm].get("reference passes", 0) == 0
        assert computed[arm]["reference rows read"] > 0 and computed[arm]["reference rows written"] == 0
        assert computed[arm]["images encoded"] == 0 and computed[arm]["feature rows read"] > 0
    assert computed["first"]["images encoded"] == 0, "SPD and self-distillation had seen every image"


def test_the_network_is_read_once_for_all_stages_and_arms(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    plain = network.load_network
    monkeypatch.setattr(network, "load_network", lambda *given: read.append(given) or plain(*given))
    go(words, tmp_path)
    assert len(read) == 1


def test_caches_change_no_number(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    go(words, tmp_path / "a", "cache.features=true")
    go(words, tmp_path / "b", "cache.reference=false")
    tables = [(tmp_path / name / "runs/caches/results.csv").read_text() for name in ("a", "b")]
    assert tables[0] == tables[1]


def test_a_damaged_and_a_foreign_file_are_refused(words: list[str], tmp_path: Path) -> None:
    go(words, tmp_path)
    store = tmp_path / "runs/store"
    [file] = store.glob("reference-*.sqlite")
    for folder in store.glob("apo-*"):
        (folder / "manifest.json").unlink()  # as if the fits had not been done
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE meta SET value = 'another' WHERE field = 'adapter'")
    with pytest.raises(ArtifactError, match="adapter was 'another'"):
        go(words, tmp_path)
    file.write_bytes(file.read_bytes()[:-3000])
    with pytest.raises(ArtifactError, match="Delete the file"):
        go(words, tmp_path)
