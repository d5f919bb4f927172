"""A whole experiment small enough for a test: a random student, a handful of studies, four steps a stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import tiny

ROOT = Path(__file__).resolve().parents[2]
SMALL = (
    "data.train=8",
    "data.val=4",
    "data.test=6",
    "stages.spd.steps=6",
    "stages.apo.steps=6",
    "stages.spd.batch_studies=2",
    "stages.apo.batch_studies=2",
    "stages.spd.checkpoint_every=2",
    "stages.apo.checkpoint_every=2",
    "evaluate.max_new_tokens=8",
    "evaluate.batch_studies=3",
    "stages.self_distill.max_new_tokens=8",
    "stages.self_distill.batch_studies=4",
)


@pytest.fixture(scope="session")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Command-line words that shrink ``smoke`` to a test."""
    student = tiny.folder(tmp_path_factory.mktemp("student") / "nano")
    return [f"student.model={student}", *SMALL]
