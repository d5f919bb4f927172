"""Whoever the others agree with weighs more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from statistics import fmean

from apo_lightning.text.conflict import agreement
from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting, Weights, check_power


@WEIGHTS.register("agreement")
@dataclass(frozen=True, kw_only=True)
class Agreement(Weighting):
    """A teacher weighs by how far it agrees with the others on validation studies.

    `w_u = g_u ** power`, with `g_u` the mean over validation studies of the mean over the other teachers v of
    `text.conflict.agreement` of u's text with v's: the share of the findings stated by both on which they do not
    conflict, sides included; 0 where they have none in common.

    No label is looked at. Teachers that state nothing of a study (refusals, missing texts) have no part in it. One who
    never spoke beside another has the mean of those who did, and where nobody did all weigh 1.

    Attributes:
        power: how far those that are agreed with are set apart; 0 makes all alike.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_power(self.power)

    def __call__(self, seen: Seen) -> Weights:
        found: dict[str, list[float]] = {name: [] for name in seen.teachers}
        for study in seen.labelled:
            for name, value in _agreed(seen, study.id).items():
                found[name].append(value)
        means = {name: fmean(values) for name, values in found.items() if values}
        usual = fmean(means.values()) if means else 1.0
        return seen.everywhere({name: means.get(name, usual) ** self.power for name in seen.teachers})


def _agreed(seen: Seen, study: str) -> Mapping[str, float]:
    """Each teacher that states something to its mean agreement with the others that do; none of a single one."""
    texts = {name: seen.as_read(seen.texts[study][name]) for name in seen.said(study)}
    if len(texts) < 2:
        return {}
    return {
        name: fsum(agreement(text, other, seen.findings) for them, other in texts.items() if them != name)
        / (len(texts) - 1)
        for name, text in texts.items()
    }
