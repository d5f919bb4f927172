"""Statements on findings: general, readable, and known to a tokenizer."""

from __future__ import annotations

import pytest

from apo_lightning.probes.wordings import PAIRS, SPOKEN, known, readable, spoken, statements
from apo_lightning.text.labeler import parse
from apo_lightning.text.mentions import MENTIONS
from apo_lightning.text.other_names import OTHER_NAMES
from data_modules import DATA

ALL = sorted({*MENTIONS, *OTHER_NAMES, *(name for cls in DATA.values() for name in cls.vocabulary)} - {"no_finding"})


@pytest.mark.parametrize("finding", [*ALL, "granuloma", "aortic_aneurysm", "7th_rib_lesion"])
def test_the_reader_reads_every_statement_as_what_it_says(finding: str) -> None:
    """Of every finding of every set, of those that only words are known of, and of names nobody has thought of."""
    for present, absent in statements(finding, len(PAIRS)):
        for text, value in ((present, 1.0), (absent, 0.0)):
            for said in (text, f"{text}."):
                assert parse(said, [finding, "edema"])[finding] == value, said
    assert readable(statements(finding, len(PAIRS)), finding) == statements(finding, len(PAIRS))


@pytest.mark.parametrize("finding", ALL)
def test_no_statement_is_the_beginning_of_another(finding: str) -> None:
    """Then they are different events, and probabilities add up."""
    texts = [text for pair in statements(finding, len(PAIRS)) for text in pair]
    assert not [(a, b) for a in texts for b in texts if a != b and f"{b} ".startswith(f"{a} ")]
    assert len(set(texts)) == len(texts)


def test_no_finding_has_no_words_for_its_absence() -> None:
    assert readable(statements("no_finding", len(PAIRS)), "no_finding") == []


def test_names_are_readable() -> None:
    assert spoken("pleural_effusion") == "pleural effusion" and spoken("covid_19") == "COVID-19"
    assert set(SPOKEN) <= set(OTHER_NAMES)
    assert not any("_" in text for name in ALL for pair in statements(name, 9) for text in pair)


def test_half_a_pair_is_no_pair() -> None:
    pairs = [("a", "b"), ("c", "d")]
    assert known(pairs, lambda text: text != "d") == [("a", "b")]
