"""Find t+ for every study: ask the strategy of the experiment (``positives``) and file its choice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from apo_lightning import leader
from apo_lightning.batching import examples
from apo_lightning.experiment import cache_keys, context
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.preferred import chosen, strategy
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.base import Step
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.hashing.sources import sources_of
from apo_lightning.positives import DEFAULT, POSITIVES
from apo_lightning.positives.base import Evidence, Picked
from apo_lightning.stages.generate import SelfDistill
from apo_lightning.types import Answer, Trajectory

Texts = Mapping[str, Mapping[str, str]]
"""Study to name to text."""


class Generate(Step):
    """Writes ``preferred.jsonl``: t+ of each study of the splits that are asked for."""

    def __init__(self, own: Context, name: str) -> None:
        super().__init__(own, name)
        self.plan = own.cfg.stages.self_distill
        self.made_by = own.newest("student")

    def inputs(self) -> dict[str, Any]:
        """The student and its seed only where the strategy lets it write, and then how it writes; and the strategy. The
        settings of the default one are no part of it."""
        own, plan, name = self.own, self.plan, chosen(self.own.cfg)
        kind = POSITIVES.lookup(name)
        if kind.writes:
            stage = {key: value for key, value in asdict(plan).items() if key != "positive"}
            more = {"stage": stage, "teachers": list(own.teachers), "prompt": cache_keys.template(plan.prompt)}
            inputs = cache_keys.of_student(own, self.made_by, plan.splits, (type(self), SelfDistill, kind), **more)
        else:
            seen, parts = cache_keys.seen(own, [*plan.splits, "val"])
            inputs = {
                **seen,
                "thinking": asdict(own.cfg.thinking),
                "splits": plan.splits,
                "teachers": list(own.teachers),
                "sources": sources_of(type(self), kind, context, examples, *cache_keys.data_classes(own, parts)),
            }
        if name != DEFAULT:
            inputs |= {"positive": plan.positive, "scored": list(own.judged_by)}
        return inputs

    def run(self, folder: StageFolder) -> dict[str, Any]:
        own, facts = self.own, dict[str, Any]()
        split = {study.id: name for name in self.plan.splits for study in own.data.studies(name)}

        def by_student(shown: Texts | None = None) -> Mapping[str, Sequence[Answer]]:
            answers, how = self._by_student(folder, shown)
            facts.update(how)
            return answers

        picked = strategy(own.cfg)(self._evidence(list(split), by_student))
        rows = [_row(study, found, split[study]) for study, found in picked.items()]
        if leader.is_leader():
            write_jsonl(folder.path / "preferred.jsonl", rows)
        cut = {**facts.pop("cut", {}), "answers": sum(row["cut"] for row in rows)}
        more = self._facts(list(picked.values()), len(split) - len(rows))
        return {"studies": len(rows), "cut": cut, **facts, **more}

    def _evidence(self, asked: list[str], by_student: Any) -> Evidence:
        own = self.own
        validation = own.data.studies("val")
        studies = [*asked, *(study.id for study in validation)]
        return Evidence(
            asked=asked,
            teachers=list(own.teachers),
            texts={study: {name: said.text for name, said in own.heard.get(study, {}).items()} for study in studies},
            labelled=validation,
            findings=own.data.findings,
            scored=own.judged_by,
            as_read=own.thinking.as_read,
            write=by_student,
        )

    def _by_student(self, folder: StageFolder, shown: Texts | None) -> tuple[dict[str, list[Answer]], dict[str, Any]]:
        """What the student writes of each study, and facts on how it was asked. It reads the teachers' texts, or those
        that it is ``shown`` of a study."""
        own, plan, student = self.own, self.plan, self.own.writing(self.made_by)
        read = own.heard if shown is None else _trajectories(shown)
        asked = examples.informed([s for name in plan.splits for s in own.data.studies(name)], read)
        writer = SelfDistill(student, plan, seed=own.seed, samples=plan.samples)
        collate = own.collator(student, plan.prompt)
        asked.sort(key=lambda example: sum(len(text.text) for text in example.context))  # little padding in a batch
        written = own.answers(writer, asked, collate, plan.batch_studies, folder.path)
        facts = {"cut": dict(collate.cut), "control": collate.control_texts(asked), "decoding": plan.decoding()}
        return {example.study.id: written[example.study.id] for example in asked}, facts

    def _facts(self, picked: Sequence[Picked], without: int) -> dict[str, Any]:
        """What a strategy other than the default one did: which, whose texts, and how many studies have none."""
        if chosen(self.own.cfg) == DEFAULT:
            return {}
        counted = Counter(found.teacher for found in picked if found.teacher is not None)
        filtered = {"studies_without_text": without} if without else {}
        filtered |= {"in_fixed_words": plain} if (plain := sum(found.plain for found in picked)) else {}
        return {"positive": self.plan.positive, "from": dict(counted.most_common()), "filtered": filtered}


def _trajectories(shown: Texts) -> dict[str, dict[str, Trajectory]]:
    return {study: {name: Trajectory(study, name, text) for name, text in own.items()} for study, own in shown.items()}


def _row(study: str, found: Picked, split: str) -> dict[str, Any]:
    own: dict[str, Any] = {"samples": list(found.samples)} if found.samples else {}
    own |= {"from": found.teacher} if found.teacher is not None else {}
    return {"study": study, "text": found.text, "cut": found.cut, "split": split, **own}
