"""A preference step under the names that TRL's trainers log, so that curves of both lie over each other."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

from apo_lightning.metrics.rewards import Means


def of_pairs(logps: Tensor, rewards: Tensor | None, sources: Sequence[Sequence[str]]) -> Means:
    """Means over the pairs (t+, a teacher's text) of a batch, each of which is a row of TRL's batch:

    - ``logps/chosen``, ``logps/rejected``: log-probabilities of whole answers, nats;
    - ``rewards/chosen``, ``rewards/rejected``, and ``rewards/margins``, their difference;
    - ``rewards/accuracies``: share of pairs whose t+ has the higher reward, a tie counting as not.

    So t+ of a study with more teachers counts for more, and an accuracy is that of pairs: ``train/accuracy`` asks that
    t+ comes before all teachers at once.

    Args:
        logps: ``[B, U]``, t+ in slot 0; U may be 1 where a loss does not hear the teachers, who then have no pairs.
        rewards: ``[B, 1+N]``, NaN where an answer does not count; None where the loss has none.
        sources: names of the answers of each study.
    """
    found: dict[str, list[float]] = defaultdict(list)
    paid = [None] * len(sources) if rewards is None else rewards.tolist()
    for row, own, names in zip(logps.tolist(), paid, sources, strict=True):
        for slot in range(1, min(len(names), len(row))):
            reward = None if own is None else (own[0], own[slot])
            if reward is None or not any(map(math.isnan, reward)):
                _add(found, (row[0], row[slot]), reward)
    return {name: sum(values) / len(values) for name, values in found.items()}, {k: len(v) for k, v in found.items()}


def _add(found: dict[str, list[float]], logps: tuple[float, float], rewards: tuple[float, float] | None) -> None:
    for name, value in zip(("chosen", "rejected"), logps, strict=True):
        found[f"logps/{name}"].append(value)
    if rewards is not None:
        chosen, rejected = rewards
        found["rewards/chosen"].append(chosen)
        found["rewards/rejected"].append(rejected)
        found["rewards/margins"].append(chosen - rejected)
        found["rewards/accuracies"].append(float(chosen > rejected))
