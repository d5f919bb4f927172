"""From ``evaluate.report_text`` to the table: what is refused before a run, and what stored texts are measured with."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from omegaconf import OmegaConf

from apo_lightning import config
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.experiment import machine, results
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.evaluate import Evaluate
from apo_lightning.settings import ExperimentSettings
from apo_lightning.settings.reports import ReportTextSettings
from data_modules.phantom import Phantom
from tests.unit.experiment.test_results import NEVER, RIGHT, STUDIES, last, stored

ROOT = Path(__file__).resolve().parents[3]


def smoke(*words: str) -> ExperimentSettings:
    return config.load(ROOT / "experiments/smoke.yaml", words)


@pytest.mark.parametrize(
    ("asked", "prompt", "backend"),
    [
        (None, "describe", "off"),
        (None, "diagnose", "off"),
        (None, "report", "python"),
        ("auto", "describe", "python"),
        ("coco", "diagnose", "coco"),
        ("off", "report", "off"),
        ("python", "progression", "python"),
    ],
)
def test_who_measures(asked: str | None, prompt: str, backend: str) -> None:
    assert ReportTextSettings(backend=asked).resolved(prompt).backend == backend


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["evaluate.report_text.backend=cocoo"],
            r"report_text\.backend must be one of auto, python, coco, off or null, got 'c",
        ),
        (["evaluate.report_text.tokenizer=bert"], r"report_text\.tokenizer must be one of r2gen, ptb, got 'bert'"),
        (["evaluate.report_text.also=[chexbrt]"], r"also names no metric 'chexbrt' .*Did you mean 'chexbert'"),
        (["evaluate.report_text.also=[coco]"], r"also names no metric 'coco'"),
        (["evaluate.report_text.also=[radgraph,radgraph]"], r"also must name each metric once"),
        (["evaluate.report_text.backends=coco"], "backends.*Did you mean 'backend'"),
        (["arms.base.set={evaluate.report_text.backend: coco}"], "must not hold 'evaluate.report_text.backend', which"),
        (["arms.base.set={evaluate.report_text: {backend: coco}}"], "must not hold 'evaluate.report_text', which"),
        (["arms.base.set={evaluate: {report_text: {backend: coco}}}"], "must not hold 'evaluate.report_text"),
    ],
)
def test_settings_that_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        smoke(*words)


def test_java_is_asked_for_before_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    machine.check_here(smoke())
    machine.check_here(smoke("evaluate.report_text.backend=python", "evaluate.prompt=report"))
    with pytest.raises(ConfigError, match=r"backend is coco, and .* or take backend=python"):
        machine.check_here(smoke("evaluate.report_text.backend=coco"))


def with_reports() -> SimpleNamespace:
    """A pipeline whose studies have reports, of which the stored answers know nothing."""
    told = [replace(study, report=RIGHT[study.id]) for study in STUDIES]
    return last(told)


def table(folder: Path, pipeline: SimpleNamespace, settings: ReportTextSettings) -> pd.DataFrame:
    pipeline.cfg.evaluate.report_text = settings
    results.write(pipeline.cfg, folder, {"base": pipeline})
    return pd.read_csv(folder / "results.csv")


def test_stored_texts_are_measured_anew_under_other_settings(tmp_path: Path) -> None:
    stored(tmp_path, "base", NEVER)
    stored(tmp_path, "spd_mt", RIGHT)
    pipeline = with_reports()
    before = table(tmp_path, pipeline, ReportTextSettings())
    assert not before["metric"].str.contains(":").any()
    after = table(tmp_path, pipeline, ReportTextSettings(backend="python"))
    rouge = after[after["metric"] == "python:rouge_l"].set_index("arm")["value"]
    assert rouge["spd_mt"] == 1 and rouge["base"] < 1 and rouge["eager"] == rouge["base"]
    assert set(after[after["metric"] == "report_f1_micro_5"]["kind"]) == {"arm", "teacher"}
    kept = after[~after["metric"].str.contains(r":|^report_")].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before)
    pairs = pd.read_csv(tmp_path / "differences.csv").query("metric == 'python:rouge_l'")
    assert len(pairs) == 1 and pairs["low"].iat[0] > 0


def own_of(cfg: ExperimentSettings) -> Context:
    """The arm with its teachers' texts, and nothing trained."""
    own = Context(cfg, "base", 0, Phantom(train=4, val=2, test=2), RunFolder(Path("runs"), "x"))
    own.done["collect"] = StageFolder(Path("runs/store"), "collect", {})
    return own


def test_answers_do_not_depend_on_how_they_are_measured() -> None:
    plain, other = smoke(), smoke("evaluate.report_text={backend: coco, tokenizer: ptb, also: [radgraph]}")
    asked = [Evaluate(own_of(cfg)).inputs()["evaluate"] for cfg in (plain, other)]
    assert asked[0] == asked[1] and "report_text" not in asked[0] and asked[0]["split"] == "test"


def test_a_finished_folder_may_be_measured_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "smoke")
    (folder.path).mkdir(parents=True)
    before = config.to_dict(smoke())
    del before["evaluate"]["report_text"]  # as an earlier version wrote it
    (folder.path / "config.yaml").write_text(OmegaConf.to_yaml(before))
    (folder.path / "results.csv").write_text("arm\n")
    folder.require(config.to_dict(smoke("evaluate.report_text.backend=python")))
    with pytest.raises(ArtifactError, match=r"evaluate\.split was 'test', is 'val'"):
        folder.require(config.to_dict(smoke("evaluate.report_text.backend=python", "evaluate.split=val")))
