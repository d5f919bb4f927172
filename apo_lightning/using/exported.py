"""What an export was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from apo_lightning.using.fidelity import Fidelity

BESIDE = "base"
"""Folder of the base model in an adapter's, where it has no name that another machine knows."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: where.
        form: ``merged`` or ``adapter``.
        base: what the weights were before any training, as another machine knows it; `BESIDE`: it lies in the folder.
        rank: of an adapter; 0 of merged weights.
        fidelity: the exported student beside the run's.
    """

    folder: Path
    form: str
    base: str
    rank: int
    fidelity: Fidelity
