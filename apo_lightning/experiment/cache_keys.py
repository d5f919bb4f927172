"""What the keys of several steps are made of: the student, what it is shown, files, and the source behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apo_lightning import prompts
from apo_lightning.batching import collate, examples
from apo_lightning.experiment import caching, context, trainer
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.hashing.contents import digest, file_digest, remembered_digest
from apo_lightning.hashing.sources import sources_of
from apo_lightning.settings import TrainerSettings
from apo_lightning.teachers import TEACHERS
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS
from data_modules.transfer import Transfer

NAMES = ("kind", "name", "teacher", "prompt", "key", "columns")
"""Settings of a teacher that are names, whatever a file here is called."""


def content(path: Path, store: Path) -> str:
    """Hash of a file or folder that a setting names."""
    return remembered_digest(path, store / "digests.json") if path.is_dir() else file_digest(path)


def paths(value: Any, key: str = "") -> Iterator[tuple[str, Path]]:
    """Settings that name a file or folder, by their key."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from paths(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from paths(item, f"{key}.{place}")
    elif isinstance(value, str | Path) and value and _exists(value):
        yield key, Path(value)


def _exists(name: str | Path) -> bool:
    try:
        return Path(name).exists()
    except (OSError, ValueError):  # a text is no path
        return False


def of_teachers(own: Context, names: Iterable[str]) -> tuple[dict[str, Any], list[type]]:
    """Teachers' settings but their weights, with the content of the files that these name; and their classes. Of one
    that can say what it depends on, that alone."""
    sections = {name: _section(own, name) for name in names}
    files = {
        f"{name}.{key}": content(path, own.folder.store)
        for name, section in sections.items()
        for key, path in paths({k: v for k, v in section.items() if k not in NAMES})
    }
    return {"teachers": sections, "files": files}, [TEACHERS.lookup(section["kind"]) for section in sections.values()]


def _section(own: Context, name: str) -> dict[str, Any]:
    section = own.cfg.teachers[name]
    kind = TEACHERS.lookup(section["kind"])
    if not hasattr(kind, "fingerprint"):
        silent = {key for key in getattr(kind, "later", ()) if section.get(key) == getattr(kind, key)}
        return {key: value for key, value in section.items() if key not in (*silent, "weight")}
    studies = [study for split in SPLITS for study in own.data.studies(split)]
    return {"kind": section["kind"], "says": own.teacher(name).fingerprint(studies)}


def of_student(
    own: Context, made_by: StageFolder | None, sees: Sequence[str] | None = None, code: Sequence[Any] = (), **more: Any
) -> dict[str, Any]:
    """What every stage with a student depends on.

    Args:
        sees: the splits whose studies and texts the stage is shown; None: all that there is.
        code: classes and modules that take part, beside those of the data and of what every stage uses.
        more: what else.
    """
    shown, parts = seen(own, sees)
    made = sources_of(*code, *EVERY, *data_classes(own, parts))
    return {**basis(own, made_by), **shown, **more, "sources": {**made, **caching.revision(own.cfg.student.model)}}


def _student(own: Context) -> dict[str, Any]:
    """Settings that came later are silent at their default, so that what was stored before is still found; where it is
    written is no part of it."""
    student = own.cfg.student
    silent = {key for key in student.later if getattr(student, key) == getattr(type(student), key)}
    return {key: value for key, value in asdict(student).items() if key not in (*silent, *student.never)}


EVERY = (trainer, context, examples, collate)
"""What takes part wherever a student reads or writes."""


def basis(own: Context, made_by: StageFolder | None) -> dict[str, Any]:
    """The student, its seed, and how it computes."""
    return {
        "student": _student(own),
        "base": caching.base_digest(own.cfg.student.model, own.folder.store),
        "from": made_by,
        "seed": own.seed,
        "thinking": asdict(own.cfg.thinking),
        "trainer": of_trainer(own.cfg.trainer, *TrainerSettings.fits),
    }


def of_trainer(how: TrainerSettings, *leave_out: str) -> dict[str, Any]:
    """Under Lightning's own names, where numbers may depend on it: the machine, and what else is given that is not
    known to look on alone. How the work is spread over devices is not among them (`layouts`): every stage is filed as
    if one device had made it.

    Args:
        leave_out: arguments that have no say here.
    """
    silent = ("accelerator", "precision", *how.spreads, *how.looks, *leave_out)
    given = {key: value for key, value in how.given().items() if key not in silent}
    alone = {name: getattr(TrainerSettings(), name) for name in TrainerSettings.spreads}
    best = trainer.device(how).type == trainer.device(TrainerSettings()).type  # however it was named
    return {"accelerator": "auto" if best else how.accelerator, "precision": how.precision} | given | alone


def seen(own: Context, splits: Sequence[str] | None) -> tuple[dict[str, Any], Collection[CXRDataModule]]:
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


def of_judged(own: Context, splits: Sequence[str] = ("train",)) -> StageFolder | str | None:
    """The texts of t+ that a stage is shown: their stage, or, where that writes for another set too, those of
    ``splits``."""
    if not isinstance(own.data, Transfer):
        return own.newest("preferred")
    written = {study.id: own.preferred.get(study.id) for split in splits for study in own.data.studies(split)}
    return digest([[name, text.text, text.cut] for name, text in sorted(written.items()) if text])


def data_classes(own: Context, parts: Collection[CXRDataModule] | None = None) -> list[type]:
    """Classes of the data sets: the fingerprint knows what they say of their studies, not how they open an image."""
    return [type(part) for part in own.data.sets if parts is None or part in parts]


def template(name: str) -> dict[str, str]:
    """A prompt as a stage depends on it: its words, not its name alone."""
    return {"name": name, "text": prompts.load(name).template}
