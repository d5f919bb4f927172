"""The kill matrix on a few kills, and that it sees what it looks for: files lost, left over, changed, rows doubled."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from apo_lightning.hashing import inventory
from tests.helpers.hearing import heard
from tests.pipeline.conftest import ROOT


@pytest.fixture
def kill_matrix(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__("kill_matrix")


@pytest.fixture
def listening() -> None:
    with heard(signal.SIGINT), heard(signal.SIGTERM):
        yield


def left(folder: Path) -> Path:
    """What a command leaves: a table, a stage with its manifest, a curve."""
    stage = folder / "runs/store/evaluate-0123456789ab"
    stage.mkdir(parents=True)
    rows = [{"study": f"s{n}", "text": "No edema."} for n in range(3)]
    (stage / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = {"inputs_sha256": "0123456789ab", "files": inventory.take(stage)}
    (stage / "manifest.json").write_text(json.dumps(inventory.sealed(record)))
    (folder / "runs/smoke").mkdir()
    (folder / "runs/smoke/results.csv").write_text("arm,accuracy,seconds\nsft,0.5,3.0\n")
    (folder / "runs/smoke/costs.csv").write_text("arm,seconds\nsft,3.0\n")
    (folder / "runs/smoke/trial1.jsonl").write_text(attempt(1, spd=True, apo=True))
    return folder


def attempt(began: int, **made: bool) -> str:
    """Lines of a trial's journal."""
    return "".join(
        json.dumps({"stage": name, "made": own, "at": began, "attempt": began}) + "\n" for name, own in made.items()
    )


def written(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "runs" / name).write_text(text)


def doubled(folder: Path) -> None:
    path = folder / "runs/store/evaluate-0123456789ab/predictions.jsonl"
    path.write_text(path.read_text() + path.read_text())


UNEQUAL: dict[str, tuple[Callable[[Path], object], str]] = {
    "lost": (lambda folder: (folder / "runs/smoke/results.csv").unlink(), "smoke/results.csv is missing"),
    "left over": (written("smoke/.results.csv.1234.tmp", "x"), ".results.csv.1234.tmp is left over"),
    "last digit": (
        written("smoke/results.csv", "arm,accuracy,seconds\nsft,0.500001,3.0\n"),
        "values differ by up to 1e-06",
    ),
    "word": (written("smoke/results.csv", "arm,accuracy,seconds\ndpo,0.5,3.0\n"), "row 2, arm: 'sft' became 'dpo'"),
    "row": (written("smoke/results.csv", "arm,accuracy,seconds\n"), "1 rows became 0"),
    "trained twice": (
        written("smoke/trial1.jsonl", attempt(1, spd=True) + attempt(2, spd=True, apo=True)),
        "trial1.jsonl: made ['apo', 'spd', 'spd'], not ['apo', 'spd']",
    ),
    "doubled": (doubled, "3 rows stand there twice, the first ('s0',)"),
    "not its manifest": (doubled, "is damaged: it has"),
}


@pytest.mark.parametrize("case", UNEQUAL)
def test_what_is_not_equal_is_named(kill_matrix: ModuleType, tmp_path: Path, case: str) -> None:
    calm, torn = left(tmp_path / "calm"), left(tmp_path / "torn")
    assert kill_matrix.differences(calm, torn) == []
    change, said = UNEQUAL[case]
    change(torn)
    assert any(said in each for each in kill_matrix.differences(calm, torn))


def test_who_scored_log_probs_may_differ(kill_matrix: ModuleType, tmp_path: Path) -> None:
    """An attempt that was killed has them in the store, and no stage that says so."""
    calm, torn = left(tmp_path / "calm"), left(tmp_path / "torn")
    written("smoke/sweep.csv", 'trained,reused\n"spd, apo, reference",\n')(calm)
    written("smoke/sweep.csv", 'trained,reused\n"spd, apo",reference\n')(torn)
    assert kill_matrix.differences(calm, torn) == []
    assert kill_matrix.differences(torn, calm) != []  # made again
    written("smoke/sweep.csv", "trained,reused\nspd,reference\n")(torn)
    assert kill_matrix.differences(calm, torn) != []


def test_times_may_differ(kill_matrix: ModuleType, tmp_path: Path) -> None:
    calm, torn = left(tmp_path / "calm"), left(tmp_path / "torn")
    written("smoke/results.csv", "arm,accuracy,seconds\nsft,0.5,9.0\n")(torn)
    written("smoke/costs.csv", "arm,seconds\nsft,9.0\n")(torn)
    written("smoke/trial1.jsonl", attempt(3, spd=True) + attempt(4, spd=False, apo=True))(torn)
    assert kill_matrix.differences(calm, torn) == []


@pytest.mark.parametrize(
    ("signum", "target", "status", "log", "wrong"),
    [
        ("SIGTERM", "all", 143, "stopped.", []),
        ("SIGKILL", "all", -9, "", []),
        ("SIGKILL", "rank 1", 1, "process 2 of 2 was ended", []),
        ("SIGTERM", "all", 1, "", ["it ended with status 1, not [-15, 143]"]),
        ("SIGINT", "all", 130, "Traceback", ["it ended with a traceback"]),
        ("SIGINT", "all", None, "", ["it hung after the signal"]),
    ],
)
def test_how_a_killed_command_must_end(
    kill_matrix: ModuleType, signum: str, target: str, status: int | None, log: str, wrong: list[str]
) -> None:
    row = {"signal": signum, "target": target, "status": status, "log": log, "fell": "spd"}
    assert kill_matrix._wrong_end(row) == wrong


def test_a_collector_killed_at_a_drawn_moment(
    kill_matrix: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: None
) -> None:
    kind = kill_matrix.KINDS["collect"]
    monkeypatch.setitem(kill_matrix.KINDS, "collect", replace(kind, phases=kind.phases[1:2], kills=1))
    rows = kill_matrix.kills(tmp_path, 1, 1, ["collect"])
    assert [(row["kind"], row["fell"], row["verdict"], row["found"]) for row in rows] == [
        ("collect", "from answer 1", "equal", [])
    ]
    assert kill_matrix.kills(tmp_path, 1, 1, ["collect"]) == rows  # they are there already


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "ddp", "sweep", "report"])
def test_a_handful_of_kills(kill_matrix: ModuleType, tmp_path: Path, listening: None, kind: str) -> None:
    rows = kill_matrix.kills(tmp_path, 1, 3, [kind])
    assert len(rows) >= 3
    assert {row["verdict"] for row in rows} == {"equal"}, [row["found"] for row in rows]


def test_a_difference_ends_the_program_with_status_1(
    kill_matrix: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    row = {"life": 0, "kind": "report", "verdict": "NOT EQUAL", "found": ["results.csv is missing"]}
    monkeypatch.setattr(kill_matrix, "kills", lambda *given: [row])
    monkeypatch.setattr(sys, "argv", ["kill_matrix.py", "--out", str(tmp_path)])
    assert kill_matrix.main() == 1
    assert "report (life 0): results.csv is missing" in capsys.readouterr().out
