"""A stage that runs again: its name, its settings, what an arm may list, and what of it is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT

from apo_lightning import config
from apo_lightning.config import shape
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import checks, rounds
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.registry import Registry
from apo_lightning.settings import FitSettings, SelfDistillSettings
from apo_lightning.stages import STAGES

TWICE = "[spd, self_distill, apo, self_distill_2, apo_2]"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The smoke experiment with an arm of two rounds."""
    file = tmp_path / "twice.yaml"
    arm = {"label": "two rounds", "stages": yaml.safe_load(TWICE)}
    file.write_text(yaml.safe_dump({"extends": [f"{ROOT}/experiments/smoke.yaml"], "arms": {"twice": arm}}))
    return file


def complaint(path: Path, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path, words)
    return str(caught.value)


@pytest.mark.parametrize("name", ["spd", "self_distill", "apo", "sft", "context_distill"])
def test_a_later_run_is_looked_up_as_its_stage(name: str) -> None:
    for number in range(2, 10):
        again = f"{name}_{number}"
        assert STAGES.lookup(again) is STAGES[again] is STAGES.get(again) is STAGES[name] and again in STAGES
        assert shape.stage_of(again) == name and shape.is_again(again) and again not in list(STAGES)
    for other in (f"{name}_1", f"{name}_0", f"{name}_10", f"{name}_2_2", f"{name}_", f"{name}2"):
        assert other not in STAGES and STAGES.get(other) is None and shape.stage_of(other) is None
        with pytest.raises(ConfigError, match=f"No stage is named '{other}'"):
            STAGES.lookup(other)
        with pytest.raises(KeyError):
            STAGES[other]


def test_other_registries_know_no_later_runs() -> None:
    plain = Registry("loss")
    plain.register("sft")(type("Sft", (), {}))
    assert "sft_2" not in plain and plain.get("sft_2") is None and plain.get("sft_2", 3) == 3


def test_a_stage_with_a_number_in_its_name_is_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    own = type("Own", (STAGES["apo"],), {})
    monkeypatch.setitem(STAGES, "level_2", own)
    assert STAGES["level_2"] is own and not shape.is_again("level_2") and shape.stage_of("level_2_2") == "level_2"


def test_its_settings_are_those_of_the_first_run_but_for_what_it_says(path: Path) -> None:
    plain = config.load(path).resolved["twice"].stages
    assert plain.apo_2 == plain.apo and type(plain.apo_2) is FitSettings
    assert plain.self_distill_2 == plain.self_distill and type(plain.self_distill_2) is SelfDistillSettings
    own = config.load(path, ["stages.apo_2.optim.lr=1e-5", "stages.apo_2.loss.beta=0.7"]).resolved["twice"].stages
    assert own.apo_2.optim.lr == 1e-5 and own.apo.optim.lr == plain.apo.optim.lr == 2e-4
    assert own.apo_2.loss == {**own.apo.loss, "beta": 0.7} and own.apo.loss == plain.apo.loss
    both = config.load(path, ["stages.apo.steps=5"]).resolved["twice"].stages
    assert both.apo_2.steps == both.apo.steps == 5
    mine = config.load(path, ["stages.apo.steps=5", "stages.apo_2={steps: 4}"]).resolved["twice"].stages
    assert (mine.apo.steps, mine.apo_2.steps, mine.apo_2.optim) == (5, 4, plain.apo.optim)


def test_an_arm_sets_it_for_itself(path: Path) -> None:
    tree = yaml.safe_load(path.read_text())
    tree["arms"]["gentle"] = {**tree["arms"]["twice"], "set": {"stages.apo.steps": 3, "stages.apo_2.optim.lr": 1e-6}}
    path.write_text(yaml.safe_dump(tree))
    arms = config.load(path).resolved
    assert (arms["gentle"].stages.apo_2.steps, arms["gentle"].stages.apo_2.optim.lr) == (3, 1e-6)
    assert arms["twice"].stages.apo_2 == arms["twice"].stages.apo


def test_another_class_keeps_the_settings_that_it_has_too(path: Path) -> None:
    words = ["stages.apo_2.loss.name=dpo"]
    assert config.load(path, words).resolved["twice"].stages.apo_2.loss["beta"] == 0.1
    sft = ["stages.apo_2.loss={name: sft, reduction: token_mean}"]
    assert config.load(path, sft).resolved["twice"].stages.apo_2.loss == {"name": "sft", "reduction": "token_mean"}


def test_what_is_dumped_loads_as_it_was(path: Path, tmp_path: Path) -> None:
    cfg = config.load(path, ["stages.apo_2.steps=4", "stages.self_distill_2.max_new_tokens=9"])
    again = tmp_path / "dumped.yaml"
    again.write_text(config.dump(cfg))
    assert config.to_dict(config.load(again)) == config.to_dict(cfg)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[spd, self_distill, apo_2]", "'apo_2' runs 'apo' again, and 'apo' is not before it"),
        ("[spd, self_distill, apo_2, apo]", "'apo_2' runs 'apo' again, and 'apo' is not before it"),
        ("[spd, self_distill, apo, apo_3]", "'apo_3' runs 'apo' again, and 'apo_2' is not before it"),
        ("[spd, self_distill, apo, apo_2, apo_2]", "each once"),
        ("[spd, self_distill, apo, apo_10]", "names no stage 'apo_10' (command line). A stage runs again as apo_2,"),
        ("[spd, self_distill, apo, apo_1]", "names no stage 'apo_1' (command line). A stage runs again as apo_2,"),
        ("[spd, self_distill, apo, ap_2]", "names no stage 'ap_2' (command line). Did you mean 'apo'"),
        ("[spd, spd_2, apo]", "'apo' reads preferred.jsonl"),
        ("[sft, spd]", "'sft' reads preferred.jsonl"),
        ("[context_distill]", "'context_distill' reads preferred.jsonl"),
        ("[spd, sft_2]", "'sft_2' runs 'sft' again"),
        ("[apo, spd, self_distill, apo_2]", "must be in the order spd, self_distill, apo"),
    ],
)
def test_an_arm_that_cannot_be_is_refused(path: Path, stages: str, said: str) -> None:
    assert said in complaint(path, f"arms.twice.stages={stages}", "stages.sft={}")


@pytest.mark.parametrize(
    "stages",
    [
        TWICE,
        "[spd, self_distill, apo, apo_2, apo_3]",
        "[spd, spd_2]",
        "[self_distill, apo]",
        "[self_distill, apo, self_distill_2, apo_2, self_distill_3, apo_3]",
    ],
)
def test_what_an_arm_may_list(path: Path, stages: str) -> None:
    arm = config.load(path, [f"arms.twice.stages={stages}"]).resolved["twice"]
    assert arm.arms["twice"].stages == yaml.safe_load(stages)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("stages.apo_2.step=1", "Unknown key 'stages.apo_2.step' (command line). Did you mean 'steps'"),
        ("stages.apo_2.steps=0", "stages.apo_2.steps must be > 0, got 0 (command line)"),
        ("stages.apo_2.steps=many", "stages.apo_2.steps must be an integer, got 'many' (command line)"),
        ("stages.apo_2=3", "stages.apo_2 must be a mapping"),
        ("stages.apo_2.loss.name=apo_listwis", "Did you mean 'apo_listwise'"),
        ("stages.apo_2.loss.bet=1", "Unknown key 'stages.apo_2.loss.bet' (command line). Did you mean 'beta'"),
        ("stages.apo_2.loss.name=spd_nll", "stages.apo_2.loss: 'spd_nll' is a loss for spd: it needs logps"),
        ("stages.apo_10.steps=3", "Unknown key 'stages.apo_10'"),
        ("stages.self_distill_2.splits=[val]", "stages.self_distill_2.splits must hold train, since apo learns"),
        ("stages.self_distill_2.splits=[train,tset]", "stages.self_distill_2.splits names no split 'tset'"),
        ("stages.self_distill_2.positive.name=stduent", "stages.self_distill_2"),
        ("stages.self_distill_2.top_p=2", "stages.self_distill_2.top_p must be in (0, 1], got 2"),
    ],
)
def test_its_own_settings_are_checked_under_their_own_key(path: Path, word: str, said: str) -> None:
    found = complaint(path, word)
    assert said in found if "stduent" not in word else "Did you mean 'student'" in found


@pytest.mark.parametrize("word", ["stages.apo.steps=0", "stages.apo.loss.bet=1", "stages.apo.steps=many"])
def test_what_is_wrong_with_the_first_run_is_said_once(path: Path, word: str) -> None:
    assert len(complaint(path, word).splitlines()) == 1


def test_what_only_a_build_finds_bears_the_key_of_the_run(path: Path) -> None:
    cfg = config.load(path, ["stages.self_distill_2.prompt=describe"]).resolved["twice"]
    with pytest.raises(ConfigError, match=r"stages\.self_distill_2\.prompt 'describe' has no \$reports"):
        checks.check(cfg)
    voted = config.load(path, ["stages.self_distill_2.positive={name: consensus}"]).resolved["twice"]
    with pytest.raises(ConfigError, match=r"stages\.self_distill_2\.positive 'consensus' goes by several texts"):
        checks.check(voted)


def test_fsdp2_is_refused_where_two_prompts_are_read_at_a_time(path: Path) -> None:
    stage = "stages.context_distill={loss: {name: context_kl, kind: forward, temperature: 1, reduction: token_mean}, "
    words = [stage + "optim: {lr: 1e-3}, steps: 3, batch_studies: 2}"]
    words.append("arms.twice.stages=[self_distill, context_distill]")
    assert config.load(path, words)
    said = complaint(path, *words, "trainer.strategy=fsdp2", "trainer.devices=2")
    assert "stages.context_distill reads two prompts" in said


def written(folder: Path, text: str) -> SimpleNamespace:
    """A finished stage that has written one t+."""
    folder.mkdir()
    (folder / "preferred.jsonl").write_text(json.dumps({"study": "s", "text": text, "cut": False}) + "\n")
    return SimpleNamespace(path=folder)


def test_a_step_sees_the_newest_t_plus_and_the_settings_of_its_run(path: Path, tmp_path: Path) -> None:
    words = ["stages.self_distill_2={max_new_tokens: 3, splits: [train], positive: {name: majority}}"]
    cfg = config.load(path, words).resolved["twice"]
    own = Context(cfg, "twice", 0, None, RunFolder(tmp_path, "x"))
    first = rounds.of_step(own, "self_distill")
    own.done["self_distill"] = written(tmp_path / "one", "first")
    assert rounds.of_step(own, "apo").preferred["s"].text == "first" and first.cfg is cfg
    writing = rounds.of_step(own, "self_distill_2")
    assert writing.cfg.stages.self_distill == cfg.stages.self_distill_2 and writing.done is own.done
    own.done["self_distill_2"] = written(tmp_path / "two", "second")
    for name in ("apo_2", "evaluate"):
        seen = rounds.of_step(own, name)
        assert seen.preferred["s"].text == "second"
        assert seen.cfg.stages.self_distill.splits == ["train"]
        assert seen.cfg.stages.self_distill.max_new_tokens == cfg.stages.self_distill.max_new_tokens != 3
    assert cfg.stages.self_distill.splits == ["train", "val", "test"] and own.cfg is cfg
