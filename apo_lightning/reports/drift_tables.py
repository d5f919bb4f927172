"""Tables of `drift.json`: teachers, findings, and the studies in conflict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from apo_lightning.reports.table import Cell

SHOWN = 12
"""Studies in conflict that a page names."""


@dataclass(frozen=True)
class DriftTable:
    """One table: heads of its columns, and rows of a label and a cell for each."""

    name: str
    title: str
    note: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


NONE = {"value": None, "low": None, "high": None}


def mean_of(measures: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mean over findings of a measure, or its one value."""
    return measures.get(key, {}).get("mean", NONE)


def cell_of(one: Mapping[str, Any] | None, digits: int) -> Cell:
    """An interval of the record as a cell."""
    if one is None or one["value"] is None:
        return Cell("–")
    value, low, high = (None if one[key] is None else f"{round(one[key], digits) + 0.0:.{digits}f}" for key in NONE)
    return Cell(value, "" if low is None else f"[{low}, {high}]")


def cell_text(one: Mapping[str, Any], digits: int = 2) -> str:
    """An interval in one line."""
    cell = cell_of(one, digits)
    return f"{cell.value} {cell.spread}".strip()


PROFILE = (
    ("words", "words", 0),
    ("refused", "refuses", 2),
    ("nothing", "states nothing", 2),
    ("hedged", "hedged", 2),
    ("precision", "precision", 2),
    ("recall", "recall", 2),
    ("similarity", "similarity", 2),
    ("wrong_side", "wrong side", 2),
)

STYLE, LATER = "told from t+ by style", "more errors at the end"
EXPLAINED = {
    "precision": "Precision and recall: of findings said to be present.",
    "similarity": "Similarity: share of what it and another teacher both state without a contradiction.",
    LATER: "More errors at the end: share of right statements that it loses from its first sentence to its last, "
    "beside what is hard for all.",
    STYLE: "Told from t+ by style: area under the ROC curve of a bag of words without findings (t+: the text that the "
    "student writes after it has read all teachers).",
}
"""What heads of the teachers' table mean."""


def teachers_table(record: Mapping[str, Any]) -> DriftTable:
    """A row a teacher: the paper's Figure 1a, with rates of refusal and doubt, and how errors move along its texts."""
    profiles = record["profiles"]
    shown = [own for own in PROFILE if any(mean_of(one, own[0])["value"] is not None for one in profiles.values())]
    slopes = record["steps"]["slopes"] or {}
    slopes = {name: one if one["low"] is not None else NONE for name, one in slopes.items()}
    slopes = slopes if any(one["value"] is not None for one in slopes.values()) else {}
    areas = (record["style"] or {}).get("preferred") or {}
    rows = []
    for name, one in profiles.items():
        cells = [cell_of(mean_of(one, key), digits) for key, _, digits in shown]
        cells += [cell_of(slopes[name], 2)] if slopes else []
        cells += [Cell("–" if areas[name] is None else f"{areas[name]:.2f}")] if areas else []
        rows.append((name, cells))
    heads = [title for _, title, _ in shown] + ([LATER] if slopes else [])
    heads += [STYLE] if areas else []
    note = " ".join(said for head, said in EXPLAINED.items() if head in heads)
    return DriftTable("drift-teachers", "Teachers", note, heads, rows)


FINDING = (
    ("fleiss", "Fleiss' kappa"),
    ("conflict_presence", "present or not"),
    ("conflict_side", "left or right"),
    ("conflict_severity", "severity"),
)


def findings_table(record: Mapping[str, Any]) -> DriftTable | None:
    """A row a finding: kappa, and which share of pairs of statements contradict each other in what."""
    own = record["agreement"]
    names = [
        name
        for name in record["findings"]
        if any((own[key].get(name) or NONE)["value"] is not None for key, _ in FINDING)
    ]
    if not names:
        return None
    beyond = record["conflict"]["beyond"]["findings"]
    rows = [
        (name.replace("_", " "), [*(cell_of(own[key].get(name), 2) for key, _ in FINDING), Cell(str(beyond[name]))])
        for name in names
    ]
    rows.insert(0, ("mean", [*(cell_of(mean_of(own, key), 2) for key, _ in FINDING), Cell("–")]))
    limit = record["conflict"]["thresholds"]["findings"]
    note = "Share of pairs of statements that differ, of those that both name what they could differ in."
    heads = [*(title for _, title in FINDING), f"studies above {limit:g}"]
    return DriftTable("drift-findings", "Findings", note, heads, rows)


def dependence_table(record: Mapping[str, Any]) -> DriftTable | None:
    """Pairs of teachers that err together, or apart, more than chance; the strongest first."""
    tested = [one for one in record["independence"] or () if one["holm"] is not None]
    shown = sorted(tested, key=lambda one: (min(one["holm"], _one(one["holm_any"])), -abs(one["correlation"])))[:SHOWN]
    rows = [
        (
            " and ".join(one["teachers"]),
            [
                cell_of({"value": one["correlation"], "low": one["low"], "high": one["high"]}, 2),
                Cell(f"{round(_one(one['information']), 4) + 0.0:.4f}"),
                Cell(f"{one['holm']:.3f}"),
                Cell(f"{_one(one['holm_any']):.3f}"),
                Cell(str(one["statements"])),
            ],
        )
        for one in shown
    ]
    note = (
        "Of errors on what both state, given finding, truth and place in the stream. Information in bits a statement; "
        "p after Holm over all pairs: that they do not err together on the whole, and in no finding."
    )
    heads = ["correlation", "information", "p", "p, any finding", "statements"]
    return DriftTable("drift-independence", "Do teachers err independently?", note, heads, rows) if rows else None


def _one(value: float | None) -> float:
    return 1.0 if value is None else value


def pruning_table(record: Mapping[str, Any]) -> DriftTable | None:
    """What each teacher adds to all others, who adds most first; those of the cheapest subset are marked."""
    found = record.get("pruning")
    if not found:
        return None
    kept = (found["cheapest"] or {"teachers": ()})["teachers"]
    rows = [
        (
            one["teacher"],
            [
                *(cell_of(one[key], 3) for key in ("vote", "likelihood", "agreement")),
                Cell(f"{one['cost'][found['by']]:,.4g}"),
                Cell("yes" if one["teacher"] in kept else "–"),
            ],
        )
        for one in found["added"]
    ]
    note = (
        f"With it minus without it, on {found['studies']:,} {found['on']}: accuracy of the vote, its likelihood of the "
        f"labels, agreement. Cost: {found['by']} of one answer. Kept: in the cheapest subset whose vote loses at most "
        f"{found['loss']:g}. A choice flatters itself on the studies on which it was made."
    )
    heads = ["vote", "likelihood", "agreement", found["by"], "kept"]
    return DriftTable("drift-pruning", "What each teacher adds", note, heads, rows)


def worst_table(record: Mapping[str, Any]) -> DriftTable | None:
    """The studies that the teachers contradict each other most on."""
    worst = record["conflict"]["worst"][:SHOWN]
    rows = [
        (
            one["study"],
            [
                Cell(f"{one['score']:.2f}"),
                Cell(", ".join(f"{name.replace('_', ' ')} {score:.2f}" for name, score in _ranked(one["findings"]))),
            ],
        )
        for one in worst
    ]
    title = "Studies in conflict, the worst first"
    return DriftTable("drift-studies", title, "", ["score", "findings"], rows) if rows else None


def _ranked(scores: Mapping[str, float]) -> list[tuple[str, float]]:
    return sorted(scores.items(), key=lambda item: -item[1])[:4]


TABLES: tuple[Callable[[Mapping[str, Any]], DriftTable | None], ...] = (
    teachers_table,
    findings_table,
    dependence_table,
    pruning_table,
    worst_table,
)


def tables(record: Mapping[str, Any]) -> list[DriftTable]:
    """Every table that the record has the numbers of."""
    return [table for make in TABLES if (table := make(record)) is not None]
