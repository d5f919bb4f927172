"""What is logged of an optimiser step: the same, however its studies are spread over micro-batches and processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch import distributed as dist


class StepMeans:
    """Means over one optimiser step, each value weighted by the number of studies (or texts) that it is a mean of.

    A torchmetrics ``MeanMetric`` a name would do the same with two collectives each, and needs every name in every
    process; a teacher may be heard in one process and not in another.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Tensor | float], counts: Mapping[str, Tensor | int]) -> None:
        """One micro-batch of this process.

        Args:
            values: means, scalars.
            counts: how many studies or texts each of them is over; a mean of none counts for nothing.
        """
        for name, value in values.items():
            value = torch.as_tensor(value, dtype=torch.float32).detach()
            count = torch.as_tensor(counts[name], dtype=torch.float32, device=value.device)
            new = torch.stack([value * count, count])
            self.sums[name] = self.sums[name] + new if name in self.sums else new

    def take(self, processes: int = 1) -> dict[str, float]:
        """The means of the step, over all processes of the run where there are several, and begin the next step. A
        mean of nothing at all is 0, as in `functional.logprobs.masked_mean`. Every process must call it."""
        rows = torch.stack(list(self.sums.values())).tolist() if self.sums else []
        own = dict(zip(self.sums, rows, strict=True))
        self.sums = {}
        parts: list[dict[str, list[float]]] = [own]
        if processes > 1:
            parts = [{}] * processes
            dist.all_gather_object(parts, own)
        names = dict.fromkeys(name for part in parts for name in part)
        totals = {name: [sum(column) for column in zip(*_found(parts, name), strict=True)] for name in names}
        return {name: total / max(count, 1) for name, (total, count) in totals.items()}


def _found(parts: list[dict[str, list[float]]], name: str) -> list[list[float]]:
    return [part[name] for part in parts if name in part]
