"""Statements that a finding is there or not there, for any finding of any set, in general clinical English.

A statement has no full stop: it is the beginning of an answer, whatever comes next ("Edema: yes, mild."). So no two of
one finding are the same event, and their probabilities add up. Wordings come in pairs that differ in the verdict alone;
the more of the words lie before it, the less a habit of wording weighs. Our own reader reads each as what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apo_lightning.text.labeler import parse

PAIRS: tuple[tuple[str, str], ...] = (
    ("{name}: yes", "{name}: no"),
    ("There is {name}", "There is no {name}"),
    ("{name} is present", "{name} is absent"),
    ("{name} is seen", "No {name} is seen"),
    ("There is evidence of {name}", "There is no evidence of {name}"),
)
"""(present, absent), those first that say most for their cost."""
QUESTION = "yes_no"
"""Prompt that asks for one finding, and the form of likelihood that asks it."""
ANSWERS: tuple[tuple[str, str], ...] = (("Yes", "No"), ("yes", "no"))
"""(present, absent) after that question."""
SPOKEN = {
    "ards": "ARDS",
    "covid_19": "COVID-19",
    "infiltration": "infiltrate",
    "pleural_other": "pleural thickening",
    "support_devices": "support device",
}
"""Findings that nobody calls by their names in tables, or not in the singular."""


def spoken(finding: str) -> str:
    """How a finding is called in a sentence."""
    return SPOKEN.get(finding, finding.replace("_", " "))


def statements(finding: str, count: int) -> list[tuple[str, str]]:
    """The first ``count`` pairs of statements on a finding.

    >>> statements("pleural_effusion", 1)
    [('Pleural effusion: yes', 'Pleural effusion: no')]
    """
    return [(_said(present, finding), _said(absent, finding)) for present, absent in PAIRS[:count]]


def readable(pairs: Sequence[tuple[str, str]], finding: str) -> list[tuple[str, str]]:
    """Those pairs that our own reader reads as what they say. What has no words for its absence (``no_finding``) has
    none."""
    return [pair for pair in pairs if [parse(text, [finding])[finding] for text in pair] == [1.0, 0.0]]


def known(pairs: Sequence[tuple[str, str]], is_known: Callable[[str], bool]) -> list[tuple[str, str]]:
    """Those pairs of which a student's tokenizer can write both statements; half a pair would weigh one side alone."""
    return [pair for pair in pairs if all(map(is_known, pair))]


def _said(wording: str, finding: str) -> str:
    text = wording.format(name=spoken(finding))
    return text[0].upper() + text[1:]
