"""A teacher of a few rows, for tests of divergences."""

from __future__ import annotations

import torch
from torch import Tensor

from apo_lightning.functional.teacher_logits import FullTeacher, log_softmax_


def given_logits(logits: Tensor) -> FullTeacher:
    """A teacher whose logits (or log-probs) ``[M, V]`` are at hand."""

    def teacher(rows: slice, temperature: float) -> Tensor:
        wide = torch.promote_types(logits.dtype, torch.float32)
        return log_softmax_(logits[rows].detach().to(wide, copy=True), temperature)

    return teacher
