"""Weights & Biases: one run a stage, an arm's evaluation, the report of a run folder."""

from __future__ import annotations

import os
from pathlib import Path

import wandb
from lightning.pytorch.loggers import WandbLogger

from apo_lightning.hashing.contents import digest
from apo_lightning.leader import is_leader
from apo_lightning.settings import WandbSettings


def wandb_logger(settings: WandbSettings, folder: Path, *, group: str, stage: str) -> list[WandbLogger]:
    """One W&B run a stage; offline it lies in ``folder``. Inside a W&B sweep the trial itself is the one run."""
    if settings.mode == "disabled" or in_wandb_sweep():
        return []
    _choose_mode(settings)
    return [
        WandbLogger(
            project=settings.project, entity=settings.entity, save_dir=str(folder), group=group, job_type=stage,
            name=f"{group}/{stage}", offline=settings.mode == "offline",
        )
    ]  # fmt: skip


def _choose_mode(settings: WandbSettings) -> None:
    """W&B reads its mode once in a process, when it is first used. A trial keeps the mode of its agent."""
    if not in_wandb_sweep():
        os.environ["WANDB_MODE"] = settings.mode


def in_wandb_sweep() -> bool:
    """True where ``wandb agent`` started this process as a trial."""
    return "WANDB_SWEEP_ID" in os.environ


def wandb_summary(settings: WandbSettings, folder: Path, values: dict[str, float], *, group: str) -> None:
    """The evaluation of an arm as a W&B run; inside a W&B sweep it is the trial's own, whose metric the sweep reads."""
    if settings.mode == "disabled" or not is_leader():
        return
    _choose_mode(settings)
    where = {} if in_wandb_sweep() else {"group": group, "name": f"{group}/evaluate", "mode": settings.mode}
    with wandb.init(
        project=settings.project, entity=settings.entity, dir=str(folder), job_type="evaluate", **where
    ) as run:
        run.log(values)


def wandb_report(settings: WandbSettings, folder: Path, *, group: str) -> None:
    """Tables, figures and, where they may be shown, example studies of a finished run as one W&B run, which the next
    report of the same run folder goes on with. A trial of a sweep has none: its own run says what it reached."""
    if settings.mode == "disabled" or in_wandb_sweep() or not is_leader():
        return
    from apo_lightning.reports import uploads  # slow to import, and only the end of a run needs it

    _choose_mode(settings)
    with wandb.init(
        project=settings.project, entity=settings.entity, dir=str(folder), job_type="report", group=group,
        name=f"{group}/report", id=f"report-{digest([group, str(folder.resolve())])[:16]}", resume="allow",
        mode=settings.mode,
    ) as run:  # fmt: skip
        run.log(uploads.gather(folder))
