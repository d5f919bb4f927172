"""Callbacks observe: which there are, frozen parameters, what is told of t+ and of each teacher."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule

from apo_lightning.errors import ApoError
from apo_lightning.metrics import trl_names
from callbacks import CALLBACKS, frozen_guard
from callbacks.frozen_guard import FrozenGuard
from callbacks.preference_monitor import PreferenceMonitor


def test_all_are_discovered() -> None:
    assert {"preference_monitor", "frozen_guard", "EarlyStopping", "DeviceStatsMonitor"} <= set(CALLBACKS)


class Pair(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.free = torch.nn.Linear(2, 2)
        self.frozen = torch.nn.Linear(2, 2, dtype=torch.bfloat16).requires_grad_(False)


def test_the_guard_names_a_frozen_parameter_that_moved() -> None:
    module, guard = Pair(), FrozenGuard()
    guard.on_train_start(None, module)
    module.free.weight.data += 1
    guard.on_train_end(None, module)
    module.frozen.bias.data += 1
    with pytest.raises(ApoError, match=r"1 frozen parameters moved.*frozen\.bias"):
        guard.on_train_end(None, module)


def test_log_probs_are_averaged_a_teacher() -> None:
    """Teacher a was heard twice (-2 and -4), b once (-6); slot 0 is t+."""
    logged = {}
    module = SimpleNamespace(log_dict=lambda values, batch_size: logged.update(values))
    batch = _Sized([["preferred", "a", "b"], ["preferred", "a"]])
    outputs = {"policy_logps": torch.tensor([[-1.0, -2.0, -6.0], [-1.0, -4.0, 0.0]])}
    monitor, run = PreferenceMonitor(), SimpleNamespace(global_step=1, world_size=1)
    monitor.on_train_batch_end(run, module, outputs, batch, 0)
    ours = {"train/logp_chosen": -1.0, "train/logp_rejected/a": -3.0, "train/logp_rejected/b": -6.0}
    assert logged == ours | {"train/logps/chosen": -1.0, "train/logps/rejected": -4.0}  # of three pairs
    again = PreferenceMonitor()
    again.load_state_dict(monitor.state_dict())
    run.global_step = 2
    again.on_train_batch_end(run, module, {"policy_logps": torch.tensor([[-1.0, -8.0]])}, _Sized([["p", "a"]]), 1)
    assert logged["train/logp_rejected/a"] == -8.0
    assert math.isnan(logged["train/logp_rejected/b"])  # as in a run that was not interrupted


def test_rewards_and_margins_are_averaged_a_teacher_with_the_chance_of_coming_first() -> None:
    """t+ comes first in study 0 (2 > 1 > -1), ties with both in study 1, and has nobody to beat in study 2; teacher b
    does not count in study 3, where a comes first. Accuracy (1 + 1/3 + 0) / 3, chance (1/3 + 1/3 + 1/2) / 3."""
    nan, logged = math.nan, {}
    module = SimpleNamespace(log_dict=lambda values, batch_size: logged.update(values))
    rewards = torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, 0.0], [5.0, nan, nan], [1.0, 4.0, nan]])
    outputs = {"policy_logps": torch.zeros(4, 3), "rewards": rewards, "metrics": {"reward_chosen": torch.tensor(1.0)}}
    run, batch = SimpleNamespace(global_step=1, world_size=1), _Sized([["preferred", "a", "b"]] * 4)
    PreferenceMonitor().on_train_batch_end(run, module, outputs, batch, 0)
    assert logged["train/rank1_accuracy"] == pytest.approx((1 + 1 / 3) / 3)
    assert logged["train/rank1_chance"] == pytest.approx((1 / 3 + 1 / 3 + 1 / 2) / 3)
    assert logged["train/reward/a"] == pytest.approx(5 / 3) and logged["train/reward/b"] == -0.5
    assert logged["train/margin/a"] == pytest.approx(-2 / 3) and logged["train/margin/b"] == 1.5
    assert "train/reward_chosen" not in logged  # that is the loss's own


def test_a_study_without_a_preferred_answer_has_no_margin() -> None:
    logged: dict[str, float] = {}
    module = SimpleNamespace(log_dict=lambda values, batch_size: logged.update(values))
    outputs = {"policy_logps": torch.zeros(1, 2), "rewards": torch.tensor([[math.nan, 1.0]])}
    run = SimpleNamespace(global_step=1, world_size=1)
    PreferenceMonitor().on_train_batch_end(run, module, outputs, _Sized([["preferred", "a"]]), 0)
    assert set(logged) == {"train/logp_chosen", "train/logp_rejected/a"}


def test_trl_names_are_means_over_pairs() -> None:
    """Pairs of rewards: (2, 1), (2, -1), (0, 0), (1, 4); the second study has one teacher, the third one that does not
    count. TRL would have these four as its batch, and takes a tie for a miss."""
    rewards = torch.tensor([[2.0, 1.0, -1.0], [0.0, 0.0, math.nan], [1.0, 4.0, math.nan]])
    logps = torch.tensor([[-1.0, -2.0, -3.0], [-4.0, -5.0, -6.0], [-7.0, -8.0, -9.0]])
    values, counts = trl_names.of_pairs(logps, rewards, [["t", "a", "b"], ["t", "a"], ["t", "a", "b"]])
    assert values == {
        "logps/chosen": -13 / 4,
        "logps/rejected": -18 / 4,
        "rewards/chosen": 5 / 4,
        "rewards/rejected": 4 / 4,
        "rewards/margins": 1 / 4,
        "rewards/accuracies": 2 / 4,
    }
    assert set(counts.values()) == {4}
    assert trl_names.of_pairs(logps[:, :1], None, [["t", "a"]] * 3) == ({}, {})


def test_the_monitor_logs_under_trl_s_names_beside_ours() -> None:
    logged: dict[str, float] = {}
    module = SimpleNamespace(log_dict=lambda values, batch_size: logged.update(values))
    outputs = {"policy_logps": torch.zeros(1, 2), "rewards": torch.tensor([[3.0, 1.0]])}
    run = SimpleNamespace(global_step=1, world_size=1)
    PreferenceMonitor().on_train_batch_end(run, module, outputs, _Sized([["preferred", "a"]]), 0)
    assert (logged["train/rewards/margins"], logged["train/rewards/accuracies"], logged["train/margin/a"]) == (2, 1, 2)


class _Sized:
    def __init__(self, sources: list[list[str]]) -> None:
        self.sources = sources

    def __len__(self) -> int:
        return len(self.sources)


def test_the_guard_sees_a_change_that_is_the_same_in_every_element() -> None:
    """Ones that become twos, an even number of them: an exclusive or of the bits would be 0 before and after."""
    module, guard = Pair(), FrozenGuard()
    module.frozen.weight.data.fill_(1)
    guard.on_train_start(None, module)
    module.frozen.weight.data.fill_(2)
    with pytest.raises(ApoError, match=r"frozen\.weight"):
        guard.on_train_end(None, module)


def test_the_guard_sees_a_large_tensor_that_an_optimiser_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_guard, "BLOCK", 4)
    monkeypatch.setattr(frozen_guard, "BLOCKS", 3)
    module, guard = Pair(), FrozenGuard()
    module.frozen = torch.nn.Linear(7, 9, dtype=torch.float16).requires_grad_(False)
    guard.on_train_start(None, module)
    guard.on_train_end(None, module)
    module.frozen.weight.data.mul_(1.01)
    with pytest.raises(ApoError, match=r"frozen\.weight"):
        guard.on_train_end(None, module)
