"""Which answers of one row of a table are right, study by study: what paired tests compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Correct:
    """Letters in shapes: S studies, F findings.

    Attributes:
        metric: the measure that this is counted for: its value for a finding is ``right / labelled``, summed over
            studies, and its mean is over the findings that have a label.
        findings: names of the F findings.
        patients: ``[S]``.
        right: ``[S, F]`` 1 where the answer is right, 0 where it is wrong or there is no label.
        labelled: ``[S, F]`` 1 where there is a label.
    """

    metric: str
    findings: Sequence[str]
    patients: Sequence[str]
    right: np.ndarray
    labelled: np.ndarray

    def asks_as(self, other: Correct) -> bool:
        """Whether both answer the same questions: studies of the same patients in one order, with the same labels."""
        return (
            self.metric == other.metric
            and list(self.findings) == list(other.findings)
            and list(self.patients) == list(other.patients)
            and np.array_equal(self.labelled, other.labelled)
        )
