"""What the GPU proof measures with: a random 7B network made where it runs, one study, clock, peaks, limits of time."""

from __future__ import annotations

import gc
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any
from unittest.mock import patch

import torch
from common import Setup, adapter, processor, to_batch
from contenders import Ours
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig

from apo_lightning.layers import LoraLinear, use_fused_norms
from apo_lightning.models.adapters import NEWEST, put_on
from apo_lightning.models.network import share
from apo_lightning.models.processor import JoinedProcessor
from apo_lightning.models.sizes import architecture
from apo_lightning.scoring import Parts, encode_images, precision, score, vision
from apo_lightning.types import BranchBatch, PromptBatch

MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"
DTYPE = "bfloat16"
GB = 1e9
KNOWN = "_known"
ENOUGH = 12.0
"""Seconds after which a contender is not run again, whatever was asked for."""
TINY_TEXT = dict(
    hidden_size=64,
    num_hidden_layers=2,
    intermediate_size=192,
    num_attention_heads=2,
    num_key_value_heads=1,
    vocab_size=2048,
    layer_types=["full_attention"] * 2,
    rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[4, 6, 6]),
)
TINY_VISION = dict(
    depth=2, hidden_size=64, num_heads=1, intermediate_size=192, out_hidden_size=64, fullatt_block_indexes=[0, 1]
)


class OutOfTime(BaseException):
    """What a limit raises; no library's ``except Exception`` keeps it."""


class NotHere(Exception):
    """A section needs a package or a device that is not here: it is skipped, with the reason."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTime inside after so many seconds of the clock; limits may lie in each other. Where the system has no
    alarms there is no limit."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: Any) -> None:
        raise OutOfTime(f"longer than {seconds:.0f} s")

    outer, _ = signal.getitimer(signal.ITIMER_REAL)
    began, before = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, min(max(seconds, 1e-3), outer or seconds))
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        left = max(outer - (time.monotonic() - began), 1e-3) if outer else 0
        signal.setitimer(signal.ITIMER_REAL, left)


@dataclass(frozen=True)
class Meter:
    """Seconds and peaks on one device. A CPU's peaks are not known: None."""

    device: torch.device

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def sync(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def seconds(self, step: Callable[[], Any]) -> float:
        self.sync()
        began = time.perf_counter()
        step()
        self.sync()
        return time.perf_counter() - began

    def held(self) -> float | None:
        """GB that tensors hold now."""
        return torch.cuda.memory_allocated(self.device) / GB if self.on_gpu else None

    @contextmanager
    def peak(self) -> Iterator[dict[str, float | None]]:
        """Fills ``peak_gb`` with how far what runs inside raises the memory held by tensors, at most."""
        found: dict[str, float | None] = {"peak_gb": None}
        self.free()
        before = self.held()
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats(self.device)
        try:
            yield found
        finally:
            if before is not None:
                found["peak_gb"] = torch.cuda.max_memory_allocated(self.device) / GB - before

    def free(self) -> None:
        gc.collect()
        if self.on_gpu:
            torch.cuda.empty_cache()

    def measure(self, step: Callable[[], Any], repeats: int) -> dict[str, Any]:
        """Peak of a first run, which also warms up, then median, fastest and slowest of the next."""
        with self.peak() as row:
            self.seconds(step)
        times: list[float] = []
        while len(times) < repeats and sum(times) < ENOUGH:
            times.append(self.seconds(step))
        return dict(median_s=statistics.median(times), min_s=min(times), max_s=max(times), runs=len(times), **row)


def config(own: JoinedProcessor, *, tiny: bool, layers: int | None = None) -> Qwen2_5_VLConfig:
    """Of the 7B student with the ids of the embedded tokenizer's special tokens; ``tiny``: 0.4 M parameters."""
    ids = own.tokenizer.convert_tokens_to_ids
    made = architecture(MODEL).to_dict()
    text, vision = made["text_config"], made["vision_config"]
    text |= dict(bos_token_id=None, eos_token_id=own.tokenizer.eos_token_id, pad_token_id=own.tokenizer.pad_token_id)
    if tiny:
        text |= TINY_TEXT
        vision |= TINY_VISION
    if layers:
        text |= dict(num_hidden_layers=layers, layer_types=text["layer_types"][:1] * layers)
    made |= dict(
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    return Qwen2_5_VLConfig.from_dict(made)


def network(settings: Qwen2_5_VLConfig, device: torch.device, seed: int) -> nn.Module:
    """Frozen random weights in bfloat16, drawn on the device: seconds for 8 G of them."""
    torch.manual_seed(seed)
    with device:
        made = AutoModelForImageTextToText.from_config(
            settings, dtype=getattr(torch, DTYPE), attn_implementation="sdpa", trust_remote_code=False
        )
    use_fused_norms(made)
    return made.requires_grad_(False).eval()


@contextmanager
def as_the_libraries(model: nn.Module) -> Iterator[None]:
    """Inside, adapters and norms compute as peft and transformers do it."""
    ours = [(m, type(m)) for m in model.modules() if isinstance(m, LoraLinear) or type(m).__name__.startswith("Fused")]
    for module, kind in ours:
        module.__class__ = kind.__mro__[1]
    try:
        with patch.object(vision, "windows_at_once", lambda _: nullcontext()):
            yield
    finally:
        for module, kind in ours:
            module.__class__ = kind


def moved(batch: PromptBatch, device: torch.device) -> PromptBatch:
    return apply_to_collection(batch, Tensor, lambda tensor: tensor.to(device))


def repeated(batch: PromptBatch, count: int) -> PromptBatch:
    """The prompt of a batch of one, ``count`` times."""
    vision = {name: value.repeat(count, *[1] * (value.dim() - 1)) for name, value in batch.vision.items()}
    return PromptBatch(
        [f"{batch.studies[0]} {i}" for i in range(count)],
        batch.prefix_ids.repeat(count, 1),
        batch.prefix_mask.repeat(count, 1),
        vision,
        batch.image_counts * count,
    )


class OnDevice(Ours):
    """The contenders that need no TRL, on a model and a batch that are there; all of them under the autocast that a
    student of 16 bits enters."""

    def __init__(self, model: nn.Module, batch: BranchBatch, setup: Setup, dtype: str = DTYPE) -> None:
        self.setup, self.batch, self.model, self.frozen, self.dtype = setup, batch, model, None, dtype
        self.reference = torch.zeros_like(batch.weight)
        self.grad_wrt_logps = torch.ones_like(batch.weight)
        self.seen: BranchBatch | None = None

    def step(self, name: str) -> Any:
        with precision.compute(self.model, self.dtype):
            return self._known(name.removesuffix(KNOWN)) if name.endswith(KNOWN) else super().step(name)

    def _known(self, mode: str) -> None:
        """As from the second epoch on: what the tower saw is in the feature cache."""
        if self.seen is None:
            self.seen = replace(self.batch, features=None)
            encode_images(Parts.of(self.model), self.seen)
        self.loss(score(self.model, self.seen, mode=mode).logps).backward()

    def forget(self) -> None:
        self.model.zero_grad(set_to_none=True)


@dataclass
class Bench:
    """What sections share: made when first asked for, kept until the end.

    Attributes:
        prompts: prompt lengths, the most important one first.
        left: seconds until the whole proof must be done.
        contenders: of the table, in order; empty: all of them.
    """

    device: torch.device
    tiny: bool
    seed: int
    repeats: int
    prompts: tuple[int, ...]
    left: Callable[[], float]
    contenders: tuple[str, ...] = ()
    batches: dict[Setup, BranchBatch] = field(default_factory=dict)

    @cached_property
    def meter(self) -> Meter:
        return Meter(self.device)

    @cached_property
    def own(self) -> JoinedProcessor:
        return processor()

    @cached_property
    def base(self) -> nn.Module:
        return network(config(self.own, tiny=self.tiny), self.device, self.seed)

    def setup(self, prompt: int) -> Setup:
        """1 + 7 answers of 300 tokens; tiny: 1 + 3 of 20."""
        small = dict(answer=20, negatives=3) if self.tiny else {}
        return Setup(prompt=prompt, seed=self.seed, **small)

    def batch(self, setup: Setup) -> BranchBatch:
        """On the device, and without features: every step pays for its image."""
        if setup not in self.batches:
            self.batches[setup] = moved(to_batch(setup, self.own), self.device)
        return replace(self.batches[setup], features=None)

    def contender(self, setup: Setup, model: nn.Module | None = None) -> OnDevice:
        return OnDevice(model or self.adapted(), self.batch(setup), setup)

    def adapted(self, model: nn.Module | None = None) -> nn.Module:
        """A network with a fresh adapter of rank 8 over it, in training mode; without ``model``, modules of its own
        around the weights of `base`."""
        model = share(self.base) if model is None else model
        torch.manual_seed(self.seed)
        return put_on(model, adapter(model), NEWEST).train()


def checkpointing(model: nn.Module, on: bool) -> None:
    """As `Student.make_trainable` switches it on."""
    whole = Parts.of(model).whole
    if on:
        whole.activation_checkpointing_enable({"use_reentrant": False})
    else:
        whole.activation_checkpointing_disable()
