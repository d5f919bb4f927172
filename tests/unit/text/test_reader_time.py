"""Texts of any length are read in pieces of a bounded size, so that time grows with their length and not with its
square; ``benchmarks/reader_time.py`` measures it."""

from __future__ import annotations

import re

import pytest

from apo_lightning.text import normality, progression, qualifiers, verdicts
from apo_lightning.text.labeler import parse, reading
from apo_lightning.text.plain_text import LONGEST, plain, sentences_of, squeezed
from data_modules.open_i import strip_masks
from tests.helpers.unending_texts import LONG

FINDINGS = ("edema", "mass", "no_finding", "pleural_effusion")


@pytest.mark.parametrize("kind", LONG)
def test_pieces_are_bounded_and_nothing_but_blanks_is_lost(kind):
    words, origin = plain(squeezed(LONG[kind](20_000))[0])
    pieces = list(sentences_of(words))
    assert all(0 < len(piece) <= LONGEST and words[start:end] == piece for piece, start, end in pieces)
    assert "".join("".join(piece for piece, _, _ in pieces).split()) == "".join(words.split())
    assert len(words) == len(origin) and origin == sorted(origin)
    assert max(map(len, re.findall(r"[\W_]+", words)), default=0) <= 80, "runs of signs are cut short"


def test_a_sentence_is_whole_up_to_the_bound_and_cut_between_words_beyond():
    short = "no edema and " * 150
    assert [piece for piece, _, _ in sentences_of(f"{short.strip()}. clear.")] == [f"{short.strip()}.", "clear."]
    pieces = [piece for piece, _, _ in sentences_of("effusion and " * 400)]
    assert [len(piece) <= LONGEST for piece in pieces] == [True] * len(pieces) and len(pieces) == 3
    assert {word for piece in pieces for word in piece.split()} == {"effusion", "and"}


@pytest.mark.parametrize("kind", LONG)
def test_every_long_text_is_read(kind):
    """30,000 characters of each; those that took a minute before are among them."""
    text = LONG[kind](30_000)
    read = reading(text, FINDINGS)
    assert read.kind in ("refused", "nothing", "normal", "stated")
    assert all(0 <= s.start < s.end <= len(text) for s in read.stated)
    progression.read_progression(text, FINDINGS)


def test_what_stands_at_the_end_of_a_long_text_is_read():
    assert parse(LONG["one word"](50_000) + " There is edema.", ["edema"]) == {"edema": 1.0}
    assert parse(LONG["signs"](50_000) + "\n\nNo edema.", ["edema"]) == {"edema": 0.0}


def test_each_finding_looks_at_two_changes(monkeypatch):
    """And not at all of its sentence."""
    asked = []
    distance = qualifiers._distance
    monkeypatch.setattr(qualifiers, "_distance", lambda *of: asked.append(of) or distance(*of))
    text = "edema increased, effusion stable, " * 50
    assert progression.read_progression(text.replace("edema increased, effusion", "edema worse, effusion"), FINDINGS)
    assert len(asked) <= 2 * 100


def test_the_nearest_change_is_the_one_that_all_changes_give():
    """The rule as it is written: fewest boundaries of clauses, then fewest letters, then the earlier."""
    for seed in range(60):
        words = LONG["courses"](4_000)[seed * 50 : seed * 50 + 180].partition(" ")[2]
        changes = list(qualifiers.CHANGE.finditer(words))
        slow = {
            name: min(changes, key=lambda c: qualifiers._distance(words, (start, end), c.span())).lastgroup
            for name, start, end in progression.mentioned(words, FINDINGS)
        }
        assert progression.read_progression(words, FINDINGS) == slow


@pytest.mark.parametrize("words", [normality._HOW, verdicts._HOW])
def test_no_word_stands_twice_under_a_repetition(words):
    """Each would double the ways in which a text can fail to match."""
    names = [word for word in re.findall(r"[(|]([a-z' -]+)(?=[|)])", words) if word.strip()]
    assert len(names) > 5 and sorted({*names}) == sorted(names)


def test_masks_are_stripped_in_one_pass():
    long = "a" * 50_000
    assert strip_masks(f"Normal {long} chest x-XXXX.") == f"Normal {long} chest."
    assert strip_masks("XXXX " * 20_000 + "clear.") == "clear."
