"""What is said of rows whose texts were written, or learned from texts that were written, with the labels at hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

MARK = "†"
"""Behind the label of such a row, wherever it is shown."""


def marked(label: str) -> str:
    """
    >>> marked("SPD")
    'SPD †'
    """
    return f"{label} {MARK}"


def warnings(frame: pd.DataFrame) -> list[str]:
    """A sentence on the marked rows of a table; none where none is."""
    rows = frame[["kind", "label"]].drop_duplicates()
    rows = rows[rows["label"].str.endswith(f" {MARK}")]
    labels = {kind: [str(label)[: -len(MARK) - 1] for label in own["label"]] for kind, own in rows.groupby("kind")}
    if not labels:
        return []
    students, written = labels.pop("arm", []), [label for own in labels.values() for label in own]
    said = [f"{MARK} Some teachers were told the labels of the image, or its report, and asked for the basis."]
    if students:
        said.append(
            f"{', '.join(students)} learned from such texts and answered a prompt that names labels: these scores do "
            "not compare with those of students whose teachers were told nothing. evaluate.prompt=describe names none."
        )
    if written:
        said.append(f"Of {', '.join(written)} the scores say how labels are repeated, not how an image is read.")
    return [" ".join(said)]


def asked(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Title and text of which teacher was asked what; nothing where no text says so."""
    prompts = manifest.get("teacher_prompts")
    if not isinstance(prompts, Mapping) or not prompts:
        return []
    told = [name for name in manifest.get("told_labels") or [] if isinstance(name, str)]
    said = "; ".join(
        f"{name}: {_words(own)}{', told the labels or the report' * (name in told)}" for name, own in prompts.items()
    )
    return [("Teachers' prompts", said)]


def _words(prompts: Any) -> str:
    """
    >>> _words({"diagnose": 12, "": 3})
    "'diagnose' (12 texts), not recorded (3 texts)"
    """
    counts = prompts if isinstance(prompts, Mapping) else {}
    named = {name: f"'{name}'" if name else "not recorded" for name in map(str, counts)}
    return ", ".join(
        f"{named[str(name)]} ({count:,} texts)" for name, count in counts.items() if isinstance(count, int)
    )
