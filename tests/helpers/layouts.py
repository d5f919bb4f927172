"""One fit of a stage as a run makes it, in this process or in two, on a random nano student and drawn studies.

``python -m tests.helpers.layouts FILE`` is one of several processes, and fits all cases of FILE one after the other.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from apo_lightning.batching.examples import preference_examples, spd_examples
from apo_lightning.experiment import trainer
from apo_lightning.losses import LOSSES
from apo_lightning.models.student import Student
from apo_lightning.settings import (
    AdapterSettings,
    FitSettings,
    OptimSettings,
    ScorerSettings,
    StudentSettings,
    TrainerSettings,
)
from apo_lightning.stages import STAGES
from apo_lightning.types import Example, Study, Trajectory
from data_modules.phantom import Phantom
from tests.helpers import tiny

ROOT = Path(__file__).resolve().parents[2]
TEACHERS = {"short": 1.0, "long": 0.5, "odd": 2.0}
LOSS = {
    "spd": {"name": "spd_nll", "reduction": "token_mean"},
    "apo": {"name": "apo_listwise", "beta": 0.5, "nll_weight": 0.1, "reduction": "sum"},
}
KILLED = "killed"


@dataclass(frozen=True)
class Case:
    """What is fitted, and how: sections of an experiment's file, as far as they are not the usual ones.

    Attributes:
        folder: of the stage, where it goes on if it holds checkpoints.
        student: ``adapter`` is a kind, ``mode`` and ``rows`` are the scorer's.
        plan: of the stage; eight studies a step and float32 unless said.
        kill: step behind which it dies.
        studies: that there are.
    """

    folder: str
    stage: str = "spd"
    student: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    plan: dict[str, Any] = field(default_factory=dict)
    optim: dict[str, Any] = field(default_factory=dict)
    workers: int = 0
    kill: int | None = None
    studies: int = 20


class Kill(Callback):
    """Dies behind a step, after its checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, run: Any, *rest: Any) -> None:
        if run.global_step >= self.step:
            raise KeyError(KILLED)


def fit(case: Case) -> list[dict[str, Any]]:
    """What the fit logs at each step; of one that goes on, all steps since its start."""
    usual = {"loss": LOSS[case.stage], "steps": 6, "batch_studies": 8, "checkpoint_every": 2}
    plan = FitSettings(**usual | case.plan, optim=OptimSettings(lr=1e-3, **case.optim))
    settings = TrainerSettings(**{"accelerator": "cpu", "enable_progress_bar": False} | case.trainer)
    folder = Path(case.folder)
    folder.mkdir(parents=True, exist_ok=True)
    how = dict(LOSS[case.stage] | plan.loss)
    stage = STAGES[case.stage](_student(case), LOSSES[how.pop("name")](**how), plan.optim, steps=plan.steps, seed=3)
    data = Phantom(train=case.studies, val=1, test=1, num_workers=case.workers)
    data.connect(
        collate=tiny.collator(),
        batch_studies=plan.batch_studies,
        seed=3,
        train=_examples(case.stage, data),
        steps=plan.steps,
        accumulate=plan.accumulate,
    )
    try:
        trainer.fit(stage, data, settings, plan, folder, [Kill(case.kill)] if case.kill else [], [])
    except KeyError:
        if case.kill is None:
            raise
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _student(case: Case) -> Student:
    given = dict(case.student)
    adapter = AdapterSettings(kind=given.pop("adapter", "lora"), dropout=given.pop("dropout", 0.0))
    scorer = ScorerSettings(mode=given.pop("mode", "joint"), rows=given.pop("rows", None))
    settings = StudentSettings(model=_base(), adapter=adapter, scorer=scorer, **given, **tiny.LIMITS)
    student = Student.load(settings).make_trainable(3)
    moved = torch.Generator().manual_seed(0)
    for name, parameter in student.named_parameters():
        if "lora_B" in name:  # away from where all rewards are 0
            torch.nn.init.normal_(parameter.data, std=0.02, generator=moved)
    return student


@cache
def _base() -> str:
    """The embedded student, trained: losses of a random one say little of its layers."""
    return "nano"


def _examples(stage: str, data: Phantom) -> list[Example]:
    """Studies with texts of unequal length, some of them without one of the teachers."""
    studies = data.studies("train")
    heard = {study.id: _said(place, study) for place, study in enumerate(studies)}
    if stage == "spd":
        return spd_examples(studies, heard, TEACHERS)
    return preference_examples(studies, heard, TEACHERS, {study.id: _findings(study) for study in studies})


def _said(place: int, study: Study) -> dict[str, Trajectory]:
    texts = {"short": "No edema.", "long": f"{_findings(study)} The heart is of normal size. No effusion."}
    if place % 3:
        texts["odd"] = "There is pneumonia and consolidation. " * (place % 4 + 1)
    return {name: Trajectory(study.id, name, text) for name, text in texts.items()}


def _findings(study: Study) -> str:
    found = [name.replace("_", " ") for name, value in study.findings.items() if value]
    return f"There is {', '.join(found)}." if found else "No findings."


def in_two(cases: Sequence[Case], folder: Path) -> list[list[dict[str, Any]]]:
    """`fit` of each case by two processes that train together."""
    folder.mkdir(parents=True, exist_ok=True)
    given, found = folder / "cases.json", folder / "found.json"
    given.write_text(json.dumps([asdict(case) for case in cases]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "tests.helpers.layouts", str(given)]
    logs = [(folder / f"rank{rank}.log").open("w+") for rank in range(2)]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **place,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "NODE_RANK": "0",
                "OMP_NUM_THREADS": "1",
            },
        )
        for rank, log in enumerate(logs)
    ]
    for each, log in zip(running, logs, strict=True):
        code = each.wait(timeout=1800)
        log.seek(0)
        assert code == 0, log.read()[-4000:]
    return json.loads(found.read_text())


def main(given: Path) -> None:
    cases = [Case(**each) for each in json.loads(given.read_text())]
    found = []
    for case in cases:
        os.environ["WORLD_SIZE"] = "2"  # Lightning's environment removes it behind each fit
        trainer.connect(TrainerSettings(accelerator="cpu", **case.trainer))
        found.append(fit(case))
        print(case, flush=True)
    if os.environ["RANK"] == "0":
        given.with_name("found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
