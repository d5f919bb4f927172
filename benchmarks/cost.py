"""What one more teacher and one more thousand prompt tokens cost: time and memory of a step over N and over P.

Writes ``cost.csv``, ``cost_slopes.csv`` and ``cost.png``. `contenders` says what is measured, `apo_step` how.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import linear_regression

import matplotlib
import pandas as pd
import torch
from common import Setup, alternate, child_peak, options, spread
from contenders import Ours
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from apo_lightning.reports.figures import DPI, STYLE, png

MODES = {"separate": "#7F7F7F", "joint": "#0072B2", "branchwise_1": "#D55E00"}
FLOOR = "floor"
AXES = {"negatives": "teachers N", "prompt": "prompt tokens P"}
VALUES = {"median_s": "seconds per step", "peak_mb": "peak MB per step"}
SLOPES = {
    "s_a_teacher": ("negatives", "median_s", 1),
    "mb_a_teacher": ("negatives", "peak_mb", 1),
    "s_a_1000_prompt_tokens": ("prompt", "median_s", 1000),
    "mb_a_1000_prompt_tokens": ("prompt", "peak_mb", 1000),
}


def points(middle: Setup, negatives: Sequence[int], prompts: Sequence[int]) -> list[Setup]:
    """A cross of setups through ``middle``: over N at its prompt, then over P at its N; none comes twice."""
    over_n = [replace(middle, negatives=n) for n in negatives]
    over_p = [replace(middle, prompt=p) for p in prompts]
    return list(dict.fromkeys([*over_n, *over_p]))


def measure(setup: Setup, repeats: int, threads: int) -> list[dict[str, object]]:
    """One row a mode, and one for the token floor, which has no peak."""
    ours = Ours(setup)
    ours.step("joint")  # what a first pass loads
    seconds = alternate({name: partial(ours.step, name) for name in (*MODES, FLOOR)}, repeats)
    seconds[FLOOR] = [one * ours.tokens_over_plain() for one in seconds[FLOOR]]
    place = dict(prompt=setup.prompt, negatives=setup.negatives)
    rows = [dict(place, mode=name, **spread(values)) for name, values in seconds.items()]
    return [
        row | {"peak_mb": child_peak(row["mode"], setup, threads) if row["mode"] in MODES else None} for row in rows
    ]


def line(frame: pd.DataFrame, mode: str, over: str, middle: Setup) -> pd.DataFrame:
    """The rows of one mode along one arm of the cross, in order."""
    other = "prompt" if over == "negatives" else "negatives"
    own = frame[(frame["mode"] == mode) & (frame[other] == getattr(middle, other))]
    return own.sort_values(over)


def slopes(frame: pd.DataFrame, middle: Setup) -> pd.DataFrame:
    """Least-squares slopes of every mode: `SLOPES`, one row a mode. NaN for an arm of a single point."""
    found = []
    for mode in MODES:
        row: dict[str, object] = {"mode": mode}
        for name, (over, value, scale) in SLOPES.items():
            own = line(frame, mode, over, middle)
            enough = own[over].nunique() > 1
            row[name] = scale * linear_regression(own[over], own[value]).slope if enough else float("nan")
        found.append(row)
    return pd.DataFrame(found)


def figure(frame: pd.DataFrame, middle: Setup) -> Figure:
    """Time above, memory below; over N on the left, over P on the right. Dashed: the token floor."""
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(8, 5.4), dpi=DPI, layout="constrained", facecolor="white")
        panels = made.subplots(2, 2, sharex="col")
        for row, (value, label) in zip(panels, VALUES.items(), strict=True):
            row[0].set_ylabel(label)
            for axes, over in zip(row, AXES, strict=True):
                _lines(axes, frame, (over, value), middle)
        for axes, (over, label) in zip(panels[1], AXES.items(), strict=True):
            axes.set_xlabel(label)
            axes.set_xticks(sorted(line(frame, "joint", over, middle)[over]))
        panels[0, 0].set_title(f"P = {middle.prompt}", loc="left")
        panels[0, 1].set_title(f"N = {middle.negatives}", loc="left")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return made


def _lines(axes: Axes, frame: pd.DataFrame, what: tuple[str, str], middle: Setup) -> None:
    over, value = what
    for mode, colour in MODES.items():
        own = line(frame, mode, over, middle)
        axes.plot(own[over], own[value], color=colour, linewidth=1.8, marker="o", markersize=4, label=mode)
    if value == "median_s":
        own = line(frame, FLOOR, over, middle)
        axes.plot(own[over], own[value], color="black", linewidth=1.0, linestyle=(0, (3, 2)), label="token floor")
    axes.set_ylim(bottom=0)


def show(table: pd.DataFrame, title: str, digits: int) -> None:
    shown = Table(title=title)
    for name in table.columns:
        shown.add_column(name.replace("_", " "), justify="left" if name == "mode" else "right")
    for row in table.itertuples(index=False):
        cells = ("" if pd.isna(x) else f"{x:,.{digits}f}" if isinstance(x, float) else str(x) for x in row)
        shown.add_row(*cells)
    Console().print(shown)


def arguments() -> argparse.Namespace:
    parser = options(argparse.ArgumentParser(description=__doc__.splitlines()[0]))
    parser.add_argument("--negatives", type=int, nargs="+", default=[1, 3, 7, 15], help="values of N")
    parser.add_argument("--prompts", type=int, nargs="+", default=[200, 450, 900, 1400], help="values of P")
    parser.add_argument("--at", type=int, nargs=2, default=(450, 7), metavar=("P", "N"), help="where the lines cross")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    middle = Setup(args.at[0], args.answers, args.at[1], args.full, args.vocabulary, args.mlp)
    cross = points(middle, args.negatives, args.prompts)
    if args.quick:
        middle = Setup(48, 20, 1, args.full, vocabulary=1024, tiny=True)
        cross = points(middle, [1, 3], [48])
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for setup in cross:
        rows += measure(setup, args.repeats, args.threads)
        pd.DataFrame(rows).to_csv(args.out / "cost.csv", index=False)  # at every point: the whole takes long
    frame = pd.DataFrame(rows)
    table = slopes(frame, middle)
    table.to_csv(args.out / "cost_slopes.csv", index=False)
    (args.out / "cost.png").write_bytes(png(figure(frame, middle)))
    show(frame, "cost of a step", 2)
    show(table, "slopes", 3)


if __name__ == "__main__":
    main()
