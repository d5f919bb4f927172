"""The stages of one arm and seed, each from files to files. A stage that is already in the store is not run again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from apo_lightning import config, leader
from apo_lightning.batching import examples
from apo_lightning.batching.collate import Collator
from apo_lightning.experiment import cache_keys, caching, explain, observing, preferred, tracking, trainer
from apo_lightning.experiment.cache_keys import template
from apo_lightning.experiment.evaluation import evaluate
from apo_lightning.experiment.once import once
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.scored import judging_findings, scored_findings
from apo_lightning.experiment.stage_files import read_means, read_preferred
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.files.atomic import replacing
from apo_lightning.hashing.contents import digest
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.metrics.teachers import best_teacher
from apo_lightning.models.network import Networks
from apo_lightning.models.student import Student
from apo_lightning.settings import ExperimentSettings, FitSettings
from apo_lightning.stages import STAGES
from apo_lightning.stages.spd import LOGITS
from apo_lightning.teachers import TEACHERS, recorded
from apo_lightning.teachers.pool import TeacherPool
from apo_lightning.text.thinking import ThinkingPolicy, is_tag
from apo_lightning.types import Answer, Example, Study
from callbacks.trajectory_writer import TrajectoryWriter
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS


class Pipeline:
    """Runs what an arm asks for, in order: collect, then its stages, then evaluate.

    Args:
        cfg: the arm's resolved settings.
        arm: its name.
        seed: of weights, order and sampling.
        data: checked data module, shared by arms.
        folder: where the arm's stages are linked.
        networks: where the run keeps its pre-trained network; None: every stage reads it from disk.
        sets: checked data modules of the further sets that are answered, by name.
    """

    def __init__(
        self, cfg: ExperimentSettings, arm: str, seed: int, data: CXRDataModule, folder: RunFolder,
        networks: Networks | None = None, sets: Mapping[str, CXRDataModule] | None = None,
    ) -> None:  # fmt: skip
        self.cfg, self.arm, self.seed, self.data, self.folder = cfg, arm, seed, data, folder
        self.sets, self.trained = dict(sets or {}), data
        self.networks, self.thinking = networks, ThinkingPolicy(**asdict(cfg.thinking))
        self.done: dict[str, StageFolder] = {}

    def run(self) -> dict[str, StageFolder]:
        """Stage name to its folder."""
        steps: dict[str, Callable[[], StageFolder]] = {
            "collect": self.collect, "spd": lambda: self._fit("spd"), "self_distill": self._self_distill,
            "apo": lambda: self._fit("apo"), "evaluate": self._evaluate,
        }  # fmt: skip
        steps |= {f"evaluate_{name}": partial(self._answer, name) for name in self.sets}
        further = [name for name in steps if name.startswith("evaluate_")]
        for name in ("collect", *self.cfg.arms[self.arm].stages, "evaluate", *further):
            with explain.where(self, name):
                self.done[name] = steps[name]()
            if leader.is_leader():
                self.folder.link(self.arm, self.seed, self.done[name])
        return self.done

    def collect(self) -> StageFolder:
        """Every teacher's text for every study: from here on, all teachers are recorded ones."""
        folder = self.folder.stage("collect", cache_keys.of_collect(self))
        return self._once(folder, lambda: self._ask(folder))

    def _ask(self, folder: StageFolder) -> dict[str, Any]:
        teachers = {name: self._teacher(name) for name in self.cfg.teachers}
        if leader.is_leader():
            texts = TeacherPool(teachers).collect({split: self.data.studies(split) for split in SPLITS})
            recorded.write_jsonl(folder.path / "trajectories.jsonl", texts)
        return {"teachers": list(teachers)}

    def _teacher(self, name: str) -> Any:
        return config.build(TEACHERS, self.cfg.teachers[name], f"teachers.{name}", "kind", name=name)

    @cached_property
    def fingerprint(self) -> str:
        return self.data.fingerprint()

    @cached_property
    def teachers(self) -> dict[str, float]:
        """Names and weights of the teachers that this arm hears."""
        chosen = self.cfg.pool.select
        if chosen == "best_on_val":
            read, named = self.thinking.read(self.trajectories), list(self.cfg.teachers)
            chosen = [best_teacher(read, self.data.studies("val"), named, self.judged_by)]
        names = list(self.cfg.teachers) if chosen == "all" else chosen
        return {name: float(self.cfg.teachers[name].get("weight", 1.0)) for name in names}

    @property
    def who(self) -> tracking.Who:
        return tracking.Who(self.cfg.name, self.arm, self.seed)

    @property
    def judged_by(self) -> Sequence[str]:
        """Findings that teachers are judged by on the validation split."""
        return judging_findings(self.cfg.evaluate, self.data)

    @cached_property
    def trajectories(self) -> list[Any]:
        return recorded.read_jsonl(self.done["collect"].path / "trajectories.jsonl")

    @cached_property
    def heard(self) -> dict[str, dict[str, Any]]:
        return examples.index(self.thinking.teach(self.trajectories), list(self.teachers))

    @property
    def counted(self) -> tuple[str, ...]:
        """Findings that are scored."""
        return scored_findings(self.cfg.evaluate, self.data)

    @cached_property
    def preferred(self) -> dict[str, Answer]:
        """t+ by study, as it was written."""
        written = self.done.get("self_distill")
        return read_preferred(written.path / "preferred.jsonl") if written else {}

    def judged(self, studies: Sequence[Study], **how: Any) -> list[Example]:
        """Studies with t+ and the teachers' texts, see `examples.preference_examples`."""
        texts = {study: self.thinking.as_taught(written.text) for study, written in self.preferred.items()}
        cut = {study for study, written in self.preferred.items() if written.cut}
        return examples.preference_examples(
            studies, self.heard, self.teachers, texts, cut=cut, as_read=self.thinking.as_read, **how
        )

    def _student(self, *stages: str) -> StageFolder | None:
        """The newest of the named stages that wrote a student, None for the base model."""
        return next((self.done[name] for name in stages if name in self.done), None)

    def load(self, made_by: StageFolder | None) -> Student:
        student = Student.load(self.cfg.student, made_by.path / "student" if made_by else None, self.networks)
        student.feature_cache = caching.feature_cache(self.cfg, student, self.folder.store)
        return student

    def collator(self, student: Student, prompt: str, findings: Sequence[str] = ()) -> Collator:
        limits = {
            key: getattr(self.cfg.student, key)
            for key in ("max_prompt_tokens", "max_branch_tokens", "max_context_tokens")
        }
        limits["keep"] = is_tag if self.thinking.taught else None
        keys = self.cfg.cache.reference or self.cfg.cache.features
        return Collator(student.processor, prompt=prompt, findings=findings or self.data.findings, keys=keys, **limits)

    def _fit(self, name: str) -> StageFolder:
        plan: FitSettings = getattr(self.cfg.stages, name)
        made_by = self._student("spd") if name == "apo" else None
        folder = self.folder.stage(name, cache_keys.of_fit(self, name, made_by))
        stored = folder.done
        self._once(folder, lambda: self._train(name, plan, made_by, folder))
        if stored:
            observing.tell_unseen(self.cfg.callbacks, folder)
            tracking.tell_stored(self.cfg.wandb, folder.path, self.who, name)
        return folder

    def _train(self, name: str, plan: FitSettings, made_by: StageFolder | None, folder: StageFolder) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        stream = explain.required(self._stream(name, plan, counts), self, name, counts)
        loss = config.build(LOSSES, plan.loss, f"stages.{name}.loss")
        student = self.load(made_by).make_trainable(self.seed)
        stage = STAGES.lookup(name)(student, loss, plan.optim, steps=plan.steps, seed=self.seed)
        reference = None
        if name == "apo":
            words = digest(template(self.cfg.prompt))
            reference = caching.reference_cache(self.cfg, student, made_by, words, self.folder.store)
            stage.reference_cache = reference
        if needs(loss) & LOGITS:
            stage.set_teachers(
                {name: self._teacher(name).load(self.cfg.student, self.networks) for name in self.teachers}
            )
        collate = self.collator(student, self.cfg.prompt)
        self.data.connect(
            collate=collate, batch_studies=plan.batch_studies, seed=self.seed, train=stream, steps=plan.steps,
            accumulate=plan.accumulate,
        )  # fmt: skip
        shown, settings = observing.guarded(self.cfg, self.data) <= set(self.cfg.acknowledge), config.to_dict(self.cfg)
        loggers = tracking.stage_logger(self.cfg.wandb, folder.path, self.who, name, settings, shown=shown)
        callbacks = observing.build(self.cfg.callbacks, folder, upload=shown)
        trainer.fit(stage, self.data, self.cfg.trainer, plan, folder.path, callbacks, loggers)
        state = trainer.whole_state(student)
        if leader.is_leader():
            with replacing(folder.path / "student") as scratch:
                student.save(scratch, state)
        computed = caching.facts(student, reference)
        return {
            "studies": len(stream), "filtered": dict(counts), "cut": dict(collate.cut), "computed": computed,
            "control": collate.control_texts(stream), "callbacks": self.cfg.callbacks,
        }  # fmt: skip

    def _stream(self, name: str, plan: FitSettings, counts: Counter[str]) -> list[Example]:
        studies = self.data.studies("train")
        if name == "spd":
            return examples.spd_examples(
                studies, self.heard, self.teachers, drop_refusals=plan.drop_refusals, counts=counts,
                findings=self.data.findings, as_read=self.thinking.as_read,
            )  # fmt: skip
        wanted = needs(LOSSES.lookup(plan.loss["name"])) & {"agreement", "conflict"}
        return self.judged(
            studies, drop_refusals=plan.drop_refusals, drop_copies=plan.drop_copies, drop_cut=plan.drop_cut,
            counts=counts, findings=self.data.findings, compare=self.data.findings if wanted else (),
        )  # fmt: skip

    def _self_distill(self) -> StageFolder:
        made_by = self._student("spd")
        folder = self.folder.stage("self_distill", cache_keys.of_preferred(self, made_by))
        return self._once(folder, lambda: preferred.write(self, made_by, folder))

    def answers(self, writer: Any, asked: list[Example], collate: Collator, size: int, folder: Path,
                data: CXRDataModule | None = None) -> dict[str, list[Answer]]:  # fmt: skip
        """Answers by study; batches that an interrupted call has filed in ``folder`` are not asked again."""
        data, filed = self.data if data is None else data, TrajectoryWriter(str(folder))
        total = filed.expect([example.study.id for example in asked], size)
        done = leader.from_leader(filed.done)
        if len(done) < total:
            data.connect(collate=collate, batch_studies=size, seed=self.seed, predict=asked, skip_batches=done)
            trainer.predict(writer, data, self.cfg.trainer, [filed])
        leader.barrier()
        return leader.from_leader(filed.answers)

    def _evaluate(self) -> StageFolder:
        made_by = self._student("apo", "spd")
        before = self._student("spd")
        inputs = cache_keys.of_evaluate(self, made_by, before)
        folder = self.folder.stage("evaluate", inputs)
        stored = leader.from_leader(lambda: folder.done)
        self._once(folder, lambda: evaluate(self, made_by, before, folder))
        if not stored or tracking.in_wandb_sweep():  # a trial is told its metric also where the store has it
            self._tell_wandb(folder)
        return folder

    def _answer(self, name: str) -> StageFolder:
        own, made_by = self.for_set(name), self._student("apo", "spd")
        folder = self.folder.stage(f"evaluate_{name}", cache_keys.of_set(own, made_by))
        return self._once(folder, lambda: evaluate(own, made_by, None, folder, own.data))

    def for_set(self, name: str) -> Pipeline:
        """The same arm and seed where a further set is answered: its studies, its question, its own list of findings.
        Teachers were asked about none of it; ``trained`` is still the set that was trained on."""
        cfg, data = self.cfg.of_set(name), self.sets[name]
        other = Pipeline(cfg, self.arm, self.seed, data, self.folder, self.networks)
        other.done, other.trained, other.trajectories = {"collect": self.done["collect"]}, self.data, []
        return other

    def _tell_wandb(self, folder: StageFolder) -> None:
        if leader.is_leader():
            values = read_means(folder.path / "scores.json", self.cfg.evaluate.split)
            tracking.tell_evaluation(self.cfg.wandb, folder.path, self.who, values, config.to_dict(self.cfg))

    def _once(self, folder: StageFolder, work: Callable[[], dict[str, Any]]) -> StageFolder:
        return once(folder, f"{self.arm} seed {self.seed}: {folder.stage}", work)
