"""Stock DPO: the preferred answer against one teacher drawn at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from apo_lightning.functional.preference import draw_one, pairwise_nll
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import PreferenceLoss
from apo_lightning.types import LossOutput


@LOSSES.register("dpo")
@dataclass(frozen=True, kw_only=True)
class Dpo(PreferenceLoss):
    """Makes t+ more likely than the text of one teacher drawn at random.

    ``-log sigmoid(r_+ - r_u)`` (arXiv 2305.18290), u drawn uniformly among the study's teachers with weight above 0.

    Weights have no other effect. Metrics are taken over all teachers that count, not over the drawn one alone, so that
    they compare with those of the other preference losses; so is the shortest answer that ``length_alpha`` refers to.
    """

    reduces_to_dpo: ClassVar[bool] = True
    weighs: ClassVar[bool] = False

    def __call__(
        self,
        *,
        policy_token_logps: Tensor,
        reference_token_logps: Tensor,
        mask: Tensor,
        weight: Tensor,
        present: Tensor,
        generator: torch.Generator,
    ) -> LossOutput:
        """Tensors as in `PreferenceLoss`; the draws are those of ``generator``, one a study."""
        seen = self.candidates(policy_token_logps, reference_token_logps, mask, weight, present)
        drawn = draw_one(seen.counted, generator)
        return self.output(seen, pairwise_nll(seen.rewards, seen.weight, drawn, self.label_smoothing))
