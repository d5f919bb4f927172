"""Pairs of radiologists' reports to measure: real ones of Open-I where they are on disk, and a few made up."""

from __future__ import annotations

import tarfile
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

ARCHIVE = Path(__file__).parents[3] / "shared/data/openi_sample/NLMCXR_reports.tgz"
MADE_UP = (
    ("No edema. Small left pleural effusion.", "There is no edema. There is a small left effusion."),
    ("The heart is normal in size. The lungs are clear.", "Heart size normal. Lungs are clear."),
    ("Cannot exclude pneumonia. Cannot exclude pneumonia.", "1. Possible pneumonia. 2. No pneumothorax."),
    ("", "No acute cardiopulmonary abnormality."),
    ("Cardiomegaly.", "Cardiomegaly."),
)
"""Candidate and reference."""


def real_pairs(count: int = 200) -> list[tuple[str, str]]:
    """Findings sections of Open-I, each beside that of the next report; of every tenth its own impression is the
    candidate. Skips where they are not on disk."""
    if not ARCHIVE.is_file():
        pytest.skip("needs ../shared/data/openi_sample")
    reports: list[tuple[str, str]] = []
    with tarfile.open(ARCHIVE) as archive:
        for member in archive:
            if member.name.endswith(".xml") and len(reports) <= count:
                tree = ElementTree.parse(archive.extractfile(member))
                parts = {part.get("Label"): part.text or "" for part in tree.iter("AbstractText")}
                if parts.get("FINDINGS") and parts.get("IMPRESSION"):
                    reports.append((parts["FINDINGS"], parts["IMPRESSION"]))
    return [(own[1] if place % 10 == 0 else other[0], own[0]) for place, (own, other) in enumerate(pairwise(reports))]
