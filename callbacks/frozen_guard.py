"""Fails a run in which something moved that was meant to stand still."""

from __future__ import annotations

from typing import ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor

from apo_lightning.errors import ApoError
from callbacks import CALLBACKS

BLOCK, BLOCKS = 1024, 256
"""Elements of a block, and blocks of a tensor on the CPU that are read, evenly spread; a smaller one is read whole."""

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@CALLBACKS.register("frozen_guard")
class FrozenGuard(Callback):
    """Sums the bits of every parameter that does not require a gradient, at the start and at the end of training.

    On an accelerator all of them are read where they lie, on the CPU a quarter of a million elements a tensor, so that
    the guard of a 7B network costs well under a second on either.

    Raises:
        ApoError: a frozen parameter changed; the message names the first one.
    """

    observes: ClassVar[bool] = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = checksums(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        after = checksums(pl_module)
        moved = sorted(name for name, value in self.before.items() if after.get(name, value) != value)
        if moved:
            raise ApoError(f"{len(moved)} frozen parameters moved during training, the first is {moved[0]}.")


def checksums(module: LightningModule) -> dict[str, int]:
    """Sum of the bits of each frozen parameter, of this process's shard where parameters are sharded."""
    return {name: int(_sum(p)) for name, p in module.named_parameters() if not p.requires_grad}


def _sum(parameter: Tensor) -> Tensor:
    """Bits read as integers and added up modulo 2^64. A sum, since an exclusive or misses the same change made to an
    even number of elements."""
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    flat = local.detach().reshape(-1)
    if flat.device.type == "cpu" and flat.numel() > BLOCK * BLOCKS:
        blocks = flat[: flat.numel() // BLOCK * BLOCK].view(-1, BLOCK)
        flat = blocks[:: -(-len(blocks) // BLOCKS)].reshape(-1)
    return flat.view(BITS[flat.element_size()]).sum(dtype=torch.int64)
