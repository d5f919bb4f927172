"""The numbers that the paper printed, beside ours where a finding has the same name.

arXiv 2510.04142 v2, Top-1 accuracy on MS-CXR-T: no interval, no seed and no code came with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from apo_lightning.reports.columns import measure
from apo_lightning.reports.measured import Results
from apo_lightning.reports.table import wide

SOURCE = "arXiv 2510.04142 v2, Top-1 accuracy on MS-CXR-T"
FINDINGS = ("consolidation", "pleural_effusion", "pneumonia", "pneumothorax", "edema")
ROWS: dict[str, tuple[float, ...]] = {
    "GPT-5": (0.75, 0.68, 0.89, 0.90, 0.52, 0.75),
    "Gemini-2.5": (0.28, 0.61, 0.40, 0.94, 0.42, 0.53),
    "Sonnet-4": (0.89, 0.69, 0.48, 0.15, 0.15, 0.47),
    "Qwen-VL-Max": (0.54, 0.65, 0.40, 0.95, 0.64, 0.64),
    "Grok-4": (0.43, 0.41, 0.36, 0.97, 0.61, 0.56),
    "GLM-4.5V": (0.59, 0.67, 0.52, 0.96, 0.72, 0.69),
    "Moonshot-v1": (0.13, 0.46, 0.77, 0.88, 0.19, 0.48),
    "APO 7B": (0.84, 0.67, 0.78, 0.96, 0.65, 0.78),
}
"""Row to its value on each finding, then the average as printed."""
WHY = (
    "Published, not measured here, and not comparable: the paper's teachers are seven commercial models, and its "
    "student has 7B parameters. MS-CXR-T was made for progression (1,326 pairs of images), and the paper appears to "
    "score the presence of a finding in one image. Raw accuracy follows the prevalence: Sonnet-4 and Moonshot-v1 on "
    "consolidation and pneumothorax look like an always-yes and an always-no answer. No interval was published; about "
    "265 pairs per finding make a standard error near .025."
)


@dataclass(frozen=True)
class Published:
    """Two groups of rows over the same findings; the last column is the average where all findings are there.

    Attributes:
        heads: titles of the columns.
        rows: (title of the group, (label, values as printed) a row).
        why: why the two do not compare, with what was run here.
    """

    heads: list[str]
    rows: list[tuple[str, list[tuple[str, list[str]]]]]
    why: str


def beside(results: Results, settings: Mapping[str, Any]) -> Published | None:
    """The published rows and our arms; None where no finding, or another measure, is shared."""
    frame = results.values
    scored = set(frame.loc[(frame["metric"] == "accuracy") & (frame["kind"] == "arm"), "finding"])
    shared = [name for name in FINDINGS if name in scored]
    if not shared or measure(frame) != "accuracy":
        return None
    whole = len(shared) == len(FINDINGS)
    table = wide(results).loc["arm"]
    ours = [(str(row["label"]), _ours(row, shared, whole=whole)) for _, row in table.iterrows()]
    places = [FINDINGS.index(name) for name in shared] + ([len(FINDINGS)] if whole else [])
    theirs = [(name, [f"{values[i]:.2f}" for i in places]) for name, values in ROWS.items()]
    heads = [name.replace("_", " ") for name in shared] + (["average of the five"] if whole else [])
    return Published(heads, [(f"Published ({SOURCE})", theirs), ("Measured here", ours)], f"{_here(settings)}{WHY}")


def _ours(row: pd.Series, shared: list[str], *, whole: bool) -> list[str]:
    values = [float(row.get(f"accuracy/{name}", float("nan"))) for name in shared]
    values += [sum(values) / len(values)] if whole else []
    return ["–" if pd.isna(value) else f"{value:.2f}" for value in values]


def _here(settings: Mapping[str, Any]) -> str:
    data = settings.get("data")
    name = data.get("name") if isinstance(data, Mapping) else None
    return f"Ours are on {name}. " if name and name != "ms_cxr_t" else ""
