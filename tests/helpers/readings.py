"""Cases for the text reader in one line each: ``px=0 ed=1``, NORMAL, REFUSED, NOTHING."""

from __future__ import annotations

import math
from collections.abc import Sequence

from apo_lightning.text import labeler

SHORT = {
    "at": "atelectasis",
    "ca": "cardiomegaly",
    "co": "consolidation",
    "ed": "edema",
    "pe": "pleural_effusion",
    "pn": "pneumonia",
    "px": "pneumothorax",
    "h": "hernia",
    "m": "mass",
    "n": "nodule",
    "inf": "infiltration",
    "em": "emphysema",
    "fi": "fibrosis",
    "pt": "pleural_thickening",
}
FOURTEEN = tuple(SHORT.values())
SEVEN = FOURTEEN[:7]


def right(text: str, expected: str, findings: Sequence[str] = SEVEN) -> str:
    """How ``text`` is read, in the words and order of ``expected`` where it is right."""
    values = {name: value for name, value in labeler.parse(text, findings).items() if not math.isnan(value)}
    kind = labeler.kind(text, findings)
    if kind == "normal" and set(values.values()) == {0.0} and len(values) == len(findings):
        return "NORMAL"
    if kind != "stated":
        return kind.upper()
    short = {name: key for key, name in SHORT.items()}
    said = {f"{short[name]}={int(value)}" for name, value in values.items()}
    ordered = [case for case in expected.split() if case in said]
    return " ".join([*ordered, *sorted(said - set(ordered))])
