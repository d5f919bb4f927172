"""Metrics that need packages and weights of others: said to be lacking, and used through stand-ins of their faces."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from apo_lightning.metrics.report_text import TEXT_METRICS, chexbert, radeval, radgraph
from apo_lightning.metrics.report_text.measured import lacking, report_outcomes
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.types import Study

STUDIES = [Study("a", "p", "test", (), {}, report="edema"), Study("b", "q", "test", (), {}, report="fracture")]
TEXTS = {"a": "edema", "b": ""}
PACKAGES = {"chexbert": "f1chexbert", "radgraph": "radgraph", "radeval": "RadEval"}


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def values(name: str) -> dict[str, float]:
    found = report_outcomes(TEXTS, STUDIES, ReportTextSettings(backend="python", also=[name]))[0].rows()
    return {metric: value for metric, _, value in found if metric.startswith(f"{name}:")}


@pytest.fixture(autouse=True)
def _no_model_is_kept() -> None:
    for held in (chexbert._labeler, radgraph._scorer, radeval._scorer):
        held.cache_clear()


@pytest.mark.parametrize("name", PACKAGES)
def test_packages_and_weights_that_are_not_here(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    settings = ReportTextSettings(backend="python", also=[name])
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    monkeypatch.delitem(sys.modules, PACKAGES[name])
    if not TEXT_METRICS[name](settings).lacking():
        pytest.skip(f"{PACKAGES[name]} is installed")
    (said,) = lacking(settings)
    assert said.startswith(f"evaluate.report_text.also names '{name}', and the package {PACKAGES[name]} is not")
    stand_in(monkeypatch, PACKAGES[name])
    (said,) = lacking(settings)
    assert "is not on this disk; use" in said and said.endswith(f"Or leave '{name}' out.")


def test_weights_in_the_packages_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stand_in(monkeypatch, "radgraph")
    settings = ReportTextSettings(backend="python", also=["radgraph"])
    assert "radgraph-xl.tar.gz is not on this disk" in lacking(settings)[0]
    file = tmp_path / "radgraph" / "0.1.18" / "radgraph-xl.tar.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"weights")
    assert lacking(settings) == []


def test_chexbert(monkeypatch: pytest.MonkeyPatch) -> None:
    class F1CheXbert:
        def __init__(self, device: str) -> None:
            pass

        def get_label(self, report: str) -> list[int]:
            return [int(name in report) for name in chexbert.ORDER]

    stand_in(monkeypatch, "f1chexbert", F1CheXbert=F1CheXbert)
    got = values("chexbert")
    assert got["chexbert:f1_micro_14"] == pytest.approx(2 / 3)
    assert got["chexbert:f1_macro_14"] == pytest.approx(1 / 2)
    assert got["chexbert:f1_micro_5"] == got["chexbert:f1_macro_5"] == 1


def test_radgraph(monkeypatch: pytest.MonkeyPatch) -> None:
    def scorer(reward_level: str, model_type: str) -> Any:
        assert (reward_level, model_type) == ("all", "radgraph-xl")
        return lambda hyps, refs: ((0, 0, 0), ([1.0, 0.5], [1.0, 0.0], [0.5, 0.0]), [], [])

    stand_in(monkeypatch, "radgraph", F1RadGraph=scorer)
    assert values("radgraph") == {"radgraph:simple": 0.75, "radgraph:partial": 0.5, "radgraph:complete": 0.25}


def test_radeval(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluator(**switches: bool) -> Any:
        assert switches["do_per_sample"]
        return lambda refs, hyps: {"ratescore": [float(a == b) for a, b in zip(refs, hyps, strict=True)]}

    stand_in(monkeypatch, "RadEval", RadEval=evaluator)
    assert values("radeval") == {"radeval:ratescore": 0.5}
