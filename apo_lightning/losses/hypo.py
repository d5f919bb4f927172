"""HyPO: a reference that prefers the teacher's answer is not heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from apo_lightning.functional.preference import listwise_nll, pairwise_nll
from apo_lightning.functional.preference_variants import as_rewards, hypo_margins
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import Candidates, PreferenceLoss


@LOSSES.register("hypo")
@dataclass(frozen=True, kw_only=True)
class Hypo(PreferenceLoss):
    """Makes t+ more likely than the teachers' texts, where the reference's own leaning the other way is no credit.

    ``apo_pairwise`` or ``apo_listwise`` on ``m_u = beta (D_pi - max(0, D_ref))`` in the place of ``r_+ - r_u``.

    D is ``log p(t+) - log p(tau_u)`` under the policy or the reference. DPO is content as soon as the policy's D is
    above that of the reference, be both below 0; here the policy has to prefer t+ itself (arXiv 2602.11902, for one
    rejected answer). Where the reference prefers t+ to every teacher it is the loss that it stands on. The metrics of
    rewards are those of DPO's, ``r_+`` and ``r_u``.

    Attributes:
        form: ``pairwise``, the paper's equation on every pair of a study, or ``listwise``,
            ``log(1 + sum_u w_u exp(-m_u))``; the second is ours.
    """

    form: Literal["pairwise", "listwise"] = "pairwise"

    def preference(self, seen: Candidates) -> Tensor:
        rewards = as_rewards(hypo_margins(seen.rewards, seen.reference, self.beta))
        term = pairwise_nll if self.form == "pairwise" else listwise_nll
        return term(rewards, seen.weight, seen.counted, self.label_smoothing)
