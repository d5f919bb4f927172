"""What surrounds a fit, beside how it was done before, on a made-up network of a given size.

guard: checksums of all frozen parameters, beside SHA-1 over their bytes on the CPU; digest: a model folder's content
hash when it is remembered, beside reading it; network: modules around tensors that are there, beside reading them. Each
pair runs in turn on the same inputs; medians and their ratio are printed.

    python benchmarks/overheads.py [--gigabytes 2] [--repeats 3] [--device cpu]
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from lightning.pytorch import LightningModule
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import nn

from apo_lightning.hashing.contents import SETTLED, file_digest, remembered_digest
from apo_lightning.models.network import share
from callbacks.frozen_guard import checksums

WIDTH, HIDDEN = 3584, 18944
"""Of the 7B student's decoder."""


def network(gigabytes: float) -> LightningModule:
    """Frozen bfloat16 layers of the 7B student's largest shape."""
    count = max(1, round(gigabytes * 1e9 / (2 * WIDTH * HIDDEN)))
    module = LightningModule()
    module.layers = nn.ModuleList(nn.Linear(WIDTH, HIDDEN, bias=False, dtype=torch.bfloat16) for _ in range(count))
    return module.requires_grad_(False)


def sha1(module: nn.Module) -> dict[str, str]:
    """As the guard did before."""
    return {
        name: hashlib.sha1(p.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, p in module.named_parameters()
    }


def read(file: Path, device: str) -> list[torch.Tensor]:
    """All tensors of a file in memory of their own."""
    return [value.clone() for value in load_file(file, device=device).values()]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    own = parser.parse_args()
    module = network(own.gigabytes).to(own.device)
    table = Table("what", "now, s", "before, s", "before / now")
    with tempfile.TemporaryDirectory() as scratch:
        folder, memory = Path(scratch) / "model", Path(scratch) / "digests.json"
        folder.mkdir()
        save_file({k: v.cpu() for k, v in module.state_dict().items()}, folder / "model.safetensors")
        time.sleep(SETTLED + 0.5)
        remembered_digest(folder, memory)
        pairs = {
            "guard": (lambda: checksums(module), lambda: sha1(module)),
            "digest": (lambda: remembered_digest(folder, memory), lambda: file_digest(folder)),
            "network": (lambda: share(module), lambda: read(folder / "model.safetensors", own.device)),
        }
        for name, ways in pairs.items():
            taken = [[seconds(way) for way in ways] for _ in range(own.repeats)]
            now, before = (statistics.median(column) for column in zip(*taken, strict=True))
            table.add_row(name, f"{now:.4f}", f"{before:.3f}", f"{before / now:.0f}x")
    Console().print(table)


if __name__ == "__main__":
    main()
