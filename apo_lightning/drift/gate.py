"""Studies and findings on which teachers conflict too much: told, left out, or counted less in training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from apo_lightning.settings import GateSettings
from apo_lightning.text.labeler import Sentence, sentences
from apo_lightning.types import PREFERRED, Branch, Example


@dataclass(frozen=True)
class Conflicts:
    """Conflict scores in [0, 1].

    Attributes:
        studies: study to score.
        findings: study to finding to score; what is not scored is no conflict.
    """

    studies: Mapping[str, float]
    findings: Mapping[str, Mapping[str, float]]

    def beyond(self, plan: GateSettings) -> tuple[set[str], dict[str, set[str]]]:
        """Studies above their threshold, and of every study the findings above theirs."""
        studies = {name for name, score in self.studies.items() if plan.studies is not None and score > plan.studies}
        if plan.findings is None:
            return studies, {}
        above = {
            study: {name for name, score in own.items() if score > plan.findings}
            for study, own in self.findings.items()
        }
        return studies, {study: own for study, own in above.items() if own}


def apply(
    examples: Sequence[Example],
    scores: Conflicts,
    plan: GateSettings,
    findings: Sequence[str],
    *,
    counts: Counter[str],
    as_read: Callable[[str], str] = str,
) -> list[Example]:
    """Examples as they are trained on under ``plan``.

    Args:
        counts: gets how many studies, and findings of studies, are beyond their threshold.
        as_read: makes of a text what findings are read from, each character where it stood.
    """
    studies, above = scores.beyond(plan)
    counts["studies_in_conflict"] += sum(example.study.id in studies for example in examples)
    counts["findings_in_conflict"] += sum(len(above.get(example.study.id, ())) for example in examples)
    if plan.action == "report":
        return list(examples)
    made = []
    for example in examples:
        study, gated = example.study.id, above.get(example.study.id, set())
        if plan.action == "leave_out" and study in studies:
            continue
        if gated:
            example = _without(example, gated, plan, findings, counts, as_read)
        if not any(branch.source != PREFERRED and branch.weight > 0 for branch in example.branches):
            counts["studies_without_teacher"] += 1  # a preference stage may still learn t+ from it
        if example.branches:
            made.append(replace(example, weight=example.weight * plan.weight) if study in studies else example)
    return made


def _without(
    example: Example,
    gated: Collection[str],
    plan: GateSettings,
    findings: Sequence[str],
    counts: Counter[str],
    as_read: Callable[[str], str],
) -> Example:
    """An example whose teachers say nothing of the gated findings, or count less by how much they do. t+ stays."""
    kept = []
    for branch in example.branches:
        if branch.source == PREFERRED:
            kept.append(branch)
            continue
        said = sentences(as_read(branch.text), findings)
        if plan.action == "weight":
            kept.append(replace(branch, weight=branch.weight * _factor(said, gated, plan.weight)))
            continue
        cut = [(one.start, one.end) for one in said if one.values.keys() & set(gated)]
        counts["sentences_left_out"] += len(cut)
        shorter = cut_out(branch, cut)
        if shorter.text.strip():
            kept.append(shorter)
        else:
            counts["texts_left_out"] += 1
    return replace(example, branches=tuple(kept))


def _factor(said: Sequence[Sentence], gated: Collection[str], weight: float) -> float:
    """1 where nothing that a text states is gated, ``weight`` where all of it is."""
    stated = {name for sentence in said for name in sentence.values}
    return 1 - (1 - weight) * len(stated & set(gated)) / len(stated) if stated else 1.0


def cut_out(branch: Branch, spans: Sequence[tuple[int, int]]) -> Branch:
    """A branch without these parts of its text, in order; its own spans move along, and go where they overlap."""
    parts, moved, votes, place, gone = [], [], [], 0, 0
    for start, end in [*spans, (len(branch.text), len(branch.text))]:
        parts.append(branch.text[place:start])
        moved += [(a - gone, b - gone) for a, b in branch.conflicts if place <= a and b <= start]
        votes += [
            vote._replace(start=vote.start - gone, end=vote.end - gone)
            for vote in branch.votes
            if place <= vote.start and vote.end <= start
        ]
        gone, place = gone + end - start, end
    own = dict(conflicts=tuple(dict.fromkeys(moved)), votes=tuple(dict.fromkeys(votes)))
    return replace(branch, text="".join(parts), **own)
