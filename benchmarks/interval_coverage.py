"""How often a 95 % interval holds the truth, on made-up outcomes of which the truth is known.

Patients with one to four studies, some of them harder than others and so are their studies, whoever answers; two arms
of several seeds, each seed a little better or worse on the whole. An answer is right where the sum of all these normal
deviations and one of its own is above 0, so that the true accuracy is a value of the normal distribution. For the AUROC
the same sum, with the sign of the label, is the score. With one seed the truth is that of the student that was
trained, with several that of the arm: all students it could give.

    python benchmarks/interval_coverage.py [--tables 2000] [--auroc 400] [--patients 60 100 150]

A row is a number of patients, seeds, and by how much the seeds differ in accuracy (standard deviation); a cell the
share of tables whose interval holds the truth, and in brackets the median width. The binomial deviation of 95 % of
2,000 is .5 %, of 300 1.3 %.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from apo_lightning.metrics.bootstrap import Resampled
from apo_lightning.metrics.findings import of_findings
from apo_lightning.metrics.outcomes import Measure
from apo_lightning.metrics.scored import ScoredOutcomes

PATIENT, STUDY, OWN = 0.7, 0.7, 1.0
"""Deviations of the sum that decides: of patients, of their studies, and of every answer."""
BETTER, WORSE = 0.9, 0.7
"""Means of that sum; accuracies .74 and .69 where seeds are alike."""


@dataclass(frozen=True)
class World:
    """What tables are drawn from.

    Attributes:
        patients: with one to four studies each.
        seeds: of either arm.
        apart: deviation of the seeds' means.
    """

    patients: int
    seeds: int
    apart: float

    def truth(self, mean: float, seeds: np.ndarray) -> float:
        """Accuracy of the one student that there is, else of the arm."""
        spread = PATIENT**2 + STUDY**2 + OWN**2
        if self.seeds == 1:
            return float(norm.cdf((mean + seeds[0]) / np.sqrt(spread)))
        return float(norm.cdf(mean / np.sqrt(spread + self.apart**2)))

    def sums(self, draw: np.random.Generator) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Sums ``[2, seeds, studies]``, patients ``[studies]``, and how each seed deviates ``[2, seeds]``."""
        who = np.repeat(np.arange(self.patients), draw.integers(1, 5, size=self.patients))
        shared = draw.normal(0, PATIENT, self.patients)[who] + draw.normal(0, STUDY, len(who))
        seeds = draw.normal(0, self.apart, (2, self.seeds))
        means = np.array([[BETTER], [WORSE]]) + seeds
        return means[..., None] + shared + draw.normal(0, OWN, (2, self.seeds, len(who))), [str(i) for i in who], seeds


Table = tuple[dict[int, dict[int, Measure]], list[float]]


def accuracies(world: World, draw: np.random.Generator) -> Table:
    """Outcomes by arm and seed, and the true accuracy of each arm."""
    sums, who, seeds = world.sums(draw)
    asked, nobody = np.ones((len(who), 1)), np.zeros(len(who), bool)
    rows = {
        arm: {s: of_findings(asked, (own > 0)[:, None].astype(float), nobody, ["x"], who) for s, own in enumerate(each)}
        for arm, each in enumerate(sums)
    }
    return rows, [world.truth(mean, own) for mean, own in zip((BETTER, WORSE), seeds, strict=True)]


def rankings(world: World, draw: np.random.Generator) -> Table:
    """The same of scores: a positive's is above a negative's with the probability that their sums add up to more than
    0, since every part of them is symmetric; pairs of one patient are few. Seeds move both by the same."""
    sums, who, seeds = world.sums(draw)
    labels = draw.integers(2, size=(len(who), 1)).astype(float)
    signs = 2 * labels[:, 0] - 1
    rows = {
        arm: {s: ScoredOutcomes(who, labels, norm.cdf(signs * own)[:, None], ["x"], "s") for s, own in enumerate(each)}
        for arm, each in enumerate(sums)
    }
    spread = 2 * (PATIENT**2 + STUDY**2 + OWN**2)
    if world.seeds == 1:
        return rows, [
            float(norm.cdf(2 * (mean + own[0]) / np.sqrt(spread)))
            for mean, own in zip((BETTER, WORSE), seeds, strict=True)
        ]
    wide = np.sqrt(spread + 4 * world.apart**2)
    return rows, [float(norm.cdf(2 * mean / wide)) for mean in (BETTER, WORSE)]


KINDS: Mapping[str, tuple[Callable[[World, np.random.Generator], Table], str]] = {
    "accuracy": (accuracies, "accuracy"),
    "AUROC": (rankings, "s_auroc"),
}


def coverage(world: World, tables: int, kind: str = "accuracy", resamples: int = 500) -> dict[str, tuple[float, float]]:
    """Share of intervals that hold the truth, and their median width, of the better arm's value and of the difference
    of the two, over ``tables`` tables. The same arguments give the same numbers."""
    make, metric = KINDS[kind]
    draw = np.random.default_rng([world.patients, world.seeds, round(100 * world.apart)])
    held: dict[str, list[bool]] = {"value": [], "difference": []}
    width: dict[str, list[float]] = {"value": [], "difference": []}
    for _ in range(tables):
        rows, (better, worse) = make(world, draw)
        table = Resampled(rows, resamples=resamples)
        found = {"value": (table.intervals(0), better), "difference": (table.differences(0, 1), better - worse)}
        for name, (intervals, truth) in found.items():
            own = intervals[metric, "mean"]
            held[name].append(own.low <= truth <= own.high)
            width[name].append(own.high - own.low)
    return {name: (float(np.mean(held[name])), float(np.median(width[name]))) for name in held}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=300, help="tables a row of accuracies")
    parser.add_argument("--auroc", type=int, default=100, help="tables a row of AUROCs")
    parser.add_argument("--patients", type=int, nargs="+", default=[60, 150])
    asked = parser.parse_args()
    print("| measure | patients | seeds | seeds differ by | value | difference |\n|---|---|---|---|---|---|")
    for kind, tables in (("accuracy", asked.tables), ("AUROC", asked.auroc)):
        for patients, seeds, apart in product(asked.patients, (1, 2, 3, 5), (0.0, 0.1, 0.2)):
            if not tables or (seeds == 1 and apart):
                continue
            found = coverage(World(patients, seeds, apart), tables, kind)
            slope = norm.pdf(BETTER / np.sqrt(PATIENT**2 + STUDY**2 + OWN**2)) / np.sqrt(PATIENT**2 + STUDY**2 + OWN**2)
            cells = " | ".join(f"{100 * share:.1f} ({width:.3f})" for share, width in found.values())
            print(f"| {kind} | {patients} | {seeds} | {apart * slope:.3f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
