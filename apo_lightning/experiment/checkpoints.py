"""Checkpoints of an interrupted fit: written whole, and looked at before a fit goes on from one.

Two forms: one file, or under FSDP2 a folder of shards; a fit goes on from either, whatever its own strategy writes.
Both are read with ``weights_only``: no code comes out of them.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import FSDPModule

from apo_lightning.errors import first_line
from apo_lightning.experiment import layouts
from apo_lightning.files.atomic import remove, write_bytes
from apo_lightning.files.characters import visible

NAME = re.compile(r"step=(\d+)(?:-v\d+)?\.ckpt")
"""Of the files that Lightning writes for us; others in the folder are left alone."""
PARTS = ("state_dict", "optimizer_states", "lr_schedulers", "loops", "callbacks", "global_step", "epoch")
META = "meta.pt"
"""Lightning's part of a folder of shards."""


class WholeFiles(TorchCheckpointIO):
    """Lightning's own goes through the system's temporary folder, where a full disk leaves half a file."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """
        Raises:
            Unwritten: the disk did not take it; nothing is left.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(Path(path), buffer.getbuffer())

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Of either form: a folder of shards is put together."""
        path = Path(path)
        return _load(path / META) | layouts.from_shards(path) if path.is_dir() else _load(path)


class WholeFolders(ModelParallelStrategy):
    """FSDP2, whose shards are removed where one of them could not be written, and which reads back what was trained:
    Lightning's own asks a checkpoint for the frozen parameters too, and ours (`Stage.on_save_checkpoint`) has none.

    Args:
        processes: that share the parameters.
        cpu_offload: keep them, their gradients and the optimiser's state in the host's memory, and bring a layer to the
            device while it computes.
    """

    def __init__(self, processes: int, *, cpu_offload: bool = False) -> None:
        # gradients in the host's memory are summed there, which NCCL cannot
        backend = "cpu:gloo,cuda:nccl" if cpu_offload and torch.cuda.is_available() else None
        super().__init__(data_parallel_size=processes, tensor_parallel_size=1, process_group_backend=backend)
        self.cpu_offload = cpu_offload

    def model_to_device(self) -> None:
        """Parameters that are kept in the host's memory stay there; buffers do not."""
        if not self.cpu_offload:
            return super().model_to_device()
        for module in self.model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                module._buffers[name] = buffer.to(self.root_device)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        try:
            super().save_checkpoint(checkpoint, filepath, storage_options)
        except BaseException:
            if self.is_global_zero:
                remove(Path(filepath))
            raise

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        from torch.distributed.checkpoint.state_dict import (
            StateDictOptions,
            get_optimizer_state_dict,
            set_optimizer_state_dict,
        )

        from apo_lightning.experiment.shard_files import load_safely

        path = Path(self.broadcast(checkpoint_path))
        if not path.is_dir():
            content = _load(path)
            layouts.spread(content, self.model, self.optimizers)
            return {key: value for key, value in content.items() if key not in ("state_dict", "optimizer_states")}
        load_trained(self.model, path)
        for number, optimizer in enumerate(self.optimizers):
            state = {f"optimizer_{number}": get_optimizer_state_dict(self.model, optimizer)}
            load_safely(state, path)
            own = state[f"optimizer_{number}"]
            set_optimizer_state_dict(self.model, optimizer, own, options=StateDictOptions(cpu_offload=True))
        return _load(path / META)


def step_of(path: Path) -> int:
    """
    >>> step_of(Path("checkpoints/step=50-v1.ckpt"))
    50
    """
    return int(NAME.fullmatch(path.name)[1])


def load_trained(stage: nn.Module, path: Path) -> None:
    """Put what was trained from a checkpoint, of either form, into ``stage``. Every process must call it.

    Raises:
        Exception: of nearly any kind, where it is damaged.
    """
    if path.is_dir():
        from torch.distributed.checkpoint.state_dict import get_model_state_dict

        from apo_lightning.experiment.shard_files import load_safely

        names = {name for name, parameter in stage.named_parameters() if parameter.requires_grad}
        trained = {name: value for name, value in get_model_state_dict(stage).items() if name in names}
        load_safely({"state_dict": trained}, path)
    elif any(isinstance(module, FSDPModule) for module in stage.modules()):
        layouts.spread(_load(path), stage, ())
        return
    else:
        trained = _load(path)["state_dict"]
    stage.load_state_dict(trained, strict=False)


def newest(folder: Path, stage: LightningModule) -> tuple[Path | None, list[str]]:
    """The latest checkpoint in ``folder`` that ``stage`` can go on from, and a sentence for each later one that is
    damaged or another stage's. None is removed."""
    named = [(NAME.fullmatch(path.name), path) for path in folder.glob("*.ckpt")]
    found = sorted(((int(name[1]), path.name, path) for name, path in named if name), reverse=True)
    problems: list[str] = []
    for step, _, path in found:
        try:
            if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
                raise ValueError("it is no file")
            _require_whole(path, step, stage)
        except Exception as error:  # unpickling raises nearly anything
            problems.append(f"{path} cannot be continued from ({_said(error)})")
        else:
            return path, problems
    return None, problems


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{Path(error.filename).name}: {error.strerror}"
    return visible(first_line(error))


def _require_whole(path: Path, step: int, stage: LightningModule) -> None:
    wanted = {name: tuple(p.shape) for name, p in stage.named_parameters() if p.requires_grad}
    if path.is_dir():
        shapes, content = _shards(path), _load(path / META)
        parts = [name for name in PARTS if name not in ("state_dict", "optimizer_states")]
    else:
        content, parts = _load(path), PARTS
        state = content.get("state_dict", {})
        shapes = {name: tuple(value.shape) for name, value in state.items()}
        if broken := next((name for name, value in state.items() if not value.isfinite().all()), None):
            raise ValueError(f"parameter {broken} is no finite number")
    lacking = [name for name in parts if name not in content]
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking)}")
    if content["global_step"] != step:
        raise ValueError(f"it is of step {content['global_step']}")
    homes = {Path(own["dirpath"]).parent.name for own in content["callbacks"].values() if "dirpath" in own}
    if homes - {path.absolute().parent.parent.name}:
        raise ValueError(f"it belongs to {', '.join(homes)}")
    for name, shape in wanted.items():
        if shapes.get(name) != shape:
            raise ValueError(f"parameter {name} must be {shape}, is {shapes.get(name, 'missing')}")


def _load(path: Path) -> dict[str, Any]:
    """
    Raises:
        Exception: of nearly any kind, where the file is not what torch.save wrote.
    """
    _require_checksums(path)
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(content, dict):
        raise ValueError("it is no checkpoint")
    return content


def _shards(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters in a folder of shards, all of which are there and whole.

    Raises:
        Exception: see `_load`.
    """
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    from apo_lightning.experiment.shard_files import SafeReader

    index = SafeReader(path).read_metadata()
    tensors = {k: m for k, m in index.state_dict_metadata.items() if isinstance(m, TensorStorageMetadata)}
    for item, place in index.storage_data.items():
        with (path / place.relative_path).open("rb") as file:
            file.seek(place.offset)
            piece = file.read(place.length)
        if len(piece) < place.length:
            raise ValueError(f"{place.relative_path} is cut off")
        if item.fqn in tensors:
            _require_checksums(io.BytesIO(piece), place.relative_path)
        else:
            torch.load(io.BytesIO(piece), weights_only=True)
    own = "state_dict."
    return {name.removeprefix(own): tuple(m.size) for name, m in tensors.items() if name.startswith(own)}


def _require_checksums(file: Path | io.BytesIO, name: str = "it") -> None:
    """torch.load compares no checksums, although torch.save writes them."""
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{name} is cut off, or was never a checkpoint")
    with zipfile.ZipFile(file) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"{name} is damaged in {damaged}")
