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


def of_validation(logps: Tensor, rewards: Tensor | None, sources: Sequence[Sequence[str]]) -> Means:
    """The same of a batch of validation studies, under the names of a validation: ``logp_preferred``,
    ``logp/<teacher>``, ``reward_accuracy`` (``rank1_accuracy``) beside ``reward_chance``, and ``margin``: r_+ less the
    mean r_u of its study. Arguments as in `of_batch`."""
    values, counts = of_batch(logps, rewards, sources)
    if rewards is not None:
        gaps = (rewards[:, :1] - rewards[:, 1:]).nanmean(-1)
        values["margin"], counts["margin"] = float(gaps.nanmean()), int(gaps.isfinite().sum())
    names = {name: VALIDATED.get(name, name.replace("logp_rejected/", "logp/")) for name in values}
    return {names[n]: value for n, value in values.items()}, {names[n]: count for n, count in counts.items()}


VALIDATED = {"logp_chosen": "logp_preferred", "rank1_accuracy": "reward_accuracy", "rank1_chance": "reward_chance"}
"""How a validation calls what a step calls otherwise."""


def of_texts(logps: Tensor, sources: Sequence[Sequence[str]]) -> Means:
    """``logp/<source>`` in nats, the mean over the studies that have a text of it. ``logps`` ``[B, U]``."""
    found: dict[str, list[float]] = defaultdict(list)
    for row, names in zip(logps.tolist(), sources, strict=True):
        for name, value in zip(names, row, strict=False):
            found[f"logp/{name}"].append(value)
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
