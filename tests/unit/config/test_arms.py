"""A row is named for what ran, and arms that would become one are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from apo_lightning import config
from apo_lightning.cli import main
from apo_lightning.config.arms import as_typed
from apo_lightning.config.layers import Word
from apo_lightning.errors import ConfigError
from tests.helpers.fakes import EXPERIMENT, fake_registries, write_experiment

ABLATION = ROOT / "experiments" / "ablation_apo.yaml"
LISTWISE = "SPD+MT, APO listwise (paper)"


def labels(*words: str, path: Path = ABLATION) -> dict[str, str]:
    return {name: arm.label for name, arm in config.load(path, words).arms.items()}


def complaint(*words: str, path: Path = ABLATION) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path, words)
    return str(caught.value)


def test_without_the_command_line_labels_are_those_of_the_file() -> None:
    assert labels() == labels("name=other", "seeds=[1]", "data.train=8", "stages.spd.steps=3", "student.model=x")
    assert labels()["apo_listwise"] == LISTWISE


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("stages.apo.loss.beta=1.0", f"{LISTWISE} [apo.loss.beta=1.0]"),
        ("stages.apo.loss.beta=0.1", LISTWISE),  # which it is
        ("stages.apo.optim.lr=0.5", f"{LISTWISE} [apo.optim.lr=0.5]"),  # of the arm's own set
        ("stages.apo.loss.reduction=mean", f"{LISTWISE} [apo.loss.reduction=mean]"),
        ("stages.apo.loss.nll_weight=1.0", "SPD+MT, APO listwise [apo.loss.nll_weight=1.0]"),
        (
            "stages.apo.loss.name=apo_pairwise",
            "apo_pairwise in place of SPD+MT, APO listwise [apo.loss.name=apo_pairwise]",
        ),
        ("pool.select=[eager]", f'{LISTWISE} [pool.select=["eager"]]'),
        ("pool.weights={name: router, power: 4}", f"{LISTWISE} [pool.weights=router]"),
        ("pool.gate={studies: 0.3, action: weight}", f"{LISTWISE} [pool.gate]"),
        ("teachers.refuser.weight=0", f"{LISTWISE} [teachers.refuser.weight=0]"),
        ("stages.spd.loss.reduction=sequence_sum", f"{LISTWISE} [spd.loss.reduction=sequence_sum]"),
        ("arms.apo_listwise.set.stages.apo.loss.beta=2", f"{LISTWISE} [apo.loss.beta=2]"),
        ("arms.apo_listwise.set.stages.apo.loss.name=dpo", "dpo in place of SPD+MT, APO listwise [apo.loss.name=dpo]"),
        ("arms.apo_listwise.label=mine", "mine"),
    ],
)
def test_a_row_says_what_the_command_line_changed(word: str, named: str) -> None:
    assert labels("only=[apo_listwise]", word)["apo_listwise"] == named


def test_a_word_that_says_nothing_to_an_arm_leaves_its_label() -> None:
    """Base trains nothing, SFT has no beta, and the beta of DPO is 1 as its own set says."""
    found, plain = labels("stages.apo.loss.beta=1.0"), labels()
    changed = {name for name in found if found[name] != plain[name]}
    assert changed == {"apo_pairwise", "apo_listwise"}


def test_the_paper_is_not_promised_where_a_file_says_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"extends: [{ABLATION}]\nname: own\nstages: {{apo: {{loss: {{nll_weight: 0.5}}}}}}\n")
    found = labels(path=path)
    assert found["apo_listwise"] == "SPD+MT, APO listwise (not the paper's: nll_weight=0.5)"
    assert found["dpo"] == labels()["dpo"]


def test_one_loss_for_arms_that_are_told_apart_by_it_is_refused() -> None:
    said = complaint("only=[dpo,apo_pairwise,apo_listwise]", "stages.apo.loss.name=apo_conflict")
    assert "stages.apo.loss.name=apo_conflict would replace what arms.dpo.set and arms.apo_pairwise.set and" in said
    assert "rows of dpo, apo_pairwise, apo_listwise would bear names of what did not run (command line)" in said
    assert "only=[apo_listwise]" in said and "write an arm for it" in said


def test_a_whole_section_is_refused_as_well() -> None:
    said = complaint("only=[sft,apo_listwise]", "stages.apo.loss={name: sft, reduction: sequence_sum}")
    assert "what arms.sft.set and arms.apo_listwise.set says, and the rows of sft, apo_listwise would" in said


@pytest.mark.parametrize(
    ("words", "pair", "because"),
    [
        (["only=[spd_one,spd_mt]", "pool.select=[eager]"], "spd_one and spd_mt", 'pool.select=["eager"]'),
        (
            [
                "only=[apo_listwise,apo_listwise_nll]",
                "stages.apo.loss.nll_weight=1",
                "stages.apo.loss.beta=1",
                "stages.apo.optim.lr=0.1",
            ],
            "apo_listwise and apo_listwise_nll",
            "stages.apo.loss.nll_weight=1, stages.apo.loss.beta=1, stages.apo.optim.lr=0.1",
        ),
    ],
)
def test_arms_that_would_be_the_same_run_are_refused(words: list[str], pair: str, because: str) -> None:
    said = complaint(*words)
    assert f"The arms {pair} would be the same run under two names, because of {because} (command line)" in said
    assert len(config.load(ABLATION, [f"only=[{pair.split(' ')[0]}]", *words[1:]]).arms) == 9


def test_arms_that_the_file_itself_makes_alike_are_its_own_affair(tmp_path: Path, monkeypatch) -> None:
    fake_registries(monkeypatch)
    path = write_experiment(tmp_path)
    path.write_text(EXPERIMENT + "  twin: {label: Twin, stages: []}\n")
    assert config.load(path, ["stages.apo.loss.beta=0.7"]).arms["twin"].label == "Twin"


def test_the_label_goes_with_the_settings_and_stays() -> None:
    words = ["only=[apo_listwise]", "stages.apo.loss.beta=1.0"]
    cfg = config.load(ABLATION, words)
    resolved = config.resolve_arm(cfg, "apo_listwise")
    assert resolved.arms["apo_listwise"].label == f"{LISTWISE} [apo.loss.beta=1.0]"
    assert config.to_dict(cfg)["arms"]["apo_listwise"]["label"] == f"{LISTWISE} [apo.loss.beta=1.0]"


def test_whom_teachers_weigh_says_nothing_of_the_base_student() -> None:
    found, plain = labels("pool.weights={name: router}"), labels()
    assert found["base"] == plain["base"] and found["spd_mt"] == f"{plain['spd_mt']} [pool.weights=router]"


def test_what_is_recorded_of_an_arm_is_what_ran() -> None:
    """``config.yaml`` of a run has the arm's ``set``; with the file's own beta there, reports and comparisons would
    tell of a run that was not made. Arms that do not run keep theirs."""
    words = ["only=[apo_listwise,sft]", "stages.apo.loss.beta=1.0", "stages.apo.optim.lr=1.0e-3"]
    cfg = config.load(ROOT / "experiments" / "ablation_apo.yaml", words)
    assert cfg.arms["apo_listwise"].set["stages.apo.loss.beta"] == 1.0
    assert cfg.arms["apo_listwise"].set["stages.apo.optim.lr"] == 1e-3
    assert cfg.arms["sft"].set["stages.apo.loss"] == {"name": "sft", "reduction": "token_mean"}
    assert cfg.arms["apo_pairwise"].set["stages.apo.loss.beta"] == 0.1
    assert cfg.resolved["apo_listwise"].stages.apo.loss["beta"] == 1.0


def test_a_key_within_what_an_arm_sets_whole() -> None:
    changes = {"stages.apo.loss": {"name": "dpo", "beta": 0.1}}
    word = Word(("stages", "apo", "loss", "beta"), 0.5, "command line")
    assert as_typed(changes, [word]) == {"stages.apo.loss": {"name": "dpo", "beta": 0.5}}
    assert changes["stages.apo.loss"]["beta"] == 0.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stages.spd.steps=3"], ""),
        (["only=[spd_mt]", "stages.spd.steps=3"], ""),
        (["only=[spd_mt]", "stages.apo.steps=3"], "the stage 'apo': stages.apo.steps changes nothing."),
        (
            ["stages.sft.steps=3", "stages.sft.optim.lr=0.1"],
            "the stage 'sft': stages.sft.steps, stages.sft.optim.lr change nothing.",
        ),
    ],
)
def test_a_word_on_a_stage_that_no_arm_runs_is_told(words: list[str], said: str) -> None:
    path = ROOT / "experiments" / "smoke.yaml"
    assert config.load(path, words).unheard == ((f"No arm that is run has {said}",) if said else ())


def test_the_check_of_an_experiment_tells_it(capsys) -> None:
    assert main(["check", "smoke", "only=[spd_mt]", "stages.apo.steps=3"]) == 0
    assert "stages.apo.steps changes nothing" in capsys.readouterr().out
