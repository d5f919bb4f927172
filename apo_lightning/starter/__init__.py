"""A project to begin with: an experiment, a loss and a data set of one's own, which `apo init` writes into a folder."""

from __future__ import annotations

from apo_lightning.starter.write import write

__all__ = ["write"]
