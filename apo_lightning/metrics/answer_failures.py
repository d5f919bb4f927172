"""Signs of failure in what a student answers: against the truth, its teachers, and the student that it was before."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apo_lightning.metrics.failures import BIAS, COLLAPSE, Failure, check_limits
from apo_lightning.text.labeler import kind, read
from apo_lightning.text.votes import majority_vote
from apo_lightning.types import Study

VOTE = "the teachers' vote"
Texts = Mapping[str, str]
"""Study id to text."""


@dataclass(frozen=True)
class AnswerLimits:
    """When a sign counts. The defaults were set on the 21 evaluations of ``ablation_apo`` (seeds 0 to 2, 300 studies);
    in brackets what those had that came to the best tables (SFT, listwise + NLL).

    Attributes:
        studies: below so many labelled studies nothing is said of bias.
        shared: rise of the share of findings in which student and teacher err alike (.07 at most, and .10 to .13 where
            a student had been taught one teacher alone or had taken one teacher's wording).
        errors: errors of that rise that it must lie above 0 (normal approximation, clustered by patient).
        follows: rise of the correlation between the errors of both.
        short: median words of an answer, as a share of the shortest of the texts it comes from: the student's before,
            and each teacher's (.9 and more).
        repeated: share of the four-word sequences of an answer that it has said before (0; .09 at most in any arm).
        silent: rise of the share of answers that state no finding or refuse (0).
        same: share of the studies that get one and the same answer (.41), where the truth is not that uniform.
    """

    studies: int = 20
    shared: float = 0.08
    errors: float = 2.0
    follows: float = 0.1
    short: float = 0.5
    repeated: float = 0.2
    silent: float = 0.2
    same: float = 0.8

    def __post_init__(self) -> None:
        check_limits(self, ("shared", "follows", "short", "repeated", "silent", "same"))


def evaluation_failures(
    before: Texts | None,
    after: Texts,
    teachers: Mapping[str, Texts],
    studies: Sequence[Study],
    findings: Sequence[str],
    limits: AnswerLimits | None = None,
) -> list[Failure]:
    """What went wrong between two students, from their answers.

    Args:
        before: answers of the student that the last stage started from; None: only what can be said without.
        after: answers of the student that is judged, as they are read.
        teachers: each teacher's texts.
        studies: those that were answered, with their labels.
        findings: those that are scored.
    """
    limits = limits or AnswerLimits()
    said = [after.get(study.id, "") for study in studies]
    earlier = None if before is None else [before.get(study.id, "") for study in studies]
    heard = {n: [texts.get(study.id, "") for study in studies] for n, texts in teachers.items()}
    found = [*_collapsed(said, earlier, heard, studies, findings, limits)]
    if earlier is not None:
        found += _biased(said, earlier, heard, studies, findings, limits)
    return found


def repetition(text: str, length: int = 4) -> float:
    """Share of the sequences of ``length`` words of a text that it has said before.

    >>> repetition("no edema seen . " * 3), repetition("No edema. No effusion. No mass.")
    (0.5555555555555556, 0.0)
    """
    words = text.lower().split()
    grams = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _collapsed(
    said: Sequence[str],
    earlier: Sequence[str] | None,
    heard: Mapping[str, Sequence[str]],
    studies: Sequence[Study],
    findings: Sequence[str],
    limits: AnswerLimits,
) -> list[Failure]:
    """The worst kind of collapse, if there is one."""
    return [
        failure
        for failure in (
            _silent(said, earlier, findings, limits),
            _repeating(said, limits),
            _shrunk(said, earlier, heard, limits),
            _uniform(said, studies, findings, limits),
        )
        if failure
    ][:1]


def _silent(
    said: Sequence[str], earlier: Sequence[str] | None, findings: Sequence[str], limits: AnswerLimits
) -> Failure | None:
    now, was = _share_silent(said, findings), _share_silent(earlier, findings) if earlier else 0.0
    text = f"{now:.0%} of the answers name no finding or refuse, {was:.0%} did before."
    return Failure(COLLAPSE, None, now - was, limits.silent, text) if now - was > limits.silent else None


def _share_silent(texts: Sequence[str], findings: Sequence[str]) -> float:
    return sum(kind(text, findings) in ("nothing", "refused") for text in texts) / max(len(texts), 1)


def _repeating(said: Sequence[str], limits: AnswerLimits) -> Failure | None:
    share = float(np.mean([repetition(text) for text in said])) if said else 0.0
    text = f"The answers repeat themselves: {share:.0%} of their four-word sequences stood there before."
    return Failure(COLLAPSE, None, share, limits.repeated, text) if share > limits.repeated else None


def _shrunk(
    said: Sequence[str], earlier: Sequence[str] | None, heard: Mapping[str, Sequence[str]], limits: AnswerLimits
) -> Failure | None:
    lengths = [_words(texts) for texts in (earlier, *heard.values()) if texts is not None]
    usual = min((length for length in lengths if length > 0), default=math.nan)
    share = _words(said) / usual
    text = f"The answers shrink: {_words(said):.0f} words in the median, where those they come from have {usual:.0f}."
    return Failure(COLLAPSE, None, share, limits.short, text) if share < limits.short else None


def _words(texts: Sequence[str]) -> float:
    """Median words of the texts that have any."""
    counts = [len(text.split()) for text in texts]
    return float(np.median([count for count in counts if count] or [0]))


def _uniform(
    said: Sequence[str], studies: Sequence[Study], findings: Sequence[str], limits: AnswerLimits
) -> Failure | None:
    """One answer for nearly all studies, that is, for clearly more than have one and the same truth."""
    if len(studies) < limits.studies:
        return None
    share = _most(" ".join(text.split()) for text in said)
    truth = _most(tuple(study.findings.get(name) for name in findings) for study in studies)
    text = f"{share:.0%} of the studies get one and the same answer, whatever their image shows."
    return Failure(COLLAPSE, None, share, limits.same, text) if share > max(limits.same, truth + 0.1) else None


def _most(values: object) -> float:
    counts = Counter(values)  # type: ignore[arg-type]
    return counts.most_common(1)[0][1] / counts.total() if counts else 0.0


def _biased(
    said: Sequence[str],
    earlier: Sequence[str],
    heard: Mapping[str, Sequence[str]],
    studies: Sequence[Study],
    findings: Sequence[str],
    limits: AnswerLimits,
) -> list[Failure]:
    """The teacher, or the vote of all, whose errors the student has taken over most."""
    truth = np.array([[study.findings.get(name, np.nan) for name in findings] for study in studies], float)
    patients = [study.patient for study in studies]
    now, was = (_errors(read(texts, findings)[0], truth) for texts in (said, earlier))
    stated = {name: read(texts, findings)[0] for name, texts in heard.items()}
    if len(stated) > 1:
        stated[VOTE] = majority_vote(np.stack(list(stated.values()), 1))
    told = {name: _errors(values, truth, unstated=np.nan) for name, values in stated.items()}
    found = [_follows(name, now, was, theirs, patients, limits) for name, theirs in told.items()]
    return sorted(filter(None, found), key=lambda failure: -failure.value)[:1]


def _errors(stated: np.ndarray, truth: np.ndarray, unstated: float = 0.0) -> np.ndarray:
    """``[S, F]`` 1 said though absent, -1 not said though present, 0 right, NaN where the label is unknown. What is not
    stated counts as absent for a student, and as unknown for a teacher (``unstated`` NaN)."""
    return np.where(np.isnan(stated), unstated, stated) - truth


def _follows(
    name: str, now: np.ndarray, was: np.ndarray, theirs: np.ndarray, patients: Sequence[str], limits: AnswerLimits
) -> Failure | None:
    """Whether the student errs more often together with a teacher, and in the same way, than before; the correlation
    rises as well, so that it is not that both err more, each for itself."""
    known = ~np.isnan(now * theirs)
    if known.any(-1).sum() < limits.studies:
        return None
    more = np.where(known, (now * theirs > 0).astype(float) - (was * theirs > 0), 0)
    rise, error = _ratio(more.sum(-1), known.sum(-1), patients)
    closer = _phi(now[known], theirs[known]) - _phi(was[known], theirs[known])
    if rise <= limits.shared or rise <= limits.errors * error or closer <= limits.follows:
        return None
    share, before = (float((e * theirs > 0)[known].mean()) for e in (now, was))
    who = name if name == VOTE else f"'{name}'"
    text = f"on {share:.0%} of the findings both are wrong in the same way, {before:.0%} before."
    return Failure(BIAS, None, rise, limits.shared, f"The student errs as {who} does: {text}")


def _phi(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation between being wrong and being wrong; 0 where one of them is always or never wrong."""
    a, b = one != 0, other != 0
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0


def _ratio(sums: np.ndarray, counts: np.ndarray, patients: Sequence[str]) -> tuple[float, float]:
    """Mean of values that were summed by study, and its standard error, clustered by patient."""
    mean = sums.sum() / counts.sum()
    who = np.unique(patients, return_inverse=True)[1]
    if who.max() == 0:
        return float(mean), math.inf  # one patient says nothing of how others vary
    residual = np.bincount(who, sums - mean * counts)
    return float(mean), float(np.sqrt((residual**2).sum()) / counts.sum())
