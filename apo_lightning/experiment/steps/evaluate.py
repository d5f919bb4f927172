"""Let the student answer: what it says, what it knows beside that, and how likely it finds t+ and the teachers."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from apo_lightning import config, leader, probes
from apo_lightning.experiment import answer_files, cache_keys, tracking, trainer
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_files import read_means
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.base import Step
from apo_lightning.hashing.contents import digest
from apo_lightning.hashing.sources import sources_of
from apo_lightning.models.student import Student
from apo_lightning.probes.wordings import QUESTION
from apo_lightning.stages.likelihoods import Likelihoods
from apo_lightning.types import Answer, Example

OWN = "evaluate"
"""The step in which an arm answers its own evaluation set; those of further sets bear their names too."""
AT_ONCE = 8
"""Studies of a batch whose likelihoods are asked for."""
SUFFIXES = ("", "_before")
"""Of likelihoods under the student that answers, and under the one before the critique."""
LATER = ("report_text", "sets")
"""Settings that answers do not depend on: how their texts are measured afterwards, and what else is answered."""
OF_ITS_OWN = ("data", "sets", "split", "findings", "likelihood_studies", "warn_cut", "report_text")
"""Settings that answers to a further set do not depend on: it has its own, or no use for them."""


class Evaluate(Step):
    """Writes ``predictions.jsonl``, ``scores.json``, a file for each probe, and with t+ ``likelihoods.jsonl``."""

    def __init__(self, own: Context, name: str = OWN) -> None:
        super().__init__(own, name)
        self.made_by = own.newest("student")
        self.before = own.newest("student", without="preferred")
        self.plan, self.prompt = own.cfg.evaluate, own.cfg.evaluate.prompt or own.cfg.prompt

    def inputs(self) -> dict[str, Any]:
        plan = {name: value for name, value in asdict(self.plan).items() if name not in LATER}
        inputs = cache_keys.of_student(
            self.own,
            self.made_by,
            None,
            (type(self), probes),
            evaluate=plan,
            teachers=self.own.teachers,
            preferred=self.own.newest("preferred"),
            prompt=cache_keys.template(self.prompt),
            before=self.before,
        )
        return {**inputs, "sources": {**inputs["sources"], **self.words()}}

    def words(self) -> dict[str, str]:
        """A prompt that a probe asks and no setting names: it counts as source does."""
        asks = self.plan.likelihood.form == QUESTION
        return {f"prompts/{QUESTION}.txt": digest(cache_keys.template(QUESTION))} if asks else {}

    def run(self, folder: StageFolder) -> dict[str, Any]:
        own, plan = self.own, self.plan
        studies = own.data.studies(plan.split)
        asked = self._asked(own.load(self.made_by), folder)
        answers = asked.answers(studies)
        texts = {study: written[0].text for study, written in answers.items()}
        cut = sum(answers[study.id][0].cut for study in studies)
        known, facts = probes.probe(asked, texts)
        files = {**known, "likelihoods": self.likelihoods(asked.student)}
        if leader.is_leader():
            answer_files.write(folder.path, answers, studies, own.scored, own.thinking.as_read, files)
        told = {"studies": len(studies), "split": plan.split, "cut": {"answers": cut}, "decoding": plan.decoding()}
        return {**told, **facts}

    def after(self, folder: StageFolder, *, stored: bool) -> None:
        """A trial of a sweep is told its metric also where the store has it."""
        if (not stored or tracking.in_wandb_sweep()) and leader.is_leader():
            cfg, values = self.own.cfg, read_means(folder.path / "scores.json", self.plan.split)
            tracking.tell_evaluation(cfg.wandb, folder.path, self.own.who, values, config.to_dict(cfg))

    def _asked(self, student: Student, folder: StageFolder) -> probes.Asked:
        own = self.own

        def write(writer: Any, asked: list[Example], collate: Any, size: int, beside: str) -> dict[str, list[Answer]]:
            place = folder.path / "parts" / beside if beside else folder.path
            return own.answers(writer, asked, collate, size, place)

        return probes.Asked(
            student=student,
            data=own.data,
            plan=self.plan,
            prompt=self.prompt,
            findings=own.scored,
            seed=own.seed,
            as_read=own.thinking.as_read,
            device=trainer.device(own.cfg.trainer),
            collator=lambda prompt, findings: own.collator(student, prompt, findings),
            write=write,
        )

    def likelihoods(self, student: Student) -> list[dict[str, Any]]:
        """Log p of t+ and of the teachers' texts on validation studies, under this student and the one before the
        critique; one entry a study."""
        own = self.own
        critique = own.newest("student", reads="preferred")
        if critique is None or "val" not in own.cfg.stages.self_distill.splits:
            return []
        studies = own.data.studies("val")[: self.plan.likelihood_studies]
        asked = own.preference_examples(studies, drop_refusals=True, drop_copies=True, counts=Counter())
        if not asked:
            return []
        rows = [{"study": example.study.id, "patient": example.study.patient} for example in asked]
        for suffix, judge in zip(SUFFIXES, (student, own.load(self.before)), strict=True):
            looking = Likelihoods(judge)
            own.data.connect(
                collate=own.collator(judge, own.cfg.prompt), batch_studies=AT_ONCE, seed=own.seed, val=asked
            )
            trainer.validate(looking, own.data, own.cfg.trainer)
            for row, (preferred, teachers) in zip(rows, looking.rows, strict=True):
                row |= {f"preferred{suffix}": preferred, f"teachers{suffix}": teachers}
        return rows


class EvaluateSet(Evaluate):
    """The same for a further set; t+ and the teachers are looked at on the run's own set alone."""

    def __init__(self, own: Context, name: str) -> None:
        super().__init__(own.for_set(name), f"{OWN}_{name}")

    def inputs(self) -> dict[str, Any]:
        own = self.own
        plan = {name: value for name, value in asdict(self.plan).items() if name not in OF_ITS_OWN}
        code = sources_of(type(self), probes, *cache_keys.EVERY, *cache_keys.data_classes(own))
        seen = {"data": own.fingerprint, "evaluate": plan, "prompt": cache_keys.template(self.prompt)}
        return {**cache_keys.basis(own, self.made_by), **seen, "sources": {**code, **self.words()}}

    def likelihoods(self, student: Student) -> list[dict[str, Any]]:
        return []

    def after(self, folder: StageFolder, *, stored: bool) -> None:
        return
