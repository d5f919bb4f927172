"""From when on learning lost: crossings worked out by hand, verdicts on either side, and the words of `apo drift`."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.drift import limits
from apo_lightning.drift.limits import LIMITS, Limit, crossing, verdicts
from apo_lightning.experiment import drift_sources
from apo_lightning.metrics.subsets import Bounded
from apo_lightning.reports.drift_words import _limits
from tests.helpers import fake_run

MEASURED = Path(__file__).resolve().parents[3] / "docs" / "results" / "critique" / "limits.csv"
WAY = Limit("way", Bounded(0.10, 0.08, 0.13), Bounded(0.45, 0.43, 0.48))


def test_a_line_through_two_worlds_crosses_where_it_must() -> None:
    assert crossing([0.0, 0.2], [-0.05, 0.05], [0.01, 0.01]).value == pytest.approx(0.1)
    assert crossing([0.3, 0.5], [0.06, -0.02], [0.01, 0.02]).value == pytest.approx(0.45)


def test_three_worlds_by_hand() -> None:
    """Weights 4, 4, 1 at 0, 1, 3 with gains -1, 1, 2: means 7/9 and 2/9, slope (sum w dx dy) / (sum w dx^2) = 1."""
    x, gain, weight = (0, 1, 3), (-1, 1, 2), (4, 4, 1)
    middle = sum(w * a for w, a in zip(weight, x, strict=True)) / 9
    mean = sum(w * g for w, g in zip(weight, gain, strict=True)) / 9
    slope = sum(w * (a - middle) * (g - mean) for w, a, g in zip(weight, x, gain, strict=True)) / sum(
        w * (a - middle) ** 2 for w, a in zip(weight, x, strict=True)
    )
    assert (middle, mean) == pytest.approx((7 / 9, 2 / 9))
    found = crossing(x, gain, [0.5, 0.5, 1.0])
    assert found.value == pytest.approx(middle - mean / slope)


def test_the_interval_is_that_of_the_gains() -> None:
    """Two places with 50 worlds each, all on one line: the error of the crossing is that of the mean gain of 100 worlds
    over the slope, which is 5."""
    found = crossing([0.0] * 50 + [0.2] * 50, [-0.5] * 50 + [0.5] * 50, [0.01] * 100)
    half = 1.96 * 0.01 / math.sqrt(100) / 5
    assert found.low == pytest.approx(0.1 - half, abs=half / 8) and found.high == pytest.approx(
        0.1 + half, abs=half / 8
    )


def test_worlds_that_disagree_widen_it() -> None:
    """Gains are known exactly here, and half of the worlds say that there is nothing to lose."""
    apart = crossing([0.0, 0.1, 0.2, 0.3] * 2, [-0.2, -0.1, 0.0, 0.1, 0.0, 0.1, 0.2, 0.3], [1e-4] * 8)
    assert apart.value == pytest.approx(0.1, abs=1e-3) and apart.high - apart.low > 0.05


def test_where_no_slope_is_settled_there_is_no_limit() -> None:
    found = crossing([0.0, 0.2], [0.001, -0.001], [0.05, 0.05])
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize(("vote", "verdict"), [(0.77, "lost"), (0.80, "open"), (0.84, "gained")])
def test_the_vote_against_the_student_where_both_are_known(vote: float, verdict: str, monkeypatch) -> None:
    """A lead of .07, .10 and .14, whatever the conflict."""
    monkeypatch.setattr(limits, "LIMITS", (WAY,))
    found = verdicts({"vote_accuracy": vote, "conflict_mean": 0.9}, 0.70)
    assert found["by"] == "vote" and [way["verdict"] for way in found["ways"]] == [verdict]


@pytest.mark.parametrize(("score", "verdict"), [(0.42, "gained"), (0.45, "open"), (0.49, "lost"), (None, None)])
def test_conflict_where_the_student_or_the_vote_is_not_known(score: float | None, verdict, monkeypatch) -> None:
    monkeypatch.setattr(limits, "LIMITS", (WAY,))
    for vote, student in ((None, None), (None, 0.7), (0.8, None)):
        found = verdicts({"vote_accuracy": vote, "conflict_mean": score}, student)
        assert found["by"] == "conflict" and [way["verdict"] for way in found["ways"]] == [verdict]


def said(summary: dict, student: float | None = None, teachers: int = 7) -> str:
    record = {
        "summary": summary,
        "limits": verdicts(summary, student),
        "teachers": "abcdefgh"[:teachers],
        "labelled": 15,
    }
    return " ".join(_limits(record))


def test_what_is_said(monkeypatch) -> None:
    other = Limit("another", Bounded(-0.02, -0.03, -0.01), Bounded(0.5, 0.48, 0.53))
    monkeypatch.setattr(limits, "LIMITS", (WAY, other))
    summary = {"vote_accuracy": 0.75, "conflict_mean": 0.49}
    assert said(summary, 0.70) == (
        "With a vote that is 5 points more often right than the student before training (on 15 labelled studies), in "
        "the study of the critique (docs/results/critique, balanced accuracy) these made the student worse: way (from "
        "10 [8, 13]); these paid: another (from -2 [-3, -1]). They are those of two small students, "
        "which differ: at a lead of 21 points SFT on t+ gained one half as much as the other, and SFT on the vote "
        "both alike."
    )
    assert "12 points less often right" in said(summary, 0.87)
    assert "these were not settled: another (up to 0.50 [0.48, 0.53])" in said(summary)
    assert "made the student worse: way (up to 0.45 [0.43, 0.48])" in said(summary)


def test_a_low_conflict_promises_nothing_and_it_says_what_is_missing(monkeypatch) -> None:
    monkeypatch.setattr(limits, "LIMITS", (WAY,))
    low = {"vote_accuracy": None, "conflict_mean": 0.12}
    assert "paid" not in said(low) and "promises nothing: way" in said(low) and "labels would." in said(low)
    assert "--student-accuracy was not used" in said(low, 0.7) and "not used" not in said(low)
    assert "the vote is right in 57% here; --student-accuracy compares" in said(low | {"vote_accuracy": 0.57})
    assert "7 simulated teachers; here are 4" in said(low, teachers=4) and "simulated" not in said(low)


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert said({"vote_accuracy": None, "conflict_mean": None}) == ""  # of one teacher
    assert list(_limits({"summary": {"conflict_mean": 0.4}})) == []  # a record of an earlier version


def test_the_student_of_a_run_is_its_arm_that_trains_nothing(tmp_path: Path) -> None:
    folder = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0, 1))
    rows = list(csv.DictReader((folder / "results.csv").open()))
    own = [
        float(row["value"])
        for row in rows
        if (row["arm"], row["metric"], row["finding"]) == ("base", "accuracy", "mean")
    ]
    cfg = config.load(MEASURED.parents[3] / "experiments" / "ablation_apo.yaml", ["only=[base,sft]"])
    assert len(own) == 2 and drift_sources.untrained(folder, cfg) == pytest.approx(sum(own) / 2)
    assert drift_sources.untrained(tmp_path, cfg) is None  # nothing is answered yet


def test_the_limits_are_those_that_were_measured() -> None:
    rows = list(csv.DictReader(MEASURED.open()))
    read = [
        Limit(row["way"], *(Bounded(*(float(row[f"{of}_{end}"]) for end in ("value", "low", "high"))) for of in OF))
        for row in rows
        if row["student"] == "both"
    ]
    assert tuple(read) == LIMITS


OF = ("margin", "conflict")
