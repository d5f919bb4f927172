"""The two ready casts keep what their files promise, measured on drawn patients through the text labeler."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from apo_lightning.metrics import findings as M
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import by_study
from apo_lightning.teachers.pool import collect
from apo_lightning.teachers.simulated import Simulated
from apo_lightning.text import labeler
from apo_lightning.types import Study

BASE = Path(__file__).resolve().parents[3] / "experiments" / "base"
CASTS = ("teachers_drifting", "teachers_as_published")

PUBLISHED = {
    "gpt5": (0.75, 0.68, 0.89, 0.90, 0.52, 0.75),
    "gemini25": (0.28, 0.61, 0.40, 0.94, 0.42, 0.53),
    "sonnet4": (0.89, 0.69, 0.48, 0.15, 0.15, 0.47),
    "qwen_vl_max": (0.54, 0.65, 0.40, 0.95, 0.64, 0.64),
    "grok4": (0.43, 0.41, 0.36, 0.97, 0.61, 0.56),
    "glm45v": (0.59, 0.67, 0.52, 0.96, 0.72, 0.69),
    "moonshot": (0.13, 0.46, 0.77, 0.88, 0.19, 0.48),
}
"""Top-1 on MS-CXR-T as printed: consolidation, pleural effusion, pneumonia, pneumothorax, edema, average."""
COLUMNS = ("consolidation", "pleural_effusion", "pneumonia", "pneumothorax", "edema")


@lru_cache
def cast(name: str) -> dict[str, Simulated]:
    """Teachers of a file, each typed by its dataclass as the configuration does it."""
    built = {}
    for key, settings in OmegaConf.load(BASE / f"{name}.yaml").teachers.items():
        settings = {k: v for k, v in settings.items() if k not in ("kind", "weight")}
        schema = OmegaConf.structured(TEACHERS.lookup("simulated"))
        built[key] = OmegaConf.to_object(OmegaConf.merge(schema, {"name": key, **settings}))
    return built


@lru_cache
def measured(name: str, count: int, seed: int = 0) -> dict[str, dict[tuple[str, str], float]]:
    """Scores of every teacher and of their ``vote``."""
    studies = [
        Study(c.id, str(c.patient), "test", (), {f: float(f in c.present) for f in FINDINGS}, c.present)
        for c in cases(seed, count)
    ]
    labels = np.array([[study.findings[f] for f in FINDINGS] for study in studies])
    said = by_study(collect(cast(name), {"test": studies}))
    read = {t: labeler.read([said[s.id][t].text for s in studies], FINDINGS) for t in cast(name)}
    read["vote"] = (M.majority_vote(np.stack([answers for answers, _ in read.values()], 1)), np.zeros(count, bool))
    return {t: {row[:2]: row[2] for row in M.scores(labels, *pair, FINDINGS)} for t, pair in read.items()}


@pytest.mark.parametrize("name", CASTS)
def test_files_start_with_a_comment_and_say_kind_and_weight(name: str) -> None:
    assert (BASE / f"{name}.yaml").read_text().startswith("# ")
    config = OmegaConf.load(BASE / f"{name}.yaml")
    assert list(config) == ["teachers"] and len(config.teachers) == 7
    assert all(teacher.kind == "simulated" and teacher.weight == 1.0 for teacher in config.teachers.values())


@pytest.mark.parametrize("name", CASTS)
def test_no_two_speak_alike(name: str) -> None:
    teachers = cast(name).values()
    for part in ("positive", "negative"):
        assert len({getattr(teacher, part) for teacher in teachers}) == 7
    assert len({tuple(teacher.order) for teacher in teachers}) == 7
    assert all(sorted(teacher.order) == list(FINDINGS) for teacher in teachers)


def test_drifting_mean_accuracies() -> None:
    got = measured("teachers_drifting", 800)
    for name in cast("teachers_drifting"):
        assert 0.65 <= got[name]["accuracy", "mean"] <= 0.80, name
    assert 0.85 <= got["vote"]["accuracy", "mean"] <= 0.92


@pytest.mark.parametrize("finding", FINDINGS)
def test_drifting_every_finding_has_two_teachers_that_fail(finding: str) -> None:
    got = measured("teachers_drifting", 800)
    failing = [
        name
        for name in cast("teachers_drifting")
        if got[name]["accuracy", finding] < 0.6 or got[name]["balanced_accuracy", finding] <= 0.55
    ]
    assert len(failing) >= 2, failing
    assert got["vote"]["accuracy", finding] > max(got[name]["accuracy", finding] for name in failing)


def test_drifting_refuser_refuses_and_nobody_else_does() -> None:
    got = measured("teachers_drifting", 800)
    assert got["refuser"]["refusals", "mean"] == pytest.approx(0.3, abs=0.05)
    assert all(got[name]["refusals", "mean"] == 0 for name in cast("teachers_drifting") if name != "refuser")


def test_drifting_has_both_kinds_of_drift() -> None:
    teachers = cast("teachers_drifting").values()
    assert {teacher.stream_drift.kind for teacher in teachers} == {"none", "sudden", "gradual", "recurring"}
    assert sum(teacher.step_drift >= 0.1 for teacher in teachers) >= 3
    assert all(teacher.stream_drift.size >= 0.1 for teacher in teachers if teacher.stream_drift.kind != "none")
    assert cast("teachers_drifting")["sided"].side_confusion >= 0.3
    assert cast("teachers_drifting")["hedger"].hedging >= 0.5


@pytest.mark.parametrize("teacher", PUBLISHED)
def test_as_published_has_the_accuracies_of_the_paper(teacher: str) -> None:
    """2,000 studies: a standard error of .011, so .04 is a miss of a number and not of luck."""
    got, (*five, average) = measured("teachers_as_published", 2000)[teacher], PUBLISHED[teacher]
    expected = {**dict(zip(COLUMNS, five, strict=True)), "atelectasis": average, "cardiomegaly": average}
    assert {f: got["accuracy", f] for f in FINDINGS} == pytest.approx({f: expected[f] for f in FINDINGS}, abs=0.04)


def test_as_published_the_vote_is_wrong_where_most_are() -> None:
    got = measured("teachers_as_published", 2000)
    assert got["vote"]["accuracy", "edema"] < 0.5
    assert got["vote"]["accuracy", "pneumothorax"] > 0.98
    assert got["moonshot"]["refusals", "mean"] == pytest.approx(0.1, abs=0.03)
