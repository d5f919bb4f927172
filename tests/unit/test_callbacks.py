"""Callbacks observe and write: metrics that a resumed run continues, parts of a prediction, frozen parameters."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule

from apo_lightning.errors import ApoError
from apo_lightning.stages.generate import Written
from apo_lightning.types import Answer
from callbacks import CALLBACKS, frozen_guard
from callbacks.frozen_guard import FrozenGuard
from callbacks.metrics_jsonl import MetricsJsonl
from callbacks.preference_monitor import PreferenceMonitor
from callbacks.trajectory_writer import TrajectoryWriter


def trainer(step: int, **metrics: float) -> SimpleNamespace:
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.5}])
    return SimpleNamespace(is_global_zero=True, global_step=step, callback_metrics=metrics, optimizers=[optimizer])


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_all_are_discovered() -> None:
    assert {"metrics_jsonl", "preference_monitor", "trajectory_writer", "frozen_guard"} <= set(CALLBACKS)


def test_a_resumed_run_drops_what_came_after_its_checkpoint_and_a_line_that_was_cut(tmp_path: Path) -> None:
    first = MetricsJsonl(str(tmp_path))
    first.on_train_start(trainer(0), None)
    for step in (1, 2, 3):
        first.on_train_batch_end(trainer(step, loss=float(step)), None, None, None, 0)
        first.on_train_batch_end(trainer(step, loss=float(step)), None, None, None, 0)  # accumulation: same step
    with (tmp_path / "metrics.jsonl").open("a") as out:
        out.write('{"step": 4, "lo')
    again = MetricsJsonl(str(tmp_path))
    again.on_train_start(trainer(2), None)
    again.on_train_batch_end(trainer(3, loss=9.0), None, None, None, 0)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [(1, 1.0), (2, 2.0), (3, 9.0)]
    assert rows(tmp_path)[0]["train/lr"] == 0.5


def test_a_value_that_is_not_finite_becomes_null(tmp_path: Path) -> None:
    own = MetricsJsonl(str(tmp_path))
    own.on_train_start(trainer(0), None)
    own.on_train_batch_end(trainer(1, loss=float("nan")), None, None, None, 0)
    assert rows(tmp_path)[0]["loss"] is None


def test_parts_of_a_prediction_are_numbered_and_joined(tmp_path: Path) -> None:
    writer = TrajectoryWriter(str(tmp_path))
    for number, texts in ((2, ["c"]), (0, ["a", "b"])):
        studies = [f"s{number}{i}" for i in range(len(texts))]
        writer.on_predict_batch_end(
            None, None, Written(number, studies, [[Answer(text, text == "b")] for text in texts]), None, 0
        )
    (tmp_path / "parts" / "000005.tmp").write_text("{")  # a kill in the middle of a write
    assert writer.done() == {0, 2}
    assert writer.answers() == {"s00": [Answer("a")], "s01": [Answer("b", cut=True)], "s20": [Answer("c")]}


PART = '{"studies": ["a", "b"], "texts": [["x"], ["y"]], "cut": [[false], [true]]}'
ENDS = ', "cut": [[false], [true]]}'
BAD_PARTS = {
    "cut off": PART[:-9], "no ends": '{"studies": ["a", "b"], "texts": [["x"], ["y"]]}',
    "empty": "", "zeros": "\0" * 40, "text": "not ours", "a list": "[1]", "null": "null",
    "no texts": '{"studies": ["a", "b"]}', "fewer texts": '{"studies": ["a", "b"], "texts": [["x"]]' + ENDS,
    "fewer ends": PART.replace("[false], ", ""), "ends, not words": PART.replace("true", "1"),
    "no answer": '{"studies": ["a", "b"], "texts": [["x"], []]' + ENDS,
    "texts, not lists": PART.replace('["x"]', '"x"'),
    "other studies": PART.replace("b", "c"), "another order": '{"studies": ["b", "a"], "texts": [["y"], ["x"]]' + ENDS,
    "numbers": '{"studies": [1, 2], "texts": [[1], [2]]' + ENDS, "not utf-8": None,
}  # fmt: skip


@pytest.mark.parametrize("kind", [*BAD_PARTS, "a folder", "a dangling link"])
def test_a_damaged_or_foreign_part_is_asked_again_and_replaced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "000001.json").write_text('{"studies": ["c"], "texts": [["z"]], "cut": [[true]]}')
    bad = parts / "000000.json"
    if kind == "a folder":
        (bad / "inside").mkdir(parents=True)
    elif kind == "a dangling link":
        bad.symlink_to("gone")
    else:
        bad.write_bytes(b"\xff{" if BAD_PARTS[kind] is None else BAD_PARTS[kind].encode())
    writer = TrajectoryWriter(str(tmp_path))
    assert writer.expect(["a", "b", "c"], 2) == 2
    assert writer.done() == {1}
    assert f"{bad} is damaged (" in caplog.text and "asked again" in caplog.text
    writer.on_predict_batch_end(None, None, Written(0, ["a", "b"], [[Answer("x")], [Answer("y\u2028")]]), None, 0)
    assert writer.done() == {0, 1}
    assert writer.answers() == {"a": [Answer("x")], "b": [Answer("y\u2028")], "c": [Answer("z", cut=True)]}


def test_what_is_not_a_part_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("notes.json", "000000 (copy).json", "-1.json", "1.json", "000009.json", "٠٠٠٠٠٠.json"):
        (tmp_path / "parts" / name).write_text('{"studies": ["a"], "texts": [["foreign"]], "cut": [[false]]}')
    writer = TrajectoryWriter(str(tmp_path))
    writer.expect(["a"], 2)
    assert writer.done() == frozenset() and writer.answers() == {}
    assert len(list((tmp_path / "parts").iterdir())) == 6


@pytest.mark.parametrize("line", ["nonsense", "\0" * 30, "[1]", '{"loss": 1.0}', '{"step": "2"}', '{"step": [2]}'])
def test_a_damaged_line_costs_its_step_in_the_curve_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str
) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n' + line + '\n{"step": 3, "loss": 3.0}\n{"st')
    own = MetricsJsonl(str(tmp_path))
    own.on_train_start(trainer(3), None)
    own.on_train_batch_end(trainer(4, loss=4.0), None, None, None, 0)
    assert [row["step"] for row in rows(tmp_path)] == [1, 3, 4]
    assert "1 of the 3 steps before the checkpoint cannot be read (the first is 2)" in caplog.text


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
    assert logged == {"train/logp_chosen": -1.0, "train/logp_rejected/a": -3.0, "train/logp_rejected/b": -6.0}
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
