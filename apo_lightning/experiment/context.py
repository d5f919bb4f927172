"""What the steps of one arm and seed share: settings, data, the teachers that it hears, and what is done so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apo_lightning import config, leader
from apo_lightning.batching import examples
from apo_lightning.batching.collate import Collator
from apo_lightning.config.rules import CHEAPEST
from apo_lightning.experiment import caching, pruned, served, trainer, weighing
from apo_lightning.experiment.prediction_files import PredictionFiles
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.run_names import Who
from apo_lightning.experiment.scored import judging_findings, scored_findings
from apo_lightning.experiment.stage_files import read_preferred
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.metrics.teachers import best_teacher
from apo_lightning.models.network import Networks
from apo_lightning.models.student import Student
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages import STAGES
from apo_lightning.teachers import TEACHERS, recorded
from apo_lightning.text.thinking import ThinkingPolicy, is_tag
from apo_lightning.types import Answer, Example, Study
from data_modules.base import CXRDataModule

if TYPE_CHECKING:
    from apo_lightning.drift.pruning import Ranking
    from apo_lightning.weighting.base import Weights


class Context:
    """One arm and seed under way.

    Args:
        cfg: the arm's resolved settings.
        arm: its name.
        seed: of weights, order and sampling.
        data: checked data module, shared by arms.
        folder: where the arm's stages are linked.
        networks: where the run keeps its pre-trained network; None: every stage reads it from disk.
        sets: checked data modules of the further sets that are answered, by name.

    Attributes:
        done: finished steps by name, in order.
        trained: the set that is trained on, also where another one is answered.
        server: who has written the answers of the step under way; empty where this process did.
    """

    def __init__(
        self,
        cfg: ExperimentSettings,
        arm: str,
        seed: int,
        data: CXRDataModule,
        folder: RunFolder,
        networks: Networks | None = None,
        sets: Mapping[str, CXRDataModule] | None = None,
    ) -> None:
        self.cfg, self.arm, self.seed, self.data, self.folder = cfg, arm, seed, data, folder
        self.sets, self.trained = dict(sets or {}), data
        self.networks, self.thinking = networks, ThinkingPolicy(**asdict(cfg.thinking))
        self.done: dict[str, StageFolder] = {}
        self.server: dict[str, Any] = {}

    @property
    def stages(self) -> list[str]:
        """Names of the stages that the arm runs, in order."""
        return self.cfg.arms[self.arm].stages

    @property
    def who(self) -> Who:
        """How W&B is told of it."""
        return Who(self.cfg.name, self.arm, self.seed)

    @cached_property
    def fingerprint(self) -> str:
        return self.data.fingerprint()

    def teacher(self, name: str) -> Any:
        """One of the configured teachers, built."""
        given = {"name": name, "listed": list(self.data.findings)}
        return config.build(TEACHERS, self.cfg.teachers[name], f"teachers.{name}", "kind", **given)

    @cached_property
    def teachers(self) -> dict[str, float]:
        """Names and weights of the teachers that this arm hears; where a strategy weighs them, 1, or 0 of those that it
        leaves at 0."""
        if weighing.weighs(self.cfg):
            return {name: float(weight > 0) for name, weight in self.given.items()}
        return self.given

    @cached_property
    def given(self) -> dict[str, float]:
        """Names of the teachers that this arm hears, and their weights in the experiment file."""
        chosen = self.cfg.pool.select
        if chosen == "best_on_val":
            read = self.thinking.apply_policy(self.trajectories, "read")
            chosen = [best_teacher(read, self.data.studies("val"), list(self.cfg.teachers), self.judged_by)]
        elif chosen == CHEAPEST:
            chosen = list(self.ranking.cheapest.teachers)
        names = list(self.cfg.teachers) if chosen == "all" else chosen
        return {name: float(self.cfg.teachers[name].get("weight", 1.0)) for name in names}

    @cached_property
    def weights(self) -> dict[str, Weights]:
        """``taught`` and ``rejected`` to study to teacher to weight; empty where no strategy weighs the teachers."""
        made = self.done.get(weighing.STEP)
        columns = (weighing.TAUGHT, weighing.REJECTED) if made else ()
        return {name: weighing.read(made.path / weighing.FILE, name) for name in columns if made}

    @property
    def rejected_weights(self) -> Weights:
        """Study to teacher to what it weighs where t+ is preferred to it; studies that are not there: `teachers`."""
        return self.weights.get(weighing.REJECTED, {})

    @cached_property
    def ranking(self) -> Ranking:
        """What each teacher adds on the validation split, and the cheapest of them."""
        return pruned.ranking(self)

    @property
    def judged_by(self) -> Sequence[str]:
        """Findings that teachers are judged by on the validation split."""
        return judging_findings(self.cfg.evaluate, self.data)

    @property
    def scored(self) -> tuple[str, ...]:
        """Findings that answers are scored on."""
        return scored_findings(self.cfg.evaluate, self.data)

    @cached_property
    def trajectories(self) -> list[Any]:
        return recorded.read_jsonl(self.done["collect"].path / "trajectories.jsonl")

    @cached_property
    def heard(self) -> dict[str, dict[str, Any]]:
        """Study to teacher to trajectory, as the student learns from it."""
        return examples.index(self.thinking.apply_policy(self.trajectories, "taught"), list(self.teachers))

    @cached_property
    def preferred(self) -> dict[str, Answer]:
        """t+ by study, as it was written."""
        written = self.newest("preferred")
        return read_preferred(written.path / "preferred.jsonl") if written else {}

    def preference_examples(self, studies: Sequence[Study], **how: Any) -> list[Example]:
        """Studies with t+ and the teachers' texts, see `examples.preference_examples`."""
        texts = {study: self.thinking.as_taught(written.text) for study, written in self.preferred.items()}
        cut = {study for study, written in self.preferred.items() if written.cut}
        return examples.preference_examples(
            studies,
            self.heard,
            self.teachers,
            texts,
            by_study=self.rejected_weights,
            cut=cut,
            as_read=self.thinking.as_read,
            **how,
        )

    def newest(self, artefact: str, *, reads: str | None = None, without: str | None = None) -> StageFolder | None:
        """The newest finished stage that writes an artefact (``student``, ``preferred``); None: there is none.

        Args:
            reads: only stages that read this artefact.
            without: only stages that do not read this one.
        """
        for name in reversed(self.done):
            stage = STAGES.get(name)
            if stage is None or artefact not in stage.writes:
                continue
            if (reads is None or reads in stage.reads) and (without is None or without not in stage.reads):
                return self.done[name]
        return None

    def load(self, made_by: StageFolder | None) -> Student:
        """The student that a stage wrote; None: the base model."""
        student = Student.load(self.cfg.student, made_by.path / "student" if made_by else None, self.networks)
        student.feature_cache = caching.feature_cache(self.cfg, student, self.folder.store)
        return student

    def writing(self, made_by: StageFolder | None) -> Any:
        """The same where it only writes: without its network, if a server does that."""
        if served.writes(self.cfg.student):
            return served.absent(self.cfg.student, made_by.path / "student" if made_by else None)
        return self.load(made_by)

    def collator(self, student: Student, prompt: str, findings: Sequence[str] = ()) -> Collator:
        limits = {
            key: getattr(self.cfg.student, key)
            for key in ("max_prompt_tokens", "max_branch_tokens", "max_context_tokens")
        }
        limits["keep"] = is_tag if self.thinking.taught else None
        keys = self.cfg.cache.reference or self.cfg.cache.features
        return Collator(student.processor, prompt=prompt, findings=findings or self.data.findings, keys=keys, **limits)

    def answers(self, writer: Any, asked: list[Example], collate: Any, size: int, folder: Path) -> dict[str, Any]:
        """Answers by study; batches that an interrupted call has filed in ``folder`` are not asked again."""
        filed = PredictionFiles(folder)
        total = filed.expect([example.study.id for example in asked], size)
        done = leader.from_leader(filed.done)
        if len(done) < total:
            with served.taking_over(self.cfg, self.data, writer, collate, filed) as (who, how, files):
                self.data.connect(collate=how, batch_studies=size, seed=self.seed, predict=asked, skip_batches=done)
                trainer.predict(who, self.data, self.cfg.trainer, [files], len(done))
        leader.barrier()
        self.server = leader.from_leader(lambda: served.record(filed)) or self.server
        return leader.from_leader(filed.answers)

    def for_set(self, name: str) -> Context:
        """The same arm and seed where a further set is answered: its studies, its question, its own list of findings.
        Teachers were asked about none of it; ``trained`` is still the set that was trained on."""
        cfg, data = self.cfg.of_set(name), self.sets[name]
        other = Context(cfg, self.arm, self.seed, data, self.folder, self.networks)
        other.done, other.trained, other.trajectories = self.done, self.data, []
        return other
