"""Data sets: one file each, a subclass of ``base.CXRDataModule``. The folder is discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

DATA = Registry("data set")
discover(sys.modules[__name__])
