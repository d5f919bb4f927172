"""What the kill matrix runs and kills: commands, the phases that are seen in what they write, and their processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

ROOT = Path(__file__).resolve().parents[1]
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
    "stages.self_distill.max_new_tokens=24",
    "stages.self_distill.batch_studies=2",
    "evaluate.max_new_tokens=24",
    "evaluate.batch_studies=2",
)
WORDS = (
    *SMALL,
    "runs_dir=runs",
    "only=[apo_listwise]",
    "wandb.mode=disabled",
    "student.adapter.dropout=0.2",  # so that what is drawn after a kill must be what would have been drawn
    "stages.apo.loss.name=dpo",  # draws a teacher
)
SMOKE = str(ROOT / "experiments/smoke.yaml")
TWO = ("trainer.devices=2", "trainer.accelerator=cpu")
STUDIES = 60
"""That a collector asks about."""
PATIENCE = 300.0
"""Seconds after which a process that was sent a signal, or a run that nobody disturbs any more, counts as hanging."""


@dataclass(frozen=True)
class Phase:
    """A part of a command's time. It has begun once ``count`` paths match ``seen`` in the folder it works in, or once
    the file there has so many lines."""

    name: str
    seen: str = ""
    count: int = 1
    lines: bool = False

    def begun(self, folder: Path) -> bool:
        if not self.seen:
            return True
        found = list(folder.glob(self.seen))
        return (sum(path.read_bytes().count(b"\n") for path in found) if self.lines else len(found)) >= self.count


START = Phase("start")
STAGES = (
    START,
    *(Phase(name, f"runs/store/{name}-*/config.yaml") for name in ("spd", "self_distill", "apo", "evaluate")),
    Phase("report", "runs/store/evaluate-*/manifest.json"),
)
TRIALS = (
    START,
    Phase("first trial", "runs/store/spd-*/config.yaml"),
    Phase("second trial", "runs/store/evaluate-*/manifest.json"),
    Phase("table", "runs/store/evaluate-*/manifest.json", 2),
)


@dataclass(frozen=True)
class Kind:
    """A command that is killed.

    Attributes:
        words: of the command, behind ``apo``.
        phases: in their order.
        kills: that one torn life of it takes.
        processes: how many compute.
        made: what its folder holds before; it gets the folder, and that of the undisturbed single run.
        served: whether it asks a server, whose address is added to its words.
    """

    name: str
    words: tuple[str, ...]
    phases: tuple[Phase, ...] = STAGES
    kills: int = 4
    processes: int = 1
    made: Callable[[Path, Path], None] = lambda folder, base: None
    served: bool = False


def with_run(folder: Path, base: Path) -> None:
    """A finished run without its report."""
    shutil.copytree(base / "runs", folder / "runs", symlinks=True)
    for name in ("report.html", "report.md", "report.csv", "report.tex", "table.tex"):
        (folder / "runs/smoke" / name).unlink()
    shutil.rmtree(folder / "runs/smoke/figures")


def with_grid(folder: Path, base: Path) -> None:
    """Two values of beta."""
    command = ["${env}", "python", "-m", "apo_lightning", "run", SMOKE, *WORDS]
    grid = {
        "program": "apo_lightning",
        "command": [*command, "evaluate.split=val", "${args_no_hyphens}"],
        "method": "grid",
        "metric": {"name": "val/accuracy", "goal": "maximize"},
        "parameters": {"stages.apo.loss.beta": {"values": [0.1, 1.0]}},
    }
    (folder / "two.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))


def collecting(url: str) -> list[str]:
    """Settings of the teacher that is asked."""
    teacher = {"kind": "api", "base_url": url, "model": "tiny", "folder": "journal", "timeout": 2, "backoff": 0.02}
    teacher |= {"concurrency": 2, "retries": 8, "price": {"input": 1, "output": 1}}
    return [f"teachers={json.dumps({'tiny': teacher})}"]


ASKED = tuple(f"data.{k}={v}" for k, v in {"train": STUDIES - 20, "val": 10, "test": 10, "size": 16}.items())
KINDS = {
    kind.name: kind
    for kind in (
        Kind("single", ("run", SMOKE, *WORDS)),
        Kind("ddp", ("run", SMOKE, *WORDS, *TWO, "trainer.strategy=ddp"), processes=2),
        Kind("fsdp2", ("run", SMOKE, *WORDS, *TWO, "trainer.strategy=fsdp2"), processes=2, kills=3),
        Kind(
            "collect",
            ("collect", "smoke", *ASKED),
            (START, *(Phase(f"from answer {n}", "journal/tiny.jsonl", n, lines=True) for n in (1, 30))),
            kills=2,
            served=True,
        ),
        Kind("report", ("report", "runs/smoke"), (Phase("report"),), kills=2, made=with_run),
        Kind("sweep", ("sweep", "two.yaml"), TRIALS, kills=3, made=with_grid),
    )
}


@dataclass
class Going:
    """A command that was started in ``folder``; what it says goes to a file of its own."""

    folder: Path
    words: list[str]
    log: Path
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160", "PYTHONPATH": str(ROOT)}
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "apo_lightning", *self.words],
                cwd=self.folder,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def until(self, true: Callable[[], bool]) -> bool:
        """Whether it lives until then."""
        while self.alive and not true():
            time.sleep(0.02)
        return self.alive

    def ranks(self) -> dict[int, psutil.Process]:
        """Its processes that compute, where it started several."""
        found = {}
        with suppress(psutil.Error):
            for each in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error, KeyError, ValueError):
                    own = each.environ()
                    if "APO_LAUNCHER_PID" in own and each.ppid() == self.process.pid:
                        found[int(own["LOCAL_RANK"])] = each
        return found

    def kill(self, signum: signal.Signals, target: str) -> str:
        """Send a signal to ``all``, ``launcher`` or ``rank <k>``; returns whom it reached."""
        ranks = self.ranks()
        rank = ranks.get(int(target.split()[1])) if target.startswith("rank") else None
        if target.startswith("rank") and rank is None:
            target = "launcher"
        reached = {"all": [self.process, *ranks.values()], "launcher": [self.process]}.get(target, [rank])
        for each in reached:
            with suppress(psutil.Error, ProcessLookupError):
                each.send_signal(signum)
        return target if ranks else "all"

    def end(self) -> int | None:
        """Its status; None: it hangs, and was ended with all it started."""
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.destroy()
            return None

    def destroy(self) -> None:
        for each in [*self.ranks().values(), self.process]:
            with suppress(psutil.Error, ProcessLookupError):
                each.kill()
        self.process.wait()
