"""What most of several texts state of each finding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from apo_lightning.text.labeler import kind


def majority_vote(answers: np.ndarray) -> np.ndarray:
    """Answer ``[S, F]`` of most of N teachers ``[S, N, F]``, over those who state the finding.

    A tie counts as absent; NaN only where nobody states the finding.
    """
    present, absent = (answers == 1).sum(axis=1), (answers == 0).sum(axis=1)
    return np.where(present + absent == 0, np.nan, (present > absent).astype(float))


def majority_course(answers: Sequence[Mapping[str, str]], findings: Sequence[str]) -> dict[str, str]:
    """The course of each finding that most of several answers tell; a tie counts as stable."""
    votes = {name: Counter(said[name] for said in answers if name in said).most_common(2) for name in findings}
    return {
        name: "stable" if len(most) > 1 and most[0][1] == most[1][1] else most[0][0]
        for name, most in votes.items()
        if most
    }


UNREAD = ("refused", "nothing")
"""Kinds of texts that abstain."""


def unread(texts: Sequence[str], findings: Sequence[str], as_read: Callable[[str], str] = str) -> bool:
    """Whether all of a study's texts abstain."""
    return all(kind(as_read(text), findings) in UNREAD for text in texts)
