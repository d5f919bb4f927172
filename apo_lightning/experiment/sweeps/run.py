"""The command: everything is checked, then workers take the trials, then there is one table."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd
from optuna.trial import TrialState

from apo_lightning.console import Console
from apo_lightning.errors import ApoError, ConfigError
from apo_lightning.experiment import processes
from apo_lightning.experiment.sweeps import file, points, tables, worker
from apo_lightning.experiment.sweeps.record import Record, open_record
from apo_lightning.files import locks

WORKER = "--worker"
"""Of the command line: this process is one of several that share a study, and neither checks nor concludes."""


def sweep(path: Path, overrides: Sequence[str] = (), trials: int | None = None, workers: int = 1) -> pd.DataFrame:
    """Run every trial that is not done, and end with a table, ``sweep.csv`` and figures.

    A trial that fails is recorded, and the others go on. The same command goes on with what was stopped or killed, and
    beside one that is running it shares the work.

    Args:
        path: the sweep file.
        overrides: ``key=value`` words over the experiment of every trial.
        trials: how many; None: what the file says.
        workers: processes that run trials at the same time.

    Returns:
        One row a trial and arm (`tables.frame`).

    Raises:
        ConfigError: the sweep file or any of its trials is not valid; nothing has been run.
        ArtifactError: the study holds trials of another sweep.
        ApoError: trials failed; everything else was run and written.
    """
    plan = file.read(path, overrides, trials)
    if plan.count is None:
        raise ConfigError(
            f"A {plan.method} search needs a number of trials ({plan.where}). Write run_cap: 16 into the file, or give "
            "--trials 16."
        )
    first = points.check(plan)[0]
    folder = folder_of(first.cfg.runs_dir, path)
    with closing(open_record(folder, plan, points.settled(plan, first), workers)) as record:
        record.again()
        _tell_begun(record, trials)
        _work(record, workers)
        return _conclude(record)


def _tell_begun(record: Record, asked: int | None) -> None:
    """What an earlier command did, and that a grid has no more than it has."""
    console, whole = Console(), record.plan.count or 0
    ended = (TrialState.COMPLETE, TrialState.PRUNED)
    if done := sum(trial.state in ended for trial in record.trials.values()):
        console.print(f"{done} of {whole} trials are there already, in {record.folder}", markup=False, soft_wrap=True)
    if record.plan.method == file.GRID and asked and asked > whole:
        console.print(f"This sweep has {whole} trials; --trials {asked} adds none.", markup=False, soft_wrap=True)


def folder_of(runs_dir: str, path: Path) -> Path:
    """Where a sweep's study, logs and tables lie."""
    return Path(runs_dir) / "sweeps" / path.stem


def join(path: Path, overrides: Sequence[str], trials: int | None) -> None:
    """Work as one of the processes that `sweep` starts."""
    plan = file.read(path, overrides, trials)
    first = {key: own.ends()[0] for key, own in plan.parameters.items()}
    with closing(Record(folder_of(points.load(plan, 1, first).cfg.runs_dir, path), plan)) as record:
        worker.work(record)


def _work(record: Record, workers: int) -> None:
    """Here, or in processes beside this one. One of those that dies is told of; the others take over its trial."""
    if workers == 1:
        worker.work(record)
        return
    plan = record.plan
    words = ["sweep", str(plan.path), *plan.overrides, "--trials", str(plan.count), WORKER]
    for outcome in processes.beside(words, workers):
        if outcome.status:
            Console(stderr=True).print(outcome.trace or outcome.message, style="red", markup=False, soft_wrap=True)


def _conclude(record: Record) -> pd.DataFrame:
    """
    Raises:
        ApoError: trials failed, or are left.
    """
    frame = tables.frame(record)
    with locks.held(record.folder / ".tables.lock", str(record.folder), lambda _: None):
        tables.write(record, frame)
    whole, again = record.plan.count or 0, "The same command runs only what is missing."
    if left := whole - frame["trial"].nunique():
        raise ApoError(f"{left} of {whole} trials were not run to their end. {again}")
    if failed := frame.loc[frame["error"] != "", "trial"].tolist():
        raise ApoError(
            f"{len(failed)} of {whole} trials failed: {', '.join(map(str, failed))}. "
            f"See {record.folder}/trial<k>.log. {again}"
        )
    return frame
