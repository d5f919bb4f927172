"""The teachers' vote on every finding, in fixed words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Picked, Stated, Strategy
from apo_lightning.text.mentions import NO_FINDING
from apo_lightning.text.votes import majority_vote

SPOKEN = {"pleural_other": "pleural thickening"}
"""Findings whose own name is no word of reports."""


@POSITIVES.register("majority")
@dataclass(frozen=True, kw_only=True)
class Majority(Strategy):
    """Says what most teachers say, finding by finding, in plain fixed sentences.

    Finding by finding what most teachers that state it say, in the set's order: "There is X. There is no Y."

    The vote is that of the table's majority row: a tie counts as absent, who refuses or does not state a finding
    abstains, and a finding that nobody states is left out. ``no_finding`` is not voted on: it is what denying all
    others says. No label is looked at.
    """

    def __call__(self, seen: Evidence) -> Mapping[str, Picked]:
        return seen.each(lambda study: Picked(report(seen, found)) if (found := vote(seen, study)) else None)


def vote(seen: Evidence, study: str) -> Stated:
    """What most teachers state of each finding, in the order of the findings; those that nobody states are not there.

    Empty where no teacher states anything.
    """
    names = [name for name in seen.findings if name != NO_FINDING]
    answers = [[stated.get(name, np.nan) for name in names] for stated in seen.said(study).values()]
    if not answers:
        return {}
    decided = majority_vote(np.array([answers], float))[0]
    return {name: float(value) for name, value in zip(names, decided, strict=True) if value == value}


def report(seen: Evidence, voted: Stated) -> str:
    """The vote in fixed words. Where a finding's name lies within another's ("no viral pneumonia" denies pneumonia too)
    and its order makes it read as something else, what is absent comes first."""
    text, absent_first = plainly(voted), plainly(dict(sorted(voted.items(), key=lambda item: item[1] == 1)))
    return absent_first if not seen.reads_as(text, voted) and seen.reads_as(absent_first, voted) else text


def plainly(stated: Stated) -> str:
    """Statements in fixed words, in their order.

    >>> plainly({"edema": 1.0, "pleural_effusion": 0.0})
    'There is edema. There is no pleural effusion.'
    """
    return " ".join(statement(name, value) for name, value in stated.items())


def statement(finding: str, value: object) -> str:
    """One of them; ``value`` is 1 or 0."""
    name = SPOKEN.get(finding, finding.replace("_", " "))
    return f"There is {name}." if value == 1 else f"There is no {name}."
