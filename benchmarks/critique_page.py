"""Tables and figures of docs/results/critique from finished studies.

    python benchmarks/critique_page.py runs/study/critique_map runs/study/critique_published --out FOLDER

Of every study: trials.csv, finals.csv, table.md and map.png as `apo study` wrote them; pairs.csv, all differences of
two arms in all worlds and sets with their intervals; conflict.csv and, of three worlds or more, conflict.png: what each
arm gains over the base student against what `apo drift` measures on the same texts without labels.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd

from apo_lightning.reports.figures import STYLE, figure_of, png

METRICS = (
    "balanced_accuracy",
    "accuracy",
    "invented",
    "missed",
    "inherited",
    "inherited_most",
    "in_place_auroc",
    "in_place_brier",
    "in_place_ece",
    "repeats",
)
CHOSEN_BY = "balanced_accuracy"
LEAST_WORLDS = 3
"""Of which a line is drawn."""
MEASURED = ("conflict_mean", "divided", "vote_entropy", "vote_expected_accuracy", "vote_accuracy")
"""Of `drift.json`; all but the last need no label."""


def pairs(study: Path) -> pd.DataFrame:
    """Differences of every two arms: world, set, arm, against, metric, value, low, high, seeds, studies."""
    found = []
    for final in sorted(study.glob("*/final")):
        for place in (final, *sorted(found.parent for found in final.glob("sets/*/differences.csv"))):
            table = pd.read_csv(place / "differences.csv")
            table = table[table.metric.isin(METRICS) & (table.finding == "mean")]
            table.insert(0, "set", "own" if place == final else place.name)
            table.insert(0, "world", final.parent.name)
            found.append(table)
    return pd.concat(found, ignore_index=True).round(4)


def conflicts(study: Path, differences: pd.DataFrame) -> pd.DataFrame:
    """What the texts of each world measure, beside what each arm gains over the base student there."""
    return pd.DataFrame(_of_worlds(study, differences))


def _of_worlds(study: Path, differences: pd.DataFrame) -> Iterator[dict[str, object]]:
    home = differences[(differences["set"] == "own") & (differences.metric == CHOSEN_BY)]
    for final in sorted(study.glob("*/final")):
        summary = json.loads((final / "drift.json").read_text())["summary"]
        told = {name: summary.get(name) for name in MEASURED}
        for row in home[home.world == final.parent.name].itertuples():
            if "base" not in (row.arm, row.against):
                continue
            sign, arm = (1, row.arm) if row.against == "base" else (-1, row.against)
            low, high = sorted((sign * row.low, sign * row.high))
            yield {"world": row.world, "arm": arm, **told, "gain": sign * row.value, "low": low, "high": high}


def draw(table: pd.DataFrame, measure: str, target: Path) -> None:
    """One line an arm: its gain over the base student by ``measure``, with intervals."""
    with matplotlib.rc_context(STYLE):
        figure = figure_of(8.0, 4.6)
        axes = figure.subplots()
        for arm, rows in table.groupby("arm", sort=False):
            rows = rows.sort_values(measure)
            ends = np.array([rows.gain - rows.low, rows.high - rows.gain])
            axes.errorbar(rows[measure], rows.gain, yerr=ends, marker="o", capsize=2, label=arm)
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel(measure.replace("_", " "))
        axes.set_ylabel("balanced accuracy over the base student")
        axes.legend(fontsize=7, ncols=2)
        target.write_bytes(png(figure))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path, help="folders that `apo study` wrote")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for study in options.studies:
        out = options.out / study.name
        out.mkdir(parents=True, exist_ok=True)
        for name in ("trials.csv", "finals.csv", "table.md", "map.png"):
            if (study / name).exists():
                shutil.copyfile(study / name, out / name)
        differences = pairs(study)
        differences.to_csv(out / "pairs.csv", index=False)
        table = conflicts(study, differences)
        table.to_csv(out / "conflict.csv", index=False)
        if table.world.nunique() >= LEAST_WORLDS:
            draw(table, "vote_expected_accuracy", out / "conflict.png")
        print(f"{out}: {len(differences)} differences, {table.world.nunique()} worlds")


if __name__ == "__main__":
    main()
