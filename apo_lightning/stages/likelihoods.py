"""How likely a student finds t+ and the teachers' texts, study by study, by ``trainer.validate``."""

from __future__ import annotations

from itertools import chain

from torch import Tensor
from torch import distributed as dist

from apo_lightning.functional.logprobs import length_normalized
from apo_lightning.models.student import Student
from apo_lightning.stages.staying import Staying
from apo_lightning.types import BranchBatch, Scores

Row = tuple[float, list[float]]
"""Log p in nats of t+, and of the text of each teacher that is present."""


class Likelihoods(Staying):
    """Scores the validation examples of a connected data module, whose slot 0 is t+.

    Attributes:
        rows: after ``trainer.validate``, in every process: one for each study, in the order of the examples.
    """

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student
        self.rows: list[Row] = []
        self._own: list[list[Row]] = []

    def on_validation_epoch_start(self) -> None:
        self.rows, self._own = [], []

    def validation_step(self, batch: BranchBatch, batch_idx: int) -> None:
        logps, present = self.values(self.student.score(batch)).tolist(), batch.present.tolist()
        found = [
            (row[0], [value for value, there in zip(row[1:], own[1:], strict=True) if there])
            for row, own in zip(logps, present, strict=True)
        ]
        self._own.append([] if batch.padding else found)

    def values(self, scores: Scores) -> Tensor:
        """``[B, U]`` what is noted of each text."""
        return scores.logps

    def on_validation_epoch_end(self) -> None:
        """Processes have taken turns: batch 0 in the first, batch 1 in the second."""
        parts = [self._own]
        if self.trainer.world_size > 1:
            parts *= self.trainer.world_size
            dist.all_gather_object(parts, self._own)
        self.rows = list(chain.from_iterable(chain.from_iterable(zip(*parts, strict=True))))


class TokenLikelihoods(Likelihoods):
    """The same by token: the mean log-probability of a text's tokens, in nats. Slot 0 is the first text of a study,
    whoever's it is."""

    def values(self, scores: Scores) -> Tensor:
        return length_normalized(scores.logps, scores.lengths)
