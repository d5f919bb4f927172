"""Runs as clusters start them: processes of torchrun on one and on two nodes, tasks of srun, and a batch job that is
ended and puts itself back into the queue. Nodes, srun and scontrol are imitated on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apo_lightning.experiment.processes import _free_port
from tests.pipeline.conftest import ROOT

JOB = ROOT / "experiments" / "slurm" / "train.sbatch"
DDP = ("trainer.strategy=ddp", "trainer.accelerator=cpu", "wandb.mode=disabled", "only=[spd_mt]")
ASLEEP = """#!/usr/bin/env bash
echo "$@" >> "$LOG"
trap 'exit {status}' TERM
touch "$LOG.ready"
sleep {seconds} & wait
"""
NOTED = '#!/usr/bin/env bash\necho "$(basename "$0") $@" >> "$LOG"\n'
SRUN = """#!{python}
# What srun is to a job: each task of it with its own number; a signal goes to all, the highest exit status is its own.
import os, signal, subprocess, sys
words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
count = int(os.environ["SLURM_NTASKS"])
tasks = [
    subprocess.Popen(words, env=os.environ | {{"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i), "SLURM_NODEID": "0"}})
    for i in range(count)
]
signal.signal(signal.SIGTERM, lambda number, _: [task.send_signal(number) for task in tasks])
sys.exit(max(task.wait() for task in tasks))
"""
APO = '#!/usr/bin/env bash\nexec {python} -m apo_lightning "$@"\n'


def placed(folder: Path, **scripts: str) -> str:
    """A PATH on which the given commands come first."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


def job(path: str, log: Path, *words: str, tasks: int = 2) -> subprocess.Popen:
    """The batch script in the background, as slurmd starts it."""
    given = {
        "PATH": path,
        "LOG": str(log),
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NAME": "apo",
        "SLURM_NNODES": "1",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_NTASKS": str(tasks),
        "SLURM_NTASKS_PER_NODE": str(tasks),
        "MASTER_PORT": str(_free_port()),
    }
    own = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        ["bash", str(JOB), *words], cwd=ROOT, env=own | given, stdout=log.open("a"), stderr=subprocess.STDOUT
    )


def until(true: Callable[[], bool], process: subprocess.Popen, log: Path) -> None:
    while not true():
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)


def test_the_script_is_shell_and_asks_slurm_for_what_it_relies_on() -> None:
    subprocess.run(["bash", "-n", str(JOB)], check=True)
    asked = [line.split()[1] for line in JOB.read_text().splitlines() if line.startswith("#SBATCH")]
    assert {"--requeue", "--signal=B:TERM@120", "--ntasks-per-node=8", "--gpus-per-node=8"} <= set(asked)


@pytest.mark.parametrize(("status", "again"), [(143, True), (0, False), (2, False), (1, False)])
def test_a_job_that_was_stopped_goes_back_into_the_queue(tmp_path: Path, status: int, again: bool) -> None:
    """The signal reaches the batch shell alone, which hands it on and waits for what comes of it."""
    log = tmp_path / "log"
    path = placed(tmp_path / "bin", srun=ASLEEP.format(status=status, seconds=60), scontrol=NOTED)
    running = job(path, log, "qwen2_5_vl_7b/8x80gb", "stages.apo.steps=7", tasks=8)
    until(Path(f"{log}.ready").exists, running, log)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=20) == status
    said = log.read_text()
    wanted = "apo run qwen2_5_vl_7b/8x80gb trainer.devices=8 trainer.num_nodes=1 stages.apo.steps=7"
    assert said.startswith(f"--kill-on-bad-exit=1 {wanted}\n")
    assert ("scontrol requeue 4242" in said) == again


def test_a_job_that_ends_by_itself_hands_its_status_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for status in (0, 2):
        path = placed(tmp_path / "bin", srun=f"#!/usr/bin/env bash\nexit {status}\n", scontrol=NOTED)
        assert job(path, log, "smoke").wait(timeout=20) == status
    assert "requeue" not in log.read_text()
    assert job(path, log).wait(timeout=20) != 0
    assert "usage: sbatch train.sbatch EXPERIMENT" in log.read_text()


def steps(runs: Path) -> list[dict]:
    found = [
        json.loads(line) for path in runs.glob("store/spd-*/metrics.jsonl") for line in path.read_text().splitlines()
    ]
    return sorted(found, key=lambda row: row["step"])


@pytest.mark.slow
def test_a_job_is_ended_requeued_and_goes_on(words: list[str], tmp_path: Path) -> None:
    log, python = tmp_path / "log", sys.executable
    scripts = dict(srun=SRUN.format(python=python), apo=APO.format(python=python), scontrol=NOTED)
    path, runs = placed(tmp_path / "bin", **scripts), tmp_path / "runs"
    given = ("smoke", *words, *DDP, f"runs_dir={runs}", "stages.spd.steps=60", "stages.spd.checkpoint_every=2")
    first = job(path, log, *given)
    until(lambda: len(steps(runs)) >= 5, first, log)
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=120) == 143, log.read_text()
    said = log.read_text()
    assert said.count("scontrol requeue 4242") == 1 and "Traceback" not in said
    assert job(path, log, *given).wait(timeout=500) == 0, log.read_text()
    said = log.read_text()
    assert said.count("scontrol requeue 4242") == 1 and "continuing from step=" in said
    assert [row["step"] for row in steps(runs)] == list(range(1, 61))
    assert (runs / "smoke" / "results.csv").is_file()


def agents(words: tuple[str, ...], nodes: int, each: int) -> list[subprocess.Popen]:
    """A torchrun on every node, all of them on this machine."""
    port = _free_port()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MASTER"))}
    start = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={each}", f"--nnodes={nodes}"]
    start += ["--master_addr=127.0.0.1", f"--master_port={port}"]
    sizes = (f"trainer.devices={each}", f"trainer.num_nodes={nodes}")
    return [
        subprocess.Popen(
            [*start, f"--node_rank={rank}", "-m", "apo_lightning", "run", "smoke", *words, *sizes],
            cwd=ROOT,
            env=own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(nodes)
    ]


@pytest.mark.slow
def test_torchrun_on_one_and_on_two_nodes_is_one_run(words: list[str], tmp_path: Path) -> None:
    """Two processes learn what one learns from as many studies, however they were started; every study is answered once
    and in order, of an odd number of them too."""
    logs, answers = {}, {}
    for name, nodes, each in (("one", 1, 1), ("processes", 1, 2), ("nodes", 2, 1)):
        runs, count = tmp_path / name, nodes * each
        own = (*words, *DDP[1:], f"runs_dir={runs}", f"stages.spd.batch_studies={4 // count}", "data.test=5")
        started = agents((*own, *(DDP[:1] if count > 1 else ())), nodes, each)
        said = [process.communicate(timeout=500)[0] for process in started]
        assert [process.returncode for process in started] == [0] * nodes, said
        logs[name] = [row["train/loss"] for row in steps(runs)]
        rows = (runs / "smoke/spd_mt/seed0/evaluate/predictions.jsonl").read_text().splitlines()
        answers[name] = [json.loads(row)["study"] for row in rows]
    assert len(logs["one"]) == 6 and len(answers["one"]) == 5
    for name in ("processes", "nodes"):
        assert logs[name] == pytest.approx(logs["one"], abs=1e-4)
        assert answers[name] == answers["one"]
