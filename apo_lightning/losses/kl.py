"""What the two losses on teachers' logits share: which divergence, and how tokens, teachers and studies are reduced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from apo_lightning.functional.divergence import Kind, check_divergence, divergence_rows
from apo_lightning.functional.logprobs import length_normalized, masked_mean, sequence_logps
from apo_lightning.functional.mixture import normalize_weights
from apo_lightning.functional.teacher_logits import FullTeacher, TopK
from apo_lightning.functional.vocabulary import RowFunction
from apo_lightning.losses.base import NllReduction
from apo_lightning.settings.checks import check_choices
from apo_lightning.types import LossOutput, detached


@dataclass(frozen=True, kw_only=True)
class KlLoss:
    """Settings of a divergence from teachers that give logits, and its mean over studies.

    ``loss = mean over studies with a teacher of temperature^2 or 1 times sum_u w_u D_u`` with ``sum_u w_u = 1``, where
    D_u is the mean or the sum over the tokens of trajectory u of a divergence at that token.

    Attributes:
        kind: ``forward`` KL(teacher || student), ``reverse`` KL(student || teacher) or ``jensen_shannon``; equations
            in `functional.divergence`.
        temperature: of both softmaxes, > 0.
        reduction: ``token_mean`` divides each trajectory by its own token count; ``sequence_sum`` does not.
        mix: the teacher's share in the mixture of ``jensen_shannon``, in (0, 1); beta of GKD (arXiv 2306.13649). The
            other kinds do not mix and refuse any.
        temperature_squared: multiply by temperature^2, so that gradients keep their size as the temperature grows
            (arXiv 1503.02531).
    """

    linear: ClassVar[bool] = True
    """The gradient by each divergence does not depend on any of them."""

    kind: Kind
    temperature: float
    reduction: NllReduction
    mix: float = 0.5
    temperature_squared: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        check_divergence(self.kind, self.temperature, self.mix)
        if self.kind != "jensen_shannon" and self.mix != 0.5:
            raise ValueError(f"mix must be left out with kind '{self.kind}', got {self.mix}: only jensen_shannon mixes")

    def rows(self, teacher: FullTeacher | TopK) -> RowFunction:
        """This loss's divergence of ``teacher`` to the student, for `functional.vocabulary.head_rows`."""
        return divergence_rows(teacher, self.kind, temperature=self.temperature, mix=self.mix)

    def reduced(self, values: Tensor, mask: Tensor, weight: Tensor, present: Tensor) -> LossOutput:
        """The loss from divergences ``[B, U, T]``; what is masked, absent or of weight 0 may hold anything."""
        share = normalize_weights(weight.to(values.dtype), present, total=1.0)
        sums, lengths = sequence_logps(values, mask.bool() & (share > 0)[..., None])
        per_token = length_normalized(sums, lengths)
        scale = self.temperature**2 if self.temperature_squared else 1.0
        per_study = scale * (share * (per_token if self.reduction == "token_mean" else sums)).sum(-1)
        studies = (share > 0).any(-1)
        seen = masked_mean((share * per_token).sum(-1), studies)
        counts = dict.fromkeys(("loss", "divergence"), studies.sum())
        return LossOutput(masked_mean(per_study, studies), per_study, detached(divergence=seen), counts)
