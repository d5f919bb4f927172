"""Open models among the teachers of an experiment write their texts: which of them, about the studies of which arms."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import asking, noise
from apo_lightning.hashing.contents import digest
from apo_lightning.recording.texts import Written, before, write_texts
from apo_lightning.settings import ExperimentSettings
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.hf import Hf
from apo_lightning.types import Study
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS


@dataclass
class Local:
    """A teacher that runs here, with all studies that some arm hears it about.

    Attributes:
        teacher: built.
        prompt, findings: what it is asked.
        studies: by id, each with the data that opens its images.
    """

    teacher: Hf
    prompt: str
    findings: tuple[str, ...]
    studies: dict[str, tuple[Study, CXRDataModule]] = field(default_factory=dict)

    @property
    def asked(self) -> list[Study]:
        return [study for study, _ in self.studies.values()]

    def before(self) -> Written:
        """What is there already; no model is read."""
        return before(self.teacher, self.asked, self.prompt)

    def write(self, told: Callable[[Written], None] = lambda written: None) -> Written:
        """See `recording.texts.write_texts`."""
        noise.quiet()
        how = dict(findings=self.findings, prompt=self.prompt, told=told)
        return write_texts(self.teacher, self.asked, lambda study: self.studies[study.id][1].images(study), **how)


def names(cfg: ExperimentSettings) -> list[str]:
    """Teachers that run here."""
    every = (each for own in cfg.resolved.values() for each in own.teachers.items())
    return list(dict.fromkeys(name for name, section in every if _is_local(str(section.get("kind")))))


def local(cfg: ExperimentSettings, only: Collection[str] = ()) -> list[Local]:
    """Every teacher that runs here and writes. Data sets are read and checked.

    Args:
        only: names of teachers; none: all.

    Raises:
        ConfigError: two arms ask one teacher in different ways, whose texts would lie in one file.
        DataError: a data set does not pass.
    """
    found: dict[str, tuple[str, Local]] = {}
    for name, own, data in _heard(cfg, only):
        section = {key: value for key, value in own.teachers[name].items() if key != "weight"}
        teacher = config.build(TEACHERS, own.teachers[name], f"teachers.{name}", "kind", name=name)
        way = digest([section, teacher.prompt or own.prompt, list(data.findings)])
        held, one = found.setdefault(name, (way, Local(teacher, teacher.prompt or own.prompt, tuple(data.findings))))
        if held != way:
            raise ConfigError(
                f"Arms ask teachers.{name} in different ways, and its texts lie in one file. Give it a second name "
                "with a path of its own."
            )
        for study in (study for split in SPLITS for study in data.studies(split)):
            one.studies.setdefault(study.id, (study, data))
    return [one for _, one in found.values()]


def _heard(cfg: ExperimentSettings, only: Collection[str]) -> Iterator[tuple[str, ExperimentSettings, CXRDataModule]]:
    wanted = [name for name in names(cfg) if not only or name in only]
    for own, data in (asking.data_of_arms(cfg) if wanted else {}).values():
        yield from ((name, own, data) for name in wanted if name in own.teachers)


def _is_local(kind: str) -> bool:
    return issubclass(TEACHERS.get(kind, object), Hf)


def size(teacher: Hf) -> int:
    """Bytes of its log-probs on disk."""
    path = Path(teacher.log_probs.path) if teacher.log_probs else None
    return path.stat().st_size if path and path.exists() else 0
