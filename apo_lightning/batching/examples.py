"""Studies and texts -> what each stage iterates. Filters are counted here and named in the manifest of the stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from apo_lightning.teachers.base import by_study
from apo_lightning.text.conflict import agreement, conflicting_spans, statements, votes
from apo_lightning.text.labeler import kind
from apo_lightning.types import PREFERRED, Branch, Example, Study, Trajectory

COUNTED = {"nothing": "states_nothing", "normal": "normal"}
"""Kinds of kept texts (see `text.labeler`) that a manifest counts, and under which name."""


@dataclass(frozen=True)
class Rejected:
    """What t+ is compared with, where that is not every teacher's text.

    Attributes:
        said: study id to the answers that may stand against its t+.
        kept: gets a study's id and those of its answers that the filters have left, and returns those that count.
    """

    said: Mapping[str, Sequence[Branch]]
    kept: Callable[[str, Sequence[Branch]], Sequence[Branch]]


Heard = Mapping[str, Mapping[str, Trajectory]]
"""Study id to teacher name to trajectory."""
ByStudy = Mapping[str, Mapping[str, float]]
"""Study id to teacher name to weight."""


def index(trajectories: Sequence[Trajectory], teachers: Sequence[str]) -> dict[str, dict[str, Trajectory]]:
    """Trajectories of the named teachers by study, in the order of ``teachers``."""
    said = by_study(trajectories)
    return {study: {name: texts[name] for name in teachers if name in texts} for study, texts in said.items()}


def plain(studies: Sequence[Study]) -> list[Example]:
    """Studies to answer from the image alone."""
    return [Example(study) for study in studies]


def informed(studies: Sequence[Study], heard: Heard) -> list[Example]:
    """Studies with every teacher's text to read; those that no teacher spoke of are left out."""
    return [Example(s, (), tuple(heard[s.id].values())) for s in studies if heard.get(s.id)]


def spd_examples(
    studies: Sequence[Study],
    heard: Heard,
    weights: Mapping[str, float],
    *,
    by_study: ByStudy | None = None,
    drop_refusals: bool = True,
    counts: Counter[str] | None = None,
    findings: Sequence[str] = (),
    as_read: Callable[[str], str] = str,
) -> list[Example]:
    """SPD: one branch per teacher. Empty texts never teach; refusals only if asked. Texts that state nothing of
    ``findings`` or the canonical ones, and normal ones, are kept; ``counts`` says how many. ``as_read`` makes of a text
    what findings are read from, each character where it stood. ``by_study`` has weights of its own for some studies."""
    examples, counts = [], Counter() if counts is None else counts
    for study in studies:
        own = (by_study or {}).get(study.id, weights)
        branches = unfiltered(heard.get(study.id, {}), own)
        branches = filtered(branches, drop_refusals, counts, findings, as_read)
        if any(branch.weight > 0 for branch in branches):  # all studies of a batch count: losses are means over it
            examples.append(Example(study, branches))
        else:
            counts["studies_without_teacher"] += 1
    return examples


def preference_examples(
    studies: Sequence[Study],
    heard: Heard,
    weights: Mapping[str, float],
    preferred: Mapping[str, str],
    *,
    by_study: ByStudy | None = None,
    drop_refusals: bool = True,
    drop_copies: bool = True,
    counts: Counter[str] | None = None,
    findings: Sequence[str] = (),
    compare: Sequence[str] = (),
    as_read: Callable[[str], str] = str,
    cut: Container[str] = (),
    drop_cut: bool = False,
    instead: Rejected | None = None,
) -> list[Example]:
    """APO: t+ first, then every teacher's text that counts as a negative. Studies without a t+ are left out.

    Args:
        counts: gets how many texts and studies are kept and left out, by reason.
        by_study, findings, as_read: see `spd_examples`.
        compare: findings on which each teacher's text is compared with t+, for losses that ask for it, and on which
            the teachers vote on the sentences of t+ and of each other: all that are kept with a weight above 0,
            those whose copy of t+ is dropped included.
        cut: studies whose t+ ran into the limit of new tokens: it is taught without an end, or with ``drop_cut`` not
            at all.
        instead: other negatives than all teachers' texts; ``heard`` and ``weights`` then have no say but in the vote.
            One behind damaged images is t+ itself: no copy, and cut where t+ is.
    """
    examples, counts = [], Counter() if counts is None else counts
    for study in studies:
        best = preferred.get(study.id, "").strip()
        if not best:
            counts["studies_without_preferred"] += 1
            continue
        if study.id in cut:
            counts["cut_preferred"] += 1
            if drop_cut:
                continue
        own = (by_study or {}).get(study.id, weights)
        said = unfiltered(heard.get(study.id, {}), own) if instead is None else instead.said.get(study.id, ())
        said = [replace(branch, cut=study.id in cut) if branch.damage else branch for branch in said]
        rejected = filtered(said, drop_refusals, counts, findings, as_read)
        voting = rejected
        if drop_copies:
            kept = tuple(each for each in rejected if each.damage or each.text.split() != best.split())
            counts["copies"] += len(rejected) - len(kept)
            rejected = kept
        if instead is not None:
            rejected = tuple(instead.kept(study.id, rejected))
        if instead is not None and compare:
            voting = filtered(unfiltered(heard.get(study.id, {}), own), drop_refusals, Counter(), findings, as_read)
        chosen = Branch(PREFERRED, best, cut=study.id in cut)
        if compare:
            rejected = tuple(_compared(branch, best, compare, as_read) for branch in rejected)
            counts["conflicting"] += sum(bool(branch.conflicts) for branch in rejected)
            chosen, *rejected = _voted((chosen, *rejected), voting, compare, as_read)
        examples.append(Example(study, (chosen, *rejected)))
    return examples


def _compared(branch: Branch, best: str, findings: Sequence[str], as_read: Callable[[str], str]) -> Branch:
    text, preferred = as_read(branch.text), as_read(best)
    return replace(
        branch,
        agreement=agreement(text, preferred, findings),
        conflicts=tuple(conflicting_spans(text, preferred, findings)),
    )


def _voted(
    branches: Sequence[Branch], said: Sequence[Branch], findings: Sequence[str], as_read: Callable[[str], str]
) -> list[Branch]:
    """Branches with what the other teachers of ``said`` say of their sentences; t+ with those that one contradicts."""
    stated = {branch.source: statements(as_read(branch.text), findings) for branch in said if branch.weight > 0}
    made = []
    for branch in branches:
        others = [own for name, own in stated.items() if name != branch.source]
        cast = tuple(votes(as_read(branch.text), others, findings))
        branch = replace(branch, votes=cast)
        if branch.source == PREFERRED:
            branch = replace(branch, conflicts=tuple((vote.start, vote.end) for vote in cast if vote.against))
        made.append(branch)
    return made


def unfiltered(heard: Mapping[str, Trajectory], weights: Mapping[str, float]) -> list[Branch]:
    """The teachers' texts of a study, each with its teacher's weight."""
    return [Branch(name, trajectory.text, weights[name]) for name, trajectory in heard.items()]


def filtered(
    said: Iterable[Branch],
    drop_refusals: bool,
    counts: Counter[str],
    findings: Sequence[str],
    as_read: Callable[[str], str],
) -> tuple[Branch, ...]:
    """Answers without empty ones and, if asked, refusals; see `spd_examples`. One behind a damaged image is t+, which
    has passed."""
    kept = []
    for branch in said:
        if branch.damage is not None:
            counts["kept"] += 1
            kept.append(branch)
            continue
        if not branch.text.strip():
            counts["empty"] += 1
            continue
        read_as = kind(as_read(branch.text), findings)
        if drop_refusals and read_as == "refused":
            counts["refusals"] += 1
            continue
        counts["kept"] += 1
        if read_as in COUNTED:
            counts[COUNTED[read_as]] += 1
        kept.append(branch)
    return tuple(kept)
