"""A run that stops before it has a result leaves its folder to the mended command; one that has results does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.errors import ArtifactError, ConfigError, DataError
from apo_lightning.experiment import pipeline
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run import run
from apo_lightning.models.student import Student
from tests.pipeline.conftest import ROOT

SMOKE = ROOT / "experiments/smoke.yaml"
MENDED = "stages.spd.optim.lr=2.0e-3"


class Begun(Exception):
    """Nothing refused the run."""


def start(words: list[str], *more: str) -> None:
    given = [*words, "runs_dir=runs", "wandb.mode=disabled", *more]
    run(config.load(SMOKE, given))


def assert_free(words: list[str], monkeypatch: pytest.MonkeyPatch, *more: str) -> None:
    def begun(own: Context) -> None:
        raise Begun

    monkeypatch.setattr(pipeline, "run", begun)
    with pytest.raises(Begun):
        start(words, MENDED, *more)


def test_a_check_of_the_data_claims_nothing(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="oedema"):
        start(words, "evaluate.findings=[oedema]")
    assert not Path("runs/smoke/config.yaml").exists()
    assert_free(words, monkeypatch)


def test_missing_texts_of_teachers_claim_nothing(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"study": "elsewhere", "teacher": "eager", "text": "No edema."}
    (tmp_path / "said.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match="eager"):
        start(words, "teachers.eager={kind: recorded, path: said.jsonl}")
    assert_free(words, monkeypatch)


@pytest.mark.parametrize("stop", [ConfigError("no such weights"), KeyboardInterrupt()])
def test_a_student_that_cannot_be_built_claims_nothing(
    words: list[str], monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    """The teachers have spoken by then."""

    def fail(*args: object, **kwargs: object) -> None:
        raise stop

    monkeypatch.setattr(Student, "load", fail)
    with pytest.raises(type(stop)):
        start(words)
    assert list(Path("runs/smoke").glob("base/seed0/collect/trajectories.jsonl"))
    assert_free(words, monkeypatch)


def test_an_evaluated_arm_keeps_the_folder(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(own: Context) -> None:
        raise KeyboardInterrupt

    plain: Callable[[Context], object] = pipeline.run
    monkeypatch.setattr(pipeline, "run", lambda own: plain(own) if own.arm == "base" else stop(own))
    with pytest.raises(KeyboardInterrupt):
        start(words)
    with pytest.raises(ArtifactError, match=r"stages\.spd\.optim\.lr was .*name=smoke_2"):
        start(words, MENDED)
