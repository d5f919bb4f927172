"""Reads findings out of a report with rules, after NegEx (Chapman et al. 2001): name, cue, and how far the cue reaches.

What counts as stated:

- present (1): named without a negation. Hedges count as present ("possible edema", "pneumonia cannot be excluded").
- absent (0): named under a negation, an exclusion, "unlikely" or "resolved"; "heart size is normal" for cardiomegaly.
- not stated (NaN): everything else. "The lungs are clear" names no finding and states none.

A report that contradicts itself: the later sentence wins. What is only looked for ("rule out pneumonia"), remembered
("history of pneumonia") or explained ("an effusion is a collection of ...") is not stated. A refusal states nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from apo_lightning.metrics.other_names import OTHER_NAMES
from apo_lightning.metrics.plain_text import SENTENCE, plain

_HEART = r"(?:heart|cardiac|cardio-?mediastinal|cardiopericardial)(?! (?:failure|pacemaker|device|generator|lead))"


def _reach(*blocked: str) -> str:
    """Up to 80 characters of one clause that name none of the ``blocked`` words."""
    words = "|".join((r"but", r"(?<!and )lungs?", *blocked))
    return rf"(?:(?!\b(?:{words})\b)[^.;:]){{0,80}}?"


_NORMAL = (
    rf"{_HEART}{_reach('enlarged', 'large', 'not', 'no')}\b(?:normal(?! lung| aort| medias)|unremarkable)"
    rf"|normal(?:-?sized| in| size| appearance| contours?| configuration| and| of| the)* {_HEART}"
)
MENTIONS: dict[str, str] = {
    "atelectasis": r"atelecta\w+|volume loss|loss of (?:lung )?volume|(?:lung|lobar) collapse|collapsed lungs?"
    r"|collapse of (?:the )?(?:\w+ ){0,3}(?:lung|lobe)",
    "cardiomegaly": r"cardiomegaly|enlarged (?:heart|cardiac)|cardiac enlargement|enlargement of the (?:heart|cardiac)"
    rf"|(?!cardio){_HEART}{_reach('normal', 'unremarkable')}\b(?:enlarged|large)",
    "consolidation": r"consolidat\w+",
    "edema": r"(?<!subglottic )(?<!tissue )(?<!subcutaneous )(?<!peripheral )o?edema",
    "pleural_effusion": r"(?<!pericardial )effusions?|pleural (?:or|and) pericardial effusions?|pleural fluid",
    "pneumonia": r"(?:broncho)?pneumonias?",
    "pneumothorax": r"(?:hydro)?pneumothora(?:x|ces)|pleural air|air in the pleural space|ptx",
}
"""Canonical finding to the words that name it. For the others see ``other_names.py``."""

_SEEN = (
    r"(?:seen|present|identified|visible|visuali[sz]ed|evident|demonstrated|appreciated|detected|noted|observed|found"
    r"|apparent|suspected)"
)
_CHANGE = r"(?:change|increase|decrease|improvement|progression|worsening)"
_GRADE = r"(?:small|mild|moderate|severe|minimal|trace|tiny|stable|unchanged|persistent|residual|worsening|improv\w+)"
CUES: dict[str, str] = {
    # Negations that deny nothing; they stand first so that the plain "no" and "not" do not fire on them.
    "pseudo": r"\b(?:can ?not|can't|could not|not|difficult to)(?: be)?(?: \w+ly)? (?:exclude[ds]?|rul(?:e|ed) out)\b"
    rf"|\b(?:no|without)(?: (?:significant|interval|definite|acute|appreciable|further))* {_CHANGE}(?: in| of)?\b"
    r"|\bnot (?:only|necessarily)\b|\b(?:not|incompletely|partially|nearly)(?: yet| \w+ly)? resolved\b",
    # Only looked for, remembered or supposed.
    "null": r"\b(?:correlat\w+|evaluat\w+|assess\w*|look\w*|search\w*|check\w*)(?: \w+ly)? for\b"
    r"|\b(?:rule out|to exclude|history of|conditions such as|causes include|if)\b|\bwhen (?=[^,.]*suspected)"
    r"|^(?:indication|history|clinical (?:history|information|indication)|reason for exam\w*)\b",
    "explain": r"\b(?:is an?(?: abnormal)? (?:condition|type|collection)|refers to|is defined as)\b",
    # Deny what stands before them.
    "post": rf"\bno longer(?: {_SEEN})?|\b(?:not|\w+n't)(?: be)?(?: \w+ly)? {_SEEN}\b|\babsent\b"
    r"|\b(?:is|are|was|were|has|have|had|been|be)(?: \w+ly| been| now)* (?:excluded|ruled out|resolved|negative(?! for)"
    r"|unlikely|cleared)\b|\b(?:excluded|ruled out|resolved|negative|unlikely|none)(?=\W*$)"
    r"|: (?:none|negative(?! for))\b",
    # "edema: no" denies what stands before, "impression: no edema" what follows.
    "both": r": (?:no|not)\b",
    # Deny what follows.
    "pre": r"\b(?:no|not|without(?! comparison)|w/o|negative for|free of|clear of|absence of|lack(?:s|ing)?|neither"
    r"|nor|never|rather than|instead of|against|den(?:y|ies|ied)|fails? to|resolved|resolution of|clearing of"
    r"|unlikely|excludes?|can ?not|can't|\w+n't)\b",
    # Ends of a negation's reach; the first kind also parts what stood before from a later "is absent".
    "hard": r"\b(?:but|however|although|though|except|aside from|apart from|yet|while|whereas)\b|,(?= ?[\w ]{1,40}:)",
    "soft": rf"\b(?:which|there (?:is|are|was|were))\b|: yes\b|\b(?:is|are|was|were)(?: \w+ly)? {_SEEN}\b"
    rf"|(?:,|\band|\bwith) (?:an? |new )?{_GRADE}\b(?!.*\bor\b)"
    r"|, (?=consistent|compatible|suggest\w+|represent\w+|indicating)",
}
_CUES = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in CUES.items()))
_STATE = {"pre": 0.0, "both": 0.0, "null": None, "hard": 1.0, "soft": 1.0}
"""What is stated about a name that follows the cue."""

_JOINED = re.compile(
    r"\W*(?:(?:and|or|nor|an?|the|any|focal|new|left|right|bilateral|small|mild|moderate|severe|large)\b\W*)*"
)
_AND = re.compile(r"\b(?:and|or|nor)\b|/")
_SIDES = re.compile(r"\b(left|right|bilateral|bibasilar|both (?=lung|side|base|hemi))")
_DENIED = re.compile(r"\b(?:not|no|without)\b|n't")

_REFUSAL = re.compile(
    r"\b(?:i|we|as an ai)\b[^.!?]{0,80}?(?:can ?not|can't|unable|not able|not capable|not qualified|won't)[^.!?]{0,40}?"
    r"\b(?:interpret\w*|diagnos\w*|analy[sz]\w*|read|evaluat\w*|provid\w*|give|help|assist|view|open|access)\b"
    r"[^.!?]{0,40}?\b(?:images?|pictures?|x-?rays?|radiographs?|scans?|diagnos[ei]s|medical)\b"
    r"(?![^.!?]*[.,]? (?:but|however),? (?:here|i can (?:describe|explain|point|tell|note)))"
)
_MODEST = re.compile(r"\b(?:definitive|certain|final)")


@dataclass
class _Mention:
    """A finding named at ``start:end`` of a sentence; ``value`` None where nothing is stated about it."""

    finding: str
    start: int
    end: int
    value: float | None = None
    fixed: bool = False
    side: str | None = None


@dataclass(frozen=True)
class Sentence:
    """What the characters ``start:end`` of a text state.

    Attributes:
        values: finding to 1 present, 0 absent; never empty.
        sides: finding to left, right or bilateral, for present ones whose side is named.
    """

    start: int
    end: int
    values: dict[str, float]
    sides: dict[str, str]


def sentences(text: str, findings: Sequence[str]) -> list[Sentence]:
    """The sentences of ``text`` that state something, in order; none where it refuses.

    They state the findings of the vocabulary and those asked for. Within a sentence the later words win.

    >>> sentences("Chest film. No edema.", ["edema"])
    [Sentence(start=12, end=21, values={'edema': 0.0}, sides={})]
    """
    words, origin = plain(text)
    if _declines(words):
        return []
    other = tuple(sorted(set(findings) - set(MENTIONS)))
    found, end = [], 0
    for part in SENTENCE.split(words):
        start = words.index(part, end)
        end = start + len(part)
        stated = [item for item in _sentence(part, other) if item.value is not None]
        if stated:
            length = len(text[origin[start] : origin[end - 1] + 1].rstrip())
            values = {item.finding: float(item.value) for item in stated}
            named = {item.finding: item.side for item in stated if item.side and item.value == 1}
            found.append(Sentence(origin[start], origin[start] + length, values, named))
    return found


def mentioned(sentence: str, findings: Sequence[str]) -> list[tuple[str, int, int]]:
    """Which of ``findings`` a sentence of plain words names, and where, whatever it says about them."""
    other = tuple(sorted(set(findings) - set(MENTIONS)))
    found = (_mention(match) for names in _names(other) for match in names.finditer(sentence))
    return sorted(((m.finding, m.start, m.end) for m in found if m.finding in findings), key=lambda item: item[1:])


def parse(text: str, findings: Sequence[str]) -> dict[str, float]:
    """What ``text`` states about each finding: 1 present, 0 absent, NaN not stated.

    >>> parse("Heart size is normal. No effusion, but possible edema.", ["cardiomegaly", "edema", "pleural_effusion"])
    {'cardiomegaly': 0.0, 'edema': 1.0, 'pleural_effusion': 0.0}
    """
    last: dict[str, float] = {}
    for sentence in sentences(text, findings):
        last |= sentence.values
    return {name: last.get(name, math.nan) for name in findings}


def sides(text: str, findings: Sequence[str]) -> dict[str, str | None]:
    """Side of every finding that ``text`` states as present: left, right, bilateral, or None where it names no side.

    The last sentence that names a side wins.

    >>> sides("Mild left effusion. Edema. No pneumonia.", ["edema", "pleural_effusion", "pneumonia"])
    {'edema': None, 'pleural_effusion': 'left'}
    """
    last: dict[str, float] = {}
    side: dict[str, str] = {}
    for sentence in sentences(text, findings):
        last |= sentence.values
        side |= sentence.sides
    return {name: side.get(name) for name in findings if last.get(name) == 1}


def refused(text: str, findings: Sequence[str] = ()) -> bool:
    """Whether ``text`` declines to read the image ("I cannot interpret medical images") or states no finding at all,
    neither a canonical one nor one of ``findings``."""
    return not sentences(text, tuple(findings))


def read(texts: Iterable[str], findings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Answers ``[S, F]`` (1, 0, NaN) and refusals ``[S]`` (bool) of S texts, as `metrics.findings` takes them."""
    texts = list(texts)
    answers = np.array([list(parse(text, findings).values()) for text in texts], dtype=float)
    return answers.reshape(len(texts), len(findings)), np.array([refused(text, findings) for text in texts], dtype=bool)


def _declines(words: str) -> bool:
    """A refusal by its words. "I cannot give a definitive diagnosis" is modesty, and so is an offer to describe."""
    found = _REFUSAL.search(words)
    return found is not None and not _MODEST.search(found.group())


@lru_cache(maxsize=8)
def _names(other: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """The canonical names in one pattern, each of the others in its own: a mass is a lung lesion too."""
    groups = [rf"(?P<normal_heart>{_NORMAL})", *(rf"(?P<{name}>{words})" for name, words in MENTIONS.items())]
    own = [OTHER_NAMES.get(name, rf"{re.escape(name.replace('_', ' '))}(?:e?s)?") for name in other]
    marked = [rf"(?P<_{name}>{words})" for name, words in zip(other, own, strict=True)]  # a name may begin with a digit
    return tuple(re.compile(rf"\b(?:{words})\b") for words in ("|".join(groups), *marked))


@lru_cache(maxsize=1 << 16)
def _sentence(sentence: str, other: tuple[str, ...]) -> tuple[_Mention, ...]:
    """All findings named in one sentence, with what it states about them."""
    named = sorted((_mention(m) for names in _names(other) for m in names.finditer(sentence)), key=_start)
    if not named:
        return ()
    solid = [m for m in named if m.finding != "no_finding"]  # whose own "no" denies what follows too
    cues = [cue for cue in _CUES.finditer(sentence) if not any(m.start <= cue.start() < m.end for m in solid)]
    _judge(sentence, sorted([*named, *cues], key=_start))
    for i, mention in enumerate(named):
        before = sentence[named[i - 1].end if i else 0 : mention.start]
        after = sentence[mention.end : named[i + 1].start if i + 1 < len(named) else None]
        mention.side = _side(before) or _side(after)
    return tuple(named)


def _start(item: _Mention | re.Match[str]) -> int:
    return item.start if isinstance(item, _Mention) else item.start()


def _mention(match: re.Match[str]) -> _Mention:
    name = (match.lastgroup or "").removeprefix("_")
    if name == "normal_heart":
        return _Mention("cardiomegaly", match.start(), match.end(), 0.0, fixed=True)
    if name == "no_finding":  # the one finding whose name is a negation
        return _Mention(name, match.start(), match.end(), 1.0, fixed=True)
    denied = _DENIED.search(match.group()) is not None
    return _Mention(name, match.start(), match.end(), 0.0 if denied else 1.0, fixed=denied)


def _judge(sentence: str, items: list[_Mention | re.Match[str]]) -> None:
    """Walk names and cues from left to right and set what is stated about every name."""
    state: float | None = 1.0
    behind: list[_Mention] = []
    for item in items:
        if isinstance(item, _Mention):
            item.value = item.value if item.fixed else state
            behind.append(item)
            continue
        kind = item.lastgroup or ""
        if kind in ("post", "both"):
            for mention in _coordinated(sentence, behind):
                mention.value = 0.0
        if kind == "explain" and behind:
            behind[-1].value = None
        state = 0.0 if kind == "post" and not behind else _STATE.get(kind, state)
        behind = [] if kind == "hard" else behind


def _coordinated(sentence: str, behind: list[_Mention]) -> list[_Mention]:
    """The last name and those joined to it: both in "edema and effusion (are)", but one in "edema, effusion (is)"."""
    group, joined = behind[-1:], False
    for left, right in zip(reversed(behind[:-1]), reversed(behind[1:]), strict=True):
        gap = sentence[left.end : right.start]
        if right.start < left.end:  # two names of the same words
            group.append(left)
            continue
        joined = joined or _AND.search(gap) is not None
        if not joined or not _JOINED.fullmatch(gap):
            break
        group.append(left)
    return group


def _side(text: str) -> str | None:
    found = set(_SIDES.findall(text))
    if not found:
        return None
    return found.pop() if found in ({"left"}, {"right"}) else "bilateral"
