"""A loss in the wrong stage, and settings that a loss has no use for: the first cause is said, with the way out."""

from __future__ import annotations

import pytest
from conftest import ROOT

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.experiment.checks import check
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import bind

SMOKE, ABLATION = (ROOT / "experiments" / f"{name}.yaml" for name in ("smoke", "ablation_apo"))
FOR_APO = (
    "Losses for this stage: apo_balanced, apo_conflict, apo_listwise, apo_majority, apo_pairwise, apo_plackett_luce, "
    "cal_dpo, dpo, dpo_shift, dpop, hypo, sft, sft_agreement."
)
FOR_SPD = "Losses for this stage: spd_kl, spd_mixture_kl, spd_nll."


def complaint(*words: str, path=SMOKE) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path, words)
    return str(caught.value)


@pytest.mark.parametrize(
    ("word", "home", "fitting"),
    [
        ("stages.apo.loss.name=spd_nll", "'spd_nll' is a loss for spd: it needs logps,", FOR_APO),
        ("stages.apo.loss.name=spd_kl", "'spd_kl' is a loss for spd: it needs divergence,", FOR_APO),
        ("stages.apo.loss={name: spd_nll, reduction: token_mean}", "'spd_nll' is a loss for spd", FOR_APO),
        ("stages.spd.loss.name=apo_listwise", "'apo_listwise' is a loss for apo", FOR_SPD),
        ("stages.spd.loss.name=sft", "'sft' is a loss for apo: it needs chosen_lengths,", FOR_SPD),
        ("arms.apo_listwise.set.stages.apo.loss.name=spd_nll", "'spd_nll' is a loss for spd", FOR_APO),
    ],
)
def test_a_loss_in_the_wrong_stage_is_the_one_thing_said(word: str, home: str, fitting: str) -> None:
    said = complaint(word)
    assert home in said and said.endswith(fitting) and "(command line" in said
    assert len(said.splitlines()) == 1 and "reduction must" not in said


def test_other_mistakes_are_said_beside_it() -> None:
    said = complaint("stages.apo.loss.name=spd_nll", "stages.apo.steps=many")
    assert (
        said.startswith("2 problems") and "'spd_nll' is a loss for spd" in said and "stages.apo.steps must be" in said
    )


def test_bind_names_the_losses_that_fit() -> None:
    with pytest.raises(ConfigError, match="Losses for this stage: sft"):
        bind(LOSSES["spd_nll"](reduction="token_mean"), {"chosen_logps", "chosen_lengths", "chosen_present"}, "apo")


def test_a_setting_that_no_loss_of_the_run_takes_is_refused() -> None:
    said = complaint("only=[sft]", "stages.apo.loss.nll_weight=0.5", path=ABLATION)
    assert said == (
        "No arm of this run has a loss with the setting 'stages.apo.loss.nll_weight' (command line): "
        "'sft' takes reduction."
    )
    assert config.load(ABLATION, ["only=[sft,dpo]", "stages.apo.loss.nll_weight=0.5"])


def test_mix_is_refused_where_nothing_is_mixed() -> None:
    given = {"kind": "forward", "temperature": 1.0, "reduction": "token_mean"}
    with pytest.raises(ValueError, match=r"mix must be left out with kind 'forward', got 0\.3: only jensen_shannon"):
        LOSSES["spd_kl"](**given, mix=0.3)
    assert LOSSES["spd_kl"](**{**given, "kind": "jensen_shannon"}, mix=0.3).mix == 0.3


@pytest.mark.parametrize(
    ("arm", "word", "fine"),
    [
        ("dpo", "teachers.eager.weight=0.5", False),
        ("dpo", "teachers.eager.weight=0", True),
        ("apo_pairwise", "teachers.eager.weight=0.5", True),
    ],
)
def test_weights_that_dpo_would_ignore_are_refused(arm: str, word: str, fine: bool, monkeypatch) -> None:
    monkeypatch.setattr("apo_lightning.experiment.checks.count_on_meta", lambda student: None)
    words = [f"only=[{arm}]", word]
    own = config.resolve_arm(config.load(ABLATION, words), arm)
    if fine:
        check(own)
        return
    with pytest.raises(ConfigError, match=r"'dpo' takes every teacher .* weights are 0\.5, 1\.0\. Use apo_pairwise"):
        check(own)
