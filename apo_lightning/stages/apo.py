"""Critique: the preferred trajectory against the raw teacher trajectories, under an injected preference loss."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from apo_lightning.caches.reference import ReferenceCache
from apo_lightning.errors import ConfigError
from apo_lightning.functional.preference_variants import agreeing_share
from apo_lightning.metrics.rewards import of_validation
from apo_lightning.stages import STAGES
from apo_lightning.stages.balance import Balance
from apo_lightning.stages.base import Stage
from apo_lightning.types import BranchBatch, Scores

CHOSEN = frozenset(
    {"chosen_logps", "chosen_lengths", "chosen_present", "chosen_token_logps", "chosen_mask", "chosen_agreement"}
)
REFERENCE = frozenset({"reference_token_logps", "reference_logps"})


@STAGES.register("apo")
class APO(Stage):
    """`r(t) = beta log(pi(t|v,l) / ref(t|v,l))`, the reference being the student after SPD.

    Slot 0 of every study is t+, scored under the plain prompt: the student that is trained never sees the teachers.
    A loss that asks for the ``chosen_*`` quantities alone (plain fine-tuning on t+) is not charged for the teachers.
    With a ``reference_cache`` the reference is asked once for a branch, whatever arm, beta or loss asks next.
    """

    name = "apo"
    reads: ClassVar[tuple[str, ...]] = ("trajectories", "preferred")
    provides = (
        frozenset(
            {
                "policy_token_logps",
                "policy_logps",
                "lengths",
                "mask",
                "weight",
                "present",
                "agreement",
                "conflict",
                "contradicted",
                "generator",
                "log_norm_ratio",
            }
        )
        | CHOSEN
        | REFERENCE
    )
    reference_cache: ReferenceCache | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.balance = Balance()

    def on_fit_start(self) -> None:
        """
        Raises:
            ConfigError: the loss wants norms of gradients, which no process of several can see.
        """
        super().on_fit_start()
        if "log_norm_ratio" in self.wanted and self.trainer.world_size > 1:
            raise ConfigError(
                f"The loss of stage '{self.name}' balances gradients, which it measures in one process, and "
                f"trainer.devices gives it {self.trainer.world_size}. Set trainer.devices=1, or take another loss."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["balance"] = self.balance.value

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.balance.value = checkpoint.get("balance")

    def training_step(self, batch: BranchBatch, batch_idx: int) -> dict[str, Any]:
        if self.wanted <= CHOSEN:
            batch = batch.first(1)
        policy = self.student.score(batch, self.grad_wrt_logps(batch))
        if "log_norm_ratio" in self.wanted:
            self.balance.measure(policy, batch, [p for p in self.student.parameters() if p.requires_grad])
        given = self._given(batch, policy)
        seen = {"reference_logps": given["reference_logps"]} if "reference_logps" in given else {}
        return self.log_loss(
            self.compute_loss(given), batch, policy_logps=policy.logps.detach(), lengths=policy.lengths, **seen
        )

    def validation_step(self, batch: BranchBatch, batch_idx: int) -> None:
        """Loss and its metrics; log-probs of t+ and of every teacher, whether or not the loss hears them; of a loss
        with rewards, whether t+ comes first and by how much. See `metrics.rewards.of_validation`."""
        policy = self.student.score(batch)
        output = self.compute_loss(self._given(batch, policy))
        self.log_validation(output, batch, of_validation(policy.logps, output.rewards, batch.sources))

    def _given(self, batch: BranchBatch, policy: Scores) -> dict[str, Any]:
        """What the stage can hand to a loss, with the reference where the loss asks for it."""
        given = self.quantities(batch, policy)
        if REFERENCE & self.wanted:
            given["reference_token_logps"] = self._reference(batch)
            given["reference_logps"] = given["reference_token_logps"].sum(-1)
        return given

    def quantities(self, batch: BranchBatch, scores: Scores) -> dict[str, Any]:
        """Column 0 of ``1+N`` is t+.

        - ``[B, 1+N, T]``: ``policy_token_logps`` (nats, 0 where masked), ``mask`` (1 on scored tokens), ``conflict``
          (bool, tokens of the sentences that contradict t+; of t+, that a teacher contradicts), ``contradicted``
          (how many other teachers contradict the token's sentence); and, where a loss asks for it,
          ``reference_token_logps``;
        - ``[B, 1+N]``: ``policy_logps``, ``reference_logps`` (their sums), ``lengths``, ``weight`` (as configured, 0
          where absent), ``present`` (bool), ``agreement`` (share of the findings stated on both sides that agree);
        - ``[B]``: ``chosen_logps``, ``chosen_lengths``, ``chosen_present``, those of t+ alone;
        - ``[B, T]``: ``chosen_token_logps``, ``chosen_mask``, of t+ too, and ``chosen_agreement``, the share of the
          teachers who speak of what the token's sentence states and do not contradict it, 1 where nobody does;
        - ``generator``, for losses that draw; ``log_norm_ratio``, a number, of those that balance (`stages.balance`).
        """
        nobody = torch.zeros_like(batch.branch_mask)
        contradicted = nobody if batch.contradicted is None else batch.contradicted
        judged = nobody if batch.judged is None else batch.judged
        return dict(
            policy_token_logps=scores.token_logps,
            policy_logps=scores.logps,
            lengths=scores.lengths,
            mask=batch.branch_mask,
            weight=batch.weight,
            present=batch.present,
            agreement=batch.agreement,
            conflict=batch.conflict,
            contradicted=contradicted,
            generator=self.generator,
            log_norm_ratio=torch.tensor(self.balance.log_ratio, device=scores.logps.device),
            chosen_logps=scores.logps[:, 0],
            chosen_lengths=scores.lengths[:, 0],
            chosen_present=batch.present[:, 0],
            chosen_token_logps=scores.token_logps[:, 0],
            chosen_mask=batch.branch_mask[:, 0],
            chosen_agreement=agreeing_share(contradicted[:, 0], judged[:, 0]),
        )

    def _reference(self, batch: BranchBatch) -> Tensor:
        """``[B, 1+N, T]`` token log-probs under the reference; rows that the cache does not know are added to it."""
        cache, lengths = self.reference_cache, batch.branch_mask.sum(-1)
        if cache is None:
            return self._ask_reference(batch)
        known, found = cache.read(batch.branch_keys, tuple(batch.branch_mask.shape), lengths)
        # Sharded processes must run the same passes, so all of them compute if one has to.
        if self.trainer.strategy.reduce_boolean_decision(bool(found.all()), all=True):
            return known
        scored = self._ask_reference(batch)
        cache.write(batch.branch_keys, scored, lengths)
        return torch.where(found[..., None], known, scored)

    def _ask_reference(self, batch: BranchBatch) -> Tensor:
        """Under the policy's padding, so that rewards are exactly 0 before the first update."""
        self.student.counts["reference passes"] += 1
        with self.student.reference():
            return self.student.score(batch).token_logps
