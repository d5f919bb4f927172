"""`failure_signatures` fires on four planted failures, says nothing of five healthy trainings; its limits by hand."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from apo_lightning import config
from apo_lightning.errors import ConfigError, StoppedError
from apo_lightning.experiment import observing
from apo_lightning.metrics import training_failures
from apo_lightning.metrics.failures import ADVICE, BIAS, COLLAPSE, NO_CONVERGENCE, STYLE_ALONE
from apo_lightning.metrics.training_failures import TrainingLimits
from callbacks import CALLBACKS
from callbacks.failure_signatures import FailureSignatures
from tests.helpers import planted

LIMITS = TrainingLimits()


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def steps(**values: float) -> list[dict[str, float]]:
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return [named] * LIMITS.window


def test_t_plus_that_comes_first_no_more_often_than_by_chance_is_no_convergence() -> None:
    near = steps(rank1_accuracy=0.3, rank1_chance=0.125, margin__a=5.0)
    found = training_failures.no_convergence(near, LIMITS, 60)
    assert found.signature == NO_CONVERGENCE and found.value == pytest.approx(0.175) and found.threshold == 0.2
    assert (
        training_failures.no_convergence(steps(rank1_accuracy=0.9, rank1_chance=0.125, margin__a=5.0), LIMITS, 60)
        is None
    )


def test_a_margin_of_nothing_is_no_convergence_though_t_plus_comes_first() -> None:
    """The mean of the teachers' margins: (.02 + .04) / 2."""
    found = training_failures.no_convergence(
        steps(rank1_accuracy=1.0, rank1_chance=0.125, margin__a=0.02, margin__b=0.04), LIMITS, 60
    )
    assert found.value == pytest.approx(0.03) and "0.03" in found.warning


def contrasted(rewards: list[list[float]], conflicts: list[dict[str, float]]) -> list[dict[str, float]]:
    names = [["preferred", "a", "b"]] * len(rewards)
    return [training_failures.contrasts(torch.tensor(rewards), conflicts, names)[0]]


def test_the_share_of_a_margin_that_conflicts_explain_by_hand() -> None:
    """Margin of a 1 without and 3 with a conflict, of b 5 and 7: slope 2 within each, mean conflict 1/2, mean margin 4:
    2 * .5 / 4. The gap between the teachers is style and explains nothing."""
    rewards = [[0.0, -1.0, -5.0], [0.0, -3.0, -7.0]]
    found = contrasted(rewards, [{"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 1.0}])
    assert training_failures.explained(found) == pytest.approx(0.25)
    assert training_failures.explained(contrasted(rewards, [{"a": 0.0, "b": 0.0}] * 2)) == 0  # nobody contradicts


def test_a_text_that_shares_no_finding_with_t_plus_says_nothing_of_conflicts() -> None:
    found = contrasted([[0.0, -1.0, torch.nan], [0.0, -3.0, -1.0]], [{"b": 1.0}, {}])
    assert found == [{}] and str(training_failures.explained(found)) == "nan"


def test_style_alone_needs_both_a_gap_without_conflict_and_another_style() -> None:
    level = contrasted([[0.0, -4.0, -4.0], [0.0, -4.0, -4.0]], [{"a": 0.0, "b": 0.5}, {"a": 1.0, "b": 0.0}])
    assert training_failures.style_alone(level, LIMITS, 60, 1.0).signature == STYLE_ALONE
    assert training_failures.style_alone(level, LIMITS, 60, 0.8) is None
    assert training_failures.style_alone(level, LIMITS, 60, torch.nan) is None
    steep = contrasted([[0.0, -4.0, -4.0], [0.0, -6.0, -3.0]], [{"a": 0.0, "b": 0.5}, {"a": 1.0, "b": 0.0}])
    assert training_failures.style_alone(steep, LIMITS, 60, 1.0) is None


def test_a_teacher_that_wins_where_it_contradicts_is_named() -> None:
    """a wins two of three conflicts; where it agrees it may win."""
    rewards = [[0.0, 1.0, -1.0], [0.0, 2.0, -1.0], [0.0, -1.0, -1.0], [0.0, 9.0, -1.0]]
    found = contrasted(rewards, [{"a": 1.0}, {"a": 0.5}, {"a": 0.5}, {"a": 0.0}])
    failure = training_failures.bias(found, LIMITS, 7)
    assert failure.signature == BIAS and failure.value == pytest.approx(2 / 3) and "'a'" in failure.warning
    assert training_failures.bias(contrasted(rewards[2:], [{"a": 1.0}, {"a": 0.0}]), LIMITS, 7) is None


def test_displacement_needs_both_to_fall() -> None:
    fallen = steps(moved_chosen=-0.2, moved_rejected=-0.5, nll=1.0)
    assert training_failures.collapse(fallen, LIMITS, 9, 1.0).signature == COLLAPSE
    assert training_failures.collapse(steps(moved_chosen=-0.2, moved_rejected=0.5, nll=1.0), LIMITS, 9, 1.0) is None
    assert training_failures.collapse(steps(moved_chosen=0.4, moved_rejected=-5.0, nll=1.0), LIMITS, 9, 1.0) is None
    assert training_failures.collapse(steps(nll=1.4), LIMITS, 9, 1.0).value == pytest.approx(0.4)
    assert training_failures.collapse(steps(nll=1.2), LIMITS, 9, 1.0) is None


def test_nats_a_token_moved_by_hand() -> None:
    """t+ of 2 tokens from -4 to -2: +1. The teacher of 4 tokens from -4 to -12: -2; the other does not count."""
    found, counts = training_failures.moved(
        torch.tensor([[-2.0, -12.0, -9.0]]),
        torch.tensor([[-4.0, -4.0, -1.0]]),
        torch.tensor([[2, 4, 1]]),
        torch.tensor([[True, True, False]]),
    )
    assert found == {"moved_chosen": 1.0, "moved_rejected": -2.0} and counts == {"moved_chosen": 1, "moved_rejected": 1}


FAILING = {
    NO_CONVERGENCE: dict(rows=planted.contradicted, lr=1e-8),
    STYLE_ALONE: dict(rows=planted.styled, lr=5e-3),
    BIAS: dict(rows=planted.outvoted, lr=2e-3, loss="apo_pairwise", beta=0.02, nll_weight=3.0),
    COLLAPSE: dict(rows=planted.contradicted, lr=0.1, embedded=True),
}


@pytest.mark.parametrize("signature", FAILING)
def test_a_planted_failure_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture, signature: str) -> None:
    how = dict(FAILING[signature])
    with caplog.at_level(logging.WARNING):
        found = planted.train(tmp_path, how.pop("rows")(0), **how)
    assert signature in [each["signature"] for each in found]
    own = next(each for each in found if each["signature"] == signature)
    assert set(own) == {"signature", "step", "value", "threshold", "warning", "advice"}
    assert own["step"] >= planted.WINDOW and own["advice"] == ADVICE[signature]
    assert caplog.text.count(own["warning"]) == 1
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last[f"train/failure/{signature}"] == 1


HEALTHY = [
    dict(loss="apo_listwise"),
    dict(loss="apo_pairwise"),
    dict(loss="dpo"),
    dict(loss="apo_listwise", nll_weight=1.0),
    dict(loss="sft", reduction="token_mean"),
]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_said_of_a_healthy_training(tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    assert planted.train(tmp_path, planted.contradicted(seed), seed=seed, **HEALTHY[seed]) == []
    assert not [record for record in caplog.records if record.name == "callbacks.failure_signatures"]
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    told = {key: value for row in rows for key, value in row.items() if key.startswith("train/failure/")}
    assert told and not any(told.values())
    assert len(told) == (1 if HEALTHY[seed]["loss"] == "sft" else 4)


def test_a_stage_that_is_to_stop_ends_with_what_was_found(tmp_path: Path) -> None:
    watch = FailureSignatures(str(tmp_path), stop=True, window=planted.WINDOW)
    with pytest.raises(StoppedError, match=r"Stopped at step 8, no_convergence: .*stop=false"):
        planted.train(tmp_path, planted.contradicted(0), lr=1e-8, watch=watch)
    found = json.loads((tmp_path / "failures.json").read_text())
    assert [(each["signature"], each["step"]) for each in found] == [(NO_CONVERGENCE, 8)]


def test_stopping_is_part_of_what_is_trained_and_watching_is_not() -> None:
    assert observing.interfering({"failure_signatures": {}, "sample_table": {}, "throughput": {}}) == {}
    assert observing.interfering({"failure_signatures": {"stop": False, "margin": 3.0}}) == {}
    assert set(observing.interfering({"failure_signatures": {"stop": True}})) == {"failure_signatures"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"distinct": 1.5}, "distinct must be in"),
        ({"fall": -1.0}, "fall must be >= 0"),
        ({"window": 1}, "window must be"),
    ],
)
def test_a_limit_out_of_range_is_named(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.build(CALLBACKS, settings, "callbacks.failure_signatures", None, folder=str(tmp_path))


def test_a_resumed_watch_goes_on_with_the_window_and_says_nothing_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Weak margins at every step; cut after step 30 of 40, with the state that a checkpoint holds."""

    def run(watch: FailureSignatures, begin: int, end: int) -> None:
        trainer = SimpleNamespace(global_step=begin, world_size=1, max_steps=40, is_global_zero=True, datamodule=None)
        module = SimpleNamespace(log_dict=lambda values, batch_size: None)
        watch.on_train_start(trainer, module)
        for trainer.global_step in range(begin + 1, end + 1):
            watch.means.add({"rank1_accuracy": 0.1, "rank1_chance": 0.3}, {"rank1_accuracy": 1, "rank1_chance": 1})
            watch.on_train_batch_end(trainer, module, {}, None, 0)
        watch.on_train_end(trainer, module)

    whole, first, second = (FailureSignatures(str(tmp_path / name)) for name in ("whole", "cut", "cut"))
    run(whole, 0, 40)
    caplog.clear()
    run(first, 0, 30)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    run(second, 30, 40)
    assert (tmp_path / "cut/failures.json").read_text() == (tmp_path / "whole/failures.json").read_text()
    assert json.loads((tmp_path / "cut/failures.json").read_text())[0]["step"] == 20
    assert caplog.text.count("no_convergence") == 1
