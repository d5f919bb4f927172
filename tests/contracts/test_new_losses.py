"""The contract tests on files that an author would write: what docs/adding.md shows passes, what is wrong is found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.adding_page import SHOWN, file_of

ROOT = Path(__file__).resolve().parents[2]
HEAD = '''"""A new loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch.nn.functional import softplus

from apo_lightning.functional.logprobs import masked_mean
from apo_lightning.functional.preference import listwise_nll
from apo_lightning.losses import LOSSES
from apo_lightning.losses.preference import PreferenceLoss


@LOSSES.register("{name}")
@dataclass(frozen=True, kw_only=True)
class New(PreferenceLoss):
    """A new loss."""
'''
HINGE = """
    def preference(self, seen):
        gaps = seen.rewards[:, :1] - seen.rewards[:, 1:]
        return masked_mean((1 - gaps).clamp(min=0), seen.counted, dim=-1)
"""
TEMPERED = """
    def preference(self, seen):
        return listwise_nll(seen.rewards / self.heat, seen.weight, seen.counted, self.label_smoothing)
"""
EXAMPLE = """
    @classmethod
    def example(cls):
        return {"heat": 2.0}
"""
RIGHT = {
    "new_tempered": "\n    heat: float\n" + EXAMPLE + TEMPERED,  # listwise, with a setting that must be given
    "new_margin": """
    room: float = 1.0

    def preference(self, seen):
        gaps = seen.rewards[:, :1] - seen.rewards[:, 1:]
        return masked_mean(softplus(self.room - gaps), seen.counted, dim=-1)
""",
}
WRONG = {
    "new_unmasked": (
        HINGE.replace("masked_mean((1 - gaps).clamp(min=0), seen.counted, dim=-1)", "softplus(-gaps).mean(-1)"),
        "test_absent_branches_change_nothing",
    ),
    "new_signed": (HINGE.replace("(1 - gaps)", "(1 + gaps)"), "test_pulls_the_preferred_answer_up"),
    "new_boastful": ("\n    reduces_to_dpo: ClassVar[bool] = True\n" + HINGE, "test_one_teacher_of_weight_one_is_dpo"),
    "new_bent": ("\n    linear: ClassVar[bool] = True\n" + HINGE, "test_linear_is_what_it_says"),
    "new_ordered": (HINGE.replace("dim=-1)", "dim=-1) + gaps[:, -1]"), "test_permuting_teachers"),
    "new_untold": ("\n    heat: float\n" + TEMPERED, "test_it_can_be_tried"),
}
"""Body, and a contract that it breaks."""
PLUGIN = """
import apo_lightning.losses
from apo_lightning.registry import discover

apo_lightning.losses.__path__.append({folder!r})
discover(apo_lightning.losses)
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest says of all of them, found in a folder that is laid beside that of the losses."""
    place = tmp_path_factory.mktemp("new")
    extra = place / "extra"
    extra.mkdir()
    (extra / "apo_hinge.py").write_text(SHOWN[file_of("apo_hinge")])
    for name, body in {**RIGHT, **{name: body for name, (body, _) in WRONG.items()}}.items():
        (extra / f"{name}.py").write_text(HEAD.replace("{name}", name) + body)
    (place / "new_losses_plugin.py").write_text(PLUGIN.format(folder=str(extra)))
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rA",
        "--no-header",
        "-p",
        "new_losses_plugin",
        "-p",
        "no:cacheprovider",
        "-k",
        "apo_hinge or new_",
        "--tb=line",
        "tests/contracts/test_losses.py",
        "tests/contracts/test_loss_settings.py",
    ]
    paths = os.pathsep.join([str(place), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def outcomes(report: str, word: str, name: str) -> list[str]:
    return re.findall(rf"^{word} \S+::(\w+)\[[^\]]*\b{name}\b", report, re.M)


@pytest.mark.parametrize("name", ["apo_hinge", *RIGHT])
def test_what_an_author_may_write_keeps_every_contract(report: str, name: str) -> None:
    assert outcomes(report, "FAILED", name) == [] == outcomes(report, "ERROR", name)
    assert len(set(outcomes(report, "PASSED", name))) >= 20


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_breaks_a_contract(report: str, name: str) -> None:
    assert any(found.startswith(WRONG[name][1]) for found in outcomes(report, "FAILED", name)), outcomes(
        report, "FAILED", name
    )


def test_a_setting_that_nobody_tells_of_says_what_to_write(report: str) -> None:
    assert "'new_untold' has no default for heat: give the class a classmethod example()" in report
