"""What the teachers of an experiment are asked: who of them, about the studies of which arms, and who may see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from apo_lightning import config
from apo_lightning.collecting.guard import check_sending
from apo_lightning.collecting.images import Images
from apo_lightning.collecting.plan import Item, Plan, plan
from apo_lightning.errors import AbsentError, ConfigError, did_you_mean
from apo_lightning.experiment import checks, further_sets
from apo_lightning.hashing.contents import digest
from apo_lightning.settings import ExperimentSettings
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.api import SPLITS, Api
from apo_lightning.trajectories import records
from apo_lightning.types import Trajectory
from data_modules.base import CXRDataModule

MEMORY = "images.json"
"""Where hashes of images are remembered, in a teacher's folder."""


@dataclass
class Asked:
    """One way of asking one teacher, and all studies that some arm asks it about.

    Attributes:
        teacher: with the findings that its prompt lists.
        arms: names of the arms that ask so.
        items: by study.
        sets: data set to whether it is credentialed, of all that it is asked about.
    """

    teacher: Api
    arms: list[str] = field(default_factory=list)
    items: dict[str, Item] = field(default_factory=dict)
    sets: dict[str, bool] = field(default_factory=dict)


def asked(cfg: ExperimentSettings, only: Collection[str] = ()) -> list[Asked]:
    """Every teacher of kind ``api``, once for each way in which arms ask it. Data sets are read and checked.

    Args:
        only: names of teachers; none: all.

    Raises:
        ConfigError: nobody is asked, or a name is no teacher's.
        DataError: a data set does not pass.
    """
    names = named(cfg)
    if unknown := [name for name in only if name not in names]:
        raise ConfigError(f"--teacher names '{unknown[0]}', which is not asked. {did_you_mean(unknown[0], names)}")
    if not names:
        raise ConfigError(
            f"No teacher of {cfg.name} is asked over a network (kind: api). See experiments/base/teachers_api.yaml."
        )
    found: dict[str, Asked] = {}
    for arm, (own, data) in data_of_arms(cfg).items():
        for name in (name for name in only or names if _is_api(own.teachers.get(name, {}))):
            _ask(found, arm, own, data, name)
    return list(found.values())


def named(cfg: ExperimentSettings) -> list[str]:
    """Teachers of kind ``api``."""
    every = (each for own in cfg.resolved.values() for each in own.teachers.items())
    return list(dict.fromkeys(name for name, section in every if _is_api(section)))


def plans(asked: Sequence[Asked], again: Collection[str] = ()) -> list[Plan]:
    """What is on disk and what is to be asked; see `plan.plan`."""
    many = {one.teacher.name for one in asked if sum(own.teacher.name == one.teacher.name for own in asked) > 1}
    made = []
    for one in asked:
        own = one.teacher
        label = f"{own.name} ({', '.join(one.arms)})" if own.name in many else own.name
        made.append(plan(own.name, own, own.journal, list(one.items.values()), again, label))
    return made


def export(asked: Sequence[Asked], path: Path) -> int:
    """Write all answers on disk as a file of trajectories, which ``kind: recorded`` reads. Returns their number.

    Raises:
        ConfigError: arms ask one teacher about one study in different ways, so that it has two texts of it.
    """
    texts = _trajectories(asked)
    rows = [{"study": own.study, "teacher": own.teacher, "text": own.text, "prompt": own.prompt} for own in texts]
    records.write(path, rows)
    return len(rows)


def _trajectories(asked: Sequence[Asked]) -> list[Trajectory]:
    """All answers on disk, as the arms of the experiment read them.

    Raises:
        ConfigError: arms ask one teacher about one study in different ways, so that it has two texts of it.
    """
    found: dict[tuple[str, str], Trajectory] = {}
    for one in asked:
        own, studies = one.teacher, [item.study for item in one.items.values()]
        for said in own.texts(studies):
            key = (said.study, said.teacher)
            if found.setdefault(key, said).text != said.text:
                raise ConfigError(
                    f"The arms ask teacher '{own.name}' in different ways, so that it has two texts of study "
                    f"'{said.study}'. Export those of one arm: only=[{one.arms[0]}]."
                )
    return list(found.values())


def _is_api(section: Mapping[str, object]) -> bool:
    return issubclass(TEACHERS.get(str(section.get("kind")), object), Api)


def data_of_arms(cfg: ExperimentSettings) -> dict[str, tuple[ExperimentSettings, CXRDataModule]]:
    """Each arm with its checked data; arms with the same data sections share it."""
    further = {own.key: own.data for own in further_sets.build(cfg) if _is_there(own.data)}
    made: dict[str, CXRDataModule] = {}
    for own in cfg.resolved.values():
        key = digest([own.data, own.evaluate.data])
        if key not in made:
            made[key] = checks.checked_data(own, further)
    return {arm: (own, made[digest([own.data, own.evaluate.data])]) for arm, own in cfg.resolved.items()}


def _is_there(data: CXRDataModule) -> bool:
    """A further set that is not on disk is left out of a run, and its patients stay in training."""
    with suppress(AbsentError):
        data.check()
        return True
    return False


def _ask(found: dict[str, Asked], arm: str, own: ExperimentSettings, data: CXRDataModule, name: str) -> None:
    """Add the studies of an arm to those that a teacher is asked about."""
    section, listed = own.teachers[name], list(data.findings)
    teacher = config.build(TEACHERS, section, f"teachers.{name}", "kind", name=name, listed=listed)
    how = {key: value for key, value in section.items() if key != "weight"}
    one = found.setdefault(digest([name, how, listed]), Asked(teacher))
    one.arms.append(arm)
    images = Images(data.images, lambda study: _part(data, study).on_disk, Path(teacher.folder) / MEMORY)
    for split in (split for split in SPLITS if split in teacher.splits):
        for study in data.studies(split):
            one.items.setdefault(study.id, Item(study, tuple(listed), images))
    sections = zip([own.data, own.evaluate.data], data.sets, strict=False)
    for part_of, part in sections:  # two sets of one name, such as tabular, are guarded if one of them is
        one.sets[part_of["name"]] = one.sets.get(part_of["name"], False) or part.credentialed
    check_sending(one.sets, _address(teacher), own.acknowledge_sending, f"teachers.{name}")


def _part(data: CXRDataModule, study: object) -> CXRDataModule:
    of = getattr(data, "set_of", None)
    return of(study) if of else data


def _address(teacher: Api) -> str:
    """Where images go. litellm sends them to whom the model's name begins with; with an address too, since what it
    makes of that, of proxies and of redirects is not ours to promise."""
    return teacher.base_url if teacher.client == "openai" else f"https://{teacher.model.split('/')[0]}.litellm"
