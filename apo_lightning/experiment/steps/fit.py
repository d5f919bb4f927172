"""Train the student in one stage: any that is registered and has an optimiser."""

from __future__ import annotations

from collections import Counter
from typing import Any

from apo_lightning import config, leader
from apo_lightning.batching import examples
from apo_lightning.experiment import (
    cache_keys,
    caching,
    curves,
    explain,
    gating,
    keeping,
    layouts,
    observing,
    rejecting,
    teacher_tokens,
    tracking,
    trainer,
)
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.base import Step
from apo_lightning.experiment.weighing import STEP, TAUGHT
from apo_lightning.files.atomic import replacing
from apo_lightning.hashing.contents import digest
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.models.student import Student
from apo_lightning.negatives import DEFAULT, NEGATIVES
from apo_lightning.settings import FitSettings, TrainerSettings
from apo_lightning.stages import STAGES
from apo_lightning.stages.base import Stage
from apo_lightning.stages.spd import LOGITS
from apo_lightning.types import Example
from callbacks import CALLBACKS
from data_modules.transfer import Transfer

CHOICE = ("keep", "monitor", "mode")
"""Settings of what a stage hands on, no part of its key where that is the last step."""
READ_TEXTS = {"agreement", "conflict", "contradicted", "chosen_agreement"}
"""What a loss needs that is read out of the texts."""


class Fit(Step):
    """Writes ``student/``; what it is trained on is said by what its stage reads: with ``preferred``, t+ and the
    teachers' texts beside it, else the teachers' texts alone. It begins with the newest student before it."""

    def __init__(self, own: Context, name: str) -> None:
        super().__init__(own, name)
        self.kind: type[Stage] = STAGES.lookup(name)
        self.plan: FitSettings = getattr(own.cfg.stages, name)
        self.made_by = own.newest("student")

    @property
    def prefers(self) -> bool:
        return "preferred" in self.kind.reads

    def inputs(self) -> dict[str, Any]:
        """Its settings, the texts, the loss, and callbacks that may interfere."""
        own, plan, active = self.own, self.plan, observing.interfering(self.own.cfg.callbacks)
        decided = trainer.decides(own.cfg.trainer, plan, active)
        code = [type(self), self.kind, LOSSES.lookup(plan.loss["name"]), *map(CALLBACKS.lookup, sorted(active))]
        code += [keeping] if decided else []
        code += gating.CODE if gating.inputs(own) else ()
        splits = ("train", "val") if decided else ("train",)
        more: dict[str, Any] = {"preferred": cache_keys.of_judged(own, splits)} if self.prefers else {}
        more |= gating.inputs(own)
        more["trainer"] = cache_keys.of_trainer(own.cfg.trainer, *(() if decided else TrainerSettings.validates))
        if needs(LOSSES.lookup(plan.loss["name"])) & LOGITS and isinstance(own.data, Transfer):
            more["logits"], kinds = cache_keys.of_teachers(own, own.teachers)  # of `collect` only its texts are seen
            code += kinds
        if STEP in own.done:
            more["weights"] = own.done[STEP]
        left = CHOICE if plan.keep == "last" else ()
        if rejecting.chosen(plan) == DEFAULT:
            left = (*left, "negatives")
        else:
            code += [NEGATIVES.lookup(rejecting.chosen(plan))]
        if (written := rejecting.step_of(self.name)) in own.done:
            more["negatives"] = own.done[written]
        spread = layouts.of_plan(plan, own.cfg.trainer, decided=decided)
        stage = {key: value for key, value in spread.items() if key not in left}
        return cache_keys.of_student(
            own,
            self.made_by,
            splits,
            code,
            **more,
            stage=stage,
            teachers=own.teachers,
            prompt=cache_keys.template(own.cfg.prompt),
            callbacks=active,
        )

    def run(self, folder: StageFolder) -> dict[str, Any]:
        own, counts = self.own, Counter[str]()
        told = gating.gated(own, self._examples("train", counts), counts)
        stream = explain.required(told, own, self.name, counts)
        student = own.load(self.made_by).make_trainable(own.seed)
        validated = self._validation()
        stage, reference = self._stage(student)
        if needs(stage.loss) & LOGITS:
            stage.set_teachers(teacher_tokens.of_teachers(own, student, [*stream, *(validated or ())]))
        collate = own.collator(student, own.cfg.prompt)
        own.data.connect(
            collate=collate,
            batch_studies=self.plan.batch_studies,
            seed=own.seed,
            train=stream,
            steps=self.plan.steps,
            accumulate=self.plan.accumulate,
            val=validated,
        )
        shown, settings = observing.guarded(own.cfg, own.data) <= set(own.cfg.acknowledge), config.to_dict(own.cfg)
        loggers = tracking.stage_logger(own.cfg.wandb, folder.path, own.who, self.name, settings, shown=shown)
        loggers = [*loggers, *curves.loggers(own.who, self.name, folder.path)]
        callbacks = observing.build(own.cfg.callbacks, folder, upload=shown)
        told = trainer.fit(stage, own.data, own.cfg.trainer, self.plan, folder.path, callbacks, loggers)
        self._save(student, folder)
        return {
            "studies": len(stream),
            "filtered": dict(counts),
            "cut": dict(collate.cut),
            "computed": caching.facts(student, reference),
            "control": collate.control_texts(stream),
            "callbacks": own.cfg.callbacks,
            **told,
        }

    def after(self, folder: StageFolder, *, stored: bool) -> None:
        if stored:
            observing.tell_unseen(self.own.cfg.callbacks, folder)
            tracking.tell_stored(self.own.cfg.wandb, folder.path, self.own.who, self.name)

    def _stage(self, student: Student) -> tuple[Stage, Any]:
        """The LightningModule with all that it reads, and the cache of its reference."""
        own, plan = self.own, self.plan
        loss = config.build(LOSSES, plan.loss, f"stages.{self.name}.loss")
        stage = self.kind(student, loss, plan.optim, steps=plan.steps, seed=own.seed)
        stage.artefacts = {"trajectories": own.done["collect"].path / "trajectories.jsonl"}
        for name in ("student", "preferred"):
            if (made := own.newest(name)) is not None:
                stage.artefacts[name] = made.path / ("student" if name == "student" else "preferred.jsonl")
        reference = None
        if self.prefers:
            words = digest(cache_keys.template(own.cfg.prompt))
            reference = caching.reference_cache(own.cfg, student, self.made_by, words, own.folder.store)
            stage.reference_cache = reference
        return stage, reference

    def _validation(self) -> list[Example] | None:
        """What the stage is validated on while it trains, where that is asked for."""
        if not trainer.validates(self.own.cfg.trainer, self.plan, self.own.cfg.callbacks):
            return None
        return self._examples("val", Counter()) or None

    def _examples(self, split: str, counts: Counter[str]) -> list[Example]:
        own, plan = self.own, self.plan
        studies, findings = own.data.studies(split), own.data.findings
        if not self.prefers:
            return examples.spd_examples(
                studies,
                own.heard,
                own.teachers,
                by_study=own.weights.get(TAUGHT),
                drop_refusals=plan.drop_refusals,
                counts=counts,
                findings=findings,
                as_read=own.thinking.as_read,
            )
        wanted = needs(LOSSES.lookup(plan.loss["name"])) & READ_TEXTS
        return own.preference_examples(
            studies,
            drop_refusals=plan.drop_refusals,
            drop_copies=plan.drop_copies,
            drop_cut=plan.drop_cut,
            counts=counts,
            findings=findings,
            compare=findings if wanted else (),
            instead=rejecting.rejected(own, self.name, split, counts),
        )

    def _save(self, student: Student, folder: StageFolder) -> None:
        state = trainer.whole_state(student)
        if leader.is_leader():
            with replacing(folder.path / "student") as scratch:
                student.save(scratch, state)
