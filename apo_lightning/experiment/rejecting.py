"""Which strategy finds what t+ is compared with, for each stage that compares; its answers as a stage takes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from apo_lightning import config
from apo_lightning.batching.examples import Rejected
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.experiment.scored import require_labels
from apo_lightning.experiment.stage_files import require_whole
from apo_lightning.files.jsonlines import again
from apo_lightning.files.jsonlines import read as read_jsonl
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.negatives import DEFAULT, NEGATIVES
from apo_lightning.negatives.base import Negatives, Seen
from apo_lightning.settings import ExperimentSettings, FitSettings
from apo_lightning.stages.apo import CHOSEN
from apo_lightning.types import Answer, Branch
from data_modules.base import CXRDataModule

if TYPE_CHECKING:
    from apo_lightning.experiment.context import Context

STEP, FILE = "negatives", "negatives.jsonl"
Written = Mapping[str, Mapping[str, Answer]]
"""Study id to name to what the student wrote."""


def step_of(stage: str) -> str:
    """Name of the step in which the student writes what a stage compares t+ with."""
    return STEP if stage == "apo" else f"{STEP}_{stage}"


def chosen(plan: FitSettings) -> str:
    """Name of the strategy of a stage."""
    return plan.negatives["name"]


def strategy(cfg: ExperimentSettings, stage: str) -> Negatives:
    """The strategy of a stage, from an arm's resolved settings."""
    return config.build(NEGATIVES, getattr(cfg.stages, stage).negatives, _key(stage))


def others(cfg: ExperimentSettings, arm: str) -> Iterator[tuple[str, Negatives]]:
    """Stages of an arm that compare t+ with something else than the teachers' texts, and by which strategy."""
    for stage in cfg.arms[arm].stages:
        plan = getattr(cfg.stages, stage)
        if isinstance(plan, FitSettings) and chosen(plan) != DEFAULT:
            yield stage, strategy(cfg, stage)


def writers(cfg: ExperimentSettings) -> list[Negatives]:
    """Strategies of an experiment's arms that let the student write, under these settings."""
    return [own for arm in cfg.arms for _, own in others(cfg, arm) if own.writes]


def shows(cfg: ExperimentSettings) -> bool:
    """Whether the student reads teachers to write negatives, by the prompt of self-distillation."""
    return any(own.shows for own in writers(cfg))


def check(cfg: ExperimentSettings, arm: str) -> None:
    """See that what an arm names is of use to it.

    Raises:
        ConfigError: the loss of the stage looks at t+ alone.
    """
    for stage, _ in others(cfg, arm):
        loss, name = getattr(cfg.stages, stage).loss["name"], chosen(getattr(cfg.stages, stage))
        if needs(LOSSES.lookup(loss)) <= CHOSEN:
            raise ConfigError(
                f"{_key(stage)} '{name}' says what t+ is compared with, and stages.{stage}.loss '{loss}' compares it "
                f"with nothing. Set {_key(stage)} in arms.<arm>.set of the arms whose loss does, or leave arm '{arm}' "
                "out with only=[...]."
            )


def require(cfg: ExperimentSettings, arm: str, data: CXRDataModule) -> None:
    """See that the data have what an arm's strategies go by, before anything is trained.

    Raises:
        ConfigError: studies are labelled with what one does not know.
    """
    for stage, own in others(cfg, arm):
        if own.reads_findings:
            require_labels(_key(stage), chosen(getattr(cfg.stages, stage)), NEGATIVES, cfg, data)


def of_teachers(cfg: ExperimentSettings, stage: str) -> bool:
    """Whether a stage's negatives have their teachers' weights."""
    return NEGATIVES.lookup(chosen(getattr(cfg.stages, stage))).of_teachers


def rejected(own: Context, stage: str, split: str, counts: Counter[str]) -> Rejected | None:
    """What a stage compares t+ with on a split; None: every teacher's text.

    Args:
        counts: gets how many answers a strategy leaves out, and how many studies have nothing left.
    """
    if chosen(getattr(own.cfg.stages, stage)) == DEFAULT:
        return None
    seen, made = _seen(own, stage, split), strategy(own.cfg, stage)

    def kept(study: str, answers: Sequence[Branch]) -> Sequence[Branch]:
        left = made.kept(seen, study, answers)
        if len(left) < len(answers):
            counts[made.leaves_out] += len(answers) - len(left)
        if not any(answer.weight > 0 for answer in left):
            counts["studies_without_negative"] += 1
        return left

    return Rejected(made.proposed(seen), kept)


def _seen(own: Context, stage: str, split: str) -> Seen:
    """What a strategy sees of a split: the studies whose t+ the stage is taught."""
    plan, made = getattr(own.cfg.stages, stage), own.done.get(step_of(stage))
    left = {study for study, written in own.preferred.items() if plan.drop_cut and written.cut}
    texts = {name: own.thinking.as_taught(written.text).strip() for name, written in own.preferred.items()}
    studies = [study for study in own.data.studies(split) if texts.get(study.id) and study.id not in left]
    names = [study.id for study in studies]
    return Seen(
        studies=studies,
        preferred={study: texts[study] for study in names},
        texts={study: {name: said.text for name, said in own.heard.get(study, {}).items()} for study in names},
        weights={study: own.rejected_weights.get(study, own.teachers) for study in names},
        findings=own.data.findings,
        seed=own.seed,
        as_read=own.thinking.as_read,
        written=_as_taught(own, read(made.path / FILE)) if made else {},
    )


def _as_taught(own: Context, written: Written) -> Written:
    return {
        study: {name: replace(said, text=own.thinking.as_taught(said.text)) for name, said in each.items()}
        for study, each in written.items()
    }


def read(path: Path) -> dict[str, dict[str, Answer]]:
    """Study to name to what the student wrote (``negatives.jsonl``).

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    require_whole(path)
    found: dict[str, dict[str, Answer]] = {}
    for row in read_jsonl(path, ("study", "name", "text", "cut")):
        if not isinstance(row["text"], str) or not isinstance(row["cut"], bool):
            raise ArtifactError(f"{path} must hold a text and whether it is cut. {again(path.parent)}")
        found.setdefault(str(row["study"]), {})[str(row["name"])] = Answer(row["text"], row["cut"])
    return found


def _key(stage: str) -> str:
    return f"stages.{stage}.negatives"
