"""Settings that must not matter do not: how a step's studies are spread over batches and processes, how answers are
scored, what loads them, where a fit was cut off and on how many devices it went on.

Every case is one fit, compared with the plain one at every step and in everything that is logged: losses, rewards,
margins, ranks. In float32 over 20 steps losses differ by less than 1e-5, and rewards, differences of sums over tokens,
by up to 1.5e-5 (measured); a difference of order shows from 1e-2 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import layouts
from tests.helpers.layouts import Case

CLOSE, REWARDS = 1e-5, 2e-5
"""Of a loss, and of all else that is logged; relative where it is above 1."""
EIGHT = {"batch_studies": 8}
ALONE: dict[str, dict[str, Any]] = {
    "eight batches of one": {"plan": {"batch_studies": 1, "accumulate": 8}},
    "layers recomputed": {"student": {"gradient_checkpointing": True}},
    "branchwise": {"student": {"mode": "branchwise", "rows": 2}},
    "branchwise, layers recomputed": {"student": {"mode": "branchwise", "gradient_checkpointing": True}},
    "packed": {"student": {"mode": "packed"}},
    "packed, layers recomputed": {"student": {"mode": "packed", "gradient_checkpointing": True}},
    "separate": {"student": {"mode": "separate"}},
    "two loaders": {"workers": 2},
}
"""What is changed of the plain fit: eight studies at once, joint, no loaders, one process."""
DDP, FSDP2 = ({"devices": 2, "strategy": name} for name in ("ddp", "fsdp2"))
HALF = {"batch_studies": 4}
TOGETHER: dict[str, dict[str, Any]] = {
    "ddp": {"trainer": DDP, "plan": HALF},
    "fsdp2": {"trainer": FSDP2, "plan": HALF},
    "ddp, accumulated": {"trainer": DDP, "plan": {"batch_studies": 2, "accumulate": 2}},
    "fsdp2, accumulated, branchwise, layers recomputed": {
        "trainer": FSDP2,
        "plan": {"batch_studies": 2, "accumulate": 2},
        "student": {"mode": "branchwise", "rows": 3, "gradient_checkpointing": True},
    },
    "fsdp2, packed": {"trainer": FSDP2, "plan": HALF, "student": {"mode": "packed"}},
    "fsdp2, in the host's memory": {"trainer": {**FSDP2, "cpu_offload": True}, "plan": HALF},
}
"""The same in two processes."""


def merged(case: Case, **more: Any) -> Case:
    """A case with some of its settings, and others of its sections, changed."""
    parts = {key: {**getattr(case, key), **value} if isinstance(value, dict) else value for key, value in more.items()}
    return replace(case, **parts)


def assert_same(rows: Sequence[dict], plain: Sequence[dict], how: str) -> None:
    """Says the first step and the value that differ, and what it should have been."""
    assert [row["step"] for row in rows] == [row["step"] for row in plain], f"{how}: other steps were logged"
    for row, want in zip(rows, plain, strict=True):
        assert row.keys() == want.keys(), f"{how}: step {row['step']} logged other names"
        for name, value in want.items():
            most = CLOSE if name.endswith("loss") else REWARDS
            close = row[name] is None if value is None else row[name] == pytest.approx(value, rel=most, abs=most)
            assert close, f"{how}: {name} of step {row['step']} is {row[name]}, and {value} in the plain fit"


def assert_moves(rows: Sequence[dict]) -> None:
    assert abs(rows[-1]["train/loss"] - rows[0]["train/loss"]) > 0.1, "a fit that does nothing is the same in all ways"


@pytest.mark.parametrize("stage", ["spd", "apo"])
def test_one_process(stage: str, tmp_path: Path) -> None:
    """Three steps of each; 17 studies make passes of two steps of eight, whatever the batches are."""
    base = Case(str(tmp_path / "plain"), stage, plan={"steps": 3}, studies=17)
    plain = layouts.fit(base)
    assert_moves(plain)
    for name, how in ALONE.items():
        assert_same(layouts.fit(merged(base, folder=str(tmp_path / name), **how)), plain, name)


@pytest.mark.parametrize("stage", ["spd", "apo"])
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_fit_that_was_cut_off_goes_on_with_other_batches(stage: str, kind: str, tmp_path: Path) -> None:
    """Eight at once, killed behind step 3 and saved at 2; then one at a time; then four at a time."""
    base = Case(str(tmp_path / "plain"), stage, student={"adapter": kind}, plan={"steps": 6}, studies=17)
    plain = layouts.fit(base)
    cut = replace(base, folder=str(tmp_path / "cut"))
    assert len(layouts.fit(replace(cut, kill=3))) == 3
    assert len(layouts.fit(merged(cut, plan={"batch_studies": 1, "accumulate": 8}, kill=5))) == 5
    assert_same(layouts.fit(merged(cut, plan={"batch_studies": 4, "accumulate": 2})), plain, "resumed twice")


def two(base: Case, folder: Path, ways: dict[str, dict[str, Any]]) -> None:
    plain = layouts.fit(replace(base, folder=str(folder / "plain")))
    assert_moves(plain)
    cases = {name: merged(base, folder=str(folder / name), **how) for name, how in ways.items()}
    for name, rows in zip(cases, layouts.in_two(list(cases.values()), folder / "two"), strict=True):
        assert_same(rows, plain, name)


def test_two_processes_are_one(tmp_path: Path) -> None:
    """The quick one of the next."""
    base = Case("", "apo", plan={"steps": 3}, studies=17)
    two(base, tmp_path, {name: TOGETHER[name] for name in ("ddp", "fsdp2, in the host's memory")})


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["spd", "apo"])
@pytest.mark.parametrize("kind", ["lora", "full", "qlora"])
def test_two_processes_are_one_over_20_steps(stage: str, kind: str, tmp_path: Path) -> None:
    if kind == "qlora":
        pytest.importorskip("bitsandbytes")
    two(Case("", stage, student={"adapter": kind}, plan={"steps": 20}), tmp_path, TOGETHER)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_fit_moves_between_layouts(kind: str, tmp_path: Path) -> None:
    """Saved by each and continued by each other, in one process and in two; the steps that remain are those of the
    undisturbed fit."""
    base = Case(str(tmp_path / "plain"), "apo", student={"adapter": kind}, plan={"steps": 6}, studies=17)
    plain = layouts.fit(base)
    one, ddp, fsdp2 = {"plan": EIGHT}, TOGETHER["ddp"], TOGETHER["fsdp2"]
    ways = {"one to ddp": (one, ddp), "one to fsdp2": (one, fsdp2), "ddp to fsdp2": (ddp, fsdp2)}
    ways |= {f"{name.split(' to ')[1]} to {name.split(' to ')[0]}": how[::-1] for name, how in ways.items()}
    first, second = ({name: how[place] for name, how in ways.items()} for place in (0, 1))
    begun = _all(
        {name: merged(base, folder=str(tmp_path / name), kill=3, **how) for name, how in first.items()}, tmp_path / "a"
    )
    assert {name: len(rows) for name, rows in begun.items()} == dict.fromkeys(ways, 3)
    done = _all(
        {name: merged(base, folder=str(tmp_path / name), **how) for name, how in second.items()}, tmp_path / "b"
    )
    for name, rows in done.items():
        assert_same(rows, plain, name)


def _all(cases: dict[str, Case], folder: Path) -> dict[str, list[dict]]:
    """Those of one process here, the others in two."""
    many = {name: case for name, case in cases.items() if case.trainer}
    found = dict(zip(many, layouts.in_two(list(many.values()), folder), strict=True))
    return {name: found[name] if name in found else layouts.fit(case) for name, case in cases.items()}
