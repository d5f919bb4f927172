"""The plain records that the rooms of this project hand to each other.

Letters in shapes: B studies, U branches of a study (N teachers, plus the preferred one for APO), P prompt tokens,
T branch tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor

PREFERRED = "preferred"
"""Source name of the student's own preferred trajectory (t+)."""


@dataclass(frozen=True)
class Detail:
    """Where a present finding lies and how strong it is; None where the data set does not say."""

    side: str | None = None
    severity: str | None = None


@dataclass(frozen=True)
class Box:
    """Where a finding lies on an image, as shares of the image's width and height: right for an image of any size.

    Attributes:
        finding: its name.
        x, y: left upper corner, in [0, 1].
        width, height: in (0, 1].
        image: place in ``Study.images``.
    """

    finding: str
    x: float
    y: float
    width: float
    height: float
    image: int = 0


@dataclass(frozen=True)
class Prior:
    """The patient's examination before this one: its id, and its images and report where the set has them."""

    id: str
    images: tuple[str, ...] = ()
    report: str | None = None


@dataclass(frozen=True)
class Study:
    """One chest X-ray case.

    Attributes:
        id: unique within the data set.
        patient: splits never part a patient.
        split: ``train``, ``val`` or ``test``.
        images: opaque references that the data module of the study can open (file paths, or a seed of a drawing).
        findings: canonical finding name to 1.0 present, 0.0 absent, NaN unknown.
        details: side and severity of present findings, where known.
        report: the radiologist's (or the phantom's ground-truth) words, where the set has them.
        views: projection of each image (``PA``, ``AP``, ``LATERAL``, ...), "" where unknown; empty: none is known.
        boxes: where findings lie.
        prior: the examination before; its images are shown before the study's own.
        progression: finding to ``improving``, ``stable`` or ``worsening`` since the prior examination.
    """

    id: str
    patient: str
    split: str
    images: tuple[str, ...]
    findings: Mapping[str, float]
    details: Mapping[str, Detail] = field(default_factory=dict)
    report: str | None = None
    views: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    prior: Prior | None = None
    progression: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trajectory:
    """One teacher's reasoning text for one study.

    Attributes:
        t: the study's place in the teacher's stream, in [0, 1].
        prompt: name of the prompt that the text answers; empty where it is not known.
    """

    study: str
    teacher: str
    text: str
    t: float = 0.0
    prompt: str = ""


@dataclass(frozen=True)
class Answer:
    """What a student wrote. ``cut``: it ran into the limit of new tokens, so that its end is not its own."""

    text: str
    cut: bool = False


class Votes(NamedTuple):
    """What the teachers of a study say of one sentence of an answer.

    Attributes:
        start, end: character span of the sentence in the answer.
        against: how many teachers contradict it.
        judged: how many teachers speak of a finding that it states, those against it included.
    """

    start: int
    end: int
    against: int
    judged: int


@dataclass(frozen=True)
class Damage:
    """How a study's images are spoilt before an answer is scored (`batching.damage`).

    Attributes:
        how: ``crop`` or ``blank``.
        area: share of an image's area that a crop leaves, at most, in (0, 1].
        seed: of what is drawn, with the study's id.
    """

    how: str
    area: float
    seed: int


@dataclass(frozen=True)
class Branch:
    """One answer to a study that is scored: a teacher's (source = its name) or the preferred one (PREFERRED).

    Attributes:
        source: who gave it.
        text: the answer.
        weight: the teacher's weight as configured.
        agreement: share of the findings stated here and in t+ on which both say the same, in [0, 1].
        conflicts: character spans of the sentences that contradict t+; of t+ itself, of those that a teacher
            contradicts.
        cut: the text has no end of its own, so that none is taught.
        votes: what the other teachers of the study say of each sentence that states something.
        damage: it is scored behind the study's images damaged so; it then stands right behind t+. None: as they are.
    """

    source: str
    text: str
    weight: float = 1.0
    agreement: float = 1.0
    conflicts: tuple[tuple[int, int], ...] = ()
    cut: bool = False
    votes: tuple[Votes, ...] = ()
    damage: Damage | None = None


@dataclass(frozen=True)
class Example:
    """What a stage trains or predicts on: a study with the answers to score and the teacher texts to read; ``weight``
    is what it counts in a loss."""

    study: Study
    branches: tuple[Branch, ...] = ()
    context: tuple[Trajectory, ...] = ()
    weight: float = 1.0


@dataclass
class PromptBatch:
    """Prompts with their images, left-padded so that an answer of any length continues at the last column.

    Attributes:
        studies: ids, length B.
        prefix_ids: ``[B, P]`` token ids, image placeholders expanded.
        prefix_mask: ``[B, P]`` 1 on real tokens.
        vision: what the image processor made of all images of the batch, in order of the studies (``pixel_values``,
            and the ``image_grid_thw`` of families that cut images into a varying number of patches).
        image_counts: images of each study, length B.
        image_keys: content hash of each image, where the collator was asked for them; names of cached features.
        features: what the vision tower makes of each image, once somebody has asked; see `scoring.vision`.
        padding: a batch that this process is given only because the others have one more: it is computed, and counts
            for nothing.
    """

    studies: list[str]
    prefix_ids: Tensor
    prefix_mask: Tensor
    vision: dict[str, Tensor]
    image_counts: list[int]
    image_keys: list[bytes] | None = field(default=None, kw_only=True)
    features: list[dict[str, Tensor]] | None = field(default=None, kw_only=True)
    padding: bool = field(default=False, kw_only=True)

    def __len__(self) -> int:
        return len(self.studies)

    def pin_memory(self) -> PromptBatch:
        """A copy in page-locked memory, from which a GPU copies while it computes; loaders call it."""
        return apply_to_collection(self, Tensor, Tensor.pin_memory)


@dataclass
class BranchBatch(PromptBatch):
    """Prompts with U answers each; studies that have fewer are padded with ``present`` False.

    Attributes:
        branch_ids: ``[B, U, T]`` token ids, right-padded; the end-of-turn token is part of an answer.
        branch_mask: ``[B, U, T]`` 1 on the tokens that are scored.
        present: ``[B, U]`` bool.
        weight: ``[B, U]`` teacher weights as configured (normalised by whoever uses them); 0 where absent.
        sources: names of the branches, length B, each up to U.
        agreement: ``[B, U]`` see `Branch`; 0 where absent.
        conflict: ``[B, U, T]`` bool, tokens of the sentences that contradict t+; of t+, that a teacher contradicts.
        contradicted: ``[B, U, T]`` how many other teachers of the study contradict the token's sentence.
        judged: ``[B, U, T]`` how many of them speak of what it states. Both are None where no branch has ``votes``.
        branch_keys: content hash of prompt, images and answer of each branch, where the collator was asked for them.
        study_weight: ``[B]`` what each study counts in the loss; None: 1 each.
        damaged: the same prompts with damaged images, behind which the answers of column 1 stand; None: all answers
            stand behind the images as they are.
    """

    branch_ids: Tensor
    branch_mask: Tensor
    present: Tensor
    weight: Tensor
    sources: list[list[str]]
    agreement: Tensor
    conflict: Tensor
    contradicted: Tensor | None = field(default=None, kw_only=True)
    judged: Tensor | None = field(default=None, kw_only=True)
    branch_keys: list[list[bytes]] | None = field(default=None, kw_only=True)
    study_weight: Tensor | None = field(default=None, kw_only=True)
    damaged: PromptBatch | None = field(default=None, kw_only=True)

    def first(self, count: int) -> BranchBatch:
        """The same studies with their first ``count`` branches only."""
        return replace(self.columns(range(count)), damaged=self.damaged if count > 1 else None)

    def columns(self, places: Sequence[int]) -> BranchBatch:
        """The same prompts with the branches at these places only."""
        kept = {name: value[:, list(places)] for name in _COLUMNS if (value := getattr(self, name)) is not None}
        keys = self.branch_keys and [[row[i] for i in places if i < len(row)] for row in self.branch_keys]
        sources = [[names[i] for i in places if i < len(names)] for names in self.sources]
        return replace(self, **kept, sources=sources, branch_keys=keys)


_COLUMNS = ("branch_ids", "branch_mask", "present", "weight", "agreement", "conflict", "contradicted", "judged")
"""Tensors of a `BranchBatch` that have one column a branch."""


@dataclass
class Scores:
    """Log-probabilities of every branch of a batch.

    Attributes:
        token_logps: ``[B, U, T]`` float32 log-probability of each scored token, 0 where masked.
        logps: ``[B, U]`` their sums.
        lengths: ``[B, U]`` number of scored tokens.
    """

    token_logps: Tensor
    logps: Tensor
    lengths: Tensor


@dataclass
class LossOutput:
    """What a loss returns: the scalar to minimise, its value for each study ``[B]``, and detached scalars to log.

    ``counts`` says over how many studies ``loss`` and each metric are means, where these are not all studies of the
    batch; what is logged of a step that is spread over micro-batches and processes is weighted by it.

    ``rewards`` ``[B, 1+N]``, detached, of a loss that has some: what it compares, NaN where an answer does not count.
    """

    loss: Tensor
    per_study: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)
    rewards: Tensor | None = None


def detached(**values: Tensor) -> dict[str, Tensor]:
    """Metrics without their graph, as float32 scalars."""
    return {name: value.detach().to(torch.float32) for name, value in values.items()}
