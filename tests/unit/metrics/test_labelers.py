"""One face for who reads findings: our rules, and models of others through stand-ins of their packages."""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from apo_lightning.metrics.labelers import LABELERS
from apo_lightning.metrics.labelers import radgraph as radgraph_labeler
from apo_lightning.metrics.report_text import chexbert

FINDINGS = ("cardiomegaly", "edema", "pleural_effusion", "hernia")


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, **members: Any) -> None:
    module = ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(autouse=True)
def _no_model_is_kept() -> None:
    chexbert._labeler.cache_clear()
    radgraph_labeler._model.cache_clear()


def test_our_rules() -> None:
    got = LABELERS.lookup("rules")().read(["Possible edema. No effusion."], FINDINGS)
    np.testing.assert_array_equal(got, [[np.nan, 1, 0, np.nan]])


def test_chexbert_leaves_blank_what_is_not_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    class F1CheXbert:
        def __init__(self, device: str) -> None:
            pass

        def get_label(self, report: str, mode: str) -> list[Any]:
            assert mode == "classification"
            said: dict[str, Any] = {"edema": -1, "pleural_effusion": 0, "cardiomegaly": 1}
            return [said.get(name, "") for name in chexbert.ORDER]

    stand_in(monkeypatch, "f1chexbert", F1CheXbert=F1CheXbert)
    got = LABELERS["chexbert"]().read(["a report", " "], FINDINGS)
    np.testing.assert_array_equal(got, [[1, 1, 0, np.nan], [np.nan] * 4])


def test_radgraph_reads_observations_with_what_they_are_related_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def entity(tokens: str, label: str, start: int, *relations: list[str]) -> dict[str, Any]:
        return {"tokens": tokens, "label": label, "start_ix": start, "end_ix": start, "relations": list(relations)}

    found = {
        "1": entity("cardiac", "Anatomy::definitely present", 1),
        "2": entity("silhouette", "Anatomy::definitely present", 2, ["modify", "1"]),
        "3": entity("enlarged", "Observation::definitely present", 4, ["located_at", "2"], ["located_at", "1"]),
        "4": entity("effusion", "Observation::definitely absent", 7),
        "5": entity("edema", "Observation::uncertain", 9),
        "6": entity("edema", "Observation::definitely absent", 12),
    }

    class RadGraph:
        def __init__(self, model_type: str) -> None:
            assert model_type == "radgraph-xl"

        def __call__(self, texts: list[str]) -> dict[str, Any]:
            return {"0": {"text": texts[0], "entities": found}}

    stand_in(monkeypatch, "radgraph", RadGraph=RadGraph)
    got = LABELERS["radgraph"]().read(["a report", ""], FINDINGS)
    np.testing.assert_array_equal(got, [[1, 1, 0, np.nan], [np.nan] * 4])


@pytest.mark.parametrize("name", ["chexbert", "radgraph"])
def test_a_labeler_says_what_it_lacks(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    stand_in(monkeypatch, "f1chexbert" if name == "chexbert" else name)
    said = LABELERS[name]().lacking()
    assert said.startswith(f"The labeler is '{name}', and ") and "is not on this disk" in said
