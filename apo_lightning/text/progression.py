"""Is a finding improving, stable or worsening since the earlier image: reading it out of a text, and scoring it.

The task of MS-CXR-T (Bannur et al. 2023, arXiv:2301.04558). Accuracy is Top-1 over the three classes; its classes are
far from equally frequent, so macro accuracy, the mean of the recalls of the classes that occur, stands beside it; it
compares classes, so a finding whose labels are all of one class has none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

from apo_lightning.text.labeler import mentioned, plain_answer
from apo_lightning.text.plain_text import sentences_of
from apo_lightning.types import Study

CLASSES = ("improving", "stable", "worsening")
_WORDS = {
    "stable": r"stable|unchanged|unaltered|persist\w*|similar|constant"
    r"|(?:no|not|without|neither|nor|little|isn't|hasn't)(?: \w+){0,2} (?:chang\w*|progress\w*|improv\w*|wors\w*"
    r"|increas\w*|decreas\w*|larger|smaller|resolv\w*)",
    "improving": r"no longer(?: \w+)?|better|improv\w+|decreas\w+|resol[vu]\w+|smaller|cleared|clearing|less|reduced"
    r"|reduction|lessened|regress\w+",
    "worsening": r"worse\w*|increas\w+|progress\w+|larger|enlarg(?:ed|ing)|(?<!no )new|more(?! likely)|grown"
    r"|developed|developing",
}
_CLAUSE = re.compile(r"[,;]|\b(?:while|whereas|but)\b")
_CHANGE = re.compile("|".join(rf"(?P<{name}>\b(?:{words})\b)" for name, words in _WORDS.items()))


def read_progression(text: str, findings: Sequence[str]) -> dict[str, str]:
    """What ``text`` says of the course of each finding; findings whose course it does not say are left out.

    A sentence speaks of every finding that it names; of several words of change the one nearest to a finding counts:
    with fewest commas (semicolons, while, whereas, but) between them, then with fewest letters, then the earlier one.
    Later sentences win. JSON, tables and the like are read as in `text.labeler`,
    thinking is not.

    >>> read_progression("The left effusion has increased, edema is unchanged.", ["edema", "pleural_effusion"])
    {'edema': 'stable', 'pleural_effusion': 'worsening'}
    """
    said: dict[str, str] = {}
    words, _ = plain_answer(text, findings)
    for sentence, *_ in sentences_of(words):
        changes = list(_CHANGE.finditer(sentence))
        starts = [change.start() for change in changes]
        for name, start, end in mentioned(sentence, findings) if changes else ():
            place = bisect_right(starts, start)  # of all before, and of all behind, none is nearer than the next
            near = changes[max(0, place - 1) : place + 1]
            nearest = min(near, key=lambda change: _distance(sentence, (start, end), change.span()))
            said[name] = nearest.lastgroup or ""
    return {name: said[name] for name in findings if name in said}


def _distance(sentence: str, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Boundaries of clauses and letters between two places."""
    (_, end), (start, _) = sorted((one, other))
    return len(_CLAUSE.findall(sentence, end, max(start, end))), max(start - end, 0)


def judges_progression(studies: Sequence[Study]) -> bool:
    return any(study.progression for study in studies)
