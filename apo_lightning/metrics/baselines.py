"""Rows that need no training: votes, one answer always, and the most frequent answer of the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from apo_lightning.metrics.answers import labels_of, patients_of
from apo_lightning.metrics.findings import of_findings
from apo_lightning.metrics.outcomes import Outcomes
from apo_lightning.metrics.prevalence import most_frequent, most_frequent_courses, prevalence_scores
from apo_lightning.metrics.progression import of_progression
from apo_lightning.metrics.scored import ScoredOutcomes
from apo_lightning.text.labeler import read
from apo_lightning.text.progression import CLASSES, judges_progression, read_progression
from apo_lightning.text.votes import majority_course, majority_vote
from apo_lightning.types import Study, Trajectory


def baseline_outcomes(
    trajectories: Sequence[Trajectory], studies: Sequence[Study], names: Sequence[str], findings: Sequence[str]
) -> dict[str, Outcomes]:
    """Rows that need no training: majority vote of the teachers (refusals abstain), and the same answer always."""
    texts = {(t.study, t.teacher): t.text for t in trajectories}
    if judges_progression(studies):
        return _course_baselines(texts, [study for study in studies if study.progression], names, findings)
    labels, nobody = labels_of(studies, findings), np.zeros(len(studies), bool)
    votes = np.stack([read([texts.get((s.id, name), "") for s in studies], findings)[0] for name in names], 1)
    constant = {word: np.full(labels.shape, value) for word, value in (("always_yes", 1.0), ("always_no", 0.0))}
    answers = {"majority_vote": majority_vote(votes), **constant}
    who = patients_of(studies)
    return {name: of_findings(labels, answer, nobody, findings, who) for name, answer in answers.items()}


def prevalence_outcomes(train: Sequence[Study], studies: Sequence[Study], findings: Sequence[str]) -> Outcomes | None:
    """The more frequent answer of the training split, finding by finding, to every study; what reading no image gets.
    None where the training split has no label of what is asked: another set may count findings of its own."""
    if judges_progression(studies):
        labelled = [study for study in studies if study.progression]
        course = most_frequent_courses([study.progression for study in train], findings)
        truth, answers = [study.progression for study in labelled], [course] * len(labelled)
        return of_progression(truth, answers, findings, patients_of(labelled)) if course else None
    answer = most_frequent(labels_of(train, findings))
    if np.isnan(answer).all():
        return None
    labels, nobody = labels_of(studies, findings), np.zeros(len(studies), bool)
    return of_findings(labels, np.tile(answer, (len(studies), 1)), nobody, findings, patients_of(studies))


def prevalence_score_outcomes(
    train: Sequence[Study], studies: Sequence[Study], findings: Sequence[str]
) -> ScoredOutcomes:
    """The same as scores: each finding's share of positives in training, whatever the study. A share of one half stands
    just below it, so that both readings answer absent."""
    shares = prevalence_scores(labels_of(train, findings))
    shares = np.where(shares == 0.5, np.nextafter(0.5, 0), shares)
    scores = np.tile(shares, (len(studies), 1))
    return ScoredOutcomes(patients_of(studies), labels_of(studies, findings), scores, findings, "likelihood")


def _course_baselines(
    texts: Mapping[tuple[str, str], str], studies: Sequence[Study], names: Sequence[str], findings: Sequence[str]
) -> dict[str, Outcomes]:
    said = [[read_progression(texts.get((s.id, name), ""), findings) for name in names] for s in studies]
    answers = {"majority_vote": [majority_course(each, findings) for each in said]}
    answers |= {f"always_{course}": [dict.fromkeys(findings, course)] * len(studies) for course in CLASSES}
    truth, who = [study.progression for study in studies], patients_of(studies)
    return {name: of_progression(truth, answer, findings, who) for name, answer in answers.items()}
