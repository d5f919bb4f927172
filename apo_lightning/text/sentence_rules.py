"""What one plain sentence states about each finding it names: names and cues, walked from left to right.

Present (1): named without a negation; hedges count as present ("possible edema", "pneumonia cannot be excluded").
Absent (0): named under a negation, an exclusion, "unlikely", "resolved", or as a key whose value says so. None: only
looked for, remembered, asked, explained or not assessed.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from apo_lightning.text.cues import PATTERN, STATE
from apo_lightning.text.mentions import Mention, mentions
from apo_lightning.text.qualifiers import grouped, qualify
from apo_lightning.text.verdicts import chance, kind_of

_JOINED = re.compile(
    r"\W*(?:(?:and|or|nor|an?|the|any|focal|new|left|right|bilateral|small|mild|moderate|severe|large)\b\W*)*"
)
_AND = re.compile(r"\b(?:and|or|nor)\b|/")
_KEY_GAP = re.compile(
    r"(?:\W*\b(?!confidence|certainty|conf\b|there\b|no\b|is\b|are\b|with\b|shows?\b)[\w']+\b){0,4}\W*"
)
_SIDES = re.compile(
    r"\b(?:mid-?)?(left|right)|\b(bilateral|bi-?(?:basilar|basal|apical|hilar)|both (?=lung|side|base|hemi|apic)"
    r"|(?:bases|apices)\b)"
)
_OTHER_SIDE = re.compile(
    r"\b(?:on|at|in|to) the (?:left|right)(?: side| half)? of the (?:image|film|picture|radiograph|x-?ray|screen)"
    r"|\b(?:compar\w+ (?:to|with)|unlike|opposite|relative to|contrary to) (?:that )?(?:on |in |of )?(?:the )?"
    r"(?:normal )?(?:left|right)\b"
)
"""Sides of the picture, and what a side is compared with."""
_EXPLAINS = (
    r"(?:(?:consistent|compatible) with|represent\w*|reflect\w*|suggest\w*(?: of)?"
    r"|(?:concerning|suspicious|worrisome) for"
    r"|likely|probabl[ey]|possibl[ey]|may|might|could|be|or|versus|vs|and/or|which|that"
    r"|most|xxxx|an?|the"
    r"|early|mild|minimal|small|focal|patchy|subsegmental|discoid|linear|developing|due to|secondary to|scarring|scar)"
)
_SAME_PLACE = re.compile(rf"\W*(?:{_EXPLAINS}\b\W*)*")
"""Between two names: one explains the other, or they are choices for one thing."""
_ASKED = re.compile(
    r"^(?!.*\b(?:question|possib|probab|suspect|suggest|concern)).*\?\W*$"
    r"|^\W*(?:is|are|was|were|does|do|did|can|could|would|has|have|any|what|which|why|how|should)\b.*\?\W*$"
)

VALUES = ("value", "fine", "rate")

Item = Mention | re.Match[str]


@lru_cache(maxsize=1 << 16)
def read_sentence(sentence: str, other: tuple[str, ...]) -> tuple[Mention, ...]:
    """All findings named in one plain sentence, with what it states about them.

    Args:
        sentence: lower case, on one line.
        other: findings to look for beside the canonical ones.
    """
    named = mentions(sentence, other)
    if not named:
        return ()
    taken = {place for mention in named for place in range(mention.start, mention.end)}
    cues = [cue for cue in PATTERN.finditer(sentence) if cue.start() not in taken]
    _judge(sentence, sorted([*named, *cues], key=_start))
    if _ASKED.match(sentence):
        for mention in named:
            mention.value = None
    for mention in named:
        if mention.only_present and mention.value == 0:
            mention.value = None
    _set_sides(sentence, grouped(named))
    qualify(sentence, named)
    return tuple(named)


def _start(item: Item) -> int:
    return item.start if isinstance(item, Mention) else item.start()


def _judge(sentence: str, items: list[Item]) -> None:
    """Set what is stated about every name. ``state`` holds for the next name, ``behind`` are those a cue may reach."""
    state: float | None = 1.0
    behind: list[Mention] = []
    since = 0
    for item in items:
        if isinstance(item, Mention):
            item.value = item.value if item.fixed else state
            behind.append(item)
            continue
        kind = item.lastgroup or ""
        if kind in VALUES:
            _set_value(item, kind, _keys(sentence, behind, item.start(), since))
        if kind in ("post", "both", "unknown"):
            for mention in _coordinated(sentence, behind):
                mention.value = None if kind == "unknown" else 0.0
        if kind == "explain" and behind:
            behind[-1].value = None
        if kind == "same" and behind:
            state = behind[-1].value
        if kind == "seen" and state is not None:
            state = 1.0
        state = 0.0 if kind == "post" and not behind else STATE.get(kind, state)
        if kind in VALUES or kind == "hard" or kind.startswith("list"):
            behind, since = [], item.end()


def _set_value(cue: re.Match[str], kind: str, keys: list[Mention]) -> None:
    """A "no" denies, "n/a" takes back; "yes" leaves what the key itself denies ("absence of edema: yes")."""
    if kind == "rate":
        value = chance(cue)
        said = "na" if math.isnan(value) else "yes" if value else "no"
    else:
        said = "no" if kind == "fine" else kind_of(cue)
    for mention in keys:
        if said == "no":
            mention.value = mention.value if mention.fixed else 0.0
        elif said == "na":
            mention.value = None
        elif mention.value is None:
            mention.value = 1.0


def _keys(sentence: str, behind: list[Mention], end: int, since: int) -> list[Mention]:
    """The names that a value belongs to: all of a list that begins at ``since`` and ends right before it."""
    group: list[Mention] = []
    for mention in reversed(behind):
        if mention.end <= end and not _KEY_GAP.fullmatch(sentence, mention.end, end):
            break
        group.append(mention)
        end = min(mention.start, end)
    return group if _KEY_GAP.fullmatch(sentence, since, end) else group[:1] and _coordinated(sentence, behind)


def _coordinated(sentence: str, behind: list[Mention]) -> list[Mention]:
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


def _set_sides(sentence: str, groups: list[list[Mention]]) -> None:
    """Each group's side is named before it or in it, else behind it, else by what it explains or is joined to."""
    starts = [group[0].start for group in groups] + [len(sentence)]
    ends = [max(mention.end for mention in group) for group in groups]
    sides: list[str | None] = []
    for i, group in enumerate(groups):
        before = sentence[ends[i - 1] if i else 0 : starts[i]]
        inside = "" if group[0].finding == "cardiomegaly" else sentence[starts[i] : ends[i]]
        side = _side(before + inside) or _side(sentence[ends[i] : starts[i + 1]])
        sides.append(sides[-1] if side is None and i and _SAME_PLACE.fullmatch(before) else side)
    for i in range(len(groups) - 2, -1, -1):
        if sides[i] is None and _JOINED.fullmatch(sentence, ends[i], starts[i + 1]):
            sides[i] = _side(sentence[ends[i + 1] : starts[i + 2]])
    for group, side in zip(groups, sides, strict=True):
        for mention in group:
            mention.side = side


def _side(text: str) -> str | None:
    if not _SIDES.search(text):
        return None
    found = {one or "bilateral" for one, _ in _SIDES.findall(_OTHER_SIDE.sub(" ", text))}
    if not found:
        return None
    return found.pop() if found in ({"left"}, {"right"}) else "bilateral"
