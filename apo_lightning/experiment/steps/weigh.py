"""Find what each teacher's text weighs: ask the strategy of the experiment (``weighting``) and file its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import fsum
from typing import Any

from apo_lightning import leader
from apo_lightning.batching import examples
from apo_lightning.config.rules import LARGEST
from apo_lightning.errors import DataError
from apo_lightning.experiment import cache_keys, context, trainer
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.base import Step
from apo_lightning.experiment.weighing import FILE, KEY, REJECTED, STEP, TAUGHT, strategy
from apo_lightning.files.jsonlines import write as write_jsonl
from apo_lightning.hashing.sources import sources_of
from apo_lightning.stages.likelihoods import TokenLikelihoods
from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen, Weighting, Weights

SPLITS = ("train", "val")
"""What stages learn from, and are validated on."""
AT_ONCE = 8
"""Studies of a batch whose likelihoods are asked for."""


class Weigh(Step):
    """Writes ``weights.jsonl``: what every teacher weighs on a study, where it is taught and where it is rejected."""

    def __init__(self, own: Context) -> None:
        super().__init__(own, STEP)
        self.name_of = own.cfg.pool.weights["name"]

    def inputs(self) -> dict[str, Any]:
        """The strategy, the texts and labels that it reads, and the student where it asks how likely they are. The base
        student is the same for all seeds."""
        own, kind = self.own, WEIGHTS.lookup(self.name_of)
        more = {"weights": own.cfg.pool.weights, "given": own.given, "scored": list(own.judged_by)}
        if kind.scores:
            words = cache_keys.template(own.cfg.prompt)
            of = cache_keys.of_student(own, None, SPLITS, (type(self), kind, TokenLikelihoods), prompt=words, **more)
            return {name: value for name, value in of.items() if name != "seed"}
        seen, parts = cache_keys.seen(own, SPLITS)
        code = sources_of(type(self), kind, context, examples, *cache_keys.data_classes(own, parts))
        return {**seen, **more, "thinking": asdict(own.cfg.thinking), "sources": code}

    def run(self, folder: StageFolder) -> dict[str, Any]:
        own, made = self.own, strategy(self.own.cfg)
        found = _checked(made(self._seen()), own.given)
        if leader.is_leader():
            write_jsonl(folder.path / FILE, _rows(found, made))
        means = {name: fsum(row[name] for row in found.values()) / max(1, len(found)) for name in own.given}
        leader.say_plainly("  " + ", ".join(f"{name} {value:.3g}" for name, value in means.items()))
        return {"studies": len(found), "weights": own.cfg.pool.weights, "mean_weights": means}

    def _seen(self) -> Seen:
        own = self.own
        studies = [study.id for split in SPLITS for study in own.data.studies(split)]
        return Seen(
            asked=studies,
            teachers=list(own.given),
            texts={study: {name: said.text for name, said in own.heard.get(study, {}).items()} for study in studies},
            labelled=own.data.studies("val"),
            findings=own.data.findings,
            scored=own.judged_by,
            as_read=own.thinking.as_read,
            given=own.given,
            score=self._score,
        )

    def _score(self) -> Mapping[str, Mapping[str, float]]:
        """Study to teacher to mean log-probability of a token under the base student, on the validation split."""
        own, student = self.own, self.own.load(None)
        asked = examples.spd_examples(
            own.data.studies("val"), own.heard, own.given, findings=own.data.findings, as_read=own.thinking.as_read
        )
        if not asked:
            return {}
        looking = TokenLikelihoods(student)
        own.data.connect(collate=own.collator(student, own.cfg.prompt), batch_studies=AT_ONCE, seed=own.seed, val=asked)
        trainer.validate(looking, own.data, own.cfg.trainer)
        return {
            example.study.id: dict(zip((branch.source for branch in example.branches), [first, *others], strict=True))
            for example, (first, others) in zip(asked, looking.rows, strict=True)
        }


def _checked(found: Weights, given: Mapping[str, float]) -> Weights:
    """Weights as they count: those of teachers whose weight in the experiment is 0 are 0.

    Raises:
        DataError: one is no number from 0 to `LARGEST`, or all are 0.
    """
    kept = {
        study: {name: float(own[name]) if given[name] > 0 else 0.0 for name in given} for study, own in found.items()
    }
    for study, own in kept.items():
        for name, value in own.items():
            if not 0 <= value <= LARGEST:
                raise DataError(
                    f"{KEY}: the weight of '{name}' on study '{study}' must be a number from 0 to {LARGEST:g}, "
                    f"got {value}."
                )
    if kept and not any(value for own in kept.values() for value in own.values()):
        raise DataError(f"{KEY}: every teacher weighs 0 on all {len(kept)} studies, so that nobody would be taught.")
    return kept


def _rows(found: Weights, made: Weighting) -> list[dict[str, Any]]:
    return [
        {"study": study, TAUGHT: own, REJECTED: {name: made.against(value) for name, value in own.items()}}
        for study, own in found.items()
    ]
