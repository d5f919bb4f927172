"""The preferred answer against what contradicts it, where several teachers do not share it either."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from apo_lightning.functional.preference import listwise_nll
from apo_lightning.functional.preference_variants import contested
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import PreferenceLoss
from apo_lightning.types import LossOutput


@LOSSES.register("apo_majority")
@dataclass(frozen=True, kw_only=True)
class ApoMajority(PreferenceLoss):
    """Makes t+ more likely than those sentences of a teacher that several other teachers contradict.

    ``apo_conflict`` with the sentences alone that at least ``votes`` other teachers contradict; ours.

    C_u are the tokens of the sentences of tau_u that conflict with t+ and that ``votes`` other teachers of the study
    contradict: a teacher is pushed down where most are against it, and is left alone where it is the only one to
    contradict t+ and nobody says more. With 0 votes it is ``apo_conflict``. As nobody votes on their own sentences, a
    study with fewer than ``votes`` + 1 teachers has its nll only.

    Attributes:
        votes: >= 0. Those who state the contrary count, not those who are silent.
        both: as in ``apo_conflict``, of the sentences of t+ that at least ``votes`` teachers, or one, contradict.
    """

    votes: int
    both: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.votes, int) and self.votes >= 0):
            raise ValueError(f"votes must be a whole number >= 0, got {self.votes}")

    def __call__(
        self,
        *,
        policy_token_logps: Tensor,
        reference_token_logps: Tensor,
        mask: Tensor,
        weight: Tensor,
        present: Tensor,
        conflict: Tensor,
        contradicted: Tensor,
    ) -> LossOutput:
        """Tensors as in `PreferenceLoss`, and ``[B, 1+N, T]``: ``conflict`` bool, ``contradicted`` how many other
        teachers contradict the token's sentence; slot 0 unused unless ``both``."""
        scored = mask.bool() & present[..., None]
        compared = contested(scored, conflict.bool() & (contradicted >= self.votes), self.both)
        seen = self.candidates(policy_token_logps, reference_token_logps, mask, weight, present, compared)
        return self.output(seen, listwise_nll(seen.rewards, seen.weight, seen.counted, self.label_smoothing))
