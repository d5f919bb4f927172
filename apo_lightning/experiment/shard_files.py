"""Reading folders of shards (FSDP2) without running what they hold.

torch unpickles the index of such a folder, and what in it is no tensor, without restriction: a planted one would run
as this user. Here the index may name torch's own plain records alone, and the rest is read with ``weights_only``.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import (
    CheckpointException,
    DefaultLoadPlanner,
    FileSystemReader,
    filesystem,
    load,
    metadata,
)
from torch.distributed.checkpoint._nested_dict import set_element
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

from apo_lightning.errors import ArtifactError, first_line
from apo_lightning.files.atomic import removal

RECORDS = {
    metadata: (
        "Metadata",
        "MetadataIndex",
        "TensorStorageMetadata",
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "TensorProperties",
        "StorageMeta",
        "_MEM_FORMAT_ENCODING",
    ),
    filesystem: ("_StorageInfo",),
    torch: ("Size",),
    torch.serialization: ("_get_layout",),
}
"""What an index is made of, by module."""
ALLOWED = {(module.__name__, name): getattr(module, name) for module, names in RECORDS.items() for name in names}
PATHS = ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")


class _Index(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in ALLOWED:
            return ALLOWED[module, name]
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        if module.split(".")[0] == "pathlib" and name in PATHS:
            return Path
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no index of shards does; nothing of it was run")


def load_safely(state: dict[str, Any], path: Path) -> None:
    """``torch.distributed.checkpoint.load`` of a folder, in place. Every process must call it.

    Raises:
        ArtifactError: it is damaged, or holds what would run.
    """
    with _said(path):
        load(state, storage_reader=SafeReader(path), planner=SafePlanner())


def load_all_safely(path: Path) -> dict[str, Any]:
    """Everything in a folder of shards, whole, for this process alone.

    Raises:
        ArtifactError: see `load_safely`.
    """
    state: dict[str, Any] = {}
    with _said(path):
        _load_state_dict(state, storage_reader=SafeReader(path), planner=SafeEmptyPlanner(), no_dist=True)
    return state


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointException as error:  # which is no Exception
        cause = next((cause for cause, _ in error.failures.values()), error)
        raise ArtifactError(
            f"{path} cannot be continued from ({first_line(cause)}). Remove it and run again, which goes on from an "
            f"earlier one: {removal(path)}"
        ) from error


class SafeReader(FileSystemReader):
    """torch's reader, whose index is data."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> metadata.Metadata:
        """
        Raises:
            Exception: of nearly any kind, where the index is not what torch wrote.
        """
        rank = kwargs.get("rank")
        with (Path(self.path) / (".metadata" if rank is None else f"__{rank}.metadata")).open("rb") as file:
            index = _Index(file).load()
        if not isinstance(index, metadata.Metadata):
            raise ValueError("its index is none")
        for place in (index.storage_data or {}).values():
            if Path(place.relative_path).name != place.relative_path:
                raise ValueError(f"its index names {place.relative_path}, which is not in the folder")
        index.storage_meta = getattr(index, "storage_meta", None) or metadata.StorageMeta()
        index.storage_meta.load_id = self.load_id
        return index


class SafePlanner(DefaultLoadPlanner):
    """torch's planner, which takes out of shards what ``weights_only`` takes."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        name, content = read_item.dest_index.fqn, torch.load(value, weights_only=True)
        if self.flatten_state_dict:
            set_element(self.original_state_dict, self.mappings[name], content)
        else:
            self.state_dict[name] = content


class SafeEmptyPlanner(SafePlanner, _EmptyStateDictLoadPlanner):
    """The same, which begins with nothing and takes all that there is."""
