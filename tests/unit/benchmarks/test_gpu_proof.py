"""The GPU proof without a GPU: nothing found is lost, time is kept, counts are those of a hand, modes agree."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import nn


@pytest.fixture
def proof(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("gpu_proof", monkeypatch)


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for key in ("HF_HUB_OFFLINE", "TOKENIZERS_PARALLELISM"):  # what it sets is forgotten after the test
        monkeypatch.setenv(key, "1")
    return __import__(name)


def bench(monkeypatch: pytest.MonkeyPatch, left: float = 100.0) -> Any:
    parts = load("gpu_parts", monkeypatch)
    return parts.Bench(torch.device("cpu"), True, 0, 1, (64, 48), lambda: left)


def stand_in(**left: float) -> SimpleNamespace:
    return SimpleNamespace(left=lambda: left["left"], meter=SimpleNamespace(free=lambda: None))


def rows_of(work: Any, *arguments: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    work(*arguments[:1], lambda **row: rows.append(row), *arguments[1:])
    return rows


def test_nothing_that_was_found_is_lost(
    proof: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row is on disk before the next line of its section runs; a section that fails stops none."""
    file, parts = tmp_path / "deep" / "proof.json", load("gpu_parts", monkeypatch)
    on_disk: list[Any] = []

    def works(_: Any, add: Any, times: int) -> None:
        for i in range(times):
            add(i=i, seconds=0.5)
            on_disk.append(json.loads(file.read_text())["sections"]["one"]["rows"][-1]["i"])

    def fails(_: Any, add: Any) -> None:
        add(kept=True)
        raise KeyError("gone")

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB")

    def slow(_: Any, add: Any) -> None:
        add(kept=True)
        try:
            time.sleep(5)
        except Exception:  # as libraries do
            pytest.fail("the limit was swallowed")

    def absent(*_: Any) -> None:
        raise parts.NotHere("no such card")

    def unknown(*_: Any) -> None:
        import no_such_package  # noqa: F401

    works_by_name = dict(one=works, two=fails, three=full, four=slow, five=absent, six=unknown)
    for name, work in works_by_name.items():
        monkeypatch.setattr(parts, name, work, raising=False)
    limits = dict.fromkeys(works_by_name, 5.0) | {"four": 0.05}
    asked = [proof.Section(name, f"gpu_parts:{name}", 1, limits[name], (2,) * (name == "one")) for name in limits]
    asked.append(proof.Section("seven", "gpu_parts:one", 101, 5))
    record = proof.Record(file, {"machine": {"device": "CPU"}})
    proof.prove(stand_in(left=100.0), asked, record)
    found = json.loads(file.read_text())["sections"]
    assert on_disk == [0, 1] and found["one"]["rows"][1] == {"i": 1, "seconds": 0.5}
    states = [section["state"] for section in found.values()]
    assert states == ["done", "failed", "failed", "out of time", "skipped", "failed", "skipped"]
    assert found["two"]["rows"] == found["four"]["rows"] == [{"kept": True}]
    assert found["two"]["why"] == "KeyError: 'gone'" and found["three"]["why"] == "out of memory"
    assert found["five"]["why"] == "no such card" and "no_such_package" in found["six"]["why"]
    assert found["seven"]["why"] == "100 s left, and it needs 101"
    assert [path.name for path in file.parent.iterdir()] == ["proof.json"]
    text = proof.summary(record)
    assert "## one (done)" in text and "| 1 | 0.5 |" in text and "## three (failed: out of memory)" in text
    assert "== seven" in capsys.readouterr().out


def test_limits_lie_in_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The outer one holds inside of a longer one and after a shorter one."""
    parts = load("gpu_parts", monkeypatch)
    for inner in (5.0, 0.02):
        began = time.monotonic()
        with pytest.raises(parts.OutOfTime), parts.at_most(0.1):
            try:
                with parts.at_most(inner):
                    time.sleep(3)
            except parts.OutOfTime:
                time.sleep(3)
        assert time.monotonic() - began < 1
    with parts.at_most(0.05):
        pass
    time.sleep(0.1)  # no alarm is left


def test_a_contender_without_memory_or_time_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    own, table = bench(monkeypatch), load("gpu_table", monkeypatch)
    problems = {"separate": torch.OutOfMemoryError("full"), "trl": KeyError("chosen")}

    def one(_: Any, __: Any, ___: Any, name: str) -> dict[str, float]:
        if name == "branchwise_1":
            time.sleep(3)
        if name in problems:
            raise problems[name]
        return {"median_s": 1.0}

    monkeypatch.setattr(table, "one", one)
    monkeypatch.setattr(table, "LIMIT", 0.05)
    rows = {row["contender"]: row for row in rows_of(table.table, own, 48)}
    assert list(rows) == list(table.ORDER) and rows["joint"]["median_s"] == 1.0
    assert rows["separate"]["why"] == "out of memory" and rows["trl"]["why"] == "KeyError: 'chosen'"
    assert rows["branchwise_1"]["why"].startswith("skipped") and "median_s" in rows["separate_checkpointed"]


def test_the_table_of_a_tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    own, table = bench(monkeypatch), load("gpu_table", monkeypatch)
    monkeypatch.setattr(table, "ORDER", ("joint", "floor", "joint_checkpointed"))
    joint, floor, again = rows_of(table.table, own, 48)
    assert all(row["median_s"] > 0 and row["runs"] == 1 for row in (joint, floor, again))
    assert joint["estimate_gb"] > again["estimate_gb"] > 0 and "estimate_gb" not in floor


def test_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load("gpu_table", monkeypatch)
    rows = [
        dict(contender="packed", median_s=0.5, peak_gb=30.0, estimate_gb=40.0),
        dict(contender="joint", median_s=1.5),
        dict(contender="separate", median_s=2.0, peak_gb=16.0),
        dict(contender="floor", median_s=0.4, peak_gb=None),
        dict(contender="trl", why="not installed"),
    ]
    assert table.ratios(rows) == {
        "separate / packed": 4.0,
        "joint / packed": 3.0,
        "packed / floor": 1.25,
        "memory of packed / estimate": 0.75,
    }


def test_modes_agree_in_both_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    own, sections = bench(monkeypatch), load("gpu_sections", monkeypatch)
    rows = rows_of(sections.equality, own)
    ways = ["whole sequences", "joint", "packed", "branchwise_1", "branchwise_4", "separate"]
    assert [(row["dtype"], row["way"]) for row in rows] == [(d, w) for d in ("float32", "bfloat16") for w in ways]
    assert max(row["gradient_relative"] for row in rows[:6]) < 1e-5
    assert max(row["logp_nats_a_token"] for row in rows[:6]) < 1e-5
    assert 1e-4 < max(row["gradient_relative"] for row in rows[6:]) < 3e-2


def test_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = load("gpu_sections", monkeypatch)
    found = sections.differences(
        torch.tensor([[-10.0, -19.0]]),
        torch.tensor([3.0, 4.0]),
        torch.tensor([[-10.0, -20.0]]),
        torch.tensor([0.0, 4.0]),
        10,
    )
    assert found == pytest.approx(
        dict(
            logp_nats=1,
            logp_nats_a_token=0.1,
            logp_relative=0.05,
            gradient_relative=0.75,
            gradient_max_relative=0.75,
            cosine=0.8,
        )
    )


def test_model_flops_are_counted_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers of width 64 (32 for keys and values), MLP 192, 2,048 words: 64 prompt tokens, 4 answers of 20."""
    own, sections = bench(monkeypatch), load("gpu_sections", monkeypatch)
    ours = own.contender(own.setup(64))
    layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 192
    pairs = 64**2 / 2 + 4 * (64 * 20 + 20**2 / 2)
    wanted = 4 * 2 * layer * (64 + 80) + 4 * 64 * 2048 * 80 + 2 * 12 * 64 * pairs
    tower = sum(
        m.weight.numel() for m in ours.model.get_base_model().model.visual.modules() if isinstance(m, nn.Linear)
    )
    patches = len(ours.batch.vision["pixel_values"])
    assert sections.model_flops(ours.model, ours.batch) == wanted + 2 * tower * patches


@pytest.mark.slow
def test_both_stages_step_and_are_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    own, trainer = bench(monkeypatch), load("gpu_trainer", monkeypatch)
    monkeypatch.setattr(trainer, "STEPS", 2)
    monkeypatch.setattr(trainer, "FITS", (("spd", dict(mode="joint"), False), ("apo", dict(mode="auto"), True)))
    rows = rows_of(trainer.fits, own)
    assert [row["stage"] for row in rows] == ["spd", "apo"]
    assert all(row["step_s"] > 0 and row["save_mb"] > 0.01 and row["checkpoint_mb"] > 0.01 for row in rows)


@pytest.mark.slow
def test_writing_is_timed_on_uncut_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that ended early would have fewer tokens than are counted: all of them run into the limit."""
    own, sections = bench(monkeypatch), load("gpu_sections", monkeypatch)
    rows = rows_of(sections.generating, own)
    adapted = "student.write, with an adapter"
    assert [row["way"] for row in rows] == [
        adapted,
        f"{adapted}, libraries' layers",
        "student.write",
        "generate, static cache",
    ]
    assert {(row["rows"], row["new_tokens"], row["cut"]) for row in rows} == {(4, 8, 4)}


def test_sections_are_named(proof: ModuleType) -> None:
    every = proof.sections([1400, 450])
    assert [s.name for s in every][:4] == ["table_1400", "equality", "rate", "table_450"]
    assert [s.name for s in proof.chosen(["rate", "table_450"], every)] == ["rate", "table_450"]
    assert proof.chosen(None, every) == every
    with pytest.raises(SystemExit, match=r"ratee: there is none .* rate,"):
        proof.chosen(["ratee"], every)
    assert all(callable(section.load()) for section in every)


def test_markdown(proof: ModuleType) -> None:
    rows = [{"a": 0.12345, "b": None}, {"a": 12345.6, "c": "x|y"}]
    assert proof.markdown(rows) == "| a | b | c |\n| --- | --- | --- |\n| 0.123 |  |  |\n| 12,346 |  | x/y |"
