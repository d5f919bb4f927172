"""Answers behind damaged images: they share a prompt with no other, and are scored in a pass of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor

from apo_lightning.types import BranchBatch, PromptBatch, Scores

PLACE = 1
"""Column of the answers that stand behind damaged images."""


def by_images(batch: BranchBatch) -> list[tuple[list[int], BranchBatch]]:
    """Columns, and the batch of these alone behind their own images: one batch, or two where some are damaged."""
    every = list(range(batch.branch_ids.shape[1]))
    if batch.damaged is None:
        return [(every, batch)]
    whole = [place for place in every if place != PLACE]
    behind = {own.name: getattr(batch.damaged, own.name) for own in fields(PromptBatch)}
    behind["padding"] = batch.padding
    return [
        (whole, replace(batch.columns(whole), damaged=None)),
        ([PLACE], replace(batch.columns([PLACE]), **behind, damaged=None)),
    ]


def score_apart(
    one: Callable[[BranchBatch, Tensor | None], Scores], batch: BranchBatch, grad_wrt_logps: Tensor | None
) -> Scores:
    """Scores of all columns, each behind its own images.

    Args:
        one: scores a batch whose answers stand behind the same images, given what it may know of the gradient.
        batch: with damaged images or without.
        grad_wrt_logps: ``[B, U]``, see `scoring.score`.
    """
    order, parts = list[int](), list[Scores]()
    for columns, part in by_images(batch):
        parts.append(one(part, None if grad_wrt_logps is None else grad_wrt_logps[:, columns]))
        order += columns
    if len(parts) == 1:
        return parts[0]
    places = [order.index(column) for column in range(len(order))]
    names = [own.name for own in fields(Scores)]
    return Scores(**{name: torch.cat([getattr(part, name) for part in parts], 1)[:, places] for name in names})
