"""Bytes on each device while a stage trains or writes, by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from apo_lightning.models.sizes import architecture, count_on_meta, count_parts
from apo_lightning.scoring.memory import Shape, activations
from apo_lightning.settings import StudentSettings

NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in 4 bits: blocks of 64, their scales in 8 bits, those in blocks of 256 (double quantisation)."""
CONTEXT = 0.8e9
"""Of the driver, its libraries and the buffers of the vocabulary projection, about."""


@dataclass(frozen=True)
class Need:
    """Bytes on one device.

    Attributes:
        weights: of the network, and of the copy that full fine-tuning compares with.
        trained: float32 masters and gradients of what is trained, AdamW's moments, adapters of earlier stages.
        activations: of a pass, until its backward is done; of writing, keys and values of what is read and written,
            and what the pass over the prompts has at a time.
        context: what is there besides.
    """

    weights: float
    trained: float
    activations: float
    context: float = CONTEXT

    @property
    def total(self) -> float:
        return self.weights + self.trained + self.activations + self.context


def linears(config: Any) -> int:
    """Weights of the decoder's matrices, which 4 bits are for."""
    shape = Shape.of(config)
    own = shape.hidden * (2 * shape.queries + 2 * shape.kv + 3 * shape.inner)
    return shape.layers * own


def needs(
    student: StudentSettings,
    prompts: Sequence[int],
    answers: Sequence[Sequence[int]],
    *,
    mode: str,
    rows: int = 1,
    earlier: bool = False,
    shards: int = 1,
) -> Need:
    """What one device holds.

    Args:
        student: its settings.
        prompts: tokens of the prompts of a batch.
        answers: tokens of each answer to each.
        mode: ``packed``, ``joint`` or ``branchwise``.
        rows: answers at a time, branchwise.
        earlier: an adapter of an earlier stage lies below the one that is trained.
        shards: devices over which FSDP2 spreads the parameters.

    Raises:
        ConfigError: the student's architecture is not known.
    """
    config, unit = architecture(student.model).get_text_config(), getattr(torch, student.dtype).itemsize
    total, trained = count_on_meta(student)
    shape, fused = Shape.of(config), unit == 2 and student.adapter.kind != "full"
    found = activations(
        shape,
        prompts,
        answers,
        token=shape.token(fused=fused, drops=student.adapter.dropout > 0),
        unit=unit,
        kept=shape.hidden if student.gradient_checkpointing else None,
        packed=mode == "packed",
    )
    beside = min(rows * found.branch, found.branches) if mode == "branchwise" else found.branches
    weights, own = _weights(student, config, total, trained, unit), 16.0 * trained
    if student.adapter.kind == "full":
        own = 12.0 * trained  # the masters are the weights
    if earlier and student.adapter.kind != "full":
        own += 4.0 * trained
    whole = _gathered(student, unit) if shards > 1 else 0.0
    return Need(weights / shards + whole, own / shards, found.prompt + beside)


def writing(student: StudentSettings, rows: int, prompt: int, new: int) -> Need:
    """What one device holds that writes: the whole network, since answers are written by whole models side by side.

    Args:
        student: its settings.
        rows: answers at a time.
        prompt: tokens of each prompt.
        new: tokens of each answer.

    Raises:
        ConfigError: the student's architecture is not known.
    """
    config, unit = architecture(student.model).get_text_config(), getattr(torch, student.dtype).itemsize
    (total, trained), shape = count_on_meta(student), Shape.of(config)
    full = student.adapter.kind == "full"
    kept = 2 * shape.layers * shape.kv * unit * rows * (prompt + new)
    at_a_time = (4 * shape.hidden + (3 if full else 4) * shape.inner) * unit * rows * prompt  # an adapter adds a copy
    mask = rows * prompt**2
    weights = float(unit * total) if full else _weights(student, config, total, trained, unit)
    return Need(weights, 0.0 if full else 4.0 * trained, float(kept + at_a_time + mask))


def _gathered(student: StudentSettings, unit: int) -> float:
    """What FSDP2 holds whole on every device beside its shard: a block that computes and the one that is fetched, and
    for the length of a step what lies in no block; of full fine-tuning also that of the copy."""
    block, root = count_parts(student.model)
    full = student.adapter.kind == "full"
    return (4 if full else unit) * (2.0 * block + (2 if full else 1) * root)


def _weights(student: StudentSettings, config: Any, total: int, trained: int, unit: int) -> float:
    kind = student.adapter.kind
    if kind == "qlora":
        return linears(config) * NF4 + (total - linears(config)) * unit
    if kind == "full":
        return 2 * (4.0 * trained + unit * (total - trained))
    return float(unit * total)
