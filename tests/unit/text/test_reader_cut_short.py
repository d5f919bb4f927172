"""Answers that stop in a list or a table, as a limit of tokens leaves them: what they state so far is read, and no text
is too short to be read."""

from __future__ import annotations

from itertools import islice

import pytest
from helpers.readings import right
from helpers.short_texts import LISTS_AND_TABLES, beginnings_and_ends, random_texts

from apo_lightning.text.conflict import agreement, conflicting_spans, most_agreed
from apo_lightning.text.doubts import audit
from apo_lightning.text.labeler import KINDS, kind, plain_answer, read, reading
from apo_lightning.text.normality import normality
from apo_lightning.text.progression import read_progression
from apo_lightning.text.table_rows import cells, is_rule, write_table
from apo_lightning.text.traced import Traced

FINDINGS = ("edema", "mass", "no_finding", "pleural_effusion")
NO_ROWS = (
    *("|", "| ", "|\n", "||", "| |\n", "|-", "---|", "\n- |", "|:-:|", "\t|\t\n|", "|---|\n" * 4),
    *("|\n|---|\n|", "\r\n|\r\n", "- |\n- |", "<think>edema</think>|", "Absent:\n|", "**Absent**\n|---|"),
)
EMPTY_ITEMS = (
    *("Absent:\n- ", "**Absent**\n- ", "Absent: \n-\n", "Absent:\n-", "no:\n1. ", "## Negatives\n\u2022 ", "No:\na) "),
    *("Absent:\n- **", "Absent:\n- [ ] ", "Absent:\n\n-\n\n-\n", "Present:\n- ", "Not assessed:\n* ", "Absent:\n>  "),
)
LISTS = [
    ("No evidence of:\n- edema\n- ", "ed=0"),
    ("No evidence of:\n- edema\n-", "ed=0"),
    ("No evidence of:\n- edema\n- **", "ed=0"),
    ("**Absent**\n- edema\n- ", "ed=0"),
    ("**Absent**\n- edema\n\n- ", "ed=0"),
    ("Present:\n1. edema\nAbsent:\n- ", "ed=1"),
    ("Present:\n- edema\n- \nAbsent:\n- pneumonia\n-\n", "ed=1 pn=0"),
    ("Negative:\n\u2022 edema\n\u2022 ", "ed=0"),
    ("Absent:\n1. edema\n2. ", "ed=0"),
    ("Absent:\n1. edema\n2.", "ed=0"),
    ("Absent:\na) edema\nb) ", "ed=0"),
    ("Absent:\n-\nPresent:\n- edema", "ed=1"),
    ("Absent:\n- \n- edema", "ed=0"),
    ("Absent:\n- \n\nThere is edema.", "ed=1"),
    ("Not assessed:\n- edema\n- ", "NOTHING"),
    ("Normal:\n* heart\n* ", "NOTHING"),
    ("Cardiomegaly is seen.\nAbsent:\n- edema\n-  \t", "ca=1 ed=0"),
]
TABLES = [
    ("| Finding | Present |\n|---|---|\n| Edema | No |\n|", "ed=0"),
    ("| Finding | Present |\n|---|---|\n| Edema | No |\n| ", "ed=0"),
    ("| Finding | Present |\n|---|---|\n| Edema | No |\n\n|---|", "ed=0"),
    ("No edema.\n|", "ed=0"),
    ("|\nNo edema.", "ed=0"),
    ("|---|---|\n\nThere is edema.\n\n---|", "ed=1"),
    ("Absent:\n- edema\n|\n", "ed=0"),
    ('{"edema": false}\n|', "ed=0"),
    ('|{"edema": false}|', "ed=0"),
]


@pytest.mark.parametrize(("text", "expected"), [*LISTS, *TABLES])
def test_what_stands_before_the_cut_is_read(text, expected):
    assert right(text, expected) == expected


@pytest.mark.parametrize("text", [*NO_ROWS, *EMPTY_ITEMS])
def test_no_more_than_signs_is_no_answer(text):
    """An empty list is none, whatever its heading says: it holds neither a "no" nor a sentence without findings."""
    read = reading(text, FINDINGS)
    assert (read.kind, read.stated, read.silent) == ("refused", (), ())


def test_an_empty_item_leaves_the_spans_of_the_others():
    text = "No evidence of:\n- edema\n- "
    (said,) = reading(text).stated
    assert (text[said.start : said.end], said.values, reading(text).silent) == ("edema", {"edema": 0.0}, ())


def test_words_put_behind_the_end_stand_for_the_last_character():
    assert Traced("ab").put("no ", 2).copy(0, 1).put(".", 1).places == [1, 1, 1, 0, 1]


def test_words_that_stand_for_a_blank_have_a_place():
    """A cross is parted from the words before it by a blank; "no" stands there."""
    text = "```json 0.9\n\u2013 \n[x]\tand \u2013 \n"
    assert all(start < end for start, end in reading(text).silent)


def test_a_table_without_rows_writes_nothing():
    out = Traced("|")
    write_table([], lambda words: True, out)
    assert (out.text, out.places) == ("", [])


def check(text: str) -> None:
    """Every reader takes ``text``, and what they say of places lies in it."""
    said = reading(text, FINDINGS)
    assert said.kind == kind(text, FINDINGS) and said.kind in KINDS
    spans = [*((s.start, s.end) for s in said.stated), *said.silent, *conflicting_spans(text, "No edema.", FINDINGS)]
    assert all(0 <= start < end <= len(text) for start, end in spans), spans
    words, places = plain_answer(text, FINDINGS)
    assert len(words) == len(places) and all(0 <= place < len(text) for place in places)
    assert read([text], FINDINGS)[0].shape == (1, len(FINDINGS))
    assert 0 <= agreement(text, LISTS_AND_TABLES[0], FINDINGS) <= 1
    assert most_agreed([text, "Edema."], FINDINGS) in (text, "Edema.")
    assert set(read_progression(text, FINDINGS)) <= set(FINDINGS)
    assert normality(text.lower()) in (0, 1, 2)
    assert audit("1", "teacher", text, FINDINGS).reading == said
    lines = [(text.find(line), line) for line in text.splitlines() if "|" in line and not is_rule(line)]
    write_table([cells(text, at, at + len(line)) for at, line in lines], lambda words: "e" in words, Traced(text))


def test_every_beginning_and_end_of_a_list_or_table_is_read():
    for text in dict.fromkeys(beginnings_and_ends()):
        check(text)


def test_every_short_text_is_read():
    for text in islice(random_texts(seed=0), 1_000):
        check(text)
