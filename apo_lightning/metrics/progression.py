"""Is a finding improving, stable or worsening since the earlier image: reading it out of a text, and scoring it.

The task of MS-CXR-T (Bannur et al. 2023, arXiv:2301.04558). Accuracy is Top-1 over the three classes; its classes are
far from equally frequent, so macro accuracy, the mean over the classes that occur, stands beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from sklearn import metrics as sk

from apo_lightning.metrics.findings import MEAN, Row
from apo_lightning.metrics.labeler import mentioned, plain_answer
from apo_lightning.metrics.plain_text import SENTENCE

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
_CHANGE = re.compile("|".join(rf"(?P<{name}>\b(?:{words})\b)" for name, words in _WORDS.items()))


def read_progression(text: str, findings: Sequence[str]) -> dict[str, str]:
    """What ``text`` says of the course of each finding; findings whose course it does not say are left out.

    A sentence speaks of every finding that it names; of several words of change the one nearest to a finding counts,
    the earlier of two equally near. Later sentences win. JSON, tables and the like are read as in `metrics.labeler`,
    thinking is not.

    >>> read_progression("The left effusion has increased, edema is unchanged.", ["edema", "pleural_effusion"])
    {'edema': 'stable', 'pleural_effusion': 'worsening'}
    """
    said: dict[str, str] = {}
    words, _ = plain_answer(text, findings)
    for sentence in SENTENCE.split(words):
        changes = list(_CHANGE.finditer(sentence))
        for name, start, end in mentioned(sentence, findings) if changes else ():
            nearest = min(changes, key=lambda change: max(start - change.end(), change.start() - end, 0))
            said[name] = nearest.lastgroup or ""
    return {name: said[name] for name in findings if name in said}


def progression_scores(
    labels: Sequence[Mapping[str, str]], answers: Sequence[Mapping[str, str]], findings: Sequence[str]
) -> list[Row]:
    """``progression_accuracy`` and ``progression_macro_accuracy`` of every finding with labels, and their means.

    Args:
        labels: finding to one of ``CLASSES`` for each of S studies; findings without a label count for nothing.
        answers: the same for the answers; a finding that an answer leaves out is wrong.

    Raises:
        ValueError: another number of answers than of labels, or a label that is no class.
    """
    if len(labels) != len(answers):
        raise ValueError(f"labels and answers must be as many, got {len(labels)} and {len(answers)}")
    for label in (value for study in labels for value in study.values()):
        if label not in CLASSES:
            raise ValueError(f"labels must be one of {', '.join(CLASSES)}, got '{label}'")
    rows: list[Row] = []
    values: dict[str, list[float]] = {"progression_accuracy": [], "progression_macro_accuracy": []}
    for name in findings:
        known = [i for i, label in enumerate(labels) if name in label]
        if not known:
            continue
        truth, said = [labels[i][name] for i in known], [answers[i].get(name, "") for i in known]
        occurring = [c for c in CLASSES if c in truth]
        macro = sk.recall_score(truth, said, labels=occurring, average="macro", zero_division=0)
        for metric, value in zip(values, (float(np.mean(np.equal(truth, said))), float(macro)), strict=True):
            values[metric].append(value)
            rows.append((metric, name, value))
    return rows + [(metric, MEAN, float(np.mean(scores))) for metric, scores in values.items() if scores]
