"""How far teachers' token distributions are from the student's, on the tokens of the branches; nobody ever holds a
``[tokens, vocabulary]`` tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from apo_lightning.functional.teacher_logits import FullTeacher, TopK, head_logits, mixture
from apo_lightning.functional.vocabulary import RowFunction, head_rows
from apo_lightning.scoring.branches import Chunk, places
from apo_lightning.scoring.parts import Parts
from apo_lightning.types import BranchBatch

HiddenOf = Callable[[nn.Module, BranchBatch], tuple[Tensor, Sequence[Chunk]]]
RowsOf = Callable[[FullTeacher | TopK], RowFunction]


class Recorded(Protocol):
    """A teacher whose likeliest tokens were recorded beforehand."""

    def top_k(self, study: str, tokens: Tensor) -> TopK:
        """Rows ``[T, K]`` of the answer ``tokens`` ``[T]`` to a study, on the CPU."""
        ...


@dataclass(frozen=True)
class _States:
    """Hidden states of a model ``[M, H]`` with the place ``[M]`` of each token in ``[B, U, T]``, ascending."""

    hidden: Tensor
    place: Tensor
    parts: Parts

    def at(self, place: Tensor) -> Tensor:
        return self.hidden[torch.searchsorted(self.place, place)]

    def teacher(self, place: Tensor, vocabulary: int) -> FullTeacher:
        head = self.parts.head
        return head_logits(self.at(place), head.weight, bias=getattr(head, "bias", None), vocabulary=vocabulary)


def divergences(
    model: nn.Module,
    batch: BranchBatch,
    teachers: Mapping[str, nn.Module | Recorded],
    rows: RowsOf,
    *,
    mixed: bool,
    hidden_of: HiddenOf,
) -> Tensor:
    """Divergence between teachers and ``model`` at every scored token.

    Args:
        model: the student, with gradients where they are enabled.
        batch: branches whose ``sources`` name teachers.
        teachers: by name, frozen models with the student's tokenizer and image layout, or what was recorded of them.
        rows: the divergence of one teacher (`functional.divergence.divergence_rows`).
        mixed: compare with the weighted mixture of the study's teachers everywhere, instead of teacher u alone on
            branch u.
        hidden_of: hidden states of the scored tokens of a batch under a model, and the chunks that they come from.

    Returns:
        ``[B, U, T]`` float32, 0 where nothing is scored.

    Raises:
        ValueError: a branch is of a teacher without a model, or teachers are mixed of whom the likeliest tokens alone
            are known.
    """
    owner, names = _owners(batch, teachers), list(teachers)
    here = {u: who for u, who in enumerate(teachers.values()) if isinstance(who, nn.Module)}
    if mixed and len(here) < len(names):
        known = ", ".join(name for u, name in enumerate(names) if u not in here)
        raise ValueError(f"teachers cannot be mixed of whom the likeliest tokens alone are known: {known}")
    student = _states(model, batch, hidden_of)
    shape = batch.branch_ids.shape
    out = torch.zeros(shape.numel(), device=batch.branch_ids.device)
    vocabulary = min(len(Parts.of(known).head.weight) for known in (model, *here.values()))
    with torch.no_grad():
        # A teacher speaks on its own branches, or on all of them where distributions are mixed.
        asked = {u: batch if mixed else replace(batch, present=batch.present & (owner == u)) for u in here}
        heard = {u: _states(here[u], own, hidden_of) for u, own in asked.items() if own.present.any()}
    if mixed:
        share = _shares(batch, owner, len(names))[student.place // (shape[1] * shape[2])]
        every = [heard[u].teacher(student.place, vocabulary) for u in heard]
        return _filled(out, student, student.place, rows(mixture(every, share[:, list(heard)]))).view(shape)
    for states in heard.values():
        out = _filled(out, student, states.place, rows(states.teacher(states.place, vocabulary)))
    for u, name in enumerate(names):
        if u not in here and (batch.present & (owner == u)).any():
            place, known = _listed(batch, owner == u, teachers[name])
            out = _filled(out, student, place, rows(known))
    return out.view(shape)


def _listed(batch: BranchBatch, own: Tensor, teacher: Recorded) -> tuple[Tensor, TopK]:
    """Places ``[M]`` of the scored tokens of a teacher's own branches, ascending, and what was recorded of them."""
    _, branches, longest = batch.branch_ids.shape
    lengths = (batch.branch_mask * (batch.present & own)[..., None]).sum(-1)
    places, found = [], []
    for b, u in lengths.nonzero().tolist():
        count = int(lengths[b, u])
        places.append((b * branches + u) * longest + torch.arange(count))
        found.append(teacher.top_k(batch.studies[b], batch.branch_ids[b, u, :count].cpu()))
    device = batch.branch_ids.device
    ids, logps, tails = (
        torch.cat(parts).to(device) for parts in zip(*((t.ids, t.logps, t.tail) for t in found), strict=True)
    )
    return torch.cat(places).to(device), TopK(ids, logps, found[0].temperature, tails)


def _filled(out: Tensor, student: _States, place: Tensor, function: RowFunction) -> Tensor:
    head = student.parts.head
    return out.index_put(
        (place,), head_rows(student.at(place), head.weight, function, bias=getattr(head, "bias", None))
    )


def _states(model: nn.Module, batch: BranchBatch, hidden_of: HiddenOf) -> _States:
    hidden, chunks = hidden_of(model, batch)
    b, u, t = places(chunks, batch.branch_ids.device)
    place, order = torch.sort((b * batch.branch_ids.shape[1] + u) * batch.branch_ids.shape[2] + t)
    return _States(hidden[order], place, Parts.of(model))


def _owners(batch: BranchBatch, teachers: Mapping[str, nn.Module | Recorded]) -> Tensor:
    """``[B, U]`` number of the teacher of each branch, -1 where there is none."""
    numbers = {name: u for u, name in enumerate(teachers)}
    owner = torch.full(batch.present.shape, -1, device=batch.present.device)
    for b, row in enumerate(batch.sources):
        for u, name in enumerate(row):
            if name not in numbers:
                raise ValueError(
                    f"branch '{name}' of study '{batch.studies[b]}' has no model; there are: {', '.join(numbers)}"
                )
            owner[b, u] = numbers[name]
    return owner


def _shares(batch: BranchBatch, owner: Tensor, teachers: int) -> Tensor:
    """``[B, N]`` weight of each teacher in a study, 0 where it did not answer."""
    weight = torch.where(batch.present, batch.weight, 0)
    share = torch.zeros(len(batch), teachers + 1, device=weight.device).scatter_add(1, owner + 1, weight)
    return share[:, 1:]
