"""From when on each way of learning lost (answer (b) of docs/results/critique), over the worlds of all students.

    python benchmarks/critique_limits.py docs/results/critique

Reads the conflict.csv that `critique_page.py` wrote, of the first student there and of the second in second_student/.
Writes limits.csv there, of each student and of both, and b_limits.png. Those of both are in
`apo_lightning/drift/limits.py`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from critique_page import PLAIN

from apo_lightning.drift.limits import crossing
from apo_lightning.reports.figures import STYLE, figure_of, png

STUDENTS = {"first": Path(), "second": Path("second_student")}
STUDIES = ("critique_map", "critique_axes", "critique_published")
WAYS = {
    "sft": "SFT on t+",
    "sft_vote": "SFT on the majority vote",
    "sft_agreement": "SFT on t+ by agreement",
    "dpo_nll": "DPO + NLL",
    "listwise_nll": "APO listwise + NLL",
}
"""Whose limits are measured."""
SIZES = ("few_studies", "many_studies")
"""Worlds that differ in the size of the training set: no part of any limit."""
TOGETHER = ("shared_errors", "shared_errors_60", "two_camps", "published", "three_teachers")
"""Worlds whose teachers err together, or are not seven: no part of a limit of conflict."""


def points(folder: Path, students: tuple[str, ...] = tuple(STUDENTS)) -> pd.DataFrame:
    """Of each student, world and arm a row of conflict.csv; worlds that differ in the size of the training set are
    left out."""
    found = []
    for student in students:
        for study in STUDIES:
            path = folder / STUDENTS[student] / study / "conflict.csv"
            if path.is_file():
                found.append(pd.read_csv(path).assign(student=student))
    table = pd.concat(found, ignore_index=True).drop_duplicates(["student", "world", "arm"])
    return table[~table.world.isin(SIZES)]


def limits(table: pd.DataFrame) -> pd.DataFrame:
    """Of each way the lead of the vote over the base student below which it loses, and the conflict above which it does
    where seven teachers err independently, in balanced accuracy; and that lead in plain accuracy."""
    rows = []
    for arm, way in WAYS.items():
        row: dict[str, object] = {"way": way}
        own = table[table.arm == arm]
        apart = own[~own.world.isin(TOGETHER)]
        lead = own.vote - own.base
        for name, worlds, x, of in (
            ("margin", own, lead, ("gain", "low", "high")),
            ("conflict", apart, apart.conflict_mean, ("gain", "low", "high")),
            ("margin_of_accuracy", own, lead, PLAIN),
        ):
            gain, low, high = (worlds[column] for column in of)
            found = crossing(x, gain, (high - low) / (2 * 1.96))
            row |= {f"{name}_{end}": round(getattr(found, end), 4) for end in ("value", "low", "high")}
        rows.append(row)
    return pd.DataFrame(rows)


def of_students(folder: Path) -> pd.DataFrame:
    """Limits of each student alone and of both: the crossing of all points, within the widest ends of the two.

    Points of two students are no independent draws, so their own interval would be too narrow: students share worlds
    and test set, and there are two.
    """
    alone = {student: limits(points(folder, (student,))) for student in STUDENTS}
    both = limits(points(folder))
    for name in both.columns[1:]:
        if not name.endswith("_value"):
            of = [table[name] for table in alone.values()]
            both[name] = (np.minimum if name.endswith("_low") else np.maximum).reduce(of)
    tables = {**alone, "both": both}
    return pd.concat([table.assign(student=student) for student, table in tables.items()], ignore_index=True)


def draw(table: pd.DataFrame, found: pd.DataFrame, target: Path) -> None:
    """Gains over the base student by the lead of the vote, and by conflict: filled points of the first student, hollow
    ones of the second; the crossing of both on the axis."""
    with matplotlib.rc_context(STYLE):
        figure = figure_of(9.0, 4.4)
        left, right = figure.subplots(1, 2, sharey=True)
        for place, (colour, (arm, way)) in enumerate(
            zip(("#0072B2", "#009E73", "#56B4E9", "#E69F00", "#D55E00"), WAYS.items(), strict=True)
        ):
            limit = found[found.way == way].iloc[0]
            for axes, name in ((left, "margin"), (right, "conflict")):
                shift = 0.002 * (place - 2) * (1 if name == "margin" else 0.5)  # side by side
                for student in STUDENTS:
                    own = table[(table.arm == arm) & (table.student == student)]
                    own = own if name == "margin" else own[~own.world.isin(TOGETHER)]
                    axes.errorbar(
                        (own.vote - own.base if name == "margin" else own.conflict_mean) + shift,
                        own.gain,
                        yerr=np.array([own.gain - own.low, own.high - own.gain]),
                        fmt="o",
                        mfc=colour if student == "first" else "white",
                        capsize=2,
                        color=colour,
                        label=way if student == "first" else None,
                        markersize=4,
                    )
                axes.plot([limit[f"{name}_low"], limit[f"{name}_high"]], [0, 0], color=colour, linewidth=5, alpha=0.5)
        for axes, words in ((left, "vote minus base student, accuracy"), (right, "mean conflict, errors independent")):
            axes.axhline(0, color="black", linewidth=0.8)
            axes.set_xlabel(words)
        left.set_ylabel("balanced accuracy over the base student")
        left.legend(fontsize=7)
        target.write_bytes(png(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    table = points(folder)
    found = of_students(folder)
    found.to_csv(folder / "limits.csv", index=False)
    draw(table, found[found.student == "both"], folder / "b_limits.png")
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
