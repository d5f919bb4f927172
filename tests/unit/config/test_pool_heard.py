"""Which teachers a run is about: those that some arm may hear, in the order of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.experiment import pool

ABLATION = Path(__file__).resolve().parents[3] / "experiments" / "ablation_apo.yaml"
ALL = ["eager", "cautious", "verbose", "terse", "sided", "hedger", "refuser"]


ONE = "only=[base, sft, apo_listwise]"
OWN = "arms.sft.set={pool.select: [sided]}"


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ALL),
        ([ONE, "pool.select=[terse, verbose]"], ["verbose", "terse"]),
        ([ONE, "pool.select=best_on_val"], ALL),  # which one it is, is found from all
        ([ONE, OWN, "pool.select=[eager]"], ["eager"]),  # the command line wins
        (["only=[base, sft]", OWN], ["sided"]),  # the base student hears nobody
        ([ONE, OWN], ALL),
        (["only=[base]"], ALL),
    ],
)
def test_those_that_some_arm_may_hear(words: list[str], names: list[str]) -> None:
    assert pool.heard(config.load(ABLATION, words).resolved) == names
