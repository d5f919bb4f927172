"""Where the preferred trajectory t+ comes from: one file per strategy, a frozen dataclass of its settings. The folder
is discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

POSITIVES = Registry("strategy for t+")
DEFAULT = "student"
"""The paper's: the student reads every teacher and writes t+."""
discover(sys.modules[__name__])
