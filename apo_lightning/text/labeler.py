"""Reads findings out of a report or a model's answer with rules: the face of what the other files of this room do.

A text is cut into its answer (``thinking.py``), its structures become sentences (``structure.py``), sentences are read
by names and cues (``sentence_rules.py``). A report that contradicts itself: the later sentence wins. Texts come in four
kinds, see `kind`:

- ``refused``: declines to read the image, or has no answer at all (empty, only thinking, one stuttered word);
- ``normal``: states none as present and calls the film normal, which denies every finding (``normality.py``);
- ``stated``: states a finding;
- ``nothing``: states none, and is no refusal ("The image shows a chest.").
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from apo_lightning.text.mentions import MENTIONS, NO_FINDING, Mention, mentions, names_finding, others
from apo_lightning.text.normality import normality
from apo_lightning.text.plain_text import plain, sentences_of, squeezed
from apo_lightning.text.refusals import declines, deflects
from apo_lightning.text.sentence_rules import read_sentence
from apo_lightning.text.structure import unfold
from apo_lightning.text.thinking import only_answer

KINDS = ("refused", "nothing", "normal", "stated")
_NEVER_DENIED = (NO_FINDING, "support_devices")
"""By normality: a normal film may show a tube."""
_ELSEWHERE = ("heart_failure", "infiltration", "lung_lesion", "lung_opacity")
"""With one of these, clear lungs are no normal film."""
_WORD = re.compile(r"[^\W\d_]{2,}")


@dataclass(frozen=True)
class Sentence:
    """What the characters ``start:end`` of a text state.

    Attributes:
        values: finding to 1 present, 0 absent; never empty.
        sides: finding to left, right or bilateral, for present ones whose side is named.
        denied_sides: finding to left or right, for absent ones of which only that side is denied.
        severities: finding to mild, moderate or severe, for present ones whose severity is said.
        hedged: present findings that are said with doubt.
        partly: absent findings of which only a part is denied: "no new consolidation" leaves an old one.
        compared: finding to improving, stable or worsening, where a change since an earlier image is said; absent
            ones can only have improved ("the effusion has resolved").
    """

    start: int
    end: int
    values: dict[str, float]
    sides: dict[str, str]
    denied_sides: dict[str, str] = field(default_factory=dict, repr=False)
    severities: dict[str, str] = field(default_factory=dict, repr=False)
    hedged: frozenset[str] = field(default=frozenset(), repr=False)
    compared: dict[str, str] = field(default_factory=dict, repr=False)
    partly: frozenset[str] = field(default=frozenset(), repr=False)


@dataclass(frozen=True)
class Reading:
    """A whole text as it was read.

    Attributes:
        kind: one of `KINDS`.
        stated: the sentences that state something, in order; none where the text refuses.
        silent: spans of the sentences that state nothing.
        overruled: it calls the film normal and states a finding as present, which wins.
    """

    kind: str
    stated: tuple[Sentence, ...]
    silent: tuple[tuple[int, int], ...]
    overruled: bool = False


def reading(text: str, findings: Sequence[str] = ()) -> Reading:
    """``text`` as it is read for the canonical findings and those asked for."""
    return _reading(text, others(findings), NO_FINDING in findings)


def sentences(text: str, findings: Sequence[str]) -> list[Sentence]:
    """The sentences of ``text`` that state something, in order; none where it refuses.

    They state the findings of the vocabulary and those asked for. Within a sentence the later words win.

    >>> sentences("Chest film. No edema.", ["edema"])
    [Sentence(start=12, end=21, values={'edema': 0.0}, sides={})]
    """
    return list(reading(text, findings).stated)


def mentioned(sentence: str, findings: Sequence[str]) -> list[tuple[str, int, int]]:
    """Which of ``findings`` a sentence of plain words names, and where, whatever it says about them."""
    return [(m.finding, m.start, m.end) for m in mentions(sentence, others(findings)) if m.finding in findings]


def parse(text: str, findings: Sequence[str]) -> dict[str, float]:
    """What ``text`` states about each finding: 1 present, 0 absent, NaN not stated.

    ``no_finding`` is present as well where the text denies all others that are asked for.

    >>> parse("Heart size is normal. No effusion, but possible edema.", ["cardiomegaly", "edema", "pleural_effusion"])
    {'cardiomegaly': 0.0, 'edema': 1.0, 'pleural_effusion': 0.0}
    """
    last = stated(sentences(text, findings))
    rest = [name for name in findings if name not in _NEVER_DENIED]
    if NO_FINDING in findings and rest and all(last.get(name) == 0 for name in rest):
        last.setdefault(NO_FINDING, 1.0)
    return {name: last.get(name, math.nan) for name in findings}


def stated(sentences: Iterable[Sentence]) -> dict[str, float]:
    """What sentences state together: later ones win, but "no right effusion" leaves a left, "no new" an old one."""
    last: dict[str, float] = {}
    side: dict[str, str] = {}
    for sentence in sentences:
        kept = [n for n, only in sentence.denied_sides.items() if last.get(n) == 1 and side.get(n) not in (None, only)]
        kept += [n for n in sentence.partly if last.get(n) == 1]
        last |= {name: value for name, value in sentence.values.items() if name not in kept}
        side |= sentence.sides
    return last


def sides(text: str, findings: Sequence[str]) -> dict[str, str | None]:
    """Side of every finding that ``text`` states as present: left, right, bilateral, or None where it names no side.

    The last sentence that names a side wins.

    >>> sides("Mild left effusion. Edema. No pneumonia.", ["edema", "pleural_effusion", "pneumonia"])
    {'edema': None, 'pleural_effusion': 'left'}
    """
    found = sentences(text, findings)
    last, side = stated(found), {}
    for sentence in found:
        side |= sentence.sides
    return {name: side.get(name) for name in findings if last.get(name) == 1}


def kind(text: str, findings: Sequence[str] = ()) -> str:
    """Which of `KINDS` a text is, for the canonical findings and those asked for.

    >>> kind("Normal chest."), kind("The image shows a chest."), kind("I cannot interpret images."), kind("Edema.")
    ('normal', 'nothing', 'refused', 'stated')
    """
    return reading(text, findings).kind


def refused(text: str, findings: Sequence[str] = ()) -> bool:
    """Whether ``text`` declines to read the image ("I cannot interpret medical images") or gives no answer at all."""
    return kind(text, findings) == "refused"


def read(texts: Iterable[str], findings: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Answers ``[S, F]`` (1, 0, NaN) and refusals ``[S]`` (bool) of S texts."""
    texts = list(texts)
    answers = np.array([list(parse(text, findings).values()) for text in texts], dtype=float)
    return answers.reshape(len(texts), len(findings)), np.array([refused(text, findings) for text in texts], dtype=bool)


def plain_answer(text: str, findings: Sequence[str]) -> tuple[str, list[int]]:
    """The answer in ``text`` as plain sentences, its structures unfolded; and where each character stood."""
    return _plain_answer(text, others(findings))


def _plain_answer(text: str, other: tuple[str, ...]) -> tuple[str, list[int]]:
    short, before = squeezed(only_answer(text))
    unfolded, places = unfold(short, lambda key: names_finding(key, other))
    return plain(unfolded, [before[place] for place in places])


@lru_cache(maxsize=1 << 12)
def _reading(text: str, other: tuple[str, ...], whole: bool) -> Reading:
    words, origin = _plain_answer(text, other)
    if declines(words):
        return Reading("refused", (), ())
    found: list[Sentence] = []
    silent: list[tuple[int, int]] = []
    normal: dict[int, int] = {}
    parts = list(sentences_of(words))
    elsewhere: bool | None = None
    for part, start, end in parts:
        span = _span(text, origin[start:end])
        items = [item for item in read_sentence(part, other) if item.value is not None]
        strength = normality(part)
        if strength == 1:
            if elsewhere is None:
                elsewhere = any(item.value == 1 for p, _, _ in parts for item in read_sentence(p, _ELSEWHERE))
            strength = int(not elsewhere)
        if strength:
            normal[len(found)] = strength
        if items or strength:
            found.append(_sentence(span, items))
        elif _WORD.search(part):
            silent.append(span)
    kept, is_normal = _with_normality(found, normal, (*MENTIONS, *other, *((NO_FINDING,) if whole else ())))
    silent = sorted([*silent, *({(s.start, s.end) for s in found} - {(s.start, s.end) for s in kept})])
    if kept:
        overruled = not is_normal and max(normal.values(), default=0) == 2
        return Reading("normal" if is_normal else "stated", kept, tuple(silent), overruled)
    nothing = _WORD.search(words) and not deflects(words)
    return Reading("nothing" if nothing else "refused", (), tuple(silent))


def _sentence(span: tuple[int, int], items: Iterable[Mention]) -> Sentence:
    """Within a sentence the later words win, but what is denied of one side leaves the other."""
    said: dict[str, Mention] = {}
    sides: dict[str, str] = {}
    grades: dict[str, str] = {}
    courses: dict[str, str] = {}
    denied: dict[str, str] = {}
    for item in items:
        name, one_sided = item.finding, item.value == 0 and item.side in ("left", "right")
        before = name in said and said[name].value == 1
        if before and (item.partly or (one_sided and sides.get(name) not in (None, item.side))):
            continue
        said[name] = item
        if item.value == 1:
            sides |= {name: item.side} if item.side else {}
            grades |= {name: item.severity} if item.severity else {}
        courses |= {name: item.course} if item.course else {}
        denied |= {name: item.side} if one_sided and item.side else {}
    present = {name for name, item in said.items() if item.value == 1}
    return Sentence(
        *span,
        {name: float(item.value or 0) for name, item in said.items()},
        {name: side for name, side in sides.items() if name in present},
        {name: side for name, side in denied.items() if name not in present},
        severities={name: grade for name, grade in grades.items() if name in present},
        hedged=frozenset(name for name in present if said[name].hedged),
        compared={name: course for name, course in courses.items() if name in present or course == "improving"},
        partly=frozenset(name for name, item in said.items() if item.partly),
    )


def _with_normality(
    found: list[Sentence], normal: dict[int, int], findings: tuple[str, ...]
) -> tuple[tuple[Sentence, ...], bool]:
    """The sentences that state something, and whether those of normality among them deny every finding.

    They do where nothing is stated as present; clear lungs only where nothing is stated at all.
    """
    last = stated(found)
    needed = 3 if any(last[name] == 1 for name in last if name not in _NEVER_DENIED) else 2 if last else 1
    kept = []
    for i, sentence in enumerate(found):
        if normal.get(i, 0) >= needed:
            denied = dict.fromkeys((name for name in findings if name not in _NEVER_DENIED), 0.0)
            whole = {NO_FINDING: 1.0} if NO_FINDING in findings else {}
            kept.append(replace(sentence, values={**denied, **whole, **sentence.values}))
        elif sentence.values:
            kept.append(sentence)
    return tuple(kept), max(normal.values(), default=0) >= needed


def _span(text: str, places: list[int]) -> tuple[int, int]:
    start, end = min(places), max(places) + 1
    return start, start + max(1, len(text[start:end].rstrip()))  # a word may stand for a blank: "no" for " -"
