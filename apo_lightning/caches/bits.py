"""Token ids in as many bits each as the largest may need: 18 for a vocabulary of 151,936, where int32 takes 32."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def bits_of(vocabulary: int) -> int:
    """Bits of an id below ``vocabulary``.

    >>> bits_of(49152), bits_of(151936), bits_of(1)
    (16, 18, 1)
    """
    return max(1, (vocabulary - 1).bit_length())


def pack(ids: Tensor, bits: int) -> Tensor:
    """Ids of any shape, in order, highest bit first, without gaps; the last byte is filled with zeros.

    Returns:
        uint8, ``ceil(count * bits / 8)``.

    Raises:
        ValueError: an id needs more bits, or is negative.

    >>> pack(torch.tensor([5, 1, 7]), 3).tolist()  # 101 001 11|1 0000000
    [167, 128]
    """
    values = ids.reshape(-1).to(torch.int64).cpu().numpy()
    if values.size and (values.min() < 0 or values.max() >= 1 << bits):
        raise ValueError(f"ids must be in [0, {1 << bits}), got {values.min()} to {values.max()}")
    each = (values[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return torch.from_numpy(np.packbits(each.astype(np.uint8)))


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """``count`` ids, int64.

    Raises:
        ValueError: ``packed`` has another length than so many ids have.

    >>> unpack(torch.tensor([167, 128], dtype=torch.uint8), 3, 3).tolist()
    [5, 1, 7]
    """
    if packed.dtype != torch.uint8 or len(packed) != -(-count * bits // 8):
        raise ValueError(f"{count} ids of {bits} bits must be {-(-count * bits // 8)} bytes, got {len(packed)}")
    each = np.unpackbits(packed.numpy(), count=count * bits).reshape(count, bits)
    return torch.from_numpy(each.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64)))
