"""Is a finding improving, stable or worsening since the earlier image: reading it out of a text, and scoring it.

The task of MS-CXR-T (Bannur et al. 2023, arXiv:2301.04558). Accuracy is Top-1 over the three classes; its classes are
far from equally frequent, so macro accuracy, the mean of the recalls of the classes that occur, stands beside it; it
compares classes, so a finding whose labels are all of one class has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from apo_lightning.text.labeler import mentioned, plain_answer
from apo_lightning.text.plain_text import sentences_of
from apo_lightning.text.qualifiers import COURSES, courses
from apo_lightning.types import Study

CLASSES = COURSES


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
        named = mentioned(sentence, findings)
        found = courses(sentence, [(start, end) for _, start, end in named])
        said |= {name: course for (name, *_), course in zip(named, found, strict=True) if course}
    return {name: said[name] for name in findings if name in said}


def judges_progression(studies: Sequence[Study]) -> bool:
    return any(study.progression for study in studies)
