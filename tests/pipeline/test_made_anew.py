"""A run says why it makes a stage again that is in the store with the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from apo_lightning import config
from apo_lightning.experiment.run import run
from apo_lightning.hashing import sources
from tests.helpers.stage_keys import ROOT, begin_anew


def test_an_edited_loss_is_the_reason_for_its_stage_and_for_the_one_behind_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*words, f"runs_dir={tmp_path / 'runs'}", "wandb.mode=disabled", "only=[spd_mt]", "stages.spd.steps=1"]

    def told() -> list[str]:
        begin_anew()
        run(config.load(ROOT / "experiments" / "smoke.yaml", given))
        lines = (line.strip().removeprefix("spd_mt seed 0: ") for line in capsys.readouterr().out.splitlines())
        return [line for line in lines if line.split(" ")[-1] in ("...", "store", "changed", "anew")]

    assert told() == ["collect ...", "spd ...", "evaluate ..."]
    plain, path = sources.source, ROOT / "apo_lightning/losses/spd_nll.py"
    monkeypatch.setattr(sources, "source", lambda at: plain(at) + (b"\nEDITED = 1\n" if at == path else b""))
    assert told() == [
        "collect in the store",
        "spd ...",
        "spd: source of losses/spd_nll.py changed",
        "evaluate ...",
        "evaluate: spd was made anew",
    ]
