"""GPUs that a plan may be made for: memory and dense 16-bit rate from their makers' datasheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        gb: memory, 10^9 bytes.
        tflops: dense bf16 (fp16 where a card has no bf16) products, without sparsity.
    """

    gb: float
    tflops: float


CARDS = {
    "h200": Card(141, 989),
    "h100": Card(80, 989),
    "a100": Card(80, 312),
    "a100-40": Card(40, 312),
    "l40s": Card(48, 362),
    "a6000": Card(48, 155),
    "rtx4090": Card(24, 165),
    "rtx3090": Card(24, 71),
    "a10": Card(24, 125),
    "l4": Card(24, 121),
    "rtx4070": Card(12, 117),
}
USE = {"packed": 0.34, "joint": 0.29, "branchwise": 0.16, "separate": 0.047}
"""Of the dense rate that products forward and for gradients of inputs reach: Qwen2.5-VL 7B on an H100, 1,400 prompt
tokens, 1 + 7 answers of 300, branchwise four at a time (docs/results/gpu_proof). Shorter prompts fill the card less."""
RECOMPUTED = 0.75
"""What is left of it where layers run twice forward."""
TOKEN_SECONDS = {"eager": 0.046, "compiled": 0.021}
"""Of a step of writing with an adapter, 28 layers; it waits for launches, so the card and the batch matter little."""
EVALUATED_LAYERS = 28
