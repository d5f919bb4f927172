"""A run's student in use: asked about images (`TrainedStudent`)."""

from __future__ import annotations

from apo_lightning.using.chosen import Chosen, choose
from apo_lightning.using.trained import Reply, TrainedStudent

__all__ = ["Chosen", "Reply", "TrainedStudent", "choose"]
