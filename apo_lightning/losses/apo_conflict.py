"""The preferred answer against what contradicts it, and nothing else of the teachers' answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from apo_lightning.functional.preference import listwise_nll
from apo_lightning.functional.preference_variants import contested
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import PreferenceLoss
from apo_lightning.types import LossOutput


@LOSSES.register("apo_conflict")
@dataclass(frozen=True, kw_only=True)
class ApoConflict(PreferenceLoss):
    """Makes t+ more likely than the teachers' texts, counting of these only the sentences that contradict t+.

    ``apo_listwise`` with ``r_u = beta sum_{i in C_u} (log pi(tau_u,i) - log ref(tau_u,i))``; ours, not the paper's.

    C_u are the tokens of the sentences of tau_u that conflict with t+ in a finding or its side
    (`text.conflict.conflicting_spans`), each given all tokens before it; r_+ is made of the whole of t+. What a
    teacher says in accord with t+ is thus never pushed down. A teacher without a conflict does not count: N and
    ``sum_u w_u = N`` run over the others, and where nobody is left the study has its nll only. ``mean`` divides by the
    number of tokens in C_u, and ``length_alpha`` counts in C_u.

    Attributes:
        both: r_+ is made like r_u, of the sentences of t+ that a teacher contradicts, so that neither is what all say
            pulled up; the nll term keeps the whole of t+. Where no sentence is left of t+ nobody counts.
    """

    reduces_to_dpo: ClassVar[bool] = True

    both: bool = False

    def __call__(
        self,
        *,
        policy_token_logps: Tensor,
        reference_token_logps: Tensor,
        mask: Tensor,
        weight: Tensor,
        present: Tensor,
        conflict: Tensor,
    ) -> LossOutput:
        """Tensors as in `PreferenceLoss`; ``conflict`` ``[B, 1+N, T]`` bool, slot 0 unused unless ``both``."""
        scored = mask.bool() & present[..., None]
        compared = contested(scored, conflict.bool(), self.both)
        seen = self.candidates(policy_token_logps, reference_token_logps, mask, weight, present, compared)
        return self.output(seen, listwise_nll(seen.rewards, seen.weight, seen.counted, self.label_smoothing))
