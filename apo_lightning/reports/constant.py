"""Rows that say the same of every study, as an answer that looks at no image does: who has learned nothing of them."""

from __future__ import annotations

from collections.abc import Container, Mapping

import pandas as pd

BLIND = ("always_", "prevalence")
"""Beginnings of the names of baselines that look at no image."""
COUNTS = ("accuracy", "positive_f1")
"""Metrics read from the text that, equal to a constant answer's on a finding, leave no other answer possible."""
WRITTEN = "preferred"
"""Beginning of the names of rows of t+."""
ARMS = (
    "Such an accuracy is the share of the more frequent answer; the balanced one is then .5. More studies, "
    "more steps or another learning rate may help, or a student that has read such images before."
)
TEXTS = "A t+ of that kind teaches one answer for every image: take another strategy (stages.self_distill.positive)."

Answers = Mapping[tuple[str, str], float]
"""Metric and finding to value."""


def rows(frame: pd.DataFrame) -> dict[tuple[str, str], tuple[str, str]]:
    """Kind and arm of every arm, and of t+, that in all its seeds answers as a constant does; its label and that
    constant's.

    On one finding, accuracy that of "always no" says as many right as there are absent, and F1 of the class present 0
    that none of those present is among them: so every absent one was denied, and every present one too. Likewise of
    "always yes". Where only one class is labelled the accuracy alone says so.
    """
    constants = {label: own for _, label, own in _answers(frame, "baseline", BLIND)}
    found: dict[tuple[str, str], list[str]] = {}
    labels: dict[tuple[str, str], str] = {}
    for kind, beginnings in (("arm", ("",)), ("baseline", (WRITTEN,))):
        for name, label, own in _answers(frame, kind, beginnings):
            alike = next((said for said, constant in constants.items() if _equal(own, constant)), "")
            found.setdefault((kind, name), []).append(alike)
            labels[kind, name] = label
    return {row: (labels[row], alike[0]) for row, alike in found.items() if all(alike)}


def sentences(frame: pd.DataFrame, only: Container[str] | None = None) -> list[str]:
    """One for each constant, that names the arms and the t+ (``only`` those arms) that answer like it; none where none
    does."""
    said: dict[str, list[str]] = {}
    for (_, name), (label, constant) in rows(frame).items():
        if only is None or name in only:
            said.setdefault(constant, []).append(label)
    return [
        f"{'; '.join(labels)} answer{'s' * (len(labels) == 1)} exactly like '{constant}', whatever the image shows: "
        "nothing was learned from the images."
        for constant, labels in said.items()
    ]


def warnings(frame: pd.DataFrame) -> list[str]:
    """The same, with what it means for the numbers and what may help."""
    found, advice = rows(frame), []
    if any(kind == "arm" for kind, _ in found):
        advice.append(ARMS)
    if any(kind != "arm" for kind, _ in found):
        advice.append(TEXTS)
    return [" ".join([*sentences(frame), *advice])] if found else []


def _answers(frame: pd.DataFrame, kind: str, beginnings: tuple[str, ...]) -> list[tuple[str, str, Answers]]:
    """Name, label and what is counted of every row and seed whose name begins so."""
    own = frame[(frame["kind"] == kind) & frame["metric"].isin(COUNTS) & (frame["finding"] != "mean")]
    own = own[own["arm"].str.startswith(beginnings)]
    return [
        (str(arm), str(one["label"].iat[0]), {(m, f): v for m, f, v in one[["metric", "finding", "value"]].values})
        for (arm, _), one in own.groupby(["arm", "seed"], sort=False)
    ]


def _equal(own: Answers, constant: Answers) -> bool:
    """Whether both were counted on the same findings, with the same values."""
    mine, other = ({key: value for key, value in one.items() if pd.notna(value)} for one in (own, constant))
    counted = {metric for metric, _ in mine} == set(COUNTS)
    return counted and mine.keys() == other.keys() and all(abs(mine[key] - other[key]) < 1e-9 for key in mine)
