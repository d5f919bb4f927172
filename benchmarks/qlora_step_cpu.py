"""One QLoRA step of the critique at the full size of Qwen2.5-VL 7B on a CPU: 1 + 7 answers, random weights, 9 GB.

The network is built without memory and filled layer by layer: each matrix of the decoder is drawn in bfloat16, put into
4 bits (NF4, double quantisation) and its 16-bit copy dropped before the next one is drawn. Tower, embedding and head
stay in bfloat16. All else is the product's own path: `Student.load`, `make_trainable`, the stage `apo` under a
``lightning.Trainer``, so that student, reference, loss and optimiser are those of a run.

    python benchmarks/qlora_step_cpu.py [--out build/qlora_step_cpu.json] [--seed 0]   # 9 GB
    python benchmarks/qlora_step_cpu.py --tiny                                         # the same code, in seconds
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apo_lightning  # noqa: F401  # before torch, whose waiting threads it lets sleep

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from accelerate import init_empty_weights
from common import Setup, processor, to_batch
from gpu_parts import config
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from apo_lightning.layers import use_fused_norms
from apo_lightning.losses import LOSSES
from apo_lightning.models.families import WHOLE
from apo_lightning.models.network import Networks, quantization_config
from apo_lightning.models.student import Student
from apo_lightning.scoring import Parts
from apo_lightning.settings import AdapterSettings, OptimSettings, StudentSettings
from apo_lightning.stages import STAGES
from callbacks.frozen_guard import FrozenGuard

LR = 5e-7
"""Of the authors' scripts."""
SPREAD = 0.02
"""Standard deviation of random weights, as the published configuration has it."""


def network(settings: StudentSettings, architecture: Qwen2_5_VLConfig, seed: int, say: Callable[[str], None]) -> Any:
    """A frozen network of random weights, as `models.network.load_network` would have read it for QLoRA."""
    with init_empty_weights(include_buffers=False):
        model = AutoModelForImageTextToText.from_config(
            architecture,
            dtype=getattr(torch, settings.dtype),
            attn_implementation=settings.attention,
            trust_remote_code=False,
        )
    model = replace_with_bnb_linear(model, list(WHOLE), quantization_config(settings))
    model.is_loaded_in_4bit = True
    fill(model, getattr(torch, settings.dtype), torch.Generator().manual_seed(seed), say)
    use_fused_norms(model)
    return model.requires_grad_(False).eval()


def fill(model: nn.Module, dtype: torch.dtype, generator: torch.Generator, say: Callable[[str], None]) -> None:
    """Give every parameter of an empty network its memory, one after the other: matrices are drawn, norms are 1, biases
    0; what belongs to a layer of 4 bits is put into 4 bits at once."""
    layers, empty = Parts.of(model).decoder.layers, [m for m in model.modules() if list(m._parameters)]
    firsts = {id(layer.self_attn.q_proj): place for place, layer in enumerate(layers)}
    for module in empty:
        if id(module) in firsts:
            say(f"layer {firsts[id(module)] + 1} of {len(layers)}")
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, filled(module, name, drawn(name, parameter.shape, dtype, generator)))


def drawn(name: str, shape: torch.Size, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    if len(shape) > 1:
        return torch.empty(shape, dtype=dtype).normal_(0, SPREAD, generator=generator)
    return (torch.zeros if name == "bias" else torch.ones)(shape, dtype=dtype)


def filled(module: nn.Module, name: str, values: Tensor) -> nn.Parameter:
    from bitsandbytes.nn import Linear4bit, Params4bit

    if not isinstance(module, Linear4bit) or name != "weight":
        return nn.Parameter(values, requires_grad=False)
    kept = dict(requires_grad=False, quant_type="nf4", compress_statistics=True, module=module)
    return Params4bit(values, **kept).to("cpu")


class Filled(Networks):
    """Hands out the random network in the place of one that is read from disk."""

    def __init__(self, make: Callable[[StudentSettings], nn.Module]) -> None:
        super().__init__()
        self.make = make

    def take(self, settings: StudentSettings) -> nn.Module:
        return self.make(settings)


class Seen(Callback):
    """What the step was: its loss, and the norm of the gradient before it is clipped."""

    loss = gradient = math.nan

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        grads = [p.grad for p in pl_module.parameters() if p.grad is not None]
        self.gradient = float(torch.nn.utils.get_total_norm(grads))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.loss = float(outputs["loss"])


def digests(module: nn.Module) -> dict[str, int]:
    """Checksum of all bytes of each frozen parameter that lies in 4 bits."""
    return {n: zlib.crc32(p.detach().numpy()) for n, p in module.named_parameters() if p.dtype == torch.uint8}


def peak_gb() -> float:
    """Most memory of this process so far, of the system's own count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def prove(*, tiny: bool, seed: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Make the student, take one step, and say what it was."""
    limits = dict(max_prompt_tokens=4096, max_branch_tokens=512, max_context_tokens=4096)
    adapter = AdapterSettings(kind="qlora", r=8, alpha=32, dropout=0.05)
    own = StudentSettings(model="nano", adapter=adapter, dtype="bfloat16", gradient_checkpointing=True, **limits)
    began, words = time.monotonic(), processor()
    shape = config(words, tiny=tiny)
    student = Student.load(own, networks=Filled(lambda settings: network(settings, shape, seed, say)))
    student.make_trainable(seed)
    made, most = time.monotonic(), peak_gb()
    stage = STAGES["apo"](
        student,
        LOSSES["apo_listwise"](beta=0.1, nll_weight=0.0, reduction="sum"),
        OptimSettings(lr=LR, weight_decay=0.1),
        steps=1,
        seed=seed,
    )
    batch = to_batch(Setup(prompt=64, answer=32, negatives=7, tiny=tiny, seed=seed), words)
    before, four = adapters(student), digests(student)
    say(f"{len(four)} matrices in 4 bits after {made - began:.0f} s and {most:.1f} GB; one step")
    seen = step(stage, batch)
    after = adapters(student)
    return {
        "parameters": sum(p.numel() for n, p in shape_counts(shape)),
        "trained": sum(value.numel() for value in before.values()),
        "matrices_in_4_bits": len(four),
        "making_s": made - began,
        "making_peak_gb": most,
        "step_s": time.monotonic() - made,
        "peak_gb": peak_gb(),
        "loss": seen.loss,
        "log_n_plus_1": math.log(8),
        "gradient_norm": seen.gradient,
        "adapters_moved": sum(not torch.equal(before[name], after[name]) for name in before),
        "adapters": len(before),
        "largest_move": max(float((after[name] - before[name]).abs().max()) for name in before),
        "moved_in_4_bits": sum(four[name] != value for name, value in digests(student).items()),
    }


def step(stage: LightningModule, batch: Any) -> Seen:
    """One optimiser step, with the guard over everything frozen."""
    seen = Seen()
    run = Trainer(
        accelerator="cpu",
        devices=1,
        precision="bf16-mixed",
        max_steps=1,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FrozenGuard(), seen],
    )
    run.fit(stage, DataLoader([batch], batch_size=None))
    return seen


def adapters(student: Student) -> dict[str, Tensor]:
    """Copies of what is trained, by name."""
    return {n: p.detach().clone() for n, p in student.named_parameters() if p.requires_grad}


def shape_counts(architecture: Qwen2_5_VLConfig) -> list[tuple[str, nn.Parameter]]:
    """Parameters before any of them lies in 4 bits, where two stand in a byte."""
    with torch.device("meta"):
        return list(AutoModelForImageTextToText.from_config(architecture, trust_remote_code=False).named_parameters())


def main(words: list[str] | None = None) -> None:
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--tiny", action="store_true", help="0.4 M parameters instead of 8.3 G")
    own.add_argument("--seed", type=int, default=0)
    own.add_argument("--out", type=Path, default=Path("build/qlora_step_cpu.json"))
    options = own.parse_args(words)
    began = time.monotonic()
    found = prove(
        tiny=options.tiny,
        seed=options.seed,
        say=lambda text: print(f"{time.monotonic() - began:6.0f} s  {text}", flush=True),
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"torch": torch.__version__, "seed": options.seed, **found}, indent=1))
    for key, value in found.items():
        print(f"{key:20s} {value:.6g}" if isinstance(value, float) else f"{key:20s} {value:,}")


if __name__ == "__main__":
    main()
