"""A fit goes on from the newest checkpoint that is whole and its own, and says which it passed over."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.distributed import checkpoint as sharded
from torch.utils.data import DataLoader

from apo_lightning.experiment.checkpoints import WholeFiles, newest
from apo_lightning.files.atomic import Unwritten


class Line(LightningModule):
    def __init__(self, width: int = 2) -> None:
        super().__init__()
        self.free = nn.Linear(width, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.free(batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(torch.ones(8, 2), batch_size=2, num_workers=0)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("store") / "spd-abc" / "checkpoints"
    keep = ModelCheckpoint(
        folder, "{step}", every_n_train_steps=2, monitor="step", mode="max", save_top_k=2, save_on_train_epoch_end=False
    )
    quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False)
    Trainer(accelerator="cpu", max_steps=4, callbacks=[keep], plugins=[WholeFiles()], **quiet).fit(Line())
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "spd-abc" / "checkpoints"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def hole(path: Path) -> None:
    """A stretch of zeros inside, as a power cut leaves: torch.load reads it without a word."""
    content = bytearray(path.read_bytes())
    state = torch.load(path, weights_only=True)["state_dict"]["free.weight"].numpy().tobytes()
    content[content.index(state) : content.index(state) + len(state)] = bytes(len(state))
    path.write_bytes(content)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_nowhere(path: Path) -> None:
    path.unlink()
    path.symlink_to("gone")


def pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def changed(**parts: object) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        torch.save({key: value for key, value in (content | parts).items() if value is not None}, path)

    return change


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"a"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "text": lambda path: path.write_text("not a checkpoint\n" * 99),
    "pickle opcode": lambda path: path.write_bytes(b"\x80\x04."),
    "cut off": cut,
    "a hole of zeros": hole,
    "a folder": folder_instead,
    "a dangling link": link_to_nowhere,
    "a pipe": pipe_instead,
    "a list": lambda path: torch.save([1], path),
    "foreign keys": lambda path: torch.save({"weights": torch.ones(3)}, path),
    "no optimiser": changed(optimizer_states=None),
    "no loops": changed(loops=None),
    "another step": changed(global_step=3),
    "another stage's": changed(callbacks={"ModelCheckpoint": {"dirpath": "/runs/store/apo-def/checkpoints"}}),
    "other parameters": changed(state_dict={"free.weight": torch.ones(1, 2)}),
    "no numbers": changed(state_dict={"free.weight": torch.full((1, 2), torch.nan), "free.bias": torch.ones(1)}),
    "other shapes": changed(state_dict={"free.weight": torch.ones(1, 3), "free.bias": torch.ones(1)}),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_one_is_passed_over_for_the_older_and_then_for_the_start(folder: Path, kind: str) -> None:
    new, old = folder / "step=4.ckpt", folder / "step=2.ckpt"
    DAMAGE[kind](new)
    found, problems = newest(folder, Line())
    assert found == old and len(problems) == 1 and problems[0].startswith(f"{new} cannot be continued from (")
    DAMAGE[kind](old)
    found, problems = newest(folder, Line())
    assert found is None and [problem.split(" cannot")[0] for problem in problems] == [str(new), str(old)]


def test_cut_off_anywhere_it_is_passed_over(written: Path, tmp_path: Path) -> None:
    """At 60 drawn bytes, and at the last ones."""
    whole = (written / "step=4.ckpt").read_bytes()
    lot = random.Random(0)
    folder = Path(shutil.copytree(written, tmp_path / "spd-abc" / "checkpoints"))
    for length in (*(lot.randrange(len(whole)) for _ in range(60)), len(whole) - 1, len(whole) - 22):
        (folder / "step=4.ckpt").write_bytes(whole[:length])
        found, problems = newest(folder, Line())
        assert found == folder / "step=2.ckpt" and "step=4.ckpt cannot be continued from (" in problems[0], length


def test_whole_ones_are_taken_newest_first_and_strays_are_left_alone(folder: Path) -> None:
    (folder / "notes.ckpt").write_text("mine")
    (folder / "step=x.ckpt").write_text("mine")
    shutil.copy(folder / "step=4.ckpt", folder / "step=4-v1.ckpt")
    assert newest(folder, Line()) == (folder / "step=4.ckpt", [])
    assert newest(folder / "none", Line()) == (None, [])
    assert newest(folder, Line(width=3))[0] is None


def test_code_in_a_checkpoint_is_not_run(folder: Path) -> None:
    class Deadly:
        def __reduce__(self) -> tuple[Callable, tuple]:
            return (Path.touch, (folder / "ran",))

    torch.save({"state_dict": Deadly()}, folder / "step=4.ckpt")
    assert newest(folder, Line())[0] == folder / "step=2.ckpt"
    assert not (folder / "ran").exists()


def test_a_write_that_fails_leaves_nothing_here_or_in_the_temporary_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    before = sorted(folder.iterdir())
    with pytest.raises(Unwritten) as caught:
        WholeFiles().save_checkpoint({"state_dict": torch.ones(9)}, folder / "step=6.ckpt")
    assert caught.value.filename == str(folder / "step=6.ckpt") and caught.value.needed > 36
    assert sorted(folder.iterdir()) == before and not list(elsewhere.iterdir())


def shards(folder: Path) -> Path:
    """The newest checkpoint in the form of FSDP2."""
    whole = torch.load(folder / "step=4.ckpt", weights_only=True)
    (folder / "step=4.ckpt").unlink()
    place = folder / "step=4.ckpt"
    sharded.save({"state_dict": whole.pop("state_dict")}, checkpoint_id=place, no_dist=True)
    whole.pop("optimizer_states")
    torch.save(whole, place / "meta.pt")
    return place


SHARD_DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing shard": lambda place: (place / "__0_0.distcp").unlink(),
    "shard cut off": lambda place: cut(place / "__0_0.distcp"),
    "zeros": lambda place: (place / "__0_0.distcp").write_bytes(bytes((place / "__0_0.distcp").stat().st_size)),
    "shard of text": lambda place: (place / "__0_0.distcp").write_text("text " * 999),
    "shard is a folder": lambda place: folder_instead(place / "__0_0.distcp"),
    "no index": lambda place: (place / ".metadata").unlink(),
    "index of zeros": lambda place: (place / ".metadata").write_bytes(bytes(99)),
    "no meta": lambda place: (place / "meta.pt").unlink(),
    "meta of one byte": lambda place: (place / "meta.pt").write_bytes(b"a"),
    "a file": lambda place: (shutil.rmtree(place), place.write_bytes(b"shards")),
}


@pytest.mark.parametrize("kind", SHARD_DAMAGE)
def test_shards_are_looked_at_too(folder: Path, kind: str) -> None:
    place = shards(folder)
    assert newest(folder, Line()) == (place, [])
    SHARD_DAMAGE[kind](place)
    found, problems = newest(folder, Line())
    assert found == folder / "step=2.ckpt" and problems[0].startswith(f"{place} cannot be continued from (")


RESUME = """
import os, shutil, sys
os.environ |= dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=sys.argv[2], RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
from pathlib import Path
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.distributed.fsdp import fully_shard
from apo_lightning.experiment.checkpoints import WholeFolders, newest
from tests.unit.experiment.test_checkpoints import Line

class Sharded(Line):
    def configure_model(self):
        fully_shard(self.free, mesh=self.device_mesh["data_parallel"])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)

def fit(found=None):
    torch.manual_seed(0)
    line, folder = Sharded(), Path(sys.argv[1])
    keep = ModelCheckpoint(folder, "{step}", every_n_train_steps=2, monitor="step", mode="max", save_top_k=2,
                           save_on_train_epoch_end=False)
    quiet = dict(logger=False, enable_progress_bar=False, enable_model_summary=False)
    strategy = WholeFolders(1)
    Trainer(accelerator="cpu", devices=1, max_steps=4, strategy=strategy, callbacks=[keep], **quiet).fit(
        line, ckpt_path=found, weights_only=True)
    return [parameter.full_tensor().tolist() for parameter in line.parameters()], folder

whole, folder = fit()
shutil.rmtree(folder / "step=4.ckpt")
found, problems = newest(folder, Line())
assert found == folder / "step=2.ckpt" and not problems, problems
assert fit(found)[0] == whole
"""


@pytest.mark.slow
def test_a_sharded_fit_goes_on_with_the_numbers_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Parameters and moments come back through the reader that runs nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    place = tmp_path / "spd-abc" / "checkpoints"
    done = subprocess.run([sys.executable, "-c", RESUME, str(place), port], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
