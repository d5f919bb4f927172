"""Which findings a sentence names, and where. The words for the seven canonical ones; others: ``other_names.py``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from apo_lightning.text.other_names import OTHER_NAMES, REMOVABLE, REMOVAL, REMOVED

NO_FINDING = "no_finding"
"""Is no finding but the lack of all others: see ``normality.py``."""
_HEART = (
    r"(?:heart|cardiac|cardio[- ]?mediastinal|cardio-?pericardial|cardiothoracic ratio)(?! (?:failure"
    r"|pacemaker|device|generator|lead))"
)


def _reach(*blocked: str) -> str:
    """Up to 80 characters of one clause that name none of the ``blocked`` words; a colon right after a key or two."""
    words = "|".join((r"but", r"(?<!and )lungs?", *blocked))
    return rf"(?:(?: [\w/&]+){{0,3}}(?: ?[:=] ?| - ))?(?:(?!\b(?:{words})\b)[^.;:]){{0,80}}?"


_NORMAL = (
    rf"{_HEART}{_reach('enlarged', 'large', 'not', 'no', 'abnormal', 'prominent')}"
    r"\b(?:normal(?! lung| aort| medias)|unremarkable|wnl)"
    rf"|normal(?:-?sized| in| size| appearance| appearing| contours?| configuration| and| of| the)* {_HEART}"
    rf"|(?:unremarkable|non-?enlarged) {_HEART}"
)
MENTIONS: dict[str, str] = {
    "atelectasis": r"atelecta\w+|volume loss|loss of (?:lung )?volume"
    r"|(?:lung|lobar|alveolar|segmental|subsegmental) collapse|collapsed lungs?"
    r"|collapse of (?:the )?(?:\w+ ){0,5}(?:lungs?|lobes?)|lobe collapse|collapsed (?:\w+ ){1,3}(?:lungs?|lobes?)",
    "cardiomegaly": r"cardiomegaly|enlarged (?:heart|cardiac)|cardiac enlargement"
    r"|enlargement of (?:the )?(?:heart|cardiac)"
    r"|increased (?:heart size|cardiac size|cardiothoracic ratio)|borderline(?! normal)(?: \w+)? (?:heart"
    r"|cardiac)(?: size)?"
    r"|(?:heart|cardiac silhouette)(?: size)? (?:is |appears |remains )?(?:at the "
    r"|of )?borderline(?! normal)(?: in size)?"
    rf"|(?!cardio){_HEART}{_reach('normal', 'unremarkable')}\b(?:enlarged|large)",
    "consolidation": r"consolidat\w+",
    "edema": r"(?<!subglottic )(?<!tissue )(?<!subcutaneous )(?<!peripheral )o?edema",
    "pleural_effusion": r"(?<!pericardial )effusions?|pleural (?:or|and) pericardial effusions?|pleural fluid",
    "pneumonia": r"(?:broncho)?pneumonias?",
    "pneumothorax": r"(?:hydro|ha?emo|pyo)?pneumothora(?:x|ces)|pleural air|air in the pleural space|ptx",
}
"""Canonical finding to the words that name it."""
_FLUID = ("hydro", "hemo", "haemo", "pyo")
"""Beginnings of a pneumothorax that has fluid too."""
_DENIED = re.compile(r"\b(?:not|no|without)\b|n't")
_CLAUSE = re.compile(r"\b(?:is|are|was|were|appears?|remains?|looks?|seems?|has)\b")
_SUBORDINATE = re.compile(r"\b(?:that|if|whether|when|until|unless)(?: the)? ?$")


@dataclass
class Mention:
    """A finding named at ``start:end`` of a sentence.

    Attributes:
        value: 1 present, 0 absent, None where nothing is stated about it.
        fixed: the words state it by themselves ("the heart is normal"), whatever stands before.
        only_present: the words cannot deny it: no hydropneumothorax leaves an effusion.
        severity, hedged, course, partly: see ``qualifiers.py``.
    """

    finding: str
    start: int
    end: int
    value: float | None = None
    fixed: bool = False
    only_present: bool = False
    side: str | None = None
    severity: str | None = None
    hedged: bool = False
    course: str | None = None
    partly: bool = False


def others(findings: Sequence[str]) -> tuple[str, ...]:
    """Those of ``findings`` that are not canonical and have words of their own, in one order whatever the caller's."""
    return tuple(sorted(set(findings) - set(MENTIONS) - {NO_FINDING}))


def mentions(sentence: str, other: tuple[str, ...]) -> list[Mention]:
    """Canonical findings and those of ``other`` that a plain sentence names, from left to right."""
    found = [_mention(match) for names in _names(other) for match in names.finditer(sentence)]
    fluid = [m for m in found if m.finding == "pneumothorax" and sentence.startswith(_FLUID, m.start)]
    found += [Mention("pleural_effusion", m.start, m.end, 1.0, only_present=True) for m in fluid]
    return sorted(found, key=lambda mention: mention.start)


def names_finding(words: str, other: tuple[str, ...]) -> bool:
    """Whether words name a finding; an underscore parts words."""
    plain = words.lower().replace("_", " ")
    return any(names.search(plain) for names in _names(other))


@lru_cache(maxsize=8)
def _names(other: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """The canonical names in one pattern, each of the others in its own: a mass is a lung lesion too."""
    groups = [rf"(?P<normal_heart>{_NORMAL})", *(rf"(?P<{name}>{words})" for name, words in MENTIONS.items())]
    own = [OTHER_NAMES.get(name, rf"{re.escape(name.replace('_', ' '))}(?:e?s)?") for name in other]
    marked = [rf"(?P<_{name}>{words})" for name, words in zip(other, own, strict=True)]  # a name may begin with a digit
    return tuple(re.compile(rf"\b(?:{words})\b") for words in ("|".join(groups), *marked))


def _mention(match: re.Match[str]) -> Mention:
    name = (match.lastgroup or "").removeprefix("_")
    if name == "normal_heart":
        return Mention("cardiomegaly", match.start(), match.end(), 0.0, fixed=True)
    if _DENIED.search(match.group()):
        return Mention(name, match.start(), match.end(), 0.0, fixed=True)
    before = match.string[max(0, match.start() - 12) : match.start()]
    if name in REMOVABLE and _removed(match):
        return Mention(name, match.start(), match.end(), 0.0, fixed=True, partly=True)
    clause = _CLAUSE.search(match.group()) is not None and not _SUBORDINATE.search(before)
    return Mention(name, match.start(), match.end(), 1.0, fixed=clause)


def _removed(match: re.Match[str]) -> bool:
    """Whether what is named is taken out: "removal of the left chest tube", "tube and line have been removed"."""
    start, end = match.span()
    return (
        REMOVAL.search(match.string[max(0, start - 60) : start]) is not None
        or REMOVED.match(match.string, end) is not None
    )
