"""How likely a student finds it that a finding is present: statements or answers beside each other on one prompt.

Letters in shapes: B studies of a batch, S studies, F findings, U statements of a pass.

p(present) is a softmax over two marginals: the sum of the probabilities of the statements that say present, and of
those that say absent. It is the student's own, without a correction for how willingly it says yes: a habit that is the
same for all studies moves accuracy and calibration, and not AUROC or average precision, which look at the order alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from apo_lightning.batching.collate import Collator
from apo_lightning.models.student import Student
from apo_lightning.probes.wordings import ANSWERS, QUESTION, known, readable, spoken, statements
from apo_lightning.settings.probes import LikelihoodSettings
from apo_lightning.types import Branch, BranchBatch, Example, PromptBatch, Scores, Study
from data_modules.base import CXRDataModule

AT_ONCE = 192
"""Statements that are scored at a time, at least those of one study."""
COLUMNS = ("branch_ids", "branch_mask", "present", "weight", "agreement", "conflict")
Pairs = Mapping[str, Sequence[tuple[str, str]]]
"""Finding to what is said of it, (present, absent)."""


class Round:
    """One pass: a prompt, and what is said beside it of one or more findings, each of which has a pair at least.

    Attributes:
        branches: U, of each finding what says present, then what says absent. They have no end of turn: a statement
            begins an answer.
    """

    def __init__(self, collate: Collator, pairs: Pairs) -> None:
        self.collate, self.pairs = collate, pairs
        sides = ((name, side) for name, own in pairs.items() for side in zip(*own, strict=True))
        self.branches = tuple(Branch(name, text, cut=True) for name, side in sides for text in side)
        self._columns: dict[str, Tensor] = {}

    def batch(self, studies: Sequence[Study], images: Sequence[Sequence[Image.Image]]) -> BranchBatch:
        """The same statements beside each study's prompt; they are made into tokens once."""
        prompts: PromptBatch = self.collate([(Example(s), shown) for s, shown in zip(studies, images, strict=True)])
        if not self._columns:
            first = self.collate([(Example(studies[0], self.branches), images[0])])
            self._columns = {name: getattr(first, name) for name in COLUMNS}
        columns = {name: value.expand(len(studies), *value.shape[1:]) for name, value in self._columns.items()}
        names = [[branch.source for branch in self.branches]] * len(studies)
        return BranchBatch(**vars(prompts), **columns, sources=names)

    def margins(self, scores: Scores, normalize: str) -> Tensor:
        """``[B, F]`` log p(present) - log p(absent) of each finding of this round."""
        values = scores.logps / scores.lengths.clamp(min=1) if normalize == "token_mean" else scores.logps
        sides = values.double().split([n for pairs in self.pairs.values() for n in (len(pairs),) * 2], dim=1)
        marginals = torch.stack([side.logsumexp(dim=1) for side in sides], dim=1)
        return marginals[:, ::2] - marginals[:, 1::2]


def plan(
    findings: Sequence[str],
    how: LikelihoodSettings,
    collate_of: Callable[[str, Sequence[str]], Collator],
    prompt: str,
    asked: Sequence[str],
) -> tuple[list[Round], dict[str, Any]]:
    """The passes that a study takes, and what a manifest says of them.

    Args:
        findings: those whose likelihood is wanted.
        how: settings.
        collate_of: prompt and the findings that it lists to a collator.
        prompt, asked: what the student is asked for its answer.

    Left out, and counted, are pairs of statements that our own reader does not read as what they say, that hold
    characters which the student's tokenizer does not know (all such texts look the same to it), or that are longer than
    ``student.max_branch_tokens``.
    """
    left_out: Counter[str] = Counter()
    common = collate_of(prompt, asked)
    if how.form == QUESTION:
        answers = _writable(ANSWERS, common, left_out)
        named = {name: answers for name in findings if readable(statements(name, 1), name)}
        rounds = [Round(collate_of(QUESTION, [spoken(name)]), {name: named[name]}) for name in named if answers]
    else:
        named = {name: _usable(name, how.wordings, common, left_out) for name in findings}
        asking = {name: pairs for name, pairs in named.items() if pairs}
        rounds = [Round(common, asking)] if asking else []
    without = sorted(set(findings) - {name for each in rounds for name in each.pairs})
    total = sum(len(each.branches) for each in rounds)
    return rounds, {"form": how.form, "statements": total, "left_out": dict(left_out), "findings_without": without}


def _usable(finding: str, count: int, collate: Collator, left_out: Counter[str]) -> list[tuple[str, str]]:
    pairs = statements(finding, count)
    kept = readable(pairs, finding)
    left_out.update({"unreadable": len(pairs) - len(kept)} if len(kept) < len(pairs) else {})
    return _writable(kept, collate, left_out)


def _writable(pairs: Sequence[tuple[str, str]], collate: Collator, left_out: Counter[str]) -> list[tuple[str, str]]:
    unknown = collate.tokenizer.unk_token_id

    def fits(text: str) -> bool:
        return len(collate.answer(text).ids) <= collate.max_branch_tokens

    kept = known(pairs, lambda text: unknown is None or unknown not in collate.answer(text).ids)
    short = known(kept, fits)
    for why, count in (("unknown_tokens", len(pairs) - len(kept)), ("too_long", len(kept) - len(short))):
        left_out.update({why: count} if count else {})
    return short


@torch.no_grad()
def probabilities(
    student: Student,
    data: CXRDataModule,
    studies: Sequence[Study],
    rounds: Sequence[Round],
    normalize: str,
    device: torch.device,
) -> list[dict[str, float]]:
    """Of each study the probability that the student gives to each finding of the rounds. Images are encoded once."""
    student.to(device)
    size = max(1, AT_ONCE // max(len(each.branches) for each in rounds))
    found: list[dict[str, float]] = []
    for start in range(0, len(studies), size):
        part = studies[start : start + size]
        images, features, margins = [data.images(study) for study in part], None, []
        for each in rounds:
            batch = data.transfer_batch_to_device(each.batch(part, images), device, 0)
            batch.features = features
            margins.append(each.margins(student.score(batch), normalize))
            features = batch.features
        names = [name for each in rounds for name in each.pairs]
        values = torch.cat(margins, dim=1).sigmoid().tolist()
        found += [dict(zip(names, row, strict=True)) for row in values]
    return found
