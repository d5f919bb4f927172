"""Means of a validation over all of its batches and processes, by names that are only known once they turn up."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch import distributed as dist
from torchmetrics import MeanMetric


class NamedMeans:
    """A torchmetrics ``MeanMetric`` a name, each value weighted by how many studies (or texts) it is a mean of.

    A ``MetricCollection`` has to know its names beforehand, and the same in every process; a teacher may be heard in
    one process and not in another.
    """

    def __init__(self) -> None:
        self.metrics: dict[str, MeanMetric] = {}

    def update(self, values: Mapping[str, Tensor | float], counts: Mapping[str, Tensor | int]) -> None:
        """One batch of this process.

        Args:
            values: means, scalars.
            counts: how many each of them is over; a mean of none is left out, whatever it holds.
        """
        for name, value in values.items():
            value, count = torch.as_tensor(value).detach().float(), torch.as_tensor(counts[name]).float()
            if count > 0:
                self._of(name, value.device).update(value, count.to(value.device))

    def compute(self, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The means over all processes, where there are several; every process must call it. Begins anew.

        Args:
            device: of names that only other processes have met, to exchange them on.
        """
        names: list[list[str]] = [list(self.metrics)]
        if dist.is_available() and dist.is_initialized():
            names *= dist.get_world_size()
            dist.all_gather_object(names, list(self.metrics))
        found = {}
        for name in dict.fromkeys(name for own in names for name in own):
            if name not in self.metrics:  # nothing of it here: a weight of 0, and no warning that nothing came
                self._of(name, device).update(0.0, 0.0)
            found[name] = self.metrics[name].compute()
        self.metrics = {}
        return found

    def _of(self, name: str, device: torch.device | str) -> MeanMetric:
        if name not in self.metrics:
            # NaN stays NaN: it is told and not left out. "disable" would do that too, but forgets the weights (1.9).
            self.metrics[name] = MeanMetric(nan_strategy=math.nan).to(device)
        return self.metrics[name]
