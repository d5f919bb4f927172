"""Weights & Biases: a run for each stage, for each arm's evaluation and for the report; in a sweep, one for the trial.

| | outside a sweep | in a trial of a W&B sweep |
|---|---|---|
| runs | one a stage, grouped by experiment | the trial's own, for everything |
| curves | ``train/loss`` | ``<arm>/seed<k>/<stage>/train/loss`` over ``<arm>/seed<k>/<stage>/step`` |
| scores | ``val/accuracy`` | ``<arm>/seed<k>/val/accuracy``; their means ``<arm>/val/accuracy`` and ``val/accuracy`` |
| tables, figures | run ``report`` | in the trial |
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import wandb

from apo_lightning import leader
from apo_lightning.experiment import objective
from apo_lightning.experiment.jsonl_logger import FILE
from apo_lightning.experiment.run_names import Who, arm_config, run_config, tags
from apo_lightning.experiment.stage_files import read_means
from apo_lightning.experiment.stage_logger import StageLogger
from apo_lightning.files import jsonlines
from apo_lightning.hashing.contents import digest
from apo_lightning.leader import is_leader
from apo_lightning.settings import ExperimentSettings, WandbSettings

UNKNOWN = object()
"""The metric of a sweep that cannot be asked."""


def in_wandb_sweep() -> bool:
    """True where ``wandb agent`` started this process as a trial."""
    return "WANDB_SWEEP_ID" in os.environ


def stage_logger(
    settings: WandbSettings, folder: Path, who: Who, stage: str, config: Mapping[str, Any], *, shown: bool = True
) -> list[StageLogger]:
    """The loggers of a fit; none where W&B is disabled. Every process must call it.

    Args:
        folder: of the stage, where an offline run lies.
        config: the arm's resolved settings (`config.to_dict`).
        shown: whether texts of the data may be shown elsewhere; the terminal may hold some.
    """
    if settings.mode == "disabled":
        return []
    if in_wandb_sweep():
        return [_logger_of_trial(folder, who.key(stage))]
    own = {"config": arm_config(config, who, stage), "settings": _console(shown)}
    return [StageLogger(save_dir=str(folder), **_of_stage(settings, who, stage), **own)]


def _logger_of_trial(folder: Path, prefix: str) -> StageLogger:
    run = _trial(folder) if is_leader() else None
    if run is not None:
        run.define_metric(f"{prefix}/step", hidden=True)
        run.define_metric(f"{prefix}/*", step_metric=f"{prefix}/step")
    return StageLogger(experiment=run, prefix=prefix)


def tell_stored(settings: WandbSettings, folder: Path, who: Who, stage: str) -> None:
    """A trial also gets the curves of a stage that was in the store, as far as its ``metrics.jsonl`` tells them."""
    path = folder / FILE
    if settings.mode == "disabled" or not in_wandb_sweep() or not is_leader() or not path.is_file():
        return
    logger = _logger_of_trial(folder, who.key(stage))
    for row in jsonlines.read_grown(path, keys=("step",)).rows:
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        logger.log_metrics(numbers, numbers.pop("step") - 1)  # Lightning counts from 0


def tell_evaluation(
    settings: WandbSettings, folder: Path, who: Who, values: Mapping[str, float], config: Mapping[str, Any]
) -> None:
    """The scores of an arm and seed: as a run, or, in a trial, under keys of their own.

    Args:
        folder: of the stage, where an offline run lies.
        values: such as ``val/accuracy``.
        config: the arm's resolved settings (`config.to_dict`).
    """
    if settings.mode == "disabled" or not is_leader():
        return
    if in_wandb_sweep():
        _trial(folder).log({who.key(name): value for name, value in values.items()})
        return
    where = {"dir": str(folder), **_of_stage(settings, who, "evaluate")}
    with wandb.init(**where, config=arm_config(config, who, "evaluate")) as run:
        run.log(dict(values))


def tell_trial(settings: WandbSettings, folder: Path, found: Mapping[Who, Mapping[str, float]]) -> None:
    """At the end of a trial: what the sweep may optimise. Outside of a sweep nothing.

    Args:
        folder: of the run.
        found: all scores of all arms and seeds.
    """
    if settings.mode != "disabled" and in_wandb_sweep() and is_leader():
        _trial(folder).log(means(found))


def means(found: Mapping[Who, Mapping[str, float]]) -> dict[str, float]:
    """Each score as the mean over an arm's seeds (``<arm>/val/accuracy``), and as the mean of those (``val/accuracy``);
    what has no value is left out of a mean."""
    rows = [(who.arm, name, value) for who, values in found.items() for name, value in values.items()]
    frame = pd.DataFrame(rows, columns=["arm", "name", "value"])
    by_arm = frame.groupby(["arm", "name"], sort=False)["value"].mean()
    plain = by_arm.groupby("name", sort=False).mean()
    return {f"{arm}/{name}": value for (arm, name), value in by_arm.items()} | plain.to_dict()


def tell_report(settings: WandbSettings, folder: Path, experiment: str, config: Mapping[str, Any]) -> None:
    """Tables, figures and, where they may be shown, example studies of a finished run: as one W&B run, which the next
    report of the same run folder goes on with, or in the trial.

    Args:
        folder: of the run.
        config: what holds for all of its arms (`run_config`).
    """
    if settings.mode == "disabled" or not is_leader():
        return
    from apo_lightning.reports import uploads  # slow to import, and only the end of a run needs it

    if in_wandb_sweep():
        _trial(folder).log(uploads.gather(folder))
        return
    own = f"report-{digest([experiment, str(folder.resolve())])[:16]}"
    where = {**_grouped(settings, experiment, "report"), "name": "report", "tags": tags(experiment, "report")}
    again = {"id": own, "resume": "allow", "allow_val_change": True}
    with wandb.init(dir=str(folder), config=dict(config), **where, **again) as run:
        run.log(uploads.gather(folder))


def tell_end(cfg: ExperimentSettings, folder: Path) -> None:
    """What is told once a run has its report: `tell_trial` and `tell_report`.

    Args:
        cfg: the experiment.
        folder: of the run.

    Raises:
        ArtifactError: a file of the run is missing or damaged.
    """
    if cfg.wandb.mode == "disabled" or not is_leader():
        return
    found = {
        Who(cfg.name, arm, seed): read_means(folder / arm / f"seed{seed}" / "evaluate/scores.json", own.evaluate.split)
        for arm, own in cfg.resolved.items()
        for seed in cfg.seeds
    }
    tell_trial(cfg.wandb, folder, found)
    tell_report(cfg.wandb, folder, cfg.name, run_config(cfg.resolved))


@contextmanager
def trial(cfg: ExperimentSettings, folder: Path, guarded: Collection[str] = ()) -> Iterator[None]:
    """Inside, a trial of a sweep has its one W&B run open, which is marked as failed where this fails. Elsewhere
    nothing happens.

    Args:
        cfg: the experiment.
        folder: of the run.
        guarded: sets that are shown only with ``acknowledge``. Without it the terminal, which may hold texts of theirs,
            is not recorded.

    Raises:
        ConfigError: the trial runs several arms, and the sweep does not say which of them it optimises.
    """
    if cfg.wandb.mode == "disabled" or not in_wandb_sweep() or not is_leader():
        yield
        return
    names = tags(cfg.name.split("-sweep/")[0], *cfg.resolved, *(f"seed{seed}" for seed in cfg.seeds))
    console = _console(set(guarded) <= set(cfg.acknowledge))
    with _trial(folder, config=run_config(cfg.resolved), tags=names, settings=console) as run:
        if (metric := _metric_of(run)) is not UNKNOWN:
            objective.require(metric, cfg, f"W&B sweep {run.sweep_id}")
        yield


def _metric_of(run: Any) -> Any:
    """``metric`` of the sweep that a trial belongs to, which its agent does not hand on."""
    if run.offline:
        return UNKNOWN
    try:
        return wandb.Api(timeout=30).sweep(f"{run.entity}/{run.project}/{run.sweep_id}").config.get("metric")
    except Exception as error:  # its client raises many kinds, none of them its own
        leader.warn(f"  W&B does not say what the sweep optimises ({error}).")
        return UNKNOWN


def _trial(folder: Path, **how: Any) -> Any:
    """The open run of this trial. Project, entity and id are the agent's."""
    return wandb.run or wandb.init(dir=str(folder), **how)


def _of_stage(settings: WandbSettings, who: Who, stage: str) -> dict[str, Any]:
    return {**_grouped(settings, who.experiment, stage), "name": who.key(stage), "tags": who.tags(stage)}


def _grouped(settings: WandbSettings, experiment: str, stage: str) -> dict[str, Any]:
    """Where a run of its own belongs, as arguments of `wandb.init`."""
    os.environ["WANDB_MODE"] = settings.mode  # which W&B reads once in a process, when it is first used
    place = {"project": settings.project, "entity": settings.entity, "mode": settings.mode}
    return {**place, "group": experiment, "job_type": stage}


def _console(shown: bool) -> wandb.Settings | None:
    return None if shown else wandb.Settings(console="off")
