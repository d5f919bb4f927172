"""Lightning callbacks, one file each: they observe and write, and never change weights or losses."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

CALLBACKS = Registry("callback")
discover(sys.modules[__name__])
