"""What is said beside the tables: how they were counted, what is left out, and how arms differ."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from apo_lightning.reports import constant, headline, significance
from apo_lightning.reports import table as results
from apo_lightning.reports.columns import BOTH_CLASSES, SUMMARY, measure, title
from apo_lightning.reports.measured import Results

FOOT = "Not for clinical use."
REFUSALS = (
    "A refusal, or an answer that states nothing, counts as wrong on every labelled finding; one that calls the film "
    "normal, and states no finding as present, denies all. In an otherwise readable answer a finding that is not "
    "stated counts as absent. Studies without a label for a finding do not count for it."
)
MEANS = (
    "Values are means over seeds. In brackets: the 95 % interval of a bootstrap over patients, with all their studies, "
    "stretched by how far the seeds lie apart ({resamples:,} resamples, percentiles; seed {seed}). It is left out "
    "where nothing differs, as for a share of 0 or 1. One seed's interval is that of the student it gave, not of the "
    "next; two seeds that lie far apart, or some ten patients, tell little of how they vary, and it is too narrow."
)
BOLD = (
    "Bold: the best arm of a column, and only if the interval of its difference from every other arm, paired by study "
    "and seed, excludes 0{tested}. Log-probabilities have no best."
)
UNTESTED = "; not corrected for the number of columns"
TESTED = ", and where the difference was tested, the corrected p is below .05 as well"
ACROSS = "Nothing is bold: differences are known between the arms of one run only."
WITHIN = (
    "Tests are corrected in each run by itself: equal arms may bear different marks in runs of different size, and "
    "arms of two runs were not tested against each other."
)
BEFORE = "a → b: before and after the arm's preference stage; a single number where the arm has none."


@dataclass(frozen=True)
class Difference:
    """One arm minus the reference: label, shared seeds, the cell, and the corrected p (empty where none is known)."""

    arm: str
    label: str
    seeds: int
    cell: results.Cell
    p: str


@dataclass(frozen=True)
class Differences:
    """All arms of a run beside its reference arm."""

    against: str
    lines: list[Difference]


def counting(found: Results, resamples: int, seed: int) -> list[str]:
    """How values came about and what marks mean."""
    tested = len(found.tests) > 0
    bold = ACROSS if found.runs else BOLD.format(tested=TESTED if tested else UNTESTED)
    small = tested and significance.comparisons(found).any_small
    labels = results.arm_labels(found.values)
    against = " or, in its run, ".join(labels[arm] for arm in dict.fromkeys(results.references(found).values()))
    stars = [significance.MARKS.format(against=against)] if tested else []
    return [
        REFUSALS,
        MEANS.format(resamples=resamples, seed=seed),
        bold,
        *stars,
        *([WITHIN] if tested and found.runs else []),
        *([significance.TOO_SMALL] if small else []),
        BEFORE,
    ]


def verdict(found: Results) -> str:
    """Which arm is best in the headline's column, and whether that is certain; empty where there is nothing to compare,
    or where every arm answers like a constant."""
    table, labels = results.wide(found), results.arm_labels(found.values)
    column, same = headline.column(found.values), constant.rows(found.values)
    if found.runs or len(labels) < 2 or column.key not in table or all(("arm", arm) in same for arm in labels):
        return ""
    values = table.loc["arm", column.key].dropna()
    if len(values) < 2:
        return ""
    best = str(values.idxmax())
    name = headline.title(found.values)
    told = f"{name[:1].upper()}{name[1:]}: {labels[best]} is highest ({values[best]:.3f})"
    if results.separated(found, column) == best:
        return f"{told}, and apart from every other arm."
    tests = significance.comparisons(found)
    near = [
        labels[arm]
        for arm in map(str, values.index)
        if arm != best and not (tests.excludes_zero(best, arm, column) and tests.apart(best, arm, column))
    ]
    if len(near) == len(values) - 1:
        return f"{told}, but not told apart from any other arm."
    return f"{told}; not told apart from {', '.join(near)}."


def blind(found: Results) -> str:
    """Which arms score no higher in the measure than an answer that looks at no image; empty where all do."""
    table, labels = results.wide(found), results.arm_labels(found.values)
    column = next(column for column in SUMMARY if column.metric == measure(found.values))
    if found.runs or column.key not in table or "baseline" not in table.index.get_level_values(0):
        return ""
    values = table[column.key].dropna()
    untaught = {
        name: value for (kind, name), value in values.items() if kind == "baseline" and name.startswith(constant.BLIND)
    }
    if not untaught:
        return ""
    name = max(untaught, key=untaught.__getitem__)
    below = [labels[arm] for (kind, arm), value in values.items() if kind == "arm" and value <= untaught[name]]
    if not below:
        return ""
    said = found.values.loc[found.values["arm"] == name, "label"].iat[0]
    who = "every arm" if len(below) == len(labels) and len(below) > 1 else ", ".join(below)
    return (
        f"In {title(found.values)} {said} scores {untaught[name]:.3f} without looking at an image: as high as, or "
        f"higher than, {who}."
    )


def measured_on(found: Results) -> list[str]:
    """A sentence that says how many studies and patients the arms were measured on; none where that was not kept."""
    metrics = found.intervals.index.get_level_values("metric")
    own = found.intervals[metrics == measure(found.values)]
    own = own.loc[["arm"]] if "arm" in own.index.get_level_values("kind") else own
    sizes = list(dict.fromkeys(zip(own["studies"], own["patients"], strict=True)))
    return [f"Measured on {' and '.join(f'{s:,.0f} studies of {p:,.0f} patients' for s, p in sizes)}."] if sizes else []


def left_out(frame: pd.DataFrame) -> list[str]:
    """A sentence that names the findings which have no value where two classes are compared; none if all have."""
    names = results.one_class(frame)
    present = set(zip(frame["metric"], frame["finding"], strict=True))
    titles = [c.title for c in SUMMARY if c.metric in BOTH_CLASSES and (c.metric, c.finding) in present]
    if not names:
        return []
    said = ", ".join(name.replace("_", " ") for name in names)
    return [f"Left out of {' and '.join(titles)}, since their labels in this split are all of one class: {said}."]


def cut_off(frame: pd.DataFrame, limit: float | None) -> list[str]:
    """A warning that names the rows of which too many texts have no end of their own; none where few have not."""
    rows = results.cut_off(frame, limit) if limit is not None else []
    if not rows:
        return []
    said = ", ".join(f"{label} {share:.0%}" for label, share in rows)
    return [
        f"Cut off: more than {limit:.0%} of the texts ran into max_new_tokens, and what was not written is counted as "
        f"not said: {said}. Raise evaluate.max_new_tokens, and for t+ stages.self_distill.max_new_tokens."
    ]


def differences(found: Results) -> list[Differences]:
    """A table a run: every other arm beside the reference arm."""
    labels, references, tests = (
        results.arm_labels(found.values),
        results.references(found),
        significance.comparisons(found),
    )
    made = []
    for against in dict.fromkeys(references.values()):
        table = results.differences(found, against=against)
        lines = [
            _difference(found, tests, str(arm), against, row)
            for arm, row in table.iterrows()
            if row["n"] > 0 and references.get(str(arm)) == against
        ]
        made += [Differences(labels[against], lines)] if lines else []
    return made


def _difference(found: Results, tests: significance.Comparisons, arm: str, against: str, row: pd.Series) -> Difference:
    metric = measure(found.values)
    column = next(column for column in SUMMARY if column.metric == metric)
    known = tests.known.get((arm, against, metric, "mean"))
    small = tests.too_small(arm, against, metric, "mean")
    cell = signed(row["mean"], row["low"], row["high"], tests.mark(arm, against, column), small=small)
    p = "" if known is None else "–" if math.isnan(known.p) else f"{known.p:.3f}" if known.p >= 0.001 else "< .001"
    return Difference(arm, str(row["label"]), int(row["n"]), cell, significance.SMALL if small else p)


def signed(mean: float, low: float, high: float, mark: str = "", *, small: bool = False) -> results.Cell:
    """A difference with its sign, and its interval."""
    spread = "" if pd.isna(low) else f"[{low:+z.3f}, {high:+z.3f}]"
    return results.Cell(f"{mean:+z.3f}", spread, mark=mark, small=small)
