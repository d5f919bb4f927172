"""What a labeler is given and gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np


class Labeler(ABC):
    """Reads findings out of whole reports. What is said with doubt counts as present, as in CheXbert's mode ``rrg``.

    Attributes:
        findings: the names it knows; None where it looks for any.
    """

    findings: tuple[str, ...] | None = None

    def lacking(self) -> str:
        """Empty where it can be used here; else one sentence: what is not there, and what to do."""
        return ""

    @abstractmethod
    def read(self, texts: Sequence[str], findings: Sequence[str]) -> np.ndarray:
        """Values ``[S, F]`` of S texts: 1 present, 0 absent, NaN not stated, or not known to this labeler."""
