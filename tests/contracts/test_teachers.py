"""What every registered teacher keeps, and the pool that holds them. New kinds are tested without being listed here;
one that cannot be built from its name alone gives its settings in ``NEEDS``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from apo_lightning.collecting.journal import Answer
from apo_lightning.collecting.request import asks, words_of
from apo_lightning.errors import DataError
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.teachers import TEACHERS
from apo_lightning.teachers.base import Teacher, by_study
from apo_lightning.teachers.pool import collect
from apo_lightning.teachers.recorded import write_jsonl
from apo_lightning.types import Study, Trajectory

STUDIES = [
    Study(c.id, str(c.patient), "train", (), {name: float(name in c.present) for name in FINDINGS}, c.present)
    for c in cases(seed=1, count=12)
]
PLACES = [i / 11 for i in range(12)]


def _recorded(folder: Path) -> dict[str, Any]:
    write_jsonl(folder / "t.jsonl", [Trajectory(study.id, "some", f"Report {study.id}.") for study in STUDIES[::2]])
    return {"path": str(folder / "t.jsonl")}


def _simulated(folder: Path) -> dict[str, Any]:
    return {
        "sensitivity": {"default": 0.7},
        "specificity": {"default": 0.7},
        "refusal": 0.2,
        "hedging": 0.5,
        "stream_drift": {"kind": "sudden", "size": 0.5},
        "step_drift": 0.3,
    }


def _open_model(folder: Path) -> dict[str, Any]:
    return {"model": "nano", **_recorded(folder)}


def _api(folder: Path) -> dict[str, Any]:
    settings = {"base_url": "http://127.0.0.1:9/v1", "model": "tiny", "folder": str(folder), "max_missing": 0.5}
    own = TEACHERS["api"](name="some", **settings)
    for study in STUDIES[::2]:
        key = asks(own, study.id, words_of(own, study, []))
        own.journal.append(Answer(key="k", asks=key, study=study.id, teacher="some", text=f"Report {study.id}."))
    return settings


NEEDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "recorded": _recorded,
    "simulated": _simulated,
    "hf_logits": _recorded,
    "hf": _open_model,
    "api": _api,
}


@pytest.fixture(params=sorted(TEACHERS))
def teacher(request: pytest.FixtureRequest, tmp_path: Path) -> Teacher:
    """A teacher built the way the configuration builds it: typed by its own dataclass."""
    settings = NEEDS.get(request.param, lambda folder: {})(tmp_path)
    schema = OmegaConf.structured(TEACHERS[request.param])
    return OmegaConf.to_object(OmegaConf.merge(schema, {"name": "some", **settings}))


def test_is_a_teacher(teacher: Teacher) -> None:
    assert isinstance(teacher, Teacher)
    assert teacher.name == "some" and teacher.gives in ("text", "logits")
    assert dataclasses.is_dataclass(teacher)
    assert "gives" not in {item.name for item in dataclasses.fields(teacher)}


def test_an_unknown_setting_is_refused(teacher: Teacher) -> None:
    with pytest.raises(OmegaConfBaseException):
        OmegaConf.merge(OmegaConf.structured(type(teacher)), {"name": "some", "no_such_key": 1})


def test_answers_are_its_own_one_a_study_in_the_order_asked(teacher: Teacher) -> None:
    found = teacher.signal(STUDIES, PLACES)
    asked = [study.id for study in STUDIES]
    assert found and {item.teacher for item in found} == {"some"}
    assert [item.study for item in found] == [name for name in asked if name in {item.study for item in found}]
    assert all(isinstance(item.text, str) and 0 <= item.t <= 1 for item in found)


def test_an_answer_depends_on_its_study_and_place_alone(teacher: Teacher) -> None:
    found = teacher.signal(STUDIES, PLACES)
    assert teacher.signal(STUDIES, PLACES) == found
    assert teacher.signal(STUDIES[::-1], PLACES[::-1]) == found[::-1]
    first = {study.id for study in STUDIES[:6]}
    assert teacher.signal(STUDIES[:6], PLACES[:6]) == [item for item in found if item.study in first]


def test_nothing_asked_nothing_answered(teacher: Teacher) -> None:
    assert teacher.signal([], []) == []


def test_places_must_fit(teacher: Teacher) -> None:
    with pytest.raises(ValueError, match="one value per study, got 1 for 12"):
        teacher.signal(STUDIES, [0.0])
    with pytest.raises(ValueError, match=r"t must lie in \[0, 1\], got 1\.5"):
        teacher.signal(STUDIES[:1], [1.5])


@dataclasses.dataclass
class Echo:
    """Says the id and place of a study, so that a test can see what it was asked."""

    name: str
    gives: str = "text"

    def signal(self, studies, t):
        return [Trajectory(study.id, self.name, f"{study.id}", place) for study, place in zip(studies, t, strict=True)]


ECHOES = {name: Echo(name) for name in ("c", "a", "b")}


def test_every_study_has_its_place_in_its_own_split() -> None:
    found = by_study(collect(ECHOES, {"train": STUDIES[:3], "val": STUDIES[3:4], "test": STUDIES[4:6]}))
    assert [found[study.id]["a"].t for study in STUDIES[:6]] == [0.0, 0.5, 1.0, 0.0, 0.0, 1.0]
    assert all(list(answers) == ["c", "a", "b"] for answers in found.values())


def test_a_recorded_teacher_is_asked_for_all_splits_at_once(tmp_path: Path) -> None:
    some = {"some": TEACHERS["recorded"]("some", **_recorded(tmp_path))}
    assert len(collect(some, {"train": STUDIES[:1], "test": STUDIES[1:2]})) == 1
    with pytest.raises(DataError, match=r"teachers\.some"):
        collect(some, {"test": STUDIES[1:2]})


def test_two_studies_of_one_id_are_refused() -> None:
    with pytest.raises(DataError, match=f"Two studies have the id '{STUDIES[0].id}'"):
        collect(ECHOES, {"train": STUDIES[:1], "test": STUDIES[:1]})
