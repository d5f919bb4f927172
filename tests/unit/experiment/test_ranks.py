"""Two processes of one run: neither reads what the other still writes or already removes, whichever is late."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.utilities import rank_zero_only
from torch import distributed as dist

from apo_lightning import leader
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import trainer
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.once import once
from apo_lightning.experiment.prediction_files import PredictionFiles
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.settings import StudentSettings, TrainerSettings
from apo_lightning.stages.generate import Written
from apo_lightning.types import Answer

LATE = 0.5


def both(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """What ``work`` returns in process 0 and in process 1 of one group."""
    context = multiprocessing.get_context("fork")  # without importing everything again
    answers = context.Queue()

    def one(rank: int) -> None:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
        rank_zero_only.rank = rank
        try:
            answers.put((rank, work(rank)))
        except BaseException as error:
            answers.put((rank, repr(error)))

    members = [context.Process(target=one, args=(rank,), daemon=True) for rank in (0, 1)]
    for process in members:
        process.start()
    found = dict(answers.get(timeout=60) for _ in members)
    for process in members:
        process.join(timeout=60)
    return [found[0], found[1]]


def slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("done", "answers"):
        plain = getattr(PredictionFiles, name)
        monkeypatch.setattr(PredictionFiles, name, lambda self, plain=plain: (time.sleep(LATE), plain(self))[1])


@pytest.mark.parametrize("late", [0, 1])
def test_answers_are_read_before_the_leader_removes_them(
    tmp_path: Path, late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process writes the answers of its studies, and needs those of all."""

    def predict(writer: Any, data: Any, settings: Any, callbacks: list[PredictionFiles], done: int) -> None:
        rank = dist.get_rank()
        callbacks[0].write_on_batch_end(None, None, Written(rank, [f"s{rank}"], [[Answer(f"text {rank}")]]))

    monkeypatch.setattr(trainer, "predict", predict)
    folder = StageFolder(tmp_path, "evaluate", {})

    def work(rank: int) -> dict[str, list[Answer]]:
        if rank == late:
            slow_reader(monkeypatch)
        own = Context.__new__(Context)
        own.seed, own.cfg = 0, SimpleNamespace(trainer=None, student=StudentSettings())
        own.server, own.data = {}, SimpleNamespace(connect=lambda **_: None)
        texts: dict[str, list[Answer]] = {}

        def ask() -> dict[str, Any]:
            asked = [SimpleNamespace(study=SimpleNamespace(id=f"s{i}")) for i in (0, 1)]
            texts.update(own.answers(SimpleNamespace(student=None), asked, None, 1, folder.path))
            return {}

        once(folder, "evaluate", ask)
        return texts

    assert both(work, tmp_path) == [{"s0": [Answer("text 0")], "s1": [Answer("text 1")]}] * 2
    assert folder.done and not (folder.path / "parts").exists()


def test_all_do_what_the_leader_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that looks late finds a stage that the leader has made meanwhile."""
    folder, plain = StageFolder(tmp_path, "spd", {}), StageFolder.done.fget

    def work(rank: int) -> list[str]:
        if rank == 1:
            monkeypatch.setattr(StageFolder, "done", property(lambda self: (time.sleep(LATE), plain(self))[1]))
        made: list[str] = []
        once(folder, "spd", lambda: made.append("made") or {})
        return made

    assert both(work, tmp_path) == [["made"], ["made"]]


def test_only_the_leader_is_asked(tmp_path: Path) -> None:
    def work(rank: int) -> str:
        return leader.from_leader(lambda: f"from {rank}")

    assert both(work, tmp_path) == ["from 0", "from 0"]
    assert leader.from_leader(lambda: "alone") == "alone"


def test_several_devices_in_one_process_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(ConfigError, match=r"trainer\.devices=2 .* need several processes.*apo run"):
        trainer.connect(TrainerSettings(devices=2, accelerator="cpu", strategy="ddp"))
