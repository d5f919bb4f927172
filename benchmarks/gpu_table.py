"""The table of the GPU proof: a step of every contender at one prompt length, time and memory, ours beside others'."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from common import Setup
from contenders import MODES, BesideTRL
from gpu_parts import DTYPE, GB, Bench, OnDevice, OutOfTime, as_the_libraries, at_most, checkpointing

from apo_lightning.models.network import share
from apo_lightning.scoring import Parts, precision
from apo_lightning.scoring.memory import estimate

Add = Callable[..., None]
ORDER = (
    "packed",
    "joint_libraries",
    "joint",
    "packed_known",
    "floor",
    "floor_libraries",
    "separate",
    "branchwise_4",
    "packed_checkpointed",
    "joint_checkpointed",
    "trl",
    "branchwise_1",
    "filling",
    "separate_checkpointed",
)
"""The most telling first: what time does not reach is left out."""
LIMIT = 60.0
"""Seconds that one contender may take, TRL's constructor included."""
CHECKPOINTED = "_checkpointed"
LIBRARIES = "_libraries"


def table(bench: Bench, add: Add, prompt: int) -> None:
    """A row a contender. One that fails, or for which memory or time is not enough, has the reason in its row."""
    setup = bench.setup(prompt)
    ours = bench.contender(setup)
    for name in bench.contenders or ORDER:
        row = {"contender": name, "prompt": prompt}
        try:
            with at_most(min(LIMIT, bench.left())):
                add(**row, **one(bench, ours, setup, name))
        except OutOfTime as error:
            add(**row, why=f"skipped: {error}")
        except Exception as error:  # a library of another's may raise anything
            add(**row, why=reason(error))
        checkpointing(ours.model, False)
        ours.forget()
        bench.meter.free()


def reason(error: BaseException) -> str:
    """In one line; a GPU whose memory is full says so in words that all frameworks share."""
    if isinstance(error, torch.OutOfMemoryError):
        return "out of memory"
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def one(bench: Bench, ours: OnDevice, setup: Setup, name: str) -> dict[str, Any]:
    """What is measured of one contender."""
    if name == "trl":
        return beside_trl(bench, setup)
    checkpointing(ours.model, name.endswith(CHECKPOINTED))
    plain = name.removesuffix(CHECKPOINTED).removesuffix(LIBRARIES)
    with as_the_libraries(ours.model) if name.endswith(LIBRARIES) else nullcontext():
        row = bench.meter.measure(partial(ours.step, plain), bench.repeats)
    if plain == "floor":
        scale = ours.tokens_over_plain()
        return {**row, **{key: row[key] * scale for key in ("median_s", "min_s", "max_s")}, "peak_gb": None}
    planned = {"estimate_gb": planned_gb(ours, plain)} if plain in MODES else {}
    return {**row, **planned}


def planned_gb(ours: OnDevice, name: str) -> float:
    """What `scoring.memory`, which ``mode: auto`` decides by, expects of a mode."""
    mode, rows = MODES[name]
    with precision.compute(ours.model, DTYPE):
        need = estimate(Parts.of(ours.model), ours.batch, packed=mode == "packed")
    answers = need.branches if mode != "branchwise" else min((rows or 1) * need.branch, need.branches)
    return (need.prompt + answers) / GB


def beside_trl(bench: Bench, setup: Setup) -> dict[str, Any]:
    """TRL's step over the pairs with its reference pass, on the same weights, under the same autocast.

    Raises:
        ImportError: TRL or datasets is not installed.
    """
    for package in ("trl", "datasets"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"{package} is not installed")
    rival = BesideTRL(setup, checkpointed=False, network=share(bench.base), on_cpu=not bench.meter.on_gpu)
    rival.model.train()

    def step() -> None:
        with precision.compute(rival.model, DTYPE), as_the_libraries(rival.model):
            rival.step()

    return bench.meter.measure(step, bench.repeats)


def ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How many times the packed step's time the others take, and measured memory over what was planned."""
    times = {row["contender"]: row["median_s"] for row in rows if row.get("median_s")}
    pairs = [(name, "packed") for name in ("separate", "trl", "joint", "joint_libraries", "branchwise_4")]
    pairs += [("packed", "floor"), ("packed_known", "floor"), ("joint_libraries", "floor_libraries")]
    found = {f"{one} / {other}": times[one] / times[other] for one, other in pairs if {one, other} <= times.keys()}
    for row in rows:
        if row.get("estimate_gb") and row.get("peak_gb"):
            found[f"memory of {row['contender']} / estimate"] = row["peak_gb"] / row["estimate_gb"]
    return found
