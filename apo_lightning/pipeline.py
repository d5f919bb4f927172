"""The stages of one arm and seed, each from files to files. A stage that is already in the store is not run again."""

from __future__ import annotations

import inspect
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from apo_lightning import __version__, caching, config, examples, explain, prompts, training
from apo_lightning.artifacts import RunFolder, StageFolder, digest, file_digest, read_jsonl, write_jsonl
from apo_lightning.collate import Collator
from apo_lightning.evaluation import best_teacher, evaluate, scored_findings
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.metrics.conflict import most_agreed
from apo_lightning.metrics.findings import MEAN
from apo_lightning.settings import ExperimentSettings, FitSettings
from apo_lightning.stages import STAGES
from apo_lightning.stages.self_distill import SelfDistill
from apo_lightning.stages.spd import LOGITS
from apo_lightning.student import Student
from apo_lightning.teachers import TEACHERS, recorded
from apo_lightning.teachers.pool import TeacherPool
from apo_lightning.types import Example
from callbacks import CALLBACKS
from callbacks.trajectory_writer import TrajectoryWriter
from data_modules.base import CXRDataModule
from data_modules.splits import SPLITS


class Pipeline:
    """Runs what an arm asks for, in order: collect, then its stages, then evaluate.

    Args:
        cfg: the arm's resolved settings.
        arm: its name.
        seed: of weights, order and sampling.
        data: checked data module, shared by arms.
        folder: where the arm's stages are linked.
    """

    def __init__(self, cfg: ExperimentSettings, arm: str, seed: int, data: CXRDataModule, folder: RunFolder) -> None:
        self.cfg, self.arm, self.seed, self.data, self.folder = cfg, arm, seed, data, folder
        self.done: dict[str, StageFolder] = {}

    def run(self) -> dict[str, StageFolder]:
        """Stage name to its folder."""
        steps: dict[str, Callable[[], StageFolder]] = {
            "collect": self.collect, "spd": lambda: self._fit("spd"), "self_distill": self._self_distill,
            "apo": lambda: self._fit("apo"), "evaluate": self._evaluate,
        }  # fmt: skip
        for name in ("collect", *self.cfg.arms[self.arm].stages, "evaluate"):
            with explain.where(self, name):
                self.done[name] = steps[name]()
            if training.is_leader():
                self.folder.link(self.arm, self.seed, self.done[name])
        return self.done

    def collect(self) -> StageFolder:
        """Every teacher's text for every study: from here on, all teachers are recorded ones."""
        sections = {name: {k: v for k, v in s.items() if k != "weight"} for name, s in self.cfg.teachers.items()}
        files = {
            f"{name}.{key}": file_digest(Path(s[key]))
            for name, s in sections.items()
            for key in ("path", "model", "student")
            if s.get(key) and Path(s[key]).exists()
        }
        inputs = {"code": __version__, "data": self.fingerprint, "teachers": sections, "files": files}
        folder = self.folder.stage("collect", inputs)
        return self._once(folder, lambda: self._ask(folder))

    def _ask(self, folder: StageFolder) -> dict[str, Any]:
        teachers = {name: self._teacher(name) for name in self.cfg.teachers}
        if training.is_leader():
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
            known = self.data.findings  # of the validation split, which another evaluation set does not replace
            findings = [name for name in self.cfg.evaluate.findings if name in known] or known
            named = list(self.cfg.teachers)
            chosen = [best_teacher(self.trajectories, self.data.studies("val"), named, findings)]
        names = list(self.cfg.teachers) if chosen == "all" else chosen
        return {name: float(self.cfg.teachers[name].get("weight", 1.0)) for name in names}

    @cached_property
    def trajectories(self) -> list[Any]:
        return recorded.read_jsonl(self.done["collect"].path / "trajectories.jsonl")

    @cached_property
    def heard(self) -> dict[str, dict[str, Any]]:
        return examples.index(self.trajectories, list(self.teachers))

    @property
    def counted(self) -> tuple[str, ...]:
        """Findings that are scored."""
        return scored_findings(self.cfg.evaluate, self.data)

    @cached_property
    def preferred(self) -> dict[str, str]:
        rows = read_jsonl(self.done["self_distill"].path / "preferred.jsonl") if "self_distill" in self.done else []
        return {row["study"]: row["text"] for row in rows}

    def _student(self, *stages: str) -> StageFolder | None:
        """The newest of the named stages that wrote a student, None for the base model."""
        return next((self.done[name] for name in stages if name in self.done), None)

    def load(self, made_by: StageFolder | None) -> Student:
        student = Student.load(self.cfg.student, made_by.path / "student" if made_by else None)
        student.feature_cache = caching.feature_cache(self.cfg, student, self.folder.store)
        return student

    def _inputs(self, made_by: StageFolder | None, **more: Any) -> dict[str, Any]:
        """What every stage with a student depends on."""
        return {
            "code": __version__, "student": asdict(self.cfg.student),
            "base": caching.base_digest(self.cfg.student.model),
            "from": made_by.key if made_by else None, "data": self.fingerprint, "collect": self.done["collect"].key,
            "trainer": {k: v for k, v in asdict(self.cfg.trainer).items() if k != "log_every"}, "seed": self.seed,
            **more,
        }  # fmt: skip

    def collator(self, student: Student, prompt: str, findings: Sequence[str] = ()) -> Collator:
        limits = {
            key: getattr(self.cfg.student, key)
            for key in ("max_prompt_tokens", "max_branch_tokens", "max_context_tokens")
        }
        keys = self.cfg.cache.reference or self.cfg.cache.features
        return Collator(student.processor, prompt=prompt, findings=findings or self.data.findings, keys=keys, **limits)

    def _fit(self, name: str) -> StageFolder:
        plan: FitSettings = getattr(self.cfg.stages, name)
        made_by = self._student("spd") if name == "apo" else None
        own = {"preferred": self.done["self_distill"].key} if name == "apo" else {}
        inputs = self._inputs(
            made_by, stage=asdict(plan), teachers=self.teachers, prompt=_template(self.cfg.prompt), **own
        )
        loss = LOSSES.lookup(plan.loss["name"])
        inputs |= {"callbacks": self.cfg.callbacks, "loss_code": file_digest(Path(inspect.getfile(loss)))}
        folder = self.folder.stage(name, inputs)
        return self._once(folder, lambda: self._train(name, plan, made_by, folder))

    def _train(self, name: str, plan: FitSettings, made_by: StageFolder | None, folder: StageFolder) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        stream = explain.required(self._stream(name, plan, counts), self, name, counts)
        loss = config.build(LOSSES, plan.loss, f"stages.{name}.loss")
        student = self.load(made_by).make_trainable(self.seed)
        stage = STAGES.lookup(name)(student, loss, plan.optim, steps=plan.steps, seed=self.seed)
        reference = None
        if name == "apo":
            template = digest(_template(self.cfg.prompt))
            reference = caching.reference_cache(self.cfg, student, made_by, template, self.folder.store)
            stage.reference_cache = reference
        if needs(loss) & LOGITS:
            stage.hear({name: self._teacher(name).load(self.cfg.student) for name in self.teachers})
        collate = self.collator(student, self.cfg.prompt)
        self.data.connect(
            collate=collate, batch_studies=plan.batch_studies, seed=self.seed, train=stream, steps=plan.steps,
            accumulate=plan.accumulate,
        )  # fmt: skip
        loggers = training.wandb_logger(self.cfg.wandb, folder.path, group=f"{self.cfg.name}/{self.arm}", stage=name)
        training.fit(stage, self.data, self.cfg.trainer, plan, folder.path, self._callbacks(folder), loggers)
        state = training.whole_state(student)
        if training.is_leader():
            student.save(folder.path / "student", state)
        for logger in loggers:
            logger.experiment.finish()
        computed = caching.facts(student, reference)
        return {"studies": len(stream), "filtered": dict(counts), "cut": dict(collate.cut), "computed": computed}

    def _stream(self, name: str, plan: FitSettings, counts: Counter[str]) -> list[Example]:
        studies = self.data.studies("train")
        if name == "spd":
            return examples.taught(
                studies, self.heard, self.teachers, drop_refusals=plan.drop_refusals, counts=counts,
                findings=self.data.findings,
            )  # fmt: skip
        wanted = needs(LOSSES.lookup(plan.loss["name"])) & {"agreement", "conflict"}
        return examples.judged(
            studies, self.heard, self.teachers, self.preferred, drop_refusals=plan.drop_refusals,
            drop_copies=plan.drop_copies, counts=counts, findings=self.data.findings,
            compare=self.data.findings if wanted else (),
        )  # fmt: skip

    def _callbacks(self, folder: StageFolder) -> list[Any]:
        """Configured callbacks; they write into the stage's folder. The file of metrics comes last, so that it holds
        what the others log in the same step."""
        chosen = {
            name: {k: v for k, v in own.items() if k != "folder"}
            for name, own in sorted(self.cfg.callbacks.items(), key=lambda item: item[0] == "metrics_jsonl")
        }
        return [
            config.build(CALLBACKS, own, f"callbacks.{name}", None, folder=str(folder.path))
            for name, own in chosen.items()
        ]

    def _self_distill(self) -> StageFolder:
        made_by, plan = self._student("spd"), self.cfg.stages.self_distill
        own = dict(stage=asdict(plan), teachers=self.teachers, prompt=_template(plan.prompt))
        folder = self.folder.stage("self_distill", self._inputs(made_by, **own))
        return self._once(folder, lambda: self._write_preferred(made_by, folder))

    def _write_preferred(self, made_by: StageFolder | None, folder: StageFolder) -> dict[str, Any]:
        plan, student = self.cfg.stages.self_distill, self.load(made_by)
        split = {study.id: name for name in plan.splits for study in self.data.studies(name)}
        asked = examples.informed([s for name in plan.splits for s in self.data.studies(name)], self.heard)
        writer = SelfDistill(
            student, seed=self.seed, max_new_tokens=plan.max_new_tokens, sample=plan.sample,
            temperature=plan.temperature, top_p=plan.top_p, samples=plan.samples,
        )  # fmt: skip
        collate = self.collator(student, plan.prompt)
        asked.sort(key=lambda example: sum(len(text.text) for text in example.context))  # little padding in a batch
        texts = self.answers(writer, asked, collate, plan.batch_studies, folder)
        rows = [
            {"study": e.study.id, "text": most_agreed(texts[e.study.id], self.data.findings),
             "split": split[e.study.id], **({"samples": texts[e.study.id]} if plan.samples > 1 else {})}
            for e in asked
        ]  # fmt: skip
        if training.is_leader():
            write_jsonl(folder.path / "preferred.jsonl", rows)
        return {"studies": len(rows), "cut": dict(collate.cut)}

    def answers(
        self, writer: Any, asked: list[Example], collate: Collator, size: int, folder: StageFolder
    ) -> dict[str, list[str]]:
        """Texts by study; batches that an interrupted call has filed are not asked again."""
        filed = TrajectoryWriter(str(folder.path))
        total, done = -(-len(asked) // size), filed.done()
        if len(done) < total:
            self.data.connect(collate=collate, batch_studies=size, seed=self.seed, predict=asked, skip_batches=done)
            training.predict(writer, self.data, self.cfg.trainer, [filed])
        training.barrier()
        return filed.texts()

    def _evaluate(self) -> StageFolder:
        made_by = self._student("apo", "spd")
        preferred = self.done["self_distill"].key if "self_distill" in self.done else None
        own = dict(
            evaluate=asdict(self.cfg.evaluate), preferred=preferred, teachers=self.teachers,
            prompt=_template(self.cfg.evaluate.prompt or self.cfg.prompt),
        )  # fmt: skip
        before = self._student("spd")
        inputs = self._inputs(made_by, **own, before=before.key if before else None)
        folder = self.folder.stage("evaluate", inputs)
        stored = folder.done
        self._once(folder, lambda: evaluate(self, made_by, before, folder))
        if not stored or training.in_wandb_sweep():  # a trial is told its metric also where the store has it
            self._tell_wandb(folder)
        return folder

    def _tell_wandb(self, folder: StageFolder) -> None:
        if training.is_leader():
            rows = json.loads((folder.path / "scores.json").read_text())
            values = {f"{self.cfg.evaluate.split}/{metric}": v for metric, finding, v in rows if finding == MEAN}
            training.wandb_summary(self.cfg.wandb, folder.path, values, group=f"{self.cfg.name}/{self.arm}")

    def _once(self, folder: StageFolder, work: Callable[[], dict[str, Any]]) -> StageFolder:
        """Do ``work`` unless its result is there; say which."""
        training.barrier()
        said = f"  {self.arm} seed {self.seed}: {folder.stage}"
        if folder.done:
            training.say(f"{said} [dim]in the store[/dim]")
        else:
            began = time.monotonic()
            training.say(f"{said} ...")
            if training.is_leader():
                folder.begin()
            facts = work()
            if training.is_leader():
                folder.finish(seconds=round(time.monotonic() - began, 1), **facts)
            counted = {**facts.get("filtered", {}), **{f"cut {name}": n for name, n in facts.get("cut", {}).items()}}
            texts = f" (texts: {', '.join(f'{n} {name}' for name, n in counted.items())})" if counted else ""
            computed = "".join(f", {n} {name}" for name, n in facts.get("computed", {}).items())
            training.say(f"{said} [green]done[/green] in {time.monotonic() - began:.0f} s{texts}{computed}")
        training.barrier()
        return folder


def _template(name: str) -> dict[str, str]:
    """A prompt as a stage depends on it: its words, not its name alone."""
    return {"name": name, "text": prompts.load(name).template}
