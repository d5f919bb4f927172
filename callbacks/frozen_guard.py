"""Fails a run in which something moved that was meant to stand still."""

from __future__ import annotations

import hashlib
from typing import ClassVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor

from apo_lightning.errors import ApoError
from callbacks import CALLBACKS


@CALLBACKS.register("frozen_guard")
class FrozenGuard(Callback):
    """Hashes every parameter that does not require a gradient at the start and at the end of training.

    Raises:
        ApoError: a frozen parameter changed; the message names the first one.
    """

    observes: ClassVar[bool] = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = frozen_hashes(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        after = frozen_hashes(pl_module)
        moved = sorted(name for name, value in self.before.items() if after.get(name, value) != value)
        if moved:
            raise ApoError(f"{len(moved)} frozen parameters moved during training, the first is {moved[0]}.")


def frozen_hashes(module: LightningModule) -> dict[str, str]:
    """SHA-1 of the bytes of each frozen parameter, of this process's shard where parameters are sharded."""
    frozen = {name: p for name, p in module.named_parameters() if not p.requires_grad}
    return {name: hashlib.sha1(_bytes(parameter)).hexdigest() for name, parameter in frozen.items()}


def _bytes(parameter: Tensor) -> bytes:
    local = parameter.to_local() if isinstance(parameter, DTensor) else parameter
    return local.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
