"""What the training stages share: modes of frozen parts, optimiser, seeding of every step, sharding, logging."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from apo_lightning.errors import ArtifactError, ConfigError, DivergedError
from apo_lightning.losses.base import bind
from apo_lightning.metrics.means import NamedMeans
from apo_lightning.metrics.rewards import Means
from apo_lightning.models.blocks import blocks
from apo_lightning.models.student import Student
from apo_lightning.settings import OptimSettings
from apo_lightning.stages import optimizers
from apo_lightning.stages.staying import Staying
from apo_lightning.stages.step_means import StepMeans
from apo_lightning.types import BranchBatch, LossOutput, Scores


def lr_factor(step: int, *, steps: int, warmup: float, schedule: str) -> float:
    """Multiple of the peak learning rate at an optimiser step (counted from 0).

    Not transformers' ``get_scheduler``: its ramp begins at 0, so that the first step of a fit does nothing, and its
    cosine differs from this one in the last bit of every fourth step, which would move every result.

    >>> [round(lr_factor(s, steps=10, warmup=0.2, schedule="constant"), 2) for s in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 1.0]
    """
    ramp = math.ceil(steps * warmup)
    if step < ramp:
        return (step + 1) / ramp
    if schedule == "constant":
        return 1.0
    if schedule != "cosine":
        raise ValueError(f"schedule must be cosine or constant, got '{schedule}'")
    return 0.5 * (1 + math.cos(math.pi * (step - ramp) / max(1, steps - ramp)))


def weigh(output: LossOutput, batch: BranchBatch) -> LossOutput:
    """The loss with each study by its weight: their sum over the number of studies, so that one that counts less pulls
    less, and the others pull as before. Nothing changes where all weights are 1."""
    if batch.study_weight is None:
        return output
    studies = output.counts.get("loss", torch.tensor(len(batch), device=output.loss.device))
    weighted = (output.per_study * batch.study_weight.to(output.per_study)).sum() / studies.clamp_min(1)
    return replace(output, loss=weighted)


class Stage(Staying):
    """A stage that trains the student with an injected loss.

    It stands alone: a plain ``lightning.Trainer`` fits, validates and tests it on any loader of `BranchBatch`.
    ``load_from_checkpoint(path, student=..., loss=...)`` gives it back, from a student that was made trainable the same
    way.

    Args:
        student: already trainable (`Student.make_trainable`).
        loss: registered loss; the keywords of its call are what it needs of the stage.
        optim: optimiser settings, or a mapping of them.
        steps: optimiser steps in all, over which the learning rate runs its schedule.
        seed: of everything random inside a step.

    Raises:
        ConfigError: the loss needs something that this stage does not provide.
    """

    name: ClassVar[str]
    reads: ClassVar[tuple[str, ...]] = ("trajectories",)
    """Artefacts of earlier steps that the stage is made of: ``trajectories``, ``preferred``, ``student``."""
    writes: ClassVar[tuple[str, ...]] = ("student",)
    artefacts: Mapping[str, Path] = {}
    """Where those lie, by name, once a run has given the stage its place."""
    provides: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        student: Student,
        loss: Callable[..., LossOutput],
        optim: OptimSettings | Mapping[str, Any],
        *,
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        optim = OptimSettings(**optim) if isinstance(optim, Mapping) else optim
        self.save_hyperparameters({"optim": asdict(optim), "steps": steps, "seed": seed})
        self.student, self.loss, self.optim, self.steps, self.seed = student, loss, optim, steps, seed
        self.wanted = bind(loss, self.provides, self.name)
        self.strict_loading = False  # checkpoints hold trained parameters only
        self.generator = torch.Generator()
        self.means, self.validated = StepMeans(), NamedMeans()
        self.last: BranchBatch | None = None

    def on_fit_start(self) -> None:
        """Lightning keeps each submodule's mode and `from_pretrained` returns eval: dropout would be off."""
        self.train()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed by step, over all epochs, so that a resumed run draws what the undisturbed one would have drawn."""
        self.last = batch
        seed = (self.seed * 1_000_003 + self.trainer.fit_loop.epoch_loop.total_batch_idx) % 2**63
        torch.manual_seed(seed)
        self.generator.manual_seed(seed + self.global_rank)

    def quantities(self, batch: BranchBatch, scores: Scores) -> dict[str, Any]:
        """What this stage can hand to a loss, by name."""
        raise NotImplementedError(f"{type(self).__name__} must define quantities(batch, scores)")

    def compute_loss(self, given: dict[str, Any]) -> LossOutput:
        """Call the loss with what it wants of ``given``."""
        return self.loss(**{name: given[name] for name in self.wanted})

    def grad_wrt_logps(self, batch: BranchBatch) -> Tensor | None:
        """``[B, U]`` derivative of the loss with respect to each branch's log-prob, if that does not depend on them
        (the loss says so with ``linear``): a scorer can then back up a branch as soon as it has run."""
        if not getattr(self.loss, "linear", False):
            return None
        nothing = torch.zeros_like(batch.branch_mask, dtype=torch.float32, requires_grad=True)
        lengths = (batch.branch_mask * batch.present[..., None]).sum(-1)
        logps = nothing.sum(-1)
        loss = weigh(self.compute_loss(self.quantities(batch, Scores(nothing, logps, lengths))), batch).loss
        return torch.autograd.grad(loss, logps, allow_unused=True)[0]

    def log_loss(self, output: LossOutput, batch: BranchBatch, **extra: Tensor) -> dict[str, Any]:
        """Note a loss for the log of its step, and hand callbacks what they may look at."""
        output = weigh(output, batch)
        values = {"loss": output.loss.detach(), **output.metrics}
        counts = {f"train/{key}": output.counts.get(key, len(batch)) for key in values}
        self.means.add({f"train/{key}": value for key, value in values.items()}, counts)
        if output.rewards is not None:
            extra["rewards"] = output.rewards
        return {"loss": output.loss, "per_study": output.per_study.detach(), "metrics": values, **extra}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Log what one batch of all the step's studies in one process would have logged.

        Raises:
            DivergedError: the loss is no finite number.
        """
        values = self.means.take(self.trainer.world_size)
        loss = values.get("train/loss", 0.0)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss is {loss} at step {self.trainer.global_step + 1}")
        self.log_dict(values, batch_size=1)

    def on_validation_epoch_start(self) -> None:
        self.validated = NamedMeans()  # what an interrupted validation has left

    def on_validation_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """What a loss draws belongs to the batch, in whichever process and at whichever step it is validated."""
        share = self.trainer.distributed_sampler_kwargs or {"rank": 0, "num_replicas": 1}
        self.generator.manual_seed(self.seed * 1_000_003 + batch_idx * share["num_replicas"] + share["rank"])

    def log_validation(self, output: LossOutput, batch: BranchBatch, more: Means = ({}, {})) -> None:
        """Note a loss with its metrics, and ``more`` means beside them: what is logged as ``val/...`` (``test/...``) at
        the end. Of ``accuracy`` and ``logp_chosen`` a stage may know more than the loss, under a name of its own."""
        if batch.padding:
            return
        better = {"accuracy": "reward_accuracy", "logp_chosen": "logp_preferred"}
        values = {"loss": output.loss, **output.metrics}
        values = {name: value for name, value in values.items() if better.get(name) not in more[0]}
        counts = {name: output.counts.get(name, len(batch)) for name in values}
        self.validated.update({**values, **more[0]}, {**counts, **more[1]})

    def on_validation_epoch_end(self) -> None:
        prefix = "test" if self.trainer.testing else "val"
        values = self.validated.compute(self.device)
        self.log_dict({f"{prefix}/{name}": v for name, v in values.items()}, batch_size=1, sync_dist=True)

    def test_step(self, batch: BranchBatch, batch_idx: int) -> None:
        """As a validation."""
        self.validation_step(batch, batch_idx)

    def on_test_epoch_start(self) -> None:
        self.on_validation_epoch_start()

    def on_test_batch_start(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.on_validation_batch_start(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end()

    def on_train_end(self) -> None:
        """
        Raises:
            DivergedError: the last step has left weights that are no finite numbers, or give none.
        """
        self._require_finite()
        if self.last is not None:  # weights of 1e25 are finite, and nothing that is computed with them is
            with torch.no_grad():
                logps = self.student.score(self.last).logps
            if not logps[self.last.present].isfinite().all():
                raise self._diverged(f"the log-probabilities are no finite numbers after step {self.steps}")

    def configure_model(self) -> None:
        """Shard the student over processes where the strategy asks for it (FSDP2)."""
        if self.device_mesh is not None:
            offload = getattr(self.trainer.strategy, "cpu_offload", False)
            _shard(self.student, self.device_mesh["data_parallel"], offload=offload)

    def configure_optimizers(self) -> dict[str, Any]:
        """
        Raises:
            ConfigError: nothing of the student is trained.
        """
        trained = [parameter for parameter in self.student.parameters() if parameter.requires_grad]
        if not trained:
            raise ConfigError("Nothing of the student is trained: call student.make_trainable(seed) before the fit.")
        optimizer = optimizers.build(self.optim, trained)
        shape = dict(steps=self.steps, warmup=self.optim.warmup, schedule=self.optim.schedule)
        scheduler = LambdaLR(optimizer, lambda step: lr_factor(step, **shape))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained: the rest is the frozen student, which the run can load again.

        Raises:
            DivergedError: there is nothing to go on from; earlier checkpoints stay.
        """
        self._require_finite()
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """
        Raises:
            ArtifactError: it holds weights that this student has not: they would be left out without a word.
        """
        own = dict(self.named_parameters()).keys() if "state_dict" in checkpoint else set()
        left = sorted(checkpoint.get("state_dict", {}).keys() - own)
        if left:
            raise ArtifactError(
                f"The checkpoint has {len(left)} weights that the student has not, such as {left[0]}. Load the student "
                f"that it was trained from, with the same student.adapter (here {self.student.settings.adapter}), and "
                "call student.make_trainable(seed) first."
            )

    def _require_finite(self) -> None:
        trained = (parameter for parameter in self.parameters() if parameter.requires_grad)
        if not all(_finite(parameter.detach()) for parameter in trained):
            raise self._diverged(f"the trained weights are no finite numbers after step {self.trainer.global_step}")

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(
            f"stages.{self.name}: {what} of {self.steps}. Nothing of this stage counts as done; its last good "
            f"checkpoint and metrics.jsonl are kept. Lower stages.{self.name}.optim.lr ({self.optim.lr:g}), or look at "
            f"the loss ({type(self.loss).__name__}) and at trainer.precision: float16 ends at 65,504."
        )


def _finite(weights: Tensor) -> bool:
    """Of the part of a parameter that lies in this process."""
    local = weights.to_local() if hasattr(weights, "to_local") else weights
    return bool(local.isfinite().all())


def _shard(student: Student, mesh: Any, *, offload: bool = False) -> None:
    """Spread decoder layers and blocks of the vision tower one by one (`models.blocks`) and the rest as the root, whose
    forward is `Student.score` or `compare`.

    Args:
        offload: keep the pieces in the host's memory.
    """
    from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, fully_shard, register_fsdp_forward_method

    if isinstance(student, FSDPModule):
        return  # Lightning calls configure_model once a trainer function
    how: dict[str, Any] = {"mesh": mesh}
    if offload:
        how["offload_policy"] = CPUOffloadPolicy(pin_memory=torch.cuda.is_available())
    for model in filter(None, (student.model, student.frozen)):
        for block in blocks(model, tower=student.feature_cache is None).values():
            fully_shard(block, **how)
    fully_shard(student, **how)
    for method in ("score", "compare"):
        register_fsdp_forward_method(student, method)
