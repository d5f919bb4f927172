"""Looks for the ways in which a training stage fails, says so in plain words, and stops it if asked to."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer

from apo_lightning.errors import StoppedError
from apo_lightning.files import atomic, jsonlines
from apo_lightning.findings import CANONICAL
from apo_lightning.metrics import rewards, style_probe, training_failures
from apo_lightning.metrics.failures import BIAS, COLLAPSE, NO_CONVERGENCE, STYLE_ALONE, Failure
from apo_lightning.metrics.training_failures import TrainingLimits
from apo_lightning.stages.step_means import StepMeans
from apo_lightning.text.conflict import agreement
from apo_lightning.text.labeler import parse
from apo_lightning.types import BranchBatch
from callbacks import CALLBACKS

log = logging.getLogger(__name__)
PROBED = 64
"""Studies whose texts the style probe looks at."""
DEFAULT = TrainingLimits()


@CALLBACKS.register("failure_signatures")
class FailureSignatures(Callback):
    """Logs ``train/failure/<signature>`` (0 or 1) of every step that can be judged, says each sign once when it is
    first seen, and writes those that hold at the end as ``failures.json``: an empty list where the stage is healthy.
    ``train/margin_explained`` is the share of the reward margin that goes with conflicts in findings.

    A stage that compares t+ with the teachers is judged for all four signs, another one for collapse alone.

    Args:
        folder: where ``failures.json`` goes.
        stop: end the stage at the first sign, with status 2. Nothing of it counts as done; its checkpoints stay, but
            the same command comes to the same step and stops there again: change what the advice names. A stage with
            ``stop`` is another stage than one without.
        after, window, distinct, margin, explained, probe, lost, fall, rise: see `training_failures.TrainingLimits`.
    """

    observes: ClassVar[bool] = True
    interferes_with: ClassVar[tuple[str, ...]] = ("stop",)

    def __init__(
        self,
        folder: str = ".",
        stop: bool = False,
        after: float = DEFAULT.after,
        window: int = DEFAULT.window,
        distinct: float = DEFAULT.distinct,
        margin: float = DEFAULT.margin,
        explained: float = DEFAULT.explained,
        probe: float = DEFAULT.probe,
        lost: float = DEFAULT.lost,
        fall: float = DEFAULT.fall,
        rise: float = DEFAULT.rise,
    ) -> None:
        self.path, self.stop = Path(folder) / "failures.json", stop
        self.limits = TrainingLimits(after, window, distinct, margin, explained, probe, lost, fall, rise)
        self.means = StepMeans()
        self.step = 0
        self.steps: list[dict[str, float]] = []
        self.late: dict[str, list[float]] = {}
        self.best = math.inf
        self.separable = math.nan
        self.now: dict[str, Failure] = {}
        self.said: set[str] = set()
        self.texts: dict[str, dict[str, str]] = {}
        self.conflicts: dict[str, dict[str, float]] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: BranchBatch, batch_idx: int
    ) -> None:
        if not isinstance(outputs, dict):
            return
        self._note(outputs, batch, pl_module, getattr(trainer.datamodule, "findings", CANONICAL))
        if trainer.global_step == self.step:  # more micro-batches of this step follow
            return
        self.step = trainer.global_step
        self.steps = [*self.steps, self.means.take(trainer.world_size)][-self.limits.window :]
        if len(self.steps) < self.limits.window:
            return
        judged = self._judge(trainer)
        told = {f"train/failure/{name}": float(bool(found)) for name, found in judged.items()}
        if not math.isnan(share := training_failures.explained(self.steps)):
            told["train/margin_explained"] = share
        pl_module.log_dict(told, batch_size=1)
        self._tell(trainer, {name: found for name, found in judged.items() if found})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def _note(
        self, outputs: dict[str, Any], batch: BranchBatch, stage: LightningModule, findings: Sequence[str]
    ) -> None:
        """Add one micro-batch."""
        logps, given = outputs.get("policy_logps"), outputs.get("rewards")
        if (nll := outputs.get("metrics", {}).get("nll")) is not None:
            self.means.add({"nll": nll}, {"nll": len(batch)})
        if given is None or logps is None:
            return
        self.means.add(*rewards.of_batch(logps, given, batch.sources))
        known = [self._conflicts(batch, row, stage, findings) for row in range(len(batch))]
        self.means.add(*training_failures.contrasts(given, known, batch.sources))
        if (reference := outputs.get("reference_logps")) is not None:
            counted = given.isfinite()
            self.means.add(*training_failures.moved(logps, reference, outputs["lengths"], counted))

    def _conflicts(
        self, batch: BranchBatch, row: int, stage: LightningModule, findings: Sequence[str]
    ) -> dict[str, float]:
        """Teacher to the share of findings in which its text contradicts t+, read once a study."""
        study = batch.studies[row]
        if study not in self.conflicts:
            texts = _texts(batch, row, stage.student.processor.tokenizer)
            best = next(iter(texts.values()))
            shares = {name: _disagreement(text, best, findings) for name, text in list(texts.items())[1:]}
            self.conflicts[study] = {name: share for name, share in shares.items() if share is not None}
            if len(self.texts) < PROBED:
                self.texts[study] = texts
        return self.conflicts[study]

    def _judge(self, trainer: Trainer) -> dict[str, Failure | None]:
        """The signs that this stage can be judged for."""
        steps, limits, step = self.steps, self.limits, self.step
        self.best = min(self.best, training_failures.average(steps, "nll"))
        found = {COLLAPSE: training_failures.collapse(steps, limits, step, self.best)}
        if not any("rank1_accuracy" in row for row in steps):
            return found
        if trainer.max_steps > 0 and step < limits.after * trainer.max_steps:
            return found | dict.fromkeys((NO_CONVERGENCE, BIAS, STYLE_ALONE))
        weak = training_failures.no_convergence(steps, limits, step)
        styled, late = None, [self._remember()]
        enough = step == trainer.max_steps or any(count >= limits.window for _, count in self.late.values())
        if not weak and enough and training_failures.explained(late) < limits.explained:
            styled = training_failures.style_alone(late, limits, step, self._probe(trainer))
        leaning = training_failures.bias(steps, limits, step)
        return found | {NO_CONVERGENCE: weak, BIAS: leaning, STYLE_ALONE: styled}

    def _remember(self) -> dict[str, float]:
        """Means of all steps from ``after`` on of what style is read from: a window's say too little of so small a
        share."""
        for name, value in self.steps[-1].items():
            if name.startswith(training_failures.CONTRASTS):
                total = self.late.setdefault(name, [0.0, 0])
                total[0], total[1] = total[0] + value, total[1] + 1
        return {name: total / count for name, (total, count) in self.late.items()}

    def _probe(self, trainer: Trainer) -> float:
        """The separability of the teacher that is least so, asked once and by the leader: others see other studies."""
        if math.isnan(self.separable):
            findings = getattr(trainer.datamodule, "findings", CANONICAL)
            own = style_probe.least_separable(list(self.texts.values()), findings)
            self.separable = own if trainer.world_size == 1 else trainer.strategy.broadcast(own)
        return self.separable

    def _tell(self, trainer: Trainer, found: dict[str, Failure]) -> None:
        """
        Raises:
            StoppedError: there is a sign, and ``stop`` is set.
        """
        self.now = {name: self.now.get(name, failure) for name, failure in sorted(found.items())}
        for name, failure in self.now.items():
            if name not in self.said and trainer.is_global_zero and not self.stop:
                log.warning("Step %d, %s: %s %s", failure.step, name, failure.warning, failure.advice)
            self.said.add(name)
        if self.now and self.stop:
            self._write(trainer)
            failure = next(iter(self.now.values()))
            raise StoppedError(
                f"Stopped at step {failure.step}, {failure.signature}: {failure.warning} {failure.advice} Nothing of "
                "this stage counts as done. To train on regardless: callbacks.failure_signatures.stop=false."
            )

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            rows = [failure.row() for failure in self.now.values()]
            atomic.write_text(self.path, json.dumps(jsonlines.plain(rows), indent=2) + "\n")

    def state_dict(self) -> dict[str, Any]:
        now = [[f.signature, f.step, f.value, f.threshold, f.warning] for f in self.now.values()]
        return {
            "steps": self.steps,
            "late": self.late,
            "best": self.best,
            "separable": self.separable,
            "said": sorted(self.said),
            "now": now,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.steps, self.best = list(state_dict["steps"]), state_dict["best"]
        self.late = {name: list(total) for name, total in state_dict["late"].items()}
        self.separable, self.said = state_dict["separable"], set(state_dict["said"])
        self.now = {row[0]: Failure(*row) for row in state_dict["now"]}


def _texts(batch: BranchBatch, row: int, tokenizer: Any) -> dict[str, str]:
    """Source to text of one study's answers, t+ first, as they are taught."""
    ids = [own[mask.bool()].tolist() for own, mask in zip(batch.branch_ids[row], batch.branch_mask[row], strict=True)]
    texts = tokenizer.batch_decode(ids[: len(batch.sources[row])], skip_special_tokens=True)
    return dict(zip(batch.sources[row], texts, strict=True))


def _disagreement(text: str, best: str, findings: Sequence[str]) -> float | None:
    """Share of the findings stated by both texts on which they conflict; None where they have none in common."""
    share = agreement(text, best, findings)
    if share == 0:
        ours, theirs = parse(text, findings), parse(best, findings)
        if all(math.isnan(ours[name]) or math.isnan(theirs[name]) for name in findings):
            return None
    return 1 - share
