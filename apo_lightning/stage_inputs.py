"""What each stage depends on, which its folder is named for: settings, data, files, and the code of extensions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apo_lightning import __version__, caching, jsonlines, observing, probes, prompts, trajectory_files
from apo_lightning.artifacts import StageFolder, digest, file_digest
from apo_lightning.digests import remembered_digest
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.metrics import conflict, labeler
from apo_lightning.positives import DEFAULT, POSITIVES
from apo_lightning.settings import EvaluateSettings, FitSettings
from apo_lightning.sources import code_of
from apo_lightning.teachers import TEACHERS, pool
from callbacks import CALLBACKS
from data_modules.base import CXRDataModule
from data_modules.transfer import Transfer

if TYPE_CHECKING:
    from apo_lightning.pipeline import Pipeline

TEACHER_ROOMS = ("apo_lightning.teachers", "apo_lightning.phantom")
NAMES = ("kind", "name", "teacher")
"""Settings of a teacher that are names, whatever a file here is called."""
READ_TEXTS = {"agreement", "conflict"}
"""What a loss needs that is read out of the texts."""


def of_collect(own: Pipeline) -> dict[str, Any]:
    """Every teacher's settings but its weight, the files that it reads, and its source."""
    sections = {name: {k: v for k, v in s.items() if k != "weight"} for name, s in own.cfg.teachers.items()}
    files = {
        f"{name}.{key}": _content(path, own.folder.store)
        for name, section in sections.items()
        for key, path in _paths({k: v for k, v in section.items() if k not in NAMES})
    }
    kinds = {section["kind"] for section in sections.values()}
    code = {kind: code_of(TEACHERS.lookup(kind), rooms=TEACHER_ROOMS) for kind in sorted(kinds)}
    code |= {"asking": code_of(pool), "reading": code_of(trajectory_files, jsonlines), "data": data_code(own)}
    return {
        "code": __version__, "data": own.fingerprint, "teachers": sections, "files": files, "sources": code,
    }  # fmt: skip


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
    own: Pipeline, made_by: StageFolder | None, sees: Sequence[str] | None = None, **more: Any
) -> dict[str, Any]:
    """What every stage with a student depends on.

    Args:
        sees: the splits whose studies and texts the stage is shown; None: all that there is.
        more: what else.
    """
    return {**_basis(own, made_by), **_seen(own, sees), **more}


def _basis(own: Pipeline, made_by: StageFolder | None) -> dict[str, Any]:
    return {
        "code": __version__, "student": asdict(own.cfg.student),
        "base": caching.base_digest(own.cfg.student.model, own.folder.store),
        "from": made_by.key if made_by else None, "seed": own.seed, "thinking": asdict(own.cfg.thinking),
        "trainer": {k: v for k, v in asdict(own.cfg.trainer).items() if k != "log_every"},
    }  # fmt: skip


def of_preferred(own: Pipeline, made_by: StageFolder | None) -> dict[str, Any]:
    """What t+ depends on: the student and its seed only where the strategy lets it write, and then how it writes; the
    strategy, but for the default one, which the library's version stands for."""
    plan = own.cfg.stages.self_distill
    strategy, name = POSITIVES.lookup(plan.positive["name"]), plan.positive["name"]
    if strategy.writes:
        stage = {key: value for key, value in asdict(plan).items() if key != "positive"}
        more = {"stage": stage, "teachers": own.teachers, "prompt": template(plan.prompt)}
        inputs = of_student(own, made_by, plan.splits, **more)
    else:
        inputs = {
            "code": __version__, **_seen(own, [*plan.splits, "val"]),
            "thinking": asdict(own.cfg.thinking), "splits": plan.splits, "teachers": list(own.teachers),
        }  # fmt: skip
    if name != DEFAULT:
        rooms = ["apo_lightning.positives", "apo_lightning.metrics"]
        code = code_of(strategy, labeler, conflict, rooms=rooms)
        inputs |= {"positive": plan.positive, "positive_code": code, "scored": list(own.judged_by)}
    return inputs


def _seen(own: Pipeline, splits: Sequence[str] | None) -> dict[str, Any]:
    """Studies and texts that a stage is shown. What is trained here and answered elsewhere does not depend on where:
    another evaluation set trains nothing again, unless its patients have to leave training. A set that answers for
    itself counts as a whole, as it always did."""
    if splits is None or not isinstance(own.data, Transfer):
        return {"data": own.fingerprint, "collect": own.done["collect"].key, "data_code": data_code(own)}
    studies = [study for split in splits for study in own.data.studies(split) if own.heard.get(study.id)]
    said = hashlib.sha256()
    for name in sorted(study.id for study in studies):
        texts = {teacher: text.text for teacher, text in own.heard[name].items()}
        said.update(json.dumps([name, texts]).encode())
    parts = {own.data.part_of(study) for study in studies}
    return {
        "data": own.data.fingerprint_of(studies), "texts": said.hexdigest(), "data_code": data_code(own, parts),
    }  # fmt: skip


def of_judged(own: Pipeline) -> str:
    """The texts that APO learns from: their stage, or, where that writes for another set too, those of training."""
    if not isinstance(own.data, Transfer):
        return own.done["self_distill"].key
    written = {study.id: own.preferred.get(study.id) for study in own.data.studies("train")}
    return digest([[name, text.text, text.cut] for name, text in sorted(written.items()) if text])


def of_set(own: Pipeline, made_by: StageFolder | None) -> dict[str, Any]:
    """What the answers to a further set depend on: the student, the question, how it is decoded, and the set."""
    elsewhere = ("data", "sets", "split", "findings", "likelihood_studies", "warn_cut", "report_text")
    plan = {key: value for key, value in asdict(own.cfg.evaluate).items() if key not in elsewhere}
    asked = template(own.cfg.evaluate.prompt or own.cfg.prompt)
    seen = {"data": own.fingerprint, "data_code": data_code(own)}
    code = code_of(probes, rooms=["apo_lightning.probes"])
    return {**_basis(own, made_by), **seen, "evaluate": plan, "probes": code, "prompt": asked}


def of_fit(own: Pipeline, plan: FitSettings) -> dict[str, Any]:
    """What training depends on beside that: callbacks that may interfere, the loss, and, where texts are read to choose
    among them or to tell where they contradict, the reader."""
    loss, active = LOSSES.lookup(plan.loss["name"]), observing.interfering(own.cfg.callbacks)
    reads = plan.drop_refusals or needs(loss) & READ_TEXTS
    reader = {"reader_code": code_of(labeler, conflict, rooms=["apo_lightning.metrics"])} if reads else {}
    return {
        "callbacks": active,
        "callbacks_code": {name: code_of(CALLBACKS.lookup(name), rooms=["callbacks"]) for name in sorted(active)},
        "loss_code": code_of(loss, rooms=["apo_lightning.losses"]), **reader,
    }  # fmt: skip


def of_answers(plan: EvaluateSettings) -> dict[str, Any]:
    """What answers depend on: neither how their texts are measured afterwards, nor what else is answered."""
    return {name: value for name, value in asdict(plan).items() if name not in ("report_text", "sets")}


def data_code(own: Pipeline, parts: Collection[CXRDataModule] | None = None) -> str:
    """Source of the data sets: the fingerprint knows what they say of their studies, and not how they open an image."""
    used = [type(part) for part in own.data.parts if parts is None or part in parts]
    return code_of(*used, rooms=["apo_lightning.phantom"])


def template(name: str) -> dict[str, str]:
    """A prompt as a stage depends on it: its words, not its name alone."""
    return {"name": name, "text": prompts.load(name).template}
