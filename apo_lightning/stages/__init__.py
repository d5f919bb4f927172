"""The three stages as LightningModules: learn (spd), compare (self_distill), critique (apo)."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

STAGES = Registry("stage")
discover(sys.modules[__name__])
