"""What `benchmarks/drift_recovery.py` plants, and that a small part of it is found again; all of it in docs/results."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT

from apo_lightning.drift.changes import AGREEMENT, Changes
from apo_lightning.drift.strata import errors
from apo_lightning.phantom.world import FINDINGS
from apo_lightning.teachers.simulated import Simulated, StreamDrift


@pytest.fixture
def casts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of benchmarks/, which is a folder of scripts."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__("drift_casts")


@pytest.fixture
def recovery(casts: ModuleType) -> ModuleType:
    return __import__("drift_recovery")


def test_planted_values_by_hand(casts: ModuleType) -> None:
    """.7 right on average, .2 lost from the first sentence to the last. At .9 there is room for half of .4."""
    flat = {"sensitivity": {"default": 0.7}, "specificity": {"default": 0.7}, "mild_penalty": 0.0, "severe_bonus": 0.0}
    studies = casts.phantom(0, 5)
    found = casts.planted(Simulated("a", step_drift=0.2, side_confusion=0.1, **flat), studies)
    assert found == pytest.approx({"error": 0.3, "side confusion": 0.1, "step drift": 0.2, "hedging": 0, "refusal": 0})
    high = {**flat, "sensitivity": {"default": 0.9}, "specificity": {"default": 0.9}}
    assert casts.planted(Simulated("a", step_drift=0.4, **high), studies)["step drift"] == pytest.approx(0.2)


def test_a_change_is_that_of_one_teacher(casts: ModuleType) -> None:
    studies, cast = casts.phantom(0, 5), casts.random_cast(1)
    fallen, sudden = casts.with_change(cast, 1, studies)
    assert [one for one in fallen if one.stream_drift.kind != "none"] == [one for one in fallen if one not in cast]
    mine = next(one for one in fallen if one.name == sudden.teacher)
    assert mine.stream_drift.at == sudden.at and 0 < sudden.fall <= mine.stream_drift.size
    assert replace(mine, stream_drift=StreamDrift()) in cast


def test_worlds_without_texts_err_as_often_as_they_say(casts: ModuleType) -> None:
    own = casts.World(studies=900, common=0.5, drift=0.1).draw(3)
    wrong = errors(own)
    assert own.findings == FINDINGS and wrong.shape == (900, 7, 7) and not np.isnan(wrong).any()
    assert ((wrong.mean(axis=(0, 2)) > 0.1) & (wrong.mean(axis=(0, 2)) < 0.45)).all()
    assert wrong[450:].mean() - wrong[:450].mean() == pytest.approx(0.05, abs=0.02)
    together = np.corrcoef(wrong.transpose(1, 0, 2).reshape(7, -1))
    assert together[0, 1] > 0.3 > 0.1 > abs(together[3, 4])


def test_what_counts_as_found(recovery: ModuleType, casts: ModuleType) -> None:
    planted = casts.Sudden("t1", 0.5, 0.2)

    def found(own: tuple, other: tuple = (), agreed: tuple = ()) -> tuple:
        streams = {AGREEMENT: agreed, "error t0": other, "error t1": own}
        return recovery._judged({name: Changes(at, (), 0.01, 9) for name, at in streams.items()}, planted)[2:6]

    assert found((0.54,)) == (True, True, False, True)
    assert found((0.56,)) == (False, False, False, True)
    assert found((0.1, 0.54), agreed=(0.46,)) == (True, False, True, True)
    assert found((0.54,), other=(0.2,)) == (True, False, False, True)
    assert found(()) == (False, False, False, False)


def test_shuffling_sees_errors_in_common(recovery: ModuleType, casts: ModuleType) -> None:
    assert recovery.shuffle(casts.World(common=0.5).draw(0), 0, 99) == 0.01
    assert recovery.shuffle(casts.World().draw(0), 0, 99) > 0.05


@pytest.mark.slow
def test_what_was_planted_is_found(recovery: ModuleType) -> None:
    table = recovery.correlations(recovery.recovery(3, 600, blind=False)).set_index("planted")["all teachers"]
    assert (table[["error", "side confusion", "step drift"]] >= 0.9).all()
    moved = recovery.changed(3, 600)
    moved = moved[moved.truth == "labels"]
    assert moved.found.all() and moved.only_that.mean() >= 5 / 6
    level = recovery.rejected(40, recovery.World())  # fewer than 419 signs can reject none of 21 pairs at .05
    assert level["pair p"] <= 0.08 and level["any of a cast, Holm"] <= 0.15
    assert recovery.rejected(5, recovery.World(common=0.3))["power, Holm"] == 1
