"""Small files that would fill the memory: refused by what they declare, with the file, the size and the limit."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from tests.helpers.bombs import BOMBS, LARGEST, ROOM

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are measured on Linux")


def read(asked: list[tuple[str, str, str]]) -> dict[str, dict]:
    """All of them read by one process that cannot have more memory than it starts with and twice ``ROOM``."""
    lines = "".join(json.dumps(one) + "\n" for one in asked)
    done = subprocess.run(
        [sys.executable, "-m", "tests.helpers.bombs"],
        input=lines,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert len(found) == len(asked), f"the process ended at {asked[len(found)][:2]}: {done.stderr[-2000:]}"
    return found


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    return read(
        [(kind, reader, str(make(tmp_path_factory.mktemp("bomb")))) for kind, (make, reader, _) in BOMBS.items()]
    )


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_with_its_size_and_a_way_out(answers, kind):
    answer, (_, reader, reason) = answers[kind], BOMBS[kind]
    assert re.search(reason, answer["text"]), answer
    if answer["error"] or reader not in ("xml", "zip"):  # else it is one bad report of many, which a set lists
        assert answer["error"] == "DataError", answer
        assert answer["text"].endswith("."), "says what to do"
    assert answer["peak"] < ROOM


@pytest.mark.slow
@pytest.mark.parametrize("kind", LARGEST)
def test_the_largest_honest_image_is_read_within_the_same_memory(tmp_path, kind):
    answer = read([(kind, "image", str(LARGEST[kind](tmp_path)))])[kind]
    assert answer["text"] in ("(6300, 6300)", "(3600, 3600)"), answer
    assert answer["peak"] < ROOM
