"""A new loss is one new file: dropped into a package, it is found, checked and run with no other file touched."""

from __future__ import annotations

import importlib
import sys

import pytest
import torch

import apo_lightning.losses
from apo_lightning.errors import ConfigError
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import bind
from apo_lightning.registry import discover

NEW_LOSS = '''
from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from {package} import LOSSES
from apo_lightning.types import LossOutput, detached


@LOSSES.register("hinge")
@dataclass(frozen=True, kw_only=True)
class Hinge:
    """Mean of max(0, room - (log pi(t+) - log ref(t+)))."""

    room: float

    def __call__(self, *, policy_logps: Tensor, reference_logps: Tensor) -> LossOutput:
        per_study = (self.room - (policy_logps - reference_logps)[:, 0]).clamp_min(0)
        return LossOutput(per_study.mean(), per_study, detached(hinge=per_study.mean()))
'''

PACKAGE = """
from apo_lightning.registry import Registry

LOSSES = Registry("loss")
"""


def check(registry) -> None:
    """room 3 and a gain of 1: the loss is 2."""
    loss = registry.lookup("hinge")(room=3.0)
    given = {"policy_logps": torch.tensor([[-4.0]]), "reference_logps": torch.tensor([[-5.0]]), "weight": None}
    wanted = bind(loss, given.keys(), "apo")
    assert loss(**{name: given[name] for name in wanted}).loss == 2
    with pytest.raises(ConfigError, match="needs reference_logps"):
        bind(loss, {"policy_logps"}, "apo")


@pytest.fixture
def forget_modules():
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.endswith(".hinge") or name == "extra_losses":
            del sys.modules[name]


@pytest.mark.usefixtures("forget_modules")
def test_one_file_in_a_temporary_package_is_enough(tmp_path, monkeypatch):
    folder = tmp_path / "extra_losses"
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE, encoding="utf-8")
    (folder / "hinge.py").write_text(NEW_LOSS.format(package="extra_losses"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    package = importlib.import_module("extra_losses")
    assert "hinge" not in package.LOSSES
    discover(package)
    check(package.LOSSES)


@pytest.mark.usefixtures("forget_modules")
def test_one_file_among_the_built_in_losses_is_enough(tmp_path, monkeypatch):
    """The folder is laid beside ``apo_lightning/losses`` so that the checkout itself is not written to."""
    (tmp_path / "hinge.py").write_text(NEW_LOSS.format(package="apo_lightning.losses"), encoding="utf-8")
    monkeypatch.setattr(apo_lightning.losses, "__path__", [*apo_lightning.losses.__path__, str(tmp_path)])
    before = set(LOSSES)
    try:
        discover(apo_lightning.losses)
        assert set(LOSSES) - before == {"hinge"}
        check(LOSSES)
    finally:
        LOSSES.pop("hinge", None)
        vars(apo_lightning.losses).pop("hinge", None)
