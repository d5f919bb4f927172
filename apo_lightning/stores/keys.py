"""Content hashes (SHA-256) that say whether two computations would read the same bytes.

Every part goes in behind its own length, so that no two different inputs run together into the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from apo_lightning.errors import ArtifactError

if TYPE_CHECKING:
    from hashlib import _Hash

CHUNK = 1 << 26
"""Bytes of a tensor that are brought to the CPU at a time."""


def image_key(tensors: Mapping[str, Tensor]) -> bytes:
    """Key of one image as the network sees it.

    Args:
        tensors: the processor's outputs for this image alone (its patches, its grid), by name, in any order.

    Returns:
        32 bytes over names, dtypes, shapes and contents.
    """
    total = hashlib.sha256(b"image")
    _add_tensors(total, tensors.items())
    return total.digest()


def prompt_key(image_keys: Sequence[bytes], prefix_ids: Sequence[int]) -> bytes:
    """Key of a prompt: its images in order (`image_key`) and its token ids without padding."""
    total = hashlib.sha256(b"prompt")
    _add_parts(total, [*image_keys, _packed(prefix_ids)])
    return total.digest()


def branch_key(prompt: bytes, branch_ids: Sequence[int]) -> bytes:
    """Key of an answer: its prompt (`prompt_key`) and its token ids without padding."""
    total = hashlib.sha256(b"branch")
    _add_parts(total, [prompt, _packed(branch_ids)])
    return total.digest()


def weights_key(model: nn.Module) -> str:
    """Key of a loaded, frozen model: names, dtypes, shapes and bytes of all parameters and buffers.

    4-bit weights count with their scales. What no tensor shows (number of heads, epsilons) is not in it: the identity
    of a store needs the configuration's hash beside this one. Take it before the first forward pass: bitsandbytes
    may pack 4-bit weights anew there, on a CPU.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: a parameter requires a gradient, so that the key would change with every step.
    """
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if trained:
        raise ValueError(
            f"weights_key is for frozen models, but {len(trained)} parameters require a gradient, {trained[0]} first. "
            "Take the key before the model is made trainable, or of its frozen copy."
        )
    total = hashlib.sha256(b"weights")
    _add_tensors(total, chain(model.named_parameters(), model.named_buffers(), _scales(model)))
    return total.hexdigest()


def folder_key(path: Path) -> str:
    """Key of a saved model: names and contents of all files of a folder, or one file's content.

    Returns:
        64 hexadecimal digits.

    Raises:
        ArtifactError: there is no file.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    if not files or not files[0].exists():
        raise ArtifactError(f"{path} holds no file. Name the folder of a saved model.")
    total = hashlib.sha256()
    for file in files:
        total.update(str(file.relative_to(path)).encode())
        with file.open("rb") as source:
            total.update(hashlib.file_digest(source, "sha256").digest())
    return total.hexdigest()


def _scales(model: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Quantisation state of 4-bit parameters, which is neither a parameter nor a buffer."""
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            yield from ((f"{name}.{part}", tensor) for part, tensor in state.as_dict(packed=True).items())


def _packed(ids: Sequence[int]) -> bytes:
    return np.asarray(ids, dtype="<i8").tobytes()


def _add_parts(total: _Hash, parts: Iterable[bytes]) -> None:
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)


def _add_tensors(total: _Hash, named: Iterable[tuple[str, Tensor]]) -> None:
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        _add_parts(total, [json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode()])
        for chunk in tensor.detach().reshape(-1).view(torch.uint8).split(CHUNK):  # numpy has no bfloat16
            total.update(chunk.cpu().numpy())
