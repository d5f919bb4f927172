"""A W&B sweep file, run here: no account, no agent, several workers on one Optuna study, one store of stages.

`file` reads what is asked for, `proposals` says which parameters a trial has, `record` keeps the study, `worker` takes
trial after trial, `run` is the command. What a trial is to try depends on the file, its number and the results of
earlier trials alone, never on time: so a sweep that was killed ends with the table of one that was not, unless it ends
trials early (`early`), which depends on who came before.
"""

from __future__ import annotations

from apo_lightning.experiment.sweeps.file import Plan, read
from apo_lightning.experiment.sweeps.points import check

__all__ = ["Plan", "check", "read"]
