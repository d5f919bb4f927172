"""What the preferred trajectory t+ is compared with: one file per strategy, a frozen dataclass of its settings. The
folder is discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

NEGATIVES = Registry("strategy for negatives")
DEFAULT = "raw"
"""The paper's: the teachers' texts as they are."""
discover(sys.modules[__name__])
