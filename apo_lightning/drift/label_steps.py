"""Distance by what the texts state: how far teachers contradict each other by each step, and who is wrong where.

An embedding of two sentences hardly moves where one word of them does, "left" for "right" or "no" for none; what is
stated does. Letters in shapes: S studies, K steps, N teachers, F findings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from apo_lightning.drift.corpus import Texts
from apo_lightning.drift.curves import Curve, intervals, mean
from apo_lightning.drift.segments import sentence_spans
from apo_lightning.text.conflict import Stated, in_conflict, statement_of
from apo_lightning.text.labeler import sentences

STATEMENTS: tuple[Stated, ...] = (
    (1, None),
    (1, "left"),
    (1, "right"),
    (1, "bilateral"),
    (0, None),
    (0, "left"),
    (0, "right"),
)
BY = ("position", "sentence")
CODES = {said: code for code, said in enumerate(STATEMENTS, 1)}
"""What can be said of a finding; 0: nothing."""
CLASH = np.zeros((len(CODES) + 1, len(CODES) + 1), dtype=bool)
CLASH[1:, 1:] = [[in_conflict(one, other) for other in STATEMENTS] for one in STATEMENTS]


@dataclass(frozen=True)
class LabelSteps:
    """Distances by what has been stated up to the end of each step.

    Attributes:
        by: what a step is: ``position`` or ``sentence``.
        conflict: share of the findings that both have stated by then on which they contradict each other.
        apart: share of the findings that either has stated on which they contradict each other, or one is silent.
    """

    by: str
    conflict: Curve
    apart: Curve


def measure(texts: Texts, teachers: Sequence[str], findings: Sequence[str], *, steps: int) -> list[LabelSteps]:
    """`LabelSteps` by position and by sentence, over the studies in the order of ``texts``."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {by: [] for by in BY}
    for own in texts.values():
        for by, codes in codes_of(own, teachers, findings, steps).items():
            found[by].append(distance(codes))
    curves = {
        by: [Curve.of((one[i] for one in own), steps, len(teachers)) for i in (0, 1)] for by, own in found.items()
    }
    return [LabelSteps(by, *own) for by, own in curves.items()]


def codes_of(
    own: Mapping[str, str], teachers: Sequence[str], findings: Sequence[str], steps: int
) -> dict[str, np.ndarray]:
    """By position and by sentence ``[N, K, F]`` int8: what each teacher's text has stated of each finding by the end of
    each step, as a code of `CODES`; later sentences win. A teacher without a text states nothing."""
    place = {name: i for i, name in enumerate(findings)}
    found = {by: np.zeros((len(teachers), steps, len(findings)), dtype=np.int8) for by in BY}
    for u, teacher in enumerate(teachers):
        text = own.get(teacher, "")
        said = sentences(text, findings) if text else []
        starts = [start for start, _ in sentence_spans(text)] if said else []
        for sentence in said:
            rank = max(int(np.searchsorted(starts, sentence.start, side="right")) - 1, 0)
            first = {"position": rank * steps // max(len(starts), 1), "sentence": min(rank, steps)}
            for name in sentence.values.keys() & place.keys():
                for by, codes in found.items():
                    so_far = codes[u, first[by] :, place[name]]
                    so_far[:] = CODES[_together(int(so_far[-1]), statement_of(sentence, name))] if len(so_far) else 0
    return found


def _together(before: int, now: Stated) -> Stated:
    """What a text states of a finding after one more sentence: the later word wins, a side that was named stays until
    another one is, and an absence on one side leaves what is on the other (`labeler.stated`)."""
    value, side = now
    if not before:
        return now
    held, held_side = STATEMENTS[before - 1]
    if value == 0 and side and held == 1 and held_side not in (None, side):
        return held, held_side
    return value, side or (held_side if value == held else None)


def distance(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``conflict`` and ``apart`` ``[K, N, N]`` of `LabelSteps` for one study; NaN where nothing is stated."""
    one, other = codes.swapaxes(0, 1)[:, :, None], codes.swapaxes(0, 1)[:, None]
    said, heard = one > 0, other > 0
    clash, both, either = CLASH[one, other].sum(-1), (said & heard).sum(-1), (said | heard).sum(-1)
    return _share(clash, both), _share(clash + either - both, either)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)


@dataclass(frozen=True)
class ErrorSteps:
    """Share of wrong statements by teacher, by the rank of the sentence among those that state something.

    Attributes:
        wrong: ``[S, N, K]`` of each study, NaN where the teacher states no labelled finding in that part.
    """

    wrong: np.ndarray

    def summary(self, patients: Sequence[str], teachers: Sequence[str]) -> dict[str, Any]:
        """By teacher: mean by part with a 95 % interval over patients, and the rise from the first to the last part."""
        studies, count, steps = self.wrong.shape
        rise = self.wrong[..., -1] - self.wrong[..., 0]
        columns = np.concatenate([self.wrong.reshape(studies, -1), rise], axis=1)
        values, ends = mean(columns, axis=0), intervals(columns, patients)
        told = {}
        for u, teacher in enumerate(teachers):
            part, last = slice(u * steps, (u + 1) * steps), count * steps + u
            told[teacher] = {
                "mean": values[part].tolist(),
                "low": [low for low, _ in ends[part]],
                "high": [high for _, high in ends[part]],
                "rise": dict(zip(("value", "low", "high"), (float(values[last]), *ends[last]), strict=True)),
            }
        return told


def errors(
    texts: Texts, truth: np.ndarray, teachers: Sequence[str], findings: Sequence[str], *, parts: int
) -> ErrorSteps:
    """Who is wrong where.

    Args:
        truth: ``[S, F]`` 1, 0 or NaN, in the order of ``texts`` and ``findings``.
        parts: in how many parts a text's stating sentences are divided.
    """
    wrong = np.full((len(texts), len(teachers), parts), np.nan)
    for s, own in enumerate(texts.values()):
        known = {name: truth[s, i] for i, name in enumerate(findings) if not np.isnan(truth[s, i])}
        for u, teacher in enumerate(teachers):
            for part, values in _by_part(own.get(teacher, ""), findings, parts, known):
                wrong[s, u, part] = np.mean(values)
    return ErrorSteps(wrong)


def _by_part(
    text: str, findings: Sequence[str], parts: int, known: Mapping[str, float]
) -> Iterator[tuple[int, list[bool]]]:
    said = sentences(text, findings) if text else []
    found: dict[int, list[bool]] = {}
    for rank, sentence in enumerate(said):
        own = [sentence.values[name] != known[name] for name in sentence.values.keys() & known.keys()]
        found.setdefault(rank * parts // len(said), []).extend(own)
    yield from ((part, values) for part, values in found.items() if values)
