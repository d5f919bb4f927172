"""Fails a run in which something moved that was meant to stand still."""

from __future__ import annotations

import hashlib

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.errors import ApoError
from callbacks import CALLBACKS


@CALLBACKS.register("frozen_guard")
class FrozenGuard(Callback):
    """Hashes every parameter that does not require a gradient at the start and at the end of training.

    Raises:
        ApoError: a frozen parameter changed; the message names the first one.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = frozen_hashes(pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        after = frozen_hashes(pl_module)
        moved = sorted(name for name, value in self.before.items() if after.get(name, value) != value)
        if moved:
            raise ApoError(f"{len(moved)} frozen parameters moved during training, the first is {moved[0]}.")


def frozen_hashes(module: LightningModule) -> dict[str, str]:
    """SHA-1 of the bytes of each local frozen parameter."""
    return {
        name: hashlib.sha1(_local(parameter).detach().cpu().contiguous().flatten().view(-1).numpy(force=True).tobytes()).hexdigest()
        for name, parameter in module.named_parameters()
        if not parameter.requires_grad and parameter.dtype.is_floating_point and parameter.element_size() > 2
    }


def _local(parameter):  # noqa: ANN001, ANN202  # a DTensor knows its local shard
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter
