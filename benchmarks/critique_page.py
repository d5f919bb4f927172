"""Tables and figures of docs/results/critique from finished studies.

    python benchmarks/critique_page.py runs/study/critique_* --out new

Of every study: trials.csv, finals.csv, table.md and map.png as `apo study` wrote them; pairs.csv, all differences of
two arms in all worlds and sets with their intervals; costs.csv, what each stage took; conflict.csv, what each arm gains
over the base student beside what its teachers' texts and vote measure. Beside them one figure for each answer whose
studies are there. `critique_limits.py` goes on from here: from when on each way loses. What is committed was made with
two students, each in its folder (docs/results/critique/README.md says how), so look before it is written over.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
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
    "likelihood_auroc",
    "likelihood_brier",
    "repeats",
)
CHOSEN_BY = "balanced_accuracy"
MEASURED = ("conflict_mean", "divided", "vote_entropy", "vote_expected_accuracy")
"""Of `drift.json`; none needs a label."""
VOTE, T_PLUS, BASE = "majority_vote", "preferred", "base"
AXES = "critique_axes"
PLAIN = ("gain_accuracy", "low_accuracy", "high_accuracy")
COMPARED = (
    ("listwise", "sft"),
    ("listwise", "pairwise"),
    ("listwise", "dpo"),
    ("listwise_nll", "sft"),
    ("listwise_nll", "dpo_nll"),
)
"""Pairs of arms of answer (a)."""
WITH_SPD = {
    "sft": "SFT on t+",
    "gentle_spd_sft": "gentle SPD, SFT",
    "spd_sft": "SPD, SFT",
    "listwise": "listwise",
    "spd_listwise": "SPD, listwise (paper)",
    "spd": "SPD",
}


def finals(study: Path) -> list[Path]:
    """Of the worlds that are done."""
    return [final for final in sorted(study.glob("*/final")) if (final / "differences.csv").is_file()]


def pairs(study: Path) -> pd.DataFrame:
    """Differences of every two arms: world, set, arm, against, metric, value, low, high, seeds, studies."""
    found = []
    for final in finals(study):
        for place in (final, *sorted(found.parent for found in final.glob("sets/*/differences.csv"))):
            table = pd.read_csv(place / "differences.csv")
            table = table[table.metric.isin(METRICS) & (table.finding == "mean")]
            table.insert(0, "set", "own" if place == final else place.name)
            table.insert(0, "world", final.parent.name)
            found.append(table)
    return pd.concat(found, ignore_index=True).round(4)


def difference(table: pd.DataFrame, arm: str, against: str, metric: str = CHOSEN_BY, **where: str) -> tuple[float, ...]:
    """Value and ends of the interval of one arm minus another, which may stand the other way round; NaN: not there."""
    rows = table[table.metric == metric]
    for column, value in ({"set": "own"} | where).items():
        rows = rows[rows[column] == value]
    for sign, one, other in ((1, arm, against), (-1, against, arm)):
        own = rows[(rows.arm == one) & (rows.against == other)]
        if len(own):
            value, low, high = own.iloc[0][["value", "low", "high"]]
            return (value, low, high) if sign == 1 else (-value, -high, -low)
    return (np.nan,) * 3


def conflicts(study: Path, table: pd.DataFrame) -> pd.DataFrame:
    """What the texts of each world measure and how often vote, t+ and base student are right (test split), beside what
    each arm gains over the base student there."""
    return pd.DataFrame(_of_worlds(study, table))


def _of_worlds(study: Path, table: pd.DataFrame) -> Iterator[dict[str, object]]:
    for final in finals(study):
        summary = json.loads((final / "drift.json").read_text())["summary"]
        told = {name: summary.get(name) for name in MEASURED}
        results = pd.read_csv(final / "results.csv")
        results = results[(results.metric == "accuracy") & (results.finding == "mean")]
        right = results.groupby("arm").value.mean()
        told |= {"vote": right.get(VOTE), "t_plus": right.get(T_PLUS), "base": right.get(BASE)}
        world = final.parent.name
        own = table[(table.world == world) & (table["set"] == "own")]
        for arm in dict.fromkeys([*own.arm, *own.against]):
            if arm != BASE and arm in set(results[results.kind == "arm"].arm):
                gain, low, high = difference(table, arm, BASE, world=world)
                plain = dict(zip(PLAIN, difference(table, arm, BASE, "accuracy", world=world), strict=True))
                yield {"world": world, "arm": arm, **told, "gain": gain, "low": low, "high": high, **plain}


def costs(study: Path) -> pd.DataFrame:
    """Of each world and arm the seconds of its stages, mean over seeds. What arms share, as t+, counts for each."""
    found = []
    for final in finals(study):
        table = pd.read_csv(final / "costs.csv")
        table = table[~table.stage.str.startswith(("collect", "evaluate"))]
        table = table.groupby(["arm", "stage"], sort=False)["seconds"].mean().reset_index()
        table.insert(0, "world", final.parent.name)
        found.append(table)
    return pd.concat(found, ignore_index=True).round(1)


def forest(rows: Sequence[tuple[str, tuple[float, ...]]], xlabel: str, target: Path) -> None:
    """A dot with its interval for each row, from above; an empty name leaves a gap."""
    with matplotlib.rc_context(STYLE):
        figure = figure_of(8.0, 0.8 + 0.24 * len(rows))
        axes = figure.subplots()
        for place, (name, (value, low, high)) in enumerate(rows):
            if name and np.isfinite(value):
                sure = low > 0 or high < 0
                axes.errorbar(
                    value,
                    -place,
                    xerr=[[value - low], [high - value]],
                    fmt="o",
                    capsize=2,
                    color="#0072B2" if sure else "#999999",
                )
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks([-place for place, (name, _) in enumerate(rows) if name], [name for name, _ in rows if name])
        axes.set_xlabel(xlabel)
        target.write_bytes(png(figure))


def draw_trials(trials: pd.DataFrame, arms: dict[str, str], target: Path) -> None:
    """Every trial of some arms, on the validation split."""
    with matplotlib.rc_context(STYLE):
        figure = figure_of(8.0, 0.8 + 0.3 * len(arms))
        axes = figure.subplots()
        for shift, (world, rows) in zip((0.12, -0.12), trials.groupby("world", sort=False), strict=False):
            for place, arm in enumerate(arms):
                values = rows[rows.arm == arm][CHOSEN_BY]
                axes.plot(values, np.full(len(values), -place + shift), "o" if shift > 0 else "s", markersize=4,
                          color="#0072B2" if shift > 0 else "#E69F00", label=None if place else world)  # fmt: skip
        axes.set_yticks([-place for place in range(len(arms))], list(arms.values()))
        axes.set_xlabel("balanced accuracy on the validation split, one seed, every trial")
        axes.legend(fontsize=7)
        target.write_bytes(png(figure))


def figures(tables: dict[str, pd.DataFrame], studies: dict[str, Path], out: Path) -> None:
    """One for each answer whose studies are there."""
    home, axes, published = (tables.get(name) for name in ("critique_map", AXES, "critique_published"))
    worlds = ("drifting", "one_wording")
    if home is not None:
        rows = [(f"{a} minus {b}, {w}", difference(home, a, b, world=w)) for a, b in COMPARED for w in worlds]
        if axes is not None:
            names = list(dict.fromkeys(axes.world))
            rows += [(f"listwise_nll minus sft, {w}", difference(axes, "listwise_nll", "sft", world=w)) for w in names]
        forest(rows, "balanced accuracy", out / "a_negatives.png")
        sets = list(dict.fromkeys(home["set"]))
        gains = [("SFT on t+", "sft"), ("SFT on the vote", "sft_vote"), ("the paper", "spd_listwise")]
        rows = [(f"{n}, {s}", difference(home, a, BASE, world="drifting", set=s)) for n, a in gains for s in sets]
        forest(rows, "balanced accuracy minus base, world drifting", out / "e_shifted_sets.png")
        draw_trials(pd.read_csv(studies["critique_map"] / "trials.csv"), WITH_SPD, out / "c_spd.png")
    if published is not None:
        arms = [arm for arm in dict.fromkeys([*published.arm, *published.against]) if arm != BASE]
        rows = [(arm, difference(published, arm, BASE, world="published")) for arm in arms]
        rows = sorted((row for row in rows if np.isfinite(row[1][0])), key=lambda row: -row[1][0])
        forest(rows, "balanced accuracy minus base", out / "d_published.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path, help="folders that `apo study` wrote")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    tables = dict[str, pd.DataFrame]()
    for study in options.studies:
        out = options.out / study.name
        out.mkdir(parents=True, exist_ok=True)
        for name in ("trials.csv", "finals.csv", "table.md", "map.png"):
            if (study / name).exists():
                shutil.copyfile(study / name, out / name)
        tables[study.name] = pairs(study)
        tables[study.name].to_csv(out / "pairs.csv", index=False)
        costs(study).to_csv(out / "costs.csv", index=False)
        measured = conflicts(study, tables[study.name])
        measured.round(4).to_csv(out / "conflict.csv", index=False)
        print(f"{out}: {len(tables[study.name])} differences, {measured.world.nunique()} worlds")
    figures(tables, {study.name: study for study in options.studies}, options.out)


if __name__ == "__main__":
    main()
