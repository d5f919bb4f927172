"""Length, repetition, hedging and style of texts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from apo_lightning.metrics.report_text.hedges import hedged
from apo_lightning.metrics.report_text.style import repetition, style_distance
from apo_lightning.phantom.wording import HEDGED, NEGATIVE, POSITIVE
from apo_lightning.text.labeler import parse

HEDGES = (
    "Possible edema.",
    "Edema is possible.",
    "Probable edema.",
    "Likely edema.",
    "Edema is likely.",
    "Edema may be present.",
    "There might be edema.",
    "Suspicion of edema.",
    "Edema is suspected.",
    "Edema cannot be excluded.",
    "Edema can not be entirely ruled out.",
    "Cannot exclude edema.",
    "Findings suggest edema.",
    "Findings suggestive of edema.",
    "Findings concerning for edema.",
    "Questionable edema.",
    "Borderline edema.",
    "Edema not excluded.",
    "Perhaps mild edema.",
    "Presumed edema.",
    "There appears to be edema.",
)
PLAIN = (
    "Edema.",
    "No edema.",
    "Edema is unlikely.",
    "Low suspicion for edema.",
    "No suspicion of edema.",
    "Edema is excluded.",
    "There is no edema.",
    "Edema is not likely.",
    "Edema has been ruled out.",
    "Edema is present.",
    "Unchanged edema.",
)


@pytest.mark.parametrize("text", HEDGES)
def test_what_hedges_is_what_the_reader_calls_present(text: str) -> None:
    assert hedged(text) == (1, 1)
    assert parse(text, ["edema"]) == {"edema": 1.0}


@pytest.mark.parametrize("text", PLAIN)
def test_what_states_or_denies_does_not_hedge(text: str) -> None:
    assert hedged(text) == (0, 1)


def test_the_phantom_teachers_hedges_and_nothing_else_of_theirs() -> None:
    fill = {"what": "mild edema", "name": "edema", "rest": ", mild"}
    assert [hedged(bank.format(**fill))[0] for bank in HEDGED] == [1] * len(HEDGED)
    assert [hedged(bank.format(**fill))[0] for bank in (*POSITIVE, *NEGATIVE)] == [0] * 14


@pytest.mark.parametrize(("text", "counts"), [("", (0, 0)), ("...", (0, 0)), ("Edema. Maybe not. 5.", (1, 2))])
def test_sentences_are_those_with_words(text: str, counts: tuple[int, int]) -> None:
    assert hedged(text) == counts


@pytest.mark.parametrize(
    ("text", "share"),
    [("a b c d", 0.0), ("a b c d a b c d", 1 / 5), ("no " * 10, 6 / 7), ("A b, c. D a B C d!", 1 / 5)],
)
def test_repetition_by_hand(text: str, share: float) -> None:
    assert repetition(text) == pytest.approx(share)


def test_a_text_without_a_4_gram_has_no_repetition() -> None:
    assert np.isnan(repetition("No edema seen.")) and np.isnan(repetition(""))


def test_style_by_hand() -> None:
    """Candidates: no 2, other 2, full stop 2. References: there is no 1 each, other 1, full stop 1."""
    one, other = np.array([2, 0, 0, 2, 2]) / 6, np.array([1, 1, 1, 1, 1]) / 5
    mean = (one + other) / 2
    want = np.sqrt((entropy(one, mean, base=2) + entropy(other, mean, base=2)) / 2)
    assert style_distance(["No edema.", "No effusion."], ["There is no effusion."]) == pytest.approx(want)


def test_style_is_how_and_not_what() -> None:
    assert style_distance(["No edema. Large heart."], ["No effusion. Broken rib."]) == 0
    assert style_distance(["Edema"], ["; ; ;"]) == pytest.approx(1)
    assert np.isnan(style_distance(["", " "], ["No edema."]))
