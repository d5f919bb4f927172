"""Teachers: one file each, a dataclass of settings that answers studies. The folder is discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

TEACHERS = Registry("teacher")
discover(sys.modules[__name__])
