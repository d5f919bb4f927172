"""What the benchmarks compute around the measurement: texts of given length, slopes, crosses, and the peak itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from conftest import ROOT

from data_modules.chestxray14 import ChestXray14
from data_modules.mimic_cxr import MIMICCXR


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of benchmarks/, which is a folder of scripts, as it sees its neighbours."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__(name)


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("common", monkeypatch)


@pytest.fixture
def cost(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("cost", monkeypatch)


@pytest.mark.parametrize(("prompt", "side"), [(48, 5), (450, 17), (1400, 30)])
def test_a_batch_has_the_lengths_asked_for(common: ModuleType, prompt: int, side: int) -> None:
    own = common.processor()
    batch = common.to_batch(common.Setup(prompt=prompt, answer=33, negatives=2, tiny=True), own)
    image = own.tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert batch.prefix_ids.shape == (1, prompt) and batch.branch_ids.shape == (1, 3, 33)
    assert (batch.prefix_ids == image).sum() == side**2 == batch.vision["image_grid_thw"].prod() // 4
    assert (batch.branch_ids[0, :, -1] == own.tokenizer.eos_token_id).all()
    assert len(set(map(tuple, batch.branch_ids[0].tolist()))) == 3


def test_fill_ends_on_the_token(common: ModuleType) -> None:
    tokenizer = common.processor().tokenizer
    for count in range(12):
        text = common.fill(tokenizer, ["cardiomegaly", "and", "something", "xylophonic"], count)
        assert len(tokenizer(text, add_special_tokens=False)["input_ids"]) == count


def test_steps_take_turns(common: ModuleType) -> None:
    order: list[str] = []
    seconds = common.alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b"] * 3
    assert [len(row) for row in seconds.values()] == [3, 3]
    assert common.spread([4.0, 1.0, 2.0]) == {"median_s": 2.0, "min_s": 1.0, "max_s": 4.0}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_is_what_a_step_holds_at_most() -> None:
    """In a process of its own, as peaks are measured: other threads of this one hold memory too."""
    code = """
import torch
from common import peak_mb

def step():
    torch.ones(10_000_000).sum()  # 40 MB, given back
    torch.ones(20_000_000).sum()  # 80 MB

torch.ones(50_000_000).sum()  # a higher mark from before does not count
print(peak_mb(step))
"""
    given = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=given)
    assert 75 < float(done.stdout.split()[-1]) < 95


def test_cross_meets_once(cost: ModuleType, common: ModuleType) -> None:
    middle = common.Setup(prompt=450, negatives=7)
    found = [(one.prompt, one.negatives) for one in cost.points(middle, [1, 7], [200, 450])]
    assert found == [(450, 1), (450, 7), (200, 7)]


def test_slopes_take_one_arm_of_the_cross_each(cost: ModuleType, common: ModuleType) -> None:
    """Seconds 1 + 2 N + 0.01 P and MB 10 N + 0.5 P, at (450, 1), (450, 3), (200, 3)."""
    places = [(450, 1), (450, 3), (200, 3)]
    rows = [
        dict(mode=mode, prompt=p, negatives=n, median_s=1 + 2 * n + p / 100, peak_mb=10 * n + p / 2)
        for mode in cost.MODES
        for p, n in places
    ]
    table = cost.slopes(pd.DataFrame(rows), common.Setup(prompt=450, negatives=3)).set_index("mode")
    assert table.loc["joint"].tolist() == pytest.approx([2, 10, 10, 500])
    assert len(table) == 3


def test_the_made_up_mimic_has_the_official_shape(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """1,000 rows: 604 studies of 173 patients, as 377,110 are 227,835 of 65,379; the same each time."""
    made_up = load("made_up", monkeypatch)
    every = [MIMICCXR(**made_up.mimic_index(tmp_path / name, 1_000), views=[], max_images=9) for name in ("a", "b")]
    studies, again = (data.read_index() for data in every)
    assert len(studies) + every[0].left_out["no label"] == 604
    assert len({study.patient for study in studies}) <= 173 and not every[0].faults
    images = pd.read_csv(tmp_path / "a/mimic-cxr-2.0.0-metadata.csv.gz")
    assert (len(images), images["study_id"].nunique(), images["subject_id"].nunique()) == (1_000, 604, 173)
    assert [study.id for study in again] == [study.id for study in studies]


def test_the_made_up_nih_can_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """400 rows of 109 patients, a quarter of whom are tested on; 5 images of 1,024 pixels of which all are there."""
    made_up = load("made_up", monkeypatch)
    index = ChestXray14(root=str(made_up.nih_index(tmp_path / "index", 400))).index
    assert len(index) == 400 and {int(s.patient) % 4 for s in index if s.split == "test"} == {0}
    data = ChestXray14(root=str(made_up.nih_folder(tmp_path / "images", 5)))
    assert [data.images(s)[0].size for s in data.studies("test")] == [(1024, 1024)] * 2


def test_the_data_benchmark_says_what_an_index_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made_up, bench = load("made_up", monkeypatch), load("data", monkeypatch)
    cost = bench.read_index("chestxray14", {"root": str(made_up.nih_index(tmp_path / "index", 400))})
    assert cost["studies"] == 400 and cost["seconds"] > 0 and cost["whole_mb"] > 0
