"""A student against itself with more in its prompt, token by token; nobody ever holds a ``[tokens, vocabulary]``
tensor."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from apo_lightning import scoring
from apo_lightning.functional.teacher_logits import FullTeacher, head_logits
from apo_lightning.functional.vocabulary import head_rows
from apo_lightning.models.student import Student
from apo_lightning.scoring import precision
from apo_lightning.settings import DecodingSettings
from apo_lightning.types import BranchBatch


def divergence(student: Student, batch: BranchBatch, informed: BranchBatch, rows: scoring.RowsOf) -> Tensor:
    """Divergence from the frozen student under the prompts of ``informed`` to the student under those of ``batch``.

    Args:
        student: that is trained; the frozen one is what it was when it was made trainable (`Student.reference`).
        batch: answers with the prompts that are learned.
        informed: the same answers and images behind other prompts.
        rows: the divergence of one teacher (`functional.divergence.divergence_rows`).

    Returns:
        ``[B, U, T]`` float32, 0 where nothing is scored, with gradients where they are enabled.
    """
    shape = batch.branch_ids.shape
    out = torch.zeros(shape.numel(), device=batch.branch_ids.device)
    if not (batch.branch_mask * batch.present[..., None]).any():
        return out.view(shape)
    with precision.compute(student.model, student.settings.dtype):
        student.encode_images(batch)
        informed.features = batch.features
        # The student first: what autocast has cast without gradients, it would take for the student's pass too.
        hidden, place = scoring.states(student.model, batch, **student._way)
        place, order = _in_order(place, shape)
        weight, bias = student.head
        values = head_rows(hidden[order], weight, rows(_frozen(student, informed)), bias=bias)
    return out.index_put((place,), values).view(shape)


def own_answers(student: Student, batch: BranchBatch, max_new_tokens: int) -> BranchBatch:
    """The batch with one answer a study: what the student that is trained says now, drawn from its whole distribution
    under the plain prompt, without dropout. A study that had no answer has none. No gradient goes through the draw."""
    trained = student.training
    student.eval()
    try:
        ids = student.write_tokens(batch, DecodingSettings(max_new_tokens, sample=True))
    finally:
        student.train(trained)
    ends = torch.isin(ids, torch.tensor(student.stop_tokens, device=ids.device))
    scored = (ends.long().cumsum(-1) - ends.long() == 0).long()[:, None]  # the first end is part of the answer
    own = replace(batch.first(1), branch_ids=ids[:, None], branch_mask=scored, branch_keys=None)
    return replace(own, conflict=torch.zeros_like(scored, dtype=torch.bool), contradicted=None, judged=None)


def _frozen(student: Student, informed: BranchBatch) -> FullTeacher:
    """What the frozen student gives, its tokens in order of their places."""
    with student.reference():
        hidden, place = student.states(informed)
        weight, bias = student.head
        return head_logits(hidden[_in_order(place, informed.branch_ids.shape)[1]], weight, bias=bias)


def _in_order(place: Tensor, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """Places ``[M, 3]`` in ``[B, U, T]`` as ascending numbers ``[M]``, and the order that sorts them: how answers are
    run together depends on the length of their prompts."""
    b, u, t = place.unbind(1)
    return torch.sort((b * shape[1] + u) * shape[2] + t)
