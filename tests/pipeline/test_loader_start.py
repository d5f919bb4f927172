"""Loading processes start in every mixture of data, disturbance, workers and logging, and show the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from apo_lightning.types import Example
from data_modules.loading.workers import PRELOADED, loading
from data_modules.phantom import Phantom
from tests.helpers.tabular_folder import tabular_folder
from tests.pipeline.conftest import ROOT

CELLS = list(product(("none", "mild"), (0, 2), ("offline", "disabled")))


def where(items) -> tuple[int, bool]:
    """Parent of the process that loads, and whether it had MONAI before it was asked for an image."""
    return os.getppid(), "monai.transforms" in sys.modules


@pytest.fixture
def busy() -> Iterator[None]:
    """A thread that holds a lock while workers start, as W&B's do: a fork would copy it, locked for ever."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    yield
    done.set()
    thread.join()


@pytest.mark.parametrize("kind", ["train", "predict"])
def test_workers_are_not_forked_from_this_process(busy, kind):
    data = Phantom(train=4, val=1, test=1, augment="mild", num_workers=1)
    examples = [Example(study) for study in data.studies("train")]
    data.connect(collate=where, batch_studies=2, seed=0, **{kind: examples}, steps=2)
    loader = data.train_dataloader() if kind == "train" else data.predict_dataloader()
    batch = next(iter(loader))
    parent, had_monai = batch if kind == "train" else batch[1]
    assert parent not in (os.getpid(), os.getppid())
    assert had_monai


def test_without_workers_nothing_is_started():
    assert loading(0) == {"num_workers": 0}
    assert loading(2)["multiprocessing_context"] != "fork"
    assert not [name for name in PRELOADED if name.startswith(("apo_lightning", "data_modules"))]


def metrics(folder: Path, *settings: str) -> list[dict]:
    """What SPD logged, in a process of its own that has imported nothing of ours before."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "apo_lightning",
            "run",
            str(ROOT / "experiments/smoke.yaml"),
            "only=[spd_mt]",
            "trainer.accelerator=cpu",
            f"runs_dir={folder}",
            *settings,
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    [file] = folder.glob("store/spd-*/metrics.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [{name: value for name, value in row.items() if "time" not in name and "second" not in name} for row in rows]


def test_a_run_with_workers_logs_what_one_without_does(words, tmp_path):
    own = [*words, "wandb.mode=disabled"]
    assert metrics(tmp_path / "two", *own, "data.num_workers=2") == metrics(tmp_path / "none", *own)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phantom", "tabular"])
def test_every_mixture_trains_and_logs_the_same(words, tmp_path, name):
    """Workers and logging change nothing; disturbing images does."""
    data = []
    if name == "tabular":
        folder = tabular_folder(tmp_path / "set")
        data = ["data.name=tabular", f"data.root={folder}", "data.index_file=table.csv", "data.split=split"]
        words = [word for word in words if not word.startswith("data.")]
    found = {}
    for augment, workers, mode in CELLS:
        settings = [f"data.augment={augment}", f"data.num_workers={workers}", f"wandb.mode={mode}"]
        found[augment, workers, mode] = metrics(tmp_path / f"{augment}{workers}{mode}", *words, *data, *settings)
    for (augment, *rest), rows in found.items():
        assert rows == found[augment, 0, "disabled"], (augment, rest)
    assert found["none", 0, "disabled"] != found["mild", 0, "disabled"]
