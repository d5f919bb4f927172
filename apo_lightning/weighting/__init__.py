"""How much each teacher's text counts, in what is taught and in what is rejected: one file per strategy, a frozen
dataclass of its settings. The folder is discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

WEIGHTS = Registry("strategy for weights")
DEFAULT = "user"
"""Those that the experiment file gives the teachers."""
discover(sys.modules[__name__])
