"""Presets lie over an experiment and what its arms set, and under the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.cli.check import check_file
from apo_lightning.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
ABLATION = ROOT / "experiments/ablation_apo.yaml"
PRESETS = sorted((ROOT / "experiments/presets").glob("*.yaml"))
EXPERIMENTS = sorted((ROOT / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_is_checked_as_a_fragment(path: Path) -> None:
    assert check_file(path) == ("preset", [])


@pytest.mark.parametrize("preset", [path.stem for path in PRESETS])
@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_a_preset_lies_over_any_experiment(path: Path, preset: str) -> None:
    cfg = config.load(path, [f"preset={preset}"])
    assert cfg.name == f"{path.stem}_{preset}"
    assert cfg.data["limit_studies"] == {"debug": 8, "overfit": 4, "profile": 16}[preset]
    for own in cfg.evaluate.sets.values():
        assert own.data["limit_studies"] == cfg.data["limit_studies"]
    own = {arm.label: name for name, arm in config.load(path).arms.items()}  # a mark where the preset wins over an arm
    for (label, name), arm in zip(own.items(), cfg.arms.values(), strict=True):
        over = any(key.split(".")[-1] in ("steps", "lr") for key in cfg.arms[name].set)
        assert arm.label == label or (over and arm.label.startswith(f"{label} ["))


def test_the_command_line_lies_over_a_preset_wherever_it_stands() -> None:
    for words in (["stages.spd.steps=7", "preset=debug"], ["preset=debug", "stages.spd.steps=7"]):
        cfg = config.load(ABLATION, words)
        assert (cfg.stages.spd.steps, cfg.stages.apo.steps) == (7, 4)
    assert config.load(ABLATION, ["preset=debug", "name=mine"]).name == "mine"


@pytest.mark.parametrize("word", ["preset=debug,profile", "preset=[debug, profile]"])
def test_of_several_the_later_one_counts(word: str) -> None:
    cfg = config.load(ABLATION, [word])
    assert cfg.name == "ablation_apo_debug_profile"
    assert (cfg.stages.spd.steps, cfg.stages.spd.batch_studies, cfg.trainer.profiler) == (20, 2, "simple")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """An experiment with a preset of its own beside it, which sets what an arm sets too."""
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets/short.yaml").write_text("stages: {apo: {optim: {lr: 1.0e-5}}}\n")
    path = tmp_path / "mine.yaml"
    path.write_text(
        f"extends: [{ROOT}/experiments/smoke.yaml]\nname: mine\narms:\n"
        "  apo_listwise: {set: {stages.apo.optim.lr: 5.0e-3}}\n"
    )
    return path


def test_an_arm_does_not_undo_a_preset_and_its_row_says_so(mine: Path) -> None:
    assert config.resolve_arm(config.load(mine), "apo_listwise").stages.apo.optim.lr == 5e-3
    cfg = config.load(mine, ["preset=short"])
    assert config.resolve_arm(cfg, "apo_listwise").stages.apo.optim.lr == 1e-5
    assert cfg.arms["apo_listwise"].label == "SPD+MT, APO listwise (paper) [apo.optim.lr=1e-05]"
    cfg = config.load(mine, ["preset=short", "stages.apo.optim.lr=2e-5"])
    assert config.resolve_arm(cfg, "apo_listwise").stages.apo.optim.lr == 2e-5


def test_a_mistake_in_a_preset_names_its_file(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mine.parent)
    (mine.parent / "presets/short.yaml").write_text("stages: {spd: {setps: 3}}\n")
    with pytest.raises(
        ConfigError, match=r"Unknown key 'stages\.spd\.setps' \(presets/short\.yaml\)\. Did you mean 'steps'"
    ):
        config.load(mine, ["preset=short"])


def test_an_unknown_preset_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"No preset is named 'debgu' \(command line\)\. Did you mean 'debug'\?"):
        config.load(ABLATION, ["preset=debgu"])
    with pytest.raises(ConfigError, match=r"preset must name a preset, or several with commas, got 'debug,'"):
        config.load(ABLATION, ["preset='debug,'"])
