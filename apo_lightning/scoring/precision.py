"""Which precision each part of a student has, inside Lightning and outside of it.

| part | precision |
|---|---|
| frozen layers | ``student.dtype`` (4 bits under QLoRA) |
| what is trained (adapters, or the language part), its gradients and the optimiser's state | float32 |
| matrix products, adapters' included | ``student.dtype``; under a mixed ``trainer.precision`` that one |
| softmax of attention and vocabulary, norms' statistics, log-probs, losses | float32 |

Autocast does it: Lightning enters it for a mixed ``trainer.precision``, and a student of 16 bits enters it by itself
where nobody has, so that a score is the same number in a fit, an evaluation, a benchmark and a user's own loop.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def compute(model: nn.Module, dtype: str) -> AbstractContextManager[object]:
    """Autocast to ``dtype`` (a name of torch's) on the device of ``model``; nothing where autocast is on already, or
    where ``dtype`` is float32."""
    kind = next(model.parameters()).device.type
    if dtype == "float32" or torch.is_autocast_enabled(kind):
        return nullcontext()
    return torch.autocast(kind, dtype=getattr(torch, dtype))


def compute_dtype(model: nn.Module) -> torch.dtype:
    """In what matrix products run here and now: autocast decides where it is on, else the embedding's precision."""
    kind = next(model.parameters()).device.type
    if torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return model.get_input_embeddings().weight.dtype


def keep_masters(*modules: nn.Module) -> None:
    """Float32 for what is about to be trained: an update under half a step of a 16-bit weight would vanish. Costs 16
    bytes a parameter with gradient and AdamW's two moments, instead of 8."""
    for module in modules:
        module.to(torch.float32)
