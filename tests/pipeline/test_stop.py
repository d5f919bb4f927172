"""SIGTERM wherever a run may be: a status that no scheduler takes for success, a line on how to go on, and the same
command ends with the numbers of an undisturbed run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apo_lightning import reports
from apo_lightning.cli.commands import main
from apo_lightning.experiment.sweeps import trial
from apo_lightning.models.student import Student
from apo_lightning.stages.base import Stage
from apo_lightning.stages.generate import Writer
from apo_lightning.stages.likelihoods import Likelihoods
from apo_lightning.teachers import pool
from tests.pipeline.conftest import ROOT

PLACES = ("collect", "spd", "save", "self_distill", "apo", "evaluate", "likelihoods", "report")


def command(words: list[str], runs: Path) -> list[str]:
    file = str(ROOT / "experiments/smoke.yaml")
    return ["run", file, *words, f"runs_dir={runs}", "only=[apo_listwise]", "wandb.mode=disabled"]


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Also where these tests run under something that ignores SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


def stop_in(place: str, monkeypatch: pytest.MonkeyPatch, count: int = 2) -> None:
    """SIGTERM in the middle of a place, at its second call where there are several."""
    owner, name, of = {
        "collect": (pool, "collect", None),
        "spd": (Stage, "log_loss", "spd"),
        "save": (Student, "save", None),
        "self_distill": (Writer, "predict_step", "self_distill"),
        "apo": (Stage, "log_loss", "apo"),
        "evaluate": (Writer, "predict_step", ""),
        "likelihoods": (Likelihoods, "validation_step", None),
        "report": (reports, "write", None),
    }[place]
    plain: Callable = getattr(owner, name)
    left = [1 if of is None else count]

    def deadly(*given: Any, **more: Any) -> Any:
        left[0] -= of is None or getattr(given[0], "name", "") == of
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*given, **more)

    monkeypatch.setattr(owner, name, deadly)


def test_sigterm_in_every_stage(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    for place in PLACES:
        with monkeypatch.context() as patched:
            stop_in(place, patched)
            assert main(command(words, tmp_path / "torn")) == 143, place
        said = capfd.readouterr().err
        assert said.endswith("stopped. The same command continues where it stopped.\n"), place
        assert "Traceback" not in said, place
        assert not (tmp_path / "torn/smoke/report.html").exists()
    for runs in ("torn", "calm"):
        assert main(command(words, tmp_path / runs)) == 0
    for file in ("results.csv", "apo_listwise/seed0/apo/metrics.jsonl", "apo_listwise/seed0/evaluate/scores.json"):
        torn, calm = ((tmp_path / runs / "smoke" / file).read_bytes() for runs in ("torn", "calm"))
        assert torn == calm, file


def test_sigterm_in_a_sweep_ends_the_sweep(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    trained = []
    plain = trial._train
    monkeypatch.setattr(trial, "_train", lambda plan, point: trained.append(point.number) or plain(plan, point))
    stop_in("spd", monkeypatch)
    monkeypatch.chdir(ROOT)
    assert main(["sweep", "beta", *words, f"runs_dir={tmp_path}", "wandb.mode=disabled"]) == 143
    assert trained == [1]
    assert "The same command continues where it stopped." in capfd.readouterr().err
