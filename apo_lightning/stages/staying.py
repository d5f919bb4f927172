"""Modules that share one network with what comes after them."""

from __future__ import annotations

from typing import Self

from lightning.pytorch import LightningModule


class Staying(LightningModule):
    """A module that stays on its device when Lightning is done with it: the next stage goes on with the same network,
    and moving 16 GB to the CPU and back takes longer than many a fit."""

    def cpu(self) -> Self:
        """What a strategy calls in its teardown; ``.to("cpu")`` moves the module."""
        return self
