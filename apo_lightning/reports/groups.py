"""The tables of a report: groups of columns over the rows that have values in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from apo_lightning.reports.columns import BOTH_CLASSES, KAPPA, Column, each, findings, kinds, measure, short
from apo_lightning.reports.measured import Results
from apo_lightning.reports.table import Row, rows, wide

SECTIONS = {"arm": "Arms", "teacher": "Teachers", "baseline": "Baselines"}
ABREAST = 7
"""Findings whose names are written out in a head."""
LETTERS = 7
"""Of a longer head."""
PER_FINDING = {
    "accuracy": "Accuracy on each finding, read from the text",
    "progression_accuracy": "Progression of each finding",
    "balanced_accuracy": "Balanced accuracy on each finding, read from the text",
    "positive_f1": "F1 of the class present, each finding, read from the text",
    "invented": "Made up: share of the studies without a finding that are said to have it",
    "missed": "Left out: share of the studies with a finding that are not said to have it",
    "inherited": "Correlation of errors with those of each teacher",
    "repeats": "Slips of each teacher, where the vote is right, that are repeated",
    "likelihood_accuracy": "Accuracy on each finding, by likelihood",
    "likelihood_balanced_accuracy": "Balanced accuracy on each finding, by likelihood",
    "likelihood_auroc": "AUROC of each finding, by likelihood",
    "likelihood_average_precision": "Average precision of each finding, by likelihood",
    "likelihood_ece": "Calibration error of each finding, by likelihood",
    "likelihood_brier": "Brier score of each finding, by likelihood",
    "in_place_accuracy": "Accuracy on each finding, by likelihood in place",
    "in_place_balanced_accuracy": "Balanced accuracy on each finding, by likelihood in place",
    "in_place_auroc": "AUROC of each finding, by likelihood in place",
    "vote_accuracy": "Accuracy on each finding, by vote",
    "vote_balanced_accuracy": "Balanced accuracy on each finding, by vote",
    "vote_auroc": "AUROC of each finding, by vote",
    "flip_consistency": "Flip consistency of each finding",
    KAPPA: "Agreement of seeds on each finding (Cohen's kappa)",
}
"""Tables with a column per finding, or teacher; all but the measure's are folded."""
LEAST = ("likelihood_ece", "likelihood_brier", "in_place_ece", "invented", "missed", "repeats")
WITHOUT_BEST = (KAPPA, "inherited")


@dataclass(frozen=True)
class Group:
    """One printed table.

    Attributes:
        name: its anchor.
        heads: what stands over each column, perhaps shortened.
        sections: rows under the title of their kind; kinds without rows are left out.
        folded: whether it is behind the others, to be opened.
    """

    name: str
    title: str
    note: str
    columns: Sequence[Column]
    heads: Sequence[str]
    sections: Sequence[tuple[str, Sequence[Row]]]
    folded: bool = False

    @property
    def legend(self) -> list[tuple[str, str]]:
        """What a reader has to be told of its heads: shortened names of findings, or what columns mean."""
        told = zip(self.heads, self.columns, strict=True)
        if all(column.finding == "mean" for column in self.columns):
            return [(column.title, column.meaning) for _, column in told if column.meaning]
        return [(head, column.title) for head, column in told if head != column.title]


@lru_cache(maxsize=32)
def groups(results: Results) -> list[Group]:
    """Every table that the results have values for: the summary first, then the measure per finding, then the others;
    tables of other measures per finding come last, folded."""
    table, frame = wide(results), results.values
    shown = [(kind, _known(table, kind.columns)) for kind in kinds(frame)]
    made = [_group(results, kind.name, kind.title, kind.note, found) for kind, found in shown if found]
    main, folded = _per_finding(results)
    return [*made[:1], *main, *made[1:], *folded]


def _known(table: pd.DataFrame, wanted: Iterable[Column]) -> list[Column]:
    return [column for column in wanted if column.key in table and table[column.key].notna().any()]


def _per_finding(results: Results) -> tuple[list[Group], list[Group]]:
    table, frame, main, folded = wide(results), results.values, [], []
    for metric, title in PER_FINDING.items():
        best = "min" if metric in LEAST else None if metric in WITHOUT_BEST else "max"
        found = each(frame, metric, best)
        if metric == KAPPA:
            names = [name for name in findings(frame) if f"{KAPPA}/{name}" in table]
            found = [Column(KAPPA, name, name.replace("_", " "), "kappa", best=None) for name in names]
        if metric in BOTH_CLASSES or metric != measure(frame):
            found = _known(table, found)
        if not found:
            continue
        first = metric == measure(frame)
        name = "findings" if first else f"findings-{metric.replace('_', '-')}"
        group = _group(results, name, title, "", found, folded=not first)
        (main if first else folded).append(group)
    return main, folded


def _group(
    results: Results, name: str, title: str, note: str, shown: Sequence[Column], *, folded: bool = False
) -> Group:
    titles = [column.title for column in shown]
    wanted = len(shown) > ABREAST and all(column.finding != "mean" for column in shown)
    found = [row for row in rows(results, shown) if any(cell.text != "–" for cell in row.cells)]
    sections = [(head, [row for row in found if row.kind == kind]) for kind, head in SECTIONS.items()]
    heads = short(titles, LETTERS) if wanted else titles
    return Group(name, title, note, shown, heads, [(head, own) for head, own in sections if own], folded)
