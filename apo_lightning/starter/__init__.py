"""A project to begin with, which `apo init` writes: an experiment, a loss and a data set that are made up, or an
experiment on the images, labels and texts that somebody has."""

from __future__ import annotations

from apo_lightning.starter import own
from apo_lightning.starter.write import write

__all__ = ["own", "write"]
