"""Let the student write what a stage compares t+ with: ask the strategy of the stage (``negatives``) what is asked, and
file the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from apo_lightning import leader
from apo_lightning.batching import examples
from apo_lightning.experiment import cache_keys, rejecting
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.base import Step
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Round
from apo_lightning.settings import DecodingSettings, FitSettings
from apo_lightning.stages.generate import Writer
from apo_lightning.types import Answer, Example, Trajectory

SPLITS = ("train", "val")
"""What stages learn from, and are validated on."""


class Reject(Step):
    """Writes ``negatives.jsonl``: what the student that a stage starts from writes of each study, by name. Neither t+
    nor the loss has a say, so that arms which differ in these share it."""

    def __init__(self, own: Context, stage: str) -> None:
        super().__init__(own, rejecting.step_of(stage))
        self.plan: FitSettings = getattr(own.cfg.stages, stage)
        self.made, self.made_by = rejecting.strategy(own.cfg, stage), own.newest("student")
        distil = own.cfg.stages.self_distill
        self.splits = [split for split in SPLITS if split in distil.splits]
        self.prompt, self.at_once = distil.prompt if self.made.shows else own.cfg.prompt, distil.batch_studies
        self.decoding = self.made.decoding(DecodingSettings(**distil.decoding()))

    def inputs(self) -> dict[str, Any]:
        """The student, the strategy without what it chooses by, and how it is asked; which texts are shown, if any."""
        own, kind = self.own, NEGATIVES.lookup(rejecting.chosen(self.plan))
        more: dict[str, Any] = {
            "negatives": {name: value for name, value in self.plan.negatives.items() if name not in kind.chooses},
            "prompt": cache_keys.template(self.prompt),
            "decoding": asdict(self.decoding),
            "batch_studies": self.at_once,
        }
        if kind.shows:
            more |= {"teachers": list(own.teachers), "drop_refusals": self.plan.drop_refusals}
        return cache_keys.of_student(own, self.made_by, self.splits, (type(self), kind, Writer), **more)

    def run(self, folder: StageFolder) -> dict[str, Any]:
        own, student, counts = self.own, self.own.writing(self.made_by), Counter[str]()
        rounds = self.made.rounds(self._texts(counts))
        writer = [Writer(student, self.decoding, seed=own.seed, samples=len(each.names)) for each in rounds]
        collate, found = own.collator(student, self.prompt), dict[str, dict[str, Answer]]()
        for place, (asking, each) in enumerate(zip(writer, rounds, strict=True)):
            beside = folder.path / "parts" / str(place)
            for study, answers in own.answers(asking, self._asked(each), collate, self.at_once, beside).items():
                found.setdefault(study, {}).update(zip(each.names, answers, strict=True))
        rows = _rows(found, [study.id for split in self.splits for study in own.data.studies(split)])
        if leader.is_leader():
            write_jsonl(folder.path / rejecting.FILE, rows)
        return {
            "answers": len(rows),
            "negatives": self.plan.negatives,
            "cut": {**collate.cut, "answers": sum(row["cut"] for row in rows)},
            "filtered": dict(counts),
            "decoding": self.decoding.decoding(),
        }

    def _texts(self, counts: Counter[str]) -> dict[str, dict[str, str]]:
        """Every study that is asked about, with the teachers' texts that the stage would take as they are."""
        own, found = self.own, {}
        for study in (study for split in self.splits for study in own.data.studies(split)):
            said = examples.unfiltered(own.heard.get(study.id, {}), own.teachers) if self.made.shows else ()
            left = examples.filtered(said, self.plan.drop_refusals, counts, own.data.findings, own.thinking.as_read)
            found[study.id] = {branch.source: branch.text for branch in left}
        return found

    def _asked(self, each: Round) -> list[Example]:
        studies = {study.id: study for split in self.splits for study in self.own.data.studies(split)}
        asked = [Example(studies[name], (), _shown(name, each)) for name in each.studies]
        return sorted(asked, key=lambda example: sum(len(text.text) for text in example.context))  # little padding


def _shown(study: str, each: Round) -> tuple[Trajectory, ...]:
    texts = {} if each.shown is None else each.shown[study]
    return tuple(Trajectory(study, name, text) for name, text in texts.items())


def _rows(found: Mapping[str, Mapping[str, Answer]], order: list[str]) -> list[dict[str, Any]]:
    return [
        {"study": study, "name": name, "text": said.text, "cut": said.cut}
        for study in order
        for name, said in found.get(study, {}).items()
    ]
