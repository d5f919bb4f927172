"""What a preference step says of t+ and of each teacher: log-probabilities, rewards, margins, and who comes first."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from torch import Tensor

Means = tuple[dict[str, float], dict[str, int]]
"""Means by name, and of how many values each is one: what `stages.step_means.StepMeans` adds up."""


def of_batch(logps: Tensor, rewards: Tensor | None, sources: Sequence[Sequence[str]]) -> Means:
    """Of one batch of studies whose slot 0 is t+:

    - ``logp_chosen``, ``logp_rejected/<teacher>``: nats, of whole answers;
    - ``reward_chosen``, ``reward/<teacher>`` and ``margin/<teacher>``, which is r_+ - r_u;
    - ``rank1_accuracy``: share of studies whose t+ has the highest reward of all; a tie counts in part, so that it is
      the chance where all are equal; and ``rank1_chance``, the mean of 1/(1+N).

    Args:
        logps: ``[B, U]``; U may be 1 where a loss does not hear the teachers.
        rewards: ``[B, 1+N]``, NaN where an answer does not count; None where the loss has none.
        sources: names of the answers of each study.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for row, names in zip(logps.tolist(), sources, strict=True):
        found["logp_chosen"].append(row[0])
        for name, value in zip(names[1:], row[1:], strict=False):
            found[f"logp_rejected/{name}"].append(value)
    for row, names in zip([] if rewards is None else rewards.tolist(), sources, strict=False):
        _add_rewards(found, row, names)
    return {name: sum(values) / len(values) for name, values in found.items()}, {k: len(v) for k, v in found.items()}


def _add_rewards(found: dict[str, list[float]], row: Sequence[float], names: Sequence[str]) -> None:
    """The rewards of one study; those of the teachers mean something only beside one of t+."""
    chosen = row[0]
    rejected = {n: r for n, r in zip(names[1:], row[1:], strict=False) if not math.isnan(r)}
    if math.isnan(chosen) or not rejected:
        return
    found["reward_chosen"].append(chosen)
    for name, reward in rejected.items():
        found[f"reward/{name}"].append(reward)
        found[f"margin/{name}"].append(chosen - reward)
    first = chosen >= max(rejected.values())
    found["rank1_accuracy"].append(first / (1 + sum(reward == chosen for reward in rejected.values())))
    found["rank1_chance"].append(1 / (1 + len(rejected)))
