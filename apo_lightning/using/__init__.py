"""A run's student in use: asked about images (`TrainedStudent`), and taken to other machines (`export`)."""

from __future__ import annotations

from apo_lightning.using.chosen import Chosen, choose
from apo_lightning.using.exported import Exported
from apo_lightning.using.exporting import export
from apo_lightning.using.trained import Reply, TrainedStudent

__all__ = ["Chosen", "Exported", "Reply", "TrainedStudent", "choose", "export"]
