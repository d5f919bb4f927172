"""The command line: parse, call, print."""

from __future__ import annotations

from apo_lightning.cli.commands import main

__all__ = ["main"]
