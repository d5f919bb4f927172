"""Losses: one file each, a pure function and a frozen dataclass of its settings. The folder is discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

LOSSES = Registry("loss")
discover(sys.modules[__name__])
