"""Whoever writes as the student expects weighs more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum
from typing import ClassVar

from apo_lightning.errors import DataError
from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting, Weights


@WEIGHTS.register("val_likelihood")
@dataclass(frozen=True, kw_only=True)
class ValLikelihood(Weighting):
    """A teacher weighs by how natural its texts are to the student before training.

    `w_u = N exp(l_u / temperature) / sum_v exp(l_v / temperature)` over the N teachers that are heard.

    `l_u` is the mean over validation studies of the mean log-probability of a token, in nats, of u's text under the
    student that nobody has taught yet, given image and question: how natural the text is to it. Tokens are averaged, so
    that a long text is no less likely than a short one. No label is looked at; refusals and empty texts do not count. A
    teacher of whom nothing is left weighs 0.

    Attributes:
        temperature: in nats a token; a high one makes all alike.

    Raises:
        DataError: no teacher has a text on a validation study.
    """

    courses: ClassVar[bool] = True
    scores: ClassVar[bool] = True

    temperature: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be > 0, got {self.temperature}")

    def __call__(self, seen: Seen) -> Weights:
        means = _means(seen.score(), seen.teachers)
        if not means:
            raise DataError(
                f"pool.weights 'val_likelihood' scores teachers' texts on validation studies, and none of "
                f"{', '.join(seen.teachers)} has one that is no refusal. Give the split studies that they speak of, or "
                "take another strategy, as uniform."
            )
        most = max(means.values())  # taken off, so that nothing runs over
        share = {name: exp((value - most) / self.temperature) for name, value in means.items()}
        total = fsum(share.values())
        return seen.everywhere({name: len(means) * share.get(name, 0.0) / total for name in seen.teachers})


def _means(scored: Mapping[str, Mapping[str, float]], teachers: Sequence[str]) -> dict[str, float]:
    each = {name: [own[name] for own in scored.values() if name in own] for name in teachers}
    return {name: fsum(values) / len(values) for name, values in each.items() if values}
