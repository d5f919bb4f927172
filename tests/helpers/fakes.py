"""A small world for the configuration: fake registries, and an experiment in two files."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Literal

import pytest

from apo_lightning.errors import DataError
from apo_lightning.registry import Registry

DATA, TEACHERS, LOSSES, CALLBACKS = (Registry(kind) for kind in ("data set", "teacher", "loss", "callback"))
PLACES = {
    "data_modules": ("DATA", DATA),
    "apo_lightning.teachers": ("TEACHERS", TEACHERS),
    "apo_lightning.losses": ("LOSSES", LOSSES),
    "callbacks": ("CALLBACKS", CALLBACKS),
}


@DATA.register("drawn")
class Drawn:
    """A plain class: its typed arguments are its settings."""

    def __init__(self, studies: int, size: int = 112) -> None:
        if studies <= 0:
            raise ValueError(f"studies must be > 0, got {studies}")
        self.studies, self.size = studies, size


@DATA.register("on_disk")
class OnDisk:
    """Looks at files when it is made."""

    def __init__(self, root: Path) -> None:
        raise DataError(f"{root} is not there")


@TEACHERS.register("simulated")
@dataclass(frozen=True)
class Simulated:
    """Gets its name from the program."""

    name: str
    accuracy: float
    drift: float = 0.0
    words: tuple[str, ...] = field(default_factory=lambda: ("yes", "no"))

    def __post_init__(self) -> None:
        if self.drift < 0:
            raise ValueError(f"drift must be >= 0, got {self.drift}")


@LOSSES.register("listwise")
@dataclass(frozen=True, kw_only=True)
class Listwise:
    """Two numbers that must be given."""

    beta: float
    smoothing: float = 0.0
    reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be > 0, got {self.beta}")
        if self.smoothing < 0:
            raise ValueError(f"smoothing must be >= 0, got {self.smoothing}")


@LOSSES.register("dpo")
@dataclass(frozen=True, kw_only=True)
class Dpo(Listwise):
    """The same settings under another name."""


@LOSSES.register("likelihood")
@dataclass(frozen=True)
class Likelihood:
    """No settings."""


@CALLBACKS.register("writer")
class Writer:
    """Needs a folder and an object that only a run can give."""

    def __init__(self, folder: str, place: Callable[[], Path], every: int = 1) -> None:
        self.folder, self.place, self.every = folder, place, every


BASE = """
student: {model: nano, max_prompt_tokens: 64, max_branch_tokens: 64, max_context_tokens: 256}
stages:
  spd: {loss: {name: likelihood}, optim: {lr: 1e-3}, steps: 3, batch_studies: 2}
  self_distill: {batch_studies: 4, max_new_tokens: 60}
  apo:
    loss: {name: listwise, beta: 0.1, smoothing: 0}
    optim: {lr: "${stages.spd.optim.lr}"}
    steps: 3
    batch_studies: 2
evaluate: {batch_studies: 4, max_new_tokens: 60}
"""

EXPERIMENT = """# All of it, small.
extends: [base/common]
name: small
data: {name: drawn, studies: 10}
teachers:
  eager: {kind: simulated, accuracy: 0.7, weight: 1}
  gpt5: {kind: simulated, accuracy: 0.8}
callbacks:
  writer:
arms:
  base: {label: Base}
  sft: {label: SFT, stages: [spd, self_distill, apo], set: {stages.apo.loss: {name: likelihood}}}
  dpo: {label: DPO, stages: [spd, self_distill, apo], set: {stages.apo.loss.name: dpo, stages.apo.loss.beta: 0.5}}
  apo: {label: APO, stages: [spd, self_distill, apo]}
"""


def fake_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the registries above where the configuration looks for the real ones."""
    importlib.import_module("apo_lightning.stages")  # rules ask for it late, and it needs the real losses
    for name, (attribute, registry) in PLACES.items():
        module = ModuleType(name)
        setattr(module, attribute, registry)
        monkeypatch.setitem(sys.modules, name, module)


def write_experiment(folder: Path, text: str = EXPERIMENT, base: str = BASE) -> Path:
    """``experiments/small.yaml`` and what it extends, below ``folder``."""
    path = folder / "experiments" / "small.yaml"
    (path.parent / "base").mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    (path.parent / "base" / "common.yaml").write_text(base, "utf-8")
    return path
