"""A folder from a stranger: the command line refuses what lies in it, soon, in little memory, and runs none of it.

What each reader does alone is held by ``tests/unit/test_planted_files.py`` and ``test_bombs.py``; here the whole way
from the command to its message is walked, each command in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.hostile import ROOM, SECONDS, answers
from tests.helpers.hostile_files import CASES, MARKER, QUICK, Case, Content

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured on Linux")


def lay(folder: Path, files: dict[str, Content]) -> Path:
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Callable):
            content(place)
        else:
            place.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def said(names: Sequence[str], factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What every command answered, and whether a payload left its mark anywhere below its folder."""
    made = {name: lay(factory.mktemp("hostile"), CASES[name].files) for name in names}
    found = answers([(name, str(made[name]), CASES[name].words) for name in names])
    return {name: {**answer, "ran": list(made[name].rglob(MARKER))} for name, answer in found.items()}


def require_refused(answer: dict[str, Any], case: Case) -> None:
    assert answer["status"] == case.status, answer["said"][-1500:]
    assert case.says in answer["said"], answer["said"][:1500]
    assert answer["ran"] == []
    assert answer["peak"] < ROOM
    assert answer["seconds"] < SECONDS
    assert len(answer["said"]) < 20_000, "a message does not repeat a whole file"
    assert not {chr(27), chr(0), chr(0x202E)} & set(answer["said"]), "no command to the terminal"


def test_one_of_each_kind_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    for name, answer in said(QUICK, tmp_path_factory).items():
        require_refused(answer, CASES[name])


@pytest.fixture(scope="module")
def all_said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return said(list(CASES), tmp_path_factory)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_is_hostile_is_refused_soon_and_not_run(all_said: dict[str, dict[str, Any]], name: str) -> None:
    require_refused(all_said[name], CASES[name])
