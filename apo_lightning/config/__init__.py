"""Experiment files to typed settings: ``extends`` files in order, then the experiment, then ``key=value``."""

from __future__ import annotations

from apo_lightning.config.load import (
    EXPERIMENTS,
    build,
    check_base,
    dump,
    find,
    list_experiments,
    list_ready,
    load,
    resolve_arm,
    to_dict,
)

__all__ = [
    "EXPERIMENTS",
    "build",
    "check_base",
    "dump",
    "find",
    "list_experiments",
    "list_ready",
    "load",
    "resolve_arm",
    "to_dict",
]
