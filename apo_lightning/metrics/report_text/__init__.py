"""What is measured on report texts beside a reference text. One file per metric; the folder is discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

TEXT_METRICS = Registry("text metric")
discover(sys.modules[__name__])
