"""Drift on a terminal of 80 columns: nothing is cut within a word or an interval, and nothing vanishes unsaid."""

from __future__ import annotations

import io
import re

import pytest

from apo_lightning.console import Console
from apo_lightning.drift.limits import LIMITS, verdicts
from apo_lightning.reports import drift_terminal
from apo_lightning.reports.drift_tables import DriftTable, teachers_table
from apo_lightning.reports.drift_verdict import verdict
from apo_lightning.reports.table import Cell

HEADS = [
    "words",
    "refuses",
    "states nothing",
    "precision",
    "recall",
    "similarity",
    "wrong side",
    "told from t+ by style",
]
CELLS = [Cell("-0.01", f"[-0.0{i}, 0.15]") for i in range(len(HEADS))]
TABLE = DriftTable("t", "Teachers", "", HEADS, [("claude-sonnet-4", CELLS), ("gemini-2_5-pro", CELLS)])


def printed(table: DriftTable, width: int, sentences: tuple[str, ...] = (), *, terminal: bool = True) -> str:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None, soft_wrap=True)
    drift_terminal.show(sentences, [table], console)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_words_and_intervals_stay_whole_and_fit(width: int) -> None:
    said = printed(TABLE, width)
    assert max(map(len, said.splitlines())) <= width
    for cell in CELLS:
        assert said.count(cell.spread) == 2
    for word in {word for head in HEADS for word in head.split()}:
        assert re.search(rf"(?<![\w+]){re.escape(word)}(?![\w+])", said), word
    assert ("Teachers (2 of 2)" in said) == (width == 100) and ("(1 of" in said) == (width < 200)
    assert "claude-sonnet-4" in said and "gemini-2_5-pro" in said


def test_prose_is_wrapped_where_nobody_could_read_it() -> None:
    sentence = "Two teachers contradict each other. " * 12
    for terminal in (True, False):
        assert 90 < max(map(len, printed(TABLE, 160, (sentence,), terminal=terminal).splitlines()[:4])) <= 110


def test_footnotes_explain_the_columns_that_are_there() -> None:
    one = {"value": 0.5, "low": None, "high": None}
    record = {"profiles": {"a": {"precision": {"mean": one}}}, "steps": {"slopes": None}, "style": None}
    assert teachers_table(record).note == "Precision and recall: of findings said to be present."
    styled = record | {"style": {"preferred": {"a": 0.9}}}
    assert "Told from t+ by style" in teachers_table(styled).note and "More errors" not in teachers_table(styled).note


VOTE = "Likely to pay: fine-tuning on the teachers' majority vote."


def plain(vote: float | None, student: float | None, conflict: float = 0.3) -> str:
    summary = {"vote_accuracy": vote, "conflict_mean": conflict}
    return " ".join(verdict({"summary": summary, "limits": verdicts(summary, student)}))


@pytest.mark.parametrize(
    ("vote", "student", "conflict", "answer", "pays"),
    [
        (
            0.9,
            0.6,
            0.3,
            "Yes: their vote is right 30 points more often",
            VOTE,
        ),
        (
            0.9,
            0.77,
            0.3,
            "Perhaps: their vote is right 13 points more",
            VOTE,
        ),
        (
            0.9,
            0.82,
            0.3,
            "No: their vote is right 8 points more often",
            VOTE,
        ),
        (0.7, 0.9, 0.3, "No: their vote is right 20 points less often", "Nothing that was tried is likely to pay."),
        (
            0.9,
            None,
            0.3,
            "Perhaps: the vote is right in 90%, and how often",
            "though nothing is sure: fine-tuning on the te",
        ),
        (
            None,
            None,
            0.3,
            "Perhaps: without labels nobody can tell",
            "though nothing is sure: fine-tuning on the teachers'",
        ),
        (None, None, 0.9, "No: the teachers contradict each other more", "Nothing that was tried is likely to pay."),
    ],
)
def test_the_first_sentence_is_a_plain_answer(
    vote: float | None, student: float | None, conflict: float, answer: str, pays: str
) -> None:
    said = plain(vote, student, conflict)
    assert said.startswith(
        "Is it worth training on t+ (the text that the student writes after it has read all teachers)? "
    )
    assert f"? {answer}" in said and pays in said


def test_a_record_without_limits_gives_no_answer() -> None:
    assert plain(None, None, None) == "" and list(verdict({})) == [] and LIMITS
