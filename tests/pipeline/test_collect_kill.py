"""Collecting from an endpoint that fails, by processes that are killed: each study is answered once, none twice, none
lost. Run as a program, this prints the counts."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.faulty_server import PASSING, Faulty, completion, drawn, served


@dataclass
class Show:
    """One collection.

    Attributes:
        faulty: what the server did.
        lines: of the journal.
        twice: questions that were asked although their answer was on disk.
        kills: processes that were killed. ``status``: of the one that came to the end.
    """

    faulty: Faulty
    lines: list[dict] = field(default_factory=list)
    twice: int = 0
    kills: int = 0
    status: int = -1
    said: str = ""

    @property
    def texts(self) -> Counter[str]:
        """Answers by study; what came back and was none is noted beside them."""
        return Counter(line["study"] for line in self.lines if line.get("mark") != "broken")

    def __str__(self) -> str:
        own, texts = self.faulty, self.texts
        return (
            f"{len(texts):,} studies answered, {sum(n > 1 for n in texts.values())} of them twice; "
            f"{own.requests:,} requests, {own.faults.total():,} of them failed ({dict(own.faults.most_common())}); "
            f"{self.kills} kills; {self.twice} asked although the answer was on disk; "
            f"{sum(own.given.values()):,} answers paid for, with an endpoint that knows Idempotency-Key"
        )


def command(folder: Path, url: str, studies: int, **more: object) -> list[str]:
    teacher = {
        "kind": "api", "base_url": url, "model": "tiny", "folder": str(folder), "timeout": 2, "backoff": 0.02,
        "concurrency": 16, "retries": 8, "price": {"input": 1, "output": 1}, **more,
    }  # fmt: skip
    split = {"train": studies - 20, "val": 10, "test": 10, "size": 16}
    words = [f"data.{key}={value}" for key, value in split.items()]
    words.append(f"teachers={json.dumps({'tiny': teacher})}")
    return [sys.executable, "-m", "apo_lightning", "collect", "smoke", *words]


def show(folder: Path, *, studies: int, share: float, kills: int, seed: int = 0, beside: int = 1) -> Show:
    """Collect ``studies`` answers from a server of whose requests a ``share`` fails; kill the collectors so often.

    Args:
        beside: collectors that work on one folder at a time.
    """
    own, root = Faulty(drawn(seed, share, PASSING), lambda name: completion(f"No edema. {name}"), 0.02), folder / "apo"
    found, journal = Show(own), folder / "journal" / "tiny.jsonl"
    root.mkdir()
    (root / "experiments").symlink_to(Path(__file__).parents[2] / "experiments")

    def known(name: str) -> None:
        found.twice += journal.exists() and name.encode() in journal.read_bytes()

    own.before = known
    with served(own, hang=4) as url:
        for n in range(kills + 1):
            want = studies * (n + 1) // (kills + 1) - random.Random(n).randrange(1, 1 + studies // 20)
            going = [_start(command(journal.parent, url, studies), root) for _ in range(beside)]
            while n < kills and _lines(journal) < want and any(one.poll() is None for one in going):
                time.sleep(0.02)
            if n < kills:
                for one in going:
                    found.kills += one.poll() is None
                    one.kill()
            for one in going:
                found.said, found.status = one.communicate(timeout=280)[0], one.returncode
    found.lines = [json.loads(line) for line in journal.read_bytes().splitlines() if line.endswith(b"}")]
    return found


def _start(words: list[str], root: Path) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    return subprocess.Popen(
        words, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _lines(journal: Path) -> int:
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def _check(found: Show, studies: int) -> None:
    assert found.status == 0, found.said
    texts = found.texts
    assert len(texts) == studies and set(texts.values()) == {1}, str(found)
    assert found.twice == 0, str(found)
    assert sum(found.faulty.given.values()) == studies and set(found.faulty.given.values()) == {1}, str(found)
    assert len({line["text"] for line in found.lines if line.get("mark") != "broken"}) == studies


def test_a_killed_collector_goes_on(tmp_path: Path) -> None:
    found = show(tmp_path, studies=60, share=0.3, kills=1)
    _check(found, 60)
    assert found.kills == 1


@pytest.mark.slow
def test_two_collectors_on_one_folder(tmp_path: Path) -> None:
    found = show(tmp_path, studies=40, share=0.2, kills=0, beside=2)
    _check(found, 40)
    assert "all 40 answers are on disk" in found.said


@pytest.mark.slow
def test_a_thousand_questions_three_kills(tmp_path: Path) -> None:
    found = show(tmp_path, studies=1000, share=0.3, kills=3)
    _check(found, 1000)
    assert found.kills == 3 and found.faulty.faults.total() > 200


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        shown = show(Path(place), studies=1000, share=0.3, kills=3)
        print(shown, shown.said if shown.status else "", sep="\n")
