"""How good an exported student is, beside base, controls and answers that look at no image: a part of its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from apo_lightning.errors import ArtifactError
from apo_lightning.files.characters import visible
from apo_lightning.reports import constant, measured
from apo_lightning.using.chosen import BASE, Chosen

METRICS = ("accuracy", "balanced_accuracy", "positive_f1", "progression_accuracy", "refusals", "likelihood_auroc")
"""Rows of intervals.csv that a card shows, each as its mean; of the first that is there, every finding."""
NAMES = {"positive_f1": "macro-F1"}
"""What a metric is called in reports, where that is not its own name."""
CONTROLS = (BASE, "spd_mt", "sft")
"""Arms that stand beside, where the run has them."""
OTHERS = {"majority_vote": "Majority vote of the teachers", "always_no": "Always no", "always_stable": "Always stable"}
"""Baselines that do."""


def text(chosen: Chosen, facts: Mapping[str, Any]) -> str:
    """Section "Results"."""
    path = chosen.run / "intervals.csv"
    if not path.is_file():
        return "The run has no table yet (intervals.csv)."
    table = pd.read_csv(path)
    own = table[(table.kind == "arm") & (table.arm == chosen.arm)]
    means = own[(own.finding == "mean") & own.metric.isin(METRICS)]
    first = next((name for name in METRICS if name in set(own.metric)), "")
    each = own[(own.metric == first) & (own.finding != "mean")]
    beside = _beside(chosen, table)
    rows = [_row(NAMES.get(row.metric, row.metric), row, beside) for row in means.itertuples()]
    rows += [_row(f"{first}: {row.finding}", row, beside) for row in each.itertuples()]
    if not rows:
        return "The run's table has no row of this arm."
    seeds, studies, patients = (int(means[key].max()) for key in ("seeds", "studies", "patients"))
    about = (
        f"{facts.get('split', chosen.cfg.evaluate.split)} split: {studies:,} studies of {patients:,} patients, "
        f"{seeds} seed{'s' if seeds > 1 else ''}; 95 % intervals of a bootstrap over patients and seeds. Beside it "
        "what else the run measured on the same studies."
    )
    head = ["metric", "value", "95 % interval", *beside]
    return "\n".join([about, *_constant(chosen), "", _line(head), _line(["---"] * len(head)), *rows])


def _beside(chosen: Chosen, table: pd.DataFrame) -> dict[str, dict[tuple[str, str], float]]:
    """Label to the values, by metric and finding, of each row that stands beside."""
    arms = {name: visible(chosen.cfg.arms[name].label) for name in CONTROLS if name in chosen.cfg.arms}
    named = [("arm", name, label) for name, label in arms.items() if name != chosen.arm]
    found = {}
    for kind, name, label in [*named, *(("baseline", name, label) for name, label in OTHERS.items())]:
        rows = table[(table.kind == kind) & (table.arm == name)]
        if len(rows):
            found[label] = {(row.metric, row.finding): row.value for row in rows.itertuples()}
    return found


def _constant(chosen: Chosen) -> list[str]:
    """A sentence where the student answers the same of every image."""
    try:
        said = constant.sentences(measured.values(chosen.run), [chosen.arm])
    except ArtifactError:
        return []
    return [line for sentence in said for line in ("", f"**{sentence}**")]


def _row(title: str, row: Any, beside: Mapping[str, Mapping[tuple[str, str], float]]) -> str:
    interval = "–" if pd.isna(row.low) else f"[{row.low:.3f}, {row.high:.3f}]"
    others = [own.get((row.metric, row.finding), float("nan")) for own in beside.values()]
    cells = [f"{row.value:.3f}", interval, *("–" if pd.isna(value) else f"{value:.3f}" for value in others)]
    return _line([title.replace("_", " "), *cells])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
