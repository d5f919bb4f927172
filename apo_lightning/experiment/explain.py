"""What a stage says of itself when it cannot go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from apo_lightning.config import shape
from apo_lightning.errors import DataError, DivergedError
from apo_lightning.experiment import rounds
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.preferred import KEY, writes
from apo_lightning.files.atomic import removal
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages import STAGES
from apo_lightning.types import Example, Study
from data_modules.loading import workers


@contextmanager
def where(own: Context, stage: str) -> Iterator[None]:
    """An error that nobody foresaw ends with where it happened and how to go on, under its traceback."""
    try:
        yield
    except DivergedError as error:
        made_by, kind = own.newest("student"), STAGES.get(stage)
        if made_by is None or (kind is not None and "student" in kind.writes):  # who trains says itself what it is
            if not shape.is_again(stage):
                raise
            raise DivergedError(str(error).replace(f"stages.{shape.stage_of(stage)}", f"stages.{stage}")) from error
        raise DivergedError(
            f"Stage {stage} of arm '{own.arm}', seed {own.seed}: {error} It was read from {made_by.path / 'student'}. "
            f"Lower that stage's learning rate, or remove it to train it anew: {removal(made_by.path)}"
        ) from error
    except Exception as error:
        if sentence := workers.lost(error, own.data.num_workers):
            raise DataError(f"Stage {stage} of arm '{own.arm}', seed {own.seed}: {sentence}") from error
        kept = ", ".join(own.done) or "nothing yet"
        error.add_note(
            f"This happened in stage {stage} of arm '{own.arm}', seed {own.seed} ({own.folder.path}). Kept of it: "
            f"{kept}, and the newest checkpoint of {stage}. Once it is mended, the same command goes on from there."
        )
        raise


def required(stream: list[Example], own: Context, stage: str, counts: Counter[str]) -> list[Example]:
    """``stream``, which a stage learns from.

    Args:
        stream: its examples.
        own: the arm, with the stages before this one done.
        stage: its name.
        counts: what was filtered, by reason.

    Raises:
        DataError: it is empty; says what texts there are, in which file, and why none serves.
    """
    if stream:
        return stream
    studies = own.data.studies("train")
    why = _no_preferred(own, studies, stage) if "preferred" in STAGES.lookup(stage).reads else _no_teacher(own, counts)
    raise DataError(
        f"Stage {stage} of arm '{own.arm}', seed {own.seed} has nothing to learn from: no text serves the "
        f"{len(studies)} training studies. {why}"
    )


def _no_teacher(own: Context, counts: Counter[str]) -> str:
    file = own.done["collect"].path / "trajectories.jsonl"
    said = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items() if count)
    return (
        f"{file} has {len(own.trajectories)} texts; of {', '.join(own.teachers)}: {said}. "
        "Compare the study ids of the teachers' files with those of the data set; drop_refusals=false keeps refusals."
    )


def _unpicked(own: Context, cfg: ExperimentSettings) -> str:
    name = cfg.stages.self_distill.positive["name"]
    return (
        f"{KEY} '{name}' picks among the texts of {', '.join(own.teachers)}, and none that it could take states one of "
        f"the findings ({', '.join(own.data.findings)}). Look at the teachers' files, or take 'student'."
    )


def _no_preferred(own: Context, studies: Sequence[Study], stage: str) -> str:
    written = own.newest("preferred")
    assert written is not None  # the rules of an experiment want it before
    file, here = written.path / "preferred.jsonl", [study.id for study in studies if study.id in own.preferred]
    cfg = rounds.of_run(own.cfg, rounds.newest_writing(own, stage))
    if not writes(cfg):
        return f"{file} has {len(own.preferred)} texts, {len(here)} of them for training studies: {_unpicked(own, cfg)}"
    learned = "Train stages.spd longer" if "spd" in own.stages else "Let it learn from the teachers first (spd)"
    empty = [own.preferred[study] for study in here if not own.preferred[study].text.strip()]
    endless = sum(answer.cut for answer in empty)
    how = [f"in {len(empty) - endless} the student ended its turn at once"] if endless < len(empty) else []
    how += [f"{endless} are blanks or special tokens alone, up to the limit"] if endless else []
    return (
        f"{file} has {len(own.preferred)} preferred texts, {len(here)} of them for training studies, {len(empty)} of "
        f"those empty: {', '.join(how)}. {learned}, or read what it writes."
    )
