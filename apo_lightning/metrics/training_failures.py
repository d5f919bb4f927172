"""Signs of failure in the steps of a training stage: a window over its last steps, and what is read from it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from apo_lightning.metrics.failures import BIAS, COLLAPSE, NO_CONVERGENCE, STYLE_ALONE, Failure, check_limits
from apo_lightning.metrics.rewards import Means

Step = Mapping[str, float]
"""Means of one optimiser step by name: those of `rewards.of_batch` and of `contrasts`."""

CONTRASTS = ("m/", "c/", "mc/", "cc/")
"""How the names of `contrasts` begin that `explained` reads."""


@dataclass(frozen=True)
class TrainingLimits:
    """When a sign counts. The defaults were set on the 15 preference stages of ``ablation_apo`` (seeds 0 to 2); in
    brackets what those had that came to the best tables (SFT, listwise + NLL).

    Attributes:
        after: share of the stage's steps from which on signs count, in [0, 1]; a collapse counts from the first window.
        window: optimiser steps that are looked back on; nothing is said before so many are done.
        distinct: rank-1 accuracy above chance below which t+ is not told from the teachers (.9 of a possible .9).
        margin: mean reward margin below which the preference is too weak to matter: at .1 the odds of t+ against a
            teacher are 1.1 to 1 (10 to 50).
        explained: share of the mean margin that goes with conflicts in findings, below which it is style; over all
            steps from ``after`` on, since it varies by .05 from window to window (.08 to .13).
        probe: area under the ROC curve of the style probe, against every teacher, from which on t+ counts as told
            apart by style (1.0: alone it says nothing, since a student has its own words).
        lost: share of a teacher's conflicting texts that get a higher reward than t+ (0).
        fall: nats per token by which t+ may lie below the reference while the teachers' texts lie below it too (t+ lies
            .3 to .6 above).
        rise: nats per token by which the negative log-likelihood may rise above the stage's best window (.14 at most).
    """

    after: float = 0.5
    window: int = 20
    distinct: float = 0.2
    margin: float = 0.1
    explained: float = 0.02
    probe: float = 0.95
    lost: float = 0.5
    fall: float = 0.1
    rise: float = 0.3

    def __post_init__(self) -> None:
        check_limits(self, ("after", "distinct", "explained", "probe", "lost"))
        if self.window < 2:
            raise ValueError(f"window must be >= 2, got {self.window}")


def contrasts(rewards: Tensor, disagreement: Sequence[Mapping[str, float]], sources: Sequence[Sequence[str]]) -> Means:
    """How margins go with conflicts, of one batch and each teacher: means of the margin m, of the share c of findings
    in which it contradicts t+, of their products, and of how often it wins against t+ where it contradicts.

    Args:
        rewards: ``[B, 1+N]``, NaN where an answer does not count.
        disagreement: c in [0, 1] by teacher, of each study; a teacher that has no finding in common with t+ is not
            there.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for row, known, names in zip(rewards.tolist(), disagreement, sources, strict=True):
        for name, reward in zip(names[1:], row[1:], strict=False):
            margin, c = row[0] - reward, known.get(name, math.nan)
            if math.isnan(margin) or math.isnan(c):
                continue
            for key, value in (("m", margin), ("c", c), ("mc", margin * c), ("cc", c * c)):
                found[f"{key}/{name}"].append(value)
            if c > 0:
                found[f"lost/{name}"].append(float(margin < 0))
    return {name: sum(values) / len(values) for name, values in found.items()}, {k: len(v) for k, v in found.items()}


def moved(policy: Tensor, reference: Tensor, lengths: Tensor, counted: Tensor) -> Means:
    """Nats per token by which t+ (``moved_chosen``) and the teachers' texts (``moved_rejected``) are likelier than
    under the reference. All arguments ``[B, 1+N]``; ``counted`` bool."""
    change = ((policy - reference) / lengths.clamp_min(1)).tolist()
    kept = counted.tolist()
    sides = {"moved_chosen": slice(0, 1), "moved_rejected": slice(1, None)}
    values = {
        name: [
            v
            for row, there in zip(change, kept, strict=True)
            for v, counts in zip(row[part], there[part], strict=True)
            if counts
        ]
        for name, part in sides.items()
    }
    return {n: sum(v) / len(v) for n, v in values.items() if v}, {n: len(v) for n, v in values.items()}


def average(steps: Iterable[Step], name: str) -> float:
    """Mean of one value over the steps that have it; NaN where none has."""
    values = [step[name] for step in steps if name in step]
    return sum(values) / len(values) if values else math.nan


def no_convergence(steps: Sequence[Step], limits: TrainingLimits, step: int) -> Failure | None:
    """t+ and the teachers' texts are not told apart, or so weakly that nothing follows from it."""
    above = average(steps, "rank1_accuracy") - average(steps, "rank1_chance")
    margin = mean_margin(steps)
    if above < limits.distinct:
        return Failure(
            NO_CONVERGENCE,
            step,
            above,
            limits.distinct,
            f"t+ and the teachers' texts are not told apart: t+ comes first only {above:+.2f} above chance.",
        )
    if margin < limits.margin:
        return Failure(
            NO_CONVERGENCE,
            step,
            margin,
            limits.margin,
            f"The preference is too weak to matter: the mean reward margin is {margin:.3g}.",
        )
    return None


def style_alone(steps: Sequence[Step], limits: TrainingLimits, step: int, probe: float) -> Failure | None:
    """t+ is told apart, by style it could be, and by conflicts it is not.

    Args:
        probe: the smallest of the areas that `style_probe.separability` gives over teachers; NaN where unknown.
    """
    share = explained(steps)
    if not (share < limits.explained and probe >= limits.probe):
        return None
    return Failure(
        STYLE_ALONE,
        step,
        share,
        limits.explained,
        f"The student tells t+ by its style: conflicts in findings explain {max(share, 0):.0%} of the reward margin, "
        f"and style alone tells t+ from every teacher (area {probe:.2f}).",
    )


def bias(steps: Sequence[Step], limits: TrainingLimits, step: int) -> Failure | None:
    """One teacher's text is preferred to t+ where the two contradict each other."""
    names = {key.removeprefix("lost/") for row in steps for key in row if key.startswith("lost/")}
    lost = {name: average(steps, f"lost/{name}") for name in sorted(names)}
    worst = max(lost, key=lost.__getitem__, default=None)
    if worst is None or lost[worst] <= limits.lost:
        return None
    return Failure(
        BIAS,
        step,
        lost[worst],
        limits.lost,
        f"The student takes the side of '{worst}': where it contradicts t+, its text has the higher reward in "
        f"{lost[worst]:.0%} of cases.",
    )


def collapse(steps: Sequence[Step], limits: TrainingLimits, step: int, best: float) -> Failure | None:
    """The likelihood of what is taught falls: under the reference's together with the teachers' (likelihood
    displacement), or far behind the best that the stage had reached.

    Args:
        best: the lowest mean of ``nll`` of any window of the stage.
    """
    chosen, rejected, rise = average(steps, "moved_chosen"), average(steps, "moved_rejected"), average(steps, "nll")
    if chosen < -limits.fall and rejected < 0:
        return Failure(
            COLLAPSE,
            step,
            chosen,
            -limits.fall,
            f"t+ has become less likely than it was before this stage ({chosen:+.2f} nats per token), together with "
            f"the teachers' texts ({rejected:+.2f}): what is learned is to say something else.",
        )
    if rise - best > limits.rise:
        return Failure(
            COLLAPSE,
            step,
            rise - best,
            limits.rise,
            f"What is taught has become less likely again: {rise:.2f} nats per token, after {best:.2f} at best.",
        )
    return None


def explained(steps: Sequence[Step]) -> float:
    """Share of the mean margin that goes with conflicts: slope of the margin on the share of contradicted findings
    within each teacher's texts, times the mean of that share, over the mean margin. 0 where nobody contradicts; NaN
    where nothing is known."""
    names = sorted({key[2:] for row in steps for key in row if key.startswith("c/")})
    if not names:
        return math.nan
    at = {n: tuple(average(steps, f"{key}/{n}") for key in ("m", "c", "mc", "cc")) for n in names}
    covariance = sum(mc - m * c for m, c, mc, _ in at.values())
    variance = sum(cc - c * c for _, c, _, cc in at.values())
    margin = sum(m for m, *_ in at.values()) / len(at)
    conflict = sum(c for _, c, *_ in at.values()) / len(at)
    if variance < 1e-9:
        return 0.0
    return covariance / variance * conflict / margin if margin > 0 else math.nan


def mean_margin(steps: Sequence[Step]) -> float:
    """Mean over teachers of their mean margins."""
    names = {key for row in steps for key in row if key.startswith("margin/")}
    values = [average(steps, name) for name in names]
    return sum(values) / len(values) if values else math.nan
