"""AdamW, with its moments in float32 or in 8 bits, on the device or paged."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from apo_lightning.errors import ConfigError
from apo_lightning.settings import OptimSettings

BITSANDBYTES = {"adamw_8bit": "AdamW8bit", "paged_adamw": "PagedAdamW", "paged_adamw_8bit": "PagedAdamW8bit"}
"""Settings to the names of that library, which quantises moments of 4,096 parameters and more, block by block."""


def build(how: OptimSettings, trained: Iterable[nn.Parameter]) -> Optimizer:
    """
    Raises:
        ConfigError: the package that has it is not here.
    """
    given = dict(lr=how.lr, betas=tuple(how.betas), weight_decay=how.weight_decay)
    if how.name not in BITSANDBYTES:
        return torch.optim.AdamW(trained, **given)
    try:
        import bitsandbytes
    except ImportError as error:
        raise ConfigError(
            f"optim.name {how.name} needs the package bitsandbytes (pip install bitsandbytes), or take adamw."
        ) from error
    return getattr(bitsandbytes.optim, BITSANDBYTES[how.name])(trained, **given)
