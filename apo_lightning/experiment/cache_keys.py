"""What each stage depends on, which its folder is named for: settings, data, files, and the source behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apo_lightning import probes, prompts
from apo_lightning.batching import collate, examples
from apo_lightning.experiment import caching, observing, trainer
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.hashing.contents import digest, file_digest, remembered_digest
from apo_lightning.hashing.sources import sources_of
from apo_lightning.losses import LOSSES
from apo_lightning.positives import DEFAULT, POSITIVES
from apo_lightning.settings import EvaluateSettings, FitSettings, TrainerSettings
from apo_lightning.stages import STAGES
from apo_lightning.teachers import TEACHERS, pool
from apo_lightning.trajectories import records
from callbacks import CALLBACKS
from data_modules.base import CXRDataModule
from data_modules.transfer import Transfer

if TYPE_CHECKING:
    from apo_lightning.experiment.pipeline import Pipeline

NAMES = ("kind", "name", "teacher")
"""Settings of a teacher that are names, whatever a file here is called."""


def of_collect(own: Pipeline) -> dict[str, Any]:
    """Every teacher's settings but its weight, the files that it reads, and its source."""
    sections = {name: {k: v for k, v in s.items() if k != "weight"} for name, s in own.cfg.teachers.items()}
    files = {
        f"{name}.{key}": _content(path, own.folder.store)
        for name, section in sections.items()
        for key, path in _paths({k: v for k, v in section.items() if k not in NAMES})
    }
    kinds = [TEACHERS.lookup(section["kind"]) for section in sections.values()]
    code = sources_of(*kinds, pool, records, *data_classes(own))
    return {"data": own.fingerprint, "teachers": sections, "files": files, "sources": code}


def _content(path: Path, store: Path) -> str:
    return remembered_digest(path, store / "digests.json") if path.is_dir() else file_digest(path)


def _paths(value: Any, key: str = "") -> Iterator[tuple[str, Path]]:
    """Settings that name a file or folder, by their key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _paths(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _paths(item, f"{key}.{place}")
    elif isinstance(value, str | Path) and value and _exists(value):
        yield key, Path(value)


def _exists(name: str | Path) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # a text is no path
        return False


def of_student(
    own: Pipeline, made_by: StageFolder | None, sees: Sequence[str] | None = None, code: Sequence[Any] = (), **more: Any
) -> dict[str, Any]:
    """What every stage with a student depends on.

    Args:
        sees: the splits whose studies and texts the stage is shown; None: all that there is.
        code: classes and modules that take part, beside those of the data and of what every stage uses.
        more: what else.
    """
    seen, parts = _seen(own, sees)
    return {**_basis(own, made_by), **seen, **more, "sources": sources_of(*code, *EVERY, *data_classes(own, parts))}


EVERY = (trainer, examples, collate)
"""What takes part wherever a student reads or writes."""


def _basis(own: Pipeline, made_by: StageFolder | None) -> dict[str, Any]:
    return {
        "student": asdict(own.cfg.student), "base": caching.base_digest(own.cfg.student.model, own.folder.store),
        "from": made_by, "seed": own.seed, "thinking": asdict(own.cfg.thinking),
        "trainer": of_trainer(own.cfg.trainer),
    }  # fmt: skip


def of_trainer(how: TrainerSettings) -> dict[str, Any]:
    """Under Lightning's own names, where numbers may depend on it."""
    return {
        "accelerator": how.accelerator, "devices": how.devices, "num_nodes": how.nodes, "strategy": how.strategy,
        "precision": how.precision,
    }  # fmt: skip


def of_preferred(own: Pipeline, made_by: StageFolder | None) -> dict[str, Any]:
    """What t+ depends on: the student and its seed only where the strategy lets it write, and then how it writes; and
    the strategy. The settings of the default one are no part of it."""
    plan = own.cfg.stages.self_distill
    strategy, name = POSITIVES.lookup(plan.positive["name"]), plan.positive["name"]
    if strategy.writes:
        stage = {key: value for key, value in asdict(plan).items() if key != "positive"}
        more = {"stage": stage, "teachers": own.teachers, "prompt": template(plan.prompt)}
        inputs = of_student(own, made_by, plan.splits, (STAGES["self_distill"], strategy), **more)
    else:
        seen, parts = _seen(own, [*plan.splits, "val"])
        inputs = {
            **seen, "thinking": asdict(own.cfg.thinking), "splits": plan.splits, "teachers": list(own.teachers),
            "sources": sources_of(strategy, examples, *data_classes(own, parts)),
        }  # fmt: skip
    if name != DEFAULT:
        inputs |= {"positive": plan.positive, "scored": list(own.judged_by)}
    return inputs


def _seen(own: Pipeline, splits: Sequence[str] | None) -> tuple[dict[str, Any], Collection[CXRDataModule]]:
    """Studies and texts that a stage is shown, and the sets that they come from. What is trained here and answered
    elsewhere does not depend on where: another evaluation set trains nothing again, unless its patients have to leave
    training. A set that answers for itself counts as a whole."""
    if splits is None or not isinstance(own.data, Transfer):
        return {"data": own.fingerprint, "collect": own.done["collect"]}, own.data.sets
    studies = [study for split in splits for study in own.data.studies(split) if own.heard.get(study.id)]
    said = hashlib.sha256()
    for name in sorted(study.id for study in studies):
        texts = {teacher: text.text for teacher, text in own.heard[name].items()}
        said.update(json.dumps([name, texts]).encode())
    parts = {own.data.set_of(study) for study in studies}
    return {"data": own.data.fingerprint_of(studies), "texts": said.hexdigest()}, parts


def of_judged(own: Pipeline) -> StageFolder | str:
    """The texts that APO learns from: their stage, or, where that writes for another set too, those of training."""
    if not isinstance(own.data, Transfer):
        return own.done["self_distill"]
    written = {study.id: own.preferred.get(study.id) for study in own.data.studies("train")}
    return digest([[name, text.text, text.cut] for name, text in sorted(written.items()) if text])


def of_set(own: Pipeline, made_by: StageFolder | None) -> dict[str, Any]:
    """What the answers to a further set depend on: the student, the question, how it is decoded, and the set."""
    elsewhere = ("data", "sets", "split", "findings", "likelihood_studies", "warn_cut", "report_text")
    plan = {key: value for key, value in asdict(own.cfg.evaluate).items() if key not in elsewhere}
    asked = template(own.cfg.evaluate.prompt or own.cfg.prompt)
    code = sources_of(probes, *EVERY, *data_classes(own))
    seen = {"data": own.fingerprint, "evaluate": plan, "prompt": asked}
    return {**_basis(own, made_by), **seen, "sources": code}


def of_fit(own: Pipeline, name: str, made_by: StageFolder | None) -> dict[str, Any]:
    """What training depends on: its settings, the texts, the loss, and callbacks that may interfere."""
    plan: FitSettings = getattr(own.cfg.stages, name)
    active = observing.interfering(own.cfg.callbacks)
    code = [STAGES[name], LOSSES.lookup(plan.loss["name"]), *(CALLBACKS.lookup(each) for each in sorted(active))]
    more = {"preferred": of_judged(own)} if name == "apo" else {}
    return of_student(
        own, made_by, ["train"], code, **more, stage=asdict(plan), teachers=own.teachers,
        prompt=template(own.cfg.prompt), callbacks=active,
    )  # fmt: skip


def of_evaluate(own: Pipeline, made_by: StageFolder | None, before: StageFolder | None) -> dict[str, Any]:
    """What answers and likelihoods depend on."""
    return of_student(
        own, made_by, None, (probes,), evaluate=of_answers(own.cfg.evaluate), teachers=own.teachers,
        preferred=own.done.get("self_distill"), prompt=template(own.cfg.evaluate.prompt or own.cfg.prompt),
        before=before,
    )  # fmt: skip


def of_answers(plan: EvaluateSettings) -> dict[str, Any]:
    """What answers depend on: neither how their texts are measured afterwards, nor what else is answered."""
    return {name: value for name, value in asdict(plan).items() if name not in ("report_text", "sets")}


def data_classes(own: Pipeline, parts: Collection[CXRDataModule] | None = None) -> list[type]:
    """Classes of the data sets: the fingerprint knows what they say of their studies, not how they open an image."""
    return [type(part) for part in own.data.sets if parts is None or part in parts]


def template(name: str) -> dict[str, str]:
    """A prompt as a stage depends on it: its words, not its name alone."""
    return {"name": name, "text": prompts.load(name).template}
