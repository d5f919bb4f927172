"""Content hashes (SHA-256) that say whether two computations would read the same bytes.

Every part goes in behind its own length, so that no two different inputs run together into the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

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
