"""What a label file's four states (present, absent, uncertain, not mentioned) become: 1, 0 or NaN, by a named policy.

Uncertain: the policies of Irvin et al. 2019 (arXiv:1901.07031) under their names, and ``mixed``, a choice by finding
that CheXagent's loaders make. Not mentioned: CheXpert's own baselines count it as absent, torchxrayvision as unknown;
results differ, so a run says which.
"""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import pandas as pd

from apo_lightning.findings import NO_FINDING

UNCERTAIN = ("ignore", "zeros", "ones", "mixed")
UNMENTIONED = ("absent", "unknown")
MIXED = {"atelectasis": 1.0, "edema": 1.0, "pleural_effusion": 1.0, "cardiomegaly": 0.0, "consolidation": 0.0}
"""What ``mixed`` makes of an uncertain finding; the others become NaN."""
NOT_A_DISEASE = ("support_devices",)
"""May be present beside ``no_finding``."""


def check_policies(uncertain: str, unmentioned: str) -> None:
    """
    Raises:
        ValueError: a policy has no such name.
    """
    for key, value, allowed in (("uncertain", uncertain, UNCERTAIN), ("unmentioned", unmentioned, UNMENTIONED)):
        if value not in allowed:
            raise ValueError(f"{key} must be one of {', '.join(allowed)}, got '{value}'")


def settle(raw: pd.DataFrame, *, uncertain: str, unmentioned: str) -> pd.DataFrame:
    """Labels after the policies.

    Args:
        raw: one column per finding (canonical names), values 1, 0, -1 (uncertain) and NaN (not mentioned).
        uncertain: ``ignore`` (U-Ignore: NaN), ``zeros``, ``ones`` or ``mixed``.
        unmentioned: ``absent`` (0) or ``unknown`` (NaN). Where ``no_finding`` is 1, diseases that are not mentioned are
            absent under both.

    Returns:
        a frame of the same shape with 1, 0 and NaN.

    Raises:
        ValueError: a policy has no such name.
    """
    check_policies(uncertain, unmentioned)
    fixed = {"ignore": np.nan, "zeros": 0.0, "ones": 1.0}
    settled = {}
    clear = raw[NO_FINDING] == 1 if NO_FINDING in raw else pd.Series(False, index=raw.index)
    for name, column in raw.items():
        value = MIXED.get(str(name), np.nan) if uncertain == "mixed" else fixed[uncertain]
        silent = column.isna()
        done = column.mask(column == -1, value)
        absent = silent if unmentioned == "absent" else silent & clear
        settled[name] = done if name in NOT_A_DISEASE and unmentioned == "unknown" else done.mask(absent, 0.0)
    return pd.DataFrame(settled, index=raw.index)


def as_findings(settled: pd.DataFrame) -> dict[Hashable, dict[str, float]]:
    """Index to the labels of its row. Every NaN is the one object ``math.nan``: dictionaries with it compare equal."""
    columns = [[math.nan if value != value else value for value in settled[name].tolist()] for name in settled]
    rows = (dict(zip(settled.columns, values, strict=True)) for values in zip(*columns, strict=True))
    return dict(zip(settled.index, rows, strict=True))
