"""Scores of stated findings as torchmetrics: against sklearn and the tables, over batches and processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from apo_lightning.metrics.answers import text_outcomes
from apo_lightning.metrics.stated import FindingScores, ProgressionScores, StatedScores
from apo_lightning.text.progression import CLASSES
from apo_lightning.types import Study
from tests.unit.experiment.test_ranks import both

FINDINGS = ("edema", "pneumonia", "pneumothorax")
COURSES = {"improving": "improved", "stable": "unchanged", "worsening": "worsened"}


def drawn(count: int = 60) -> tuple[list[Study], dict[str, str], np.ndarray, np.ndarray]:
    """Studies, an answer to each that names every finding, their labels and what the answers say."""
    truth, said = np.random.default_rng(0).integers(2, size=(2, count, 3))
    studies = [
        Study(f"s{i}", f"p{i}", "val", (), dict(zip(FINDINGS, map(float, row), strict=True)))
        for i, row in enumerate(truth)
    ]
    return studies, {f"s{i}": words(row) for i, row in enumerate(said)}, truth, said


def words(row: Sequence[int]) -> str:
    return " ".join(f"{'There is' if yes else 'No'} {name}." for name, yes in zip(FINDINGS, row, strict=True))


def courses(count: int = 60) -> tuple[list[Study], dict[str, str], list[str], list[str]]:
    truth, said = (np.random.default_rng(0).choice(CLASSES, size=(2, count))).tolist()
    studies = [Study(f"s{i}", f"p{i}", "val", (), {}, progression={"edema": told}) for i, told in enumerate(truth)]
    return studies, {f"s{i}": f"The edema has {COURSES[told]}." for i, told in enumerate(said)}, truth, said


def summed(metric: StatedScores, texts: dict[str, str], studies: Sequence[Study], size: int) -> dict[str, float]:
    for start in range(0, len(studies), size):
        part = studies[start : start + size]
        metric.update({study.id: texts[study.id] for study in part if study.id in texts}, part)
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize("size", [60, 7, 1])
def test_findings_are_sklearns_however_they_are_cut(size: int) -> None:
    studies, texts, truth, said = drawn()
    found = summed(FindingScores(FINDINGS), texts, studies, size)
    for f, name in enumerate(FINDINGS):
        assert found[f"accuracy/{name}"] == pytest.approx(sk.accuracy_score(truth[:, f], said[:, f]))
        assert found[f"balanced_accuracy/{name}"] == pytest.approx(sk.balanced_accuracy_score(truth[:, f], said[:, f]))
        assert found[f"positive_f1/{name}"] == pytest.approx(sk.f1_score(truth[:, f], said[:, f]))
    assert found["positive_f1/mean"] == pytest.approx(sk.f1_score(truth, said, average="macro"))


@pytest.mark.parametrize("size", [60, 7, 1])
def test_courses_are_sklearns_however_they_are_cut(size: int) -> None:
    """A finding without a label has its column from the start, and no value."""
    studies, texts, truth, said = courses()
    found = summed(ProgressionScores(FINDINGS), texts, studies, size)
    assert found["progression_accuracy/edema"] == pytest.approx(sk.accuracy_score(truth, said))
    assert found["progression_accuracy/mean"] == found["progression_accuracy/edema"]
    assert found["progression_macro_accuracy/edema"] == pytest.approx(sk.balanced_accuracy_score(truth, said))
    assert np.isnan(found["progression_accuracy/pneumonia"])


def test_the_tables_have_the_same_values_refusals_and_silence_included() -> None:
    studies, texts, *_ = drawn()
    texts |= {"s0": "I cannot help with that.", "s1": "Hello there.", "s2": "Normal chest radiograph."}
    del texts["s3"]
    want = {f"{metric}/{name}": v for metric, name, v in text_outcomes(texts, studies, FINDINGS).rows()}
    assert summed(FindingScores(FINDINGS), texts, studies, 8) == pytest.approx(want, nan_ok=True)
    assert want["refusals/mean"] > 0 and want["states_nothing/mean"] > 0 and want["normal/mean"] > 0


def test_nothing_at_all_and_a_new_beginning() -> None:
    studies, texts, *_ = drawn()
    scores = FindingScores(FINDINGS)
    scores.update(texts, studies)
    scores.reset()
    scores.update({}, [])
    assert all(np.isnan(float(value)) for value in scores.compute().values())


def test_two_processes_add_up(tmp_path: Path) -> None:
    studies, texts, *_ = drawn()
    want = summed(FindingScores(FINDINGS), texts, studies, 60)
    halves = [studies[:11], studies[11:]]
    assert both(lambda rank: summed(FindingScores(FINDINGS), texts, halves[rank], 20), tmp_path) == [want] * 2
