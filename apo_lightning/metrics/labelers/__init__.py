"""Who reads findings out of a report: our rules, or models of others. One file per labeler, discovered."""

from __future__ import annotations

import sys

from apo_lightning.registry import Registry, discover

LABELERS = Registry("labeler")
discover(sys.modules[__name__])
