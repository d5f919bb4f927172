"""What the benchmarks share: one study with its answers, a random Qwen2.5-VL, clocks, and peak memory of a child."""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import nn
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from apo_lightning.batching.collate import Collator
from apo_lightning.models.adapters import language_linears
from apo_lightning.models.processor import JoinedProcessor, load_processor
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.wording import ground_truth
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.types import PREFERRED, Branch, BranchBatch, Example, Study

MERGED = 28
"""Pixels along the side of one image token: patches of 14, merged two by two."""
IMAGE_SHARE = 2 / 3
"""Share of the prompt that is image tokens, at most; the rest is text."""


@dataclass(frozen=True)
class Setup:
    """One point of a benchmark.

    Attributes:
        prompt: tokens of the prompt, image tokens included.
        answer: tokens of each answer, end of turn included.
        negatives: N; the study has 1 + N answers.
        full: train all language weights instead of LoRA adapters of rank 8.
        vocabulary: rows of the embedding and of the head. 8,192 gives the head 10 % of the decoder's multiplications,
            as in the published 3B and 7B models (11 % and 8 %); the texts use the embedded tokenizer's ids only.
        mlp: width inside the decoder's MLPs; 2,816 is the 7B model's ratio to the hidden size.
        tiny: a network of 1 M parameters, to try the code.
        seed: weights, adapters and texts.
    """

    prompt: int = 450
    answer: int = 300
    negatives: int = 7
    full: bool = False
    vocabulary: int = 8192
    mlp: int = 2816
    tiny: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Texts:
    """A study as strings and an image: the prompt in the chat template, and answers without the end of their turn."""

    prompt: str
    answers: tuple[str, ...]
    image: Image.Image


def processor() -> JoinedProcessor:
    """The embedded tokenizer with an image processor that takes images of any size as they are."""
    side = dict(min_pixels=MERGED**2, max_pixels=(200 * MERGED) ** 2)
    return JoinedProcessor(Qwen2VLImageProcessorPil(**side), load_processor("nano").tokenizer)


def image_tokens(prompt: int) -> int:
    """Image tokens of a prompt: the largest square within `IMAGE_SHARE` of it."""
    return int((IMAGE_SHARE * prompt) ** 0.5) ** 2


def fill(tokenizer: PreTrainedTokenizerFast, words: list[str], count: int) -> str:
    """The first of ``words`` that fit, then digits (one token each), ``count`` tokens in all.

    Raises:
        ValueError: the tokenizer reads the text back as another number of tokens.
    """

    def length(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    text = ""
    for word in words:
        longer = f"{text} {word}" if text else word
        if length(longer) > count:
            break
        text = longer
    text += "7" * (count - length(text))
    if length(text) != count:
        raise ValueError(f"could not make a text of {count} tokens, got {length(text)}")
    return text


def texts(setup: Setup, own: JoinedProcessor) -> Texts:
    """A drawn radiograph with a prompt and answers of exactly the lengths asked for; every answer is another one."""
    case, *others = cases(setup.seed, 40)
    words = " ".join(ground_truth(other.present) for other in others).split() * 4
    side = MERGED * int(image_tokens(setup.prompt) ** 0.5)

    def ask(text: str) -> str:
        content = [{"type": "image"}, {"type": "text", "text": text}]
        messages = [{"role": "user", "content": content}]
        return own.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    frame = len(own.tokenizer(ask(""), add_special_tokens=False)["input_ids"]) - 1 + image_tokens(setup.prompt)
    shuffled = [random.Random(setup.seed + u).sample(words, len(words)) for u in range(setup.negatives + 1)]
    answers = tuple(fill(own.tokenizer, row, setup.answer - 1) for row in shuffled)
    return Texts(ask(fill(own.tokenizer, words, setup.prompt - frame)), answers, draw(case, side))


def to_batch(setup: Setup, own: JoinedProcessor) -> BranchBatch:
    """The study of `texts` as one batch of one study, no padding anywhere."""
    made = texts(setup, own)
    answers = [Branch(f"t{u}" if u else PREFERRED, text) for u, text in enumerate(made.answers)]
    limits = dict(max_prompt_tokens=10**6, max_branch_tokens=setup.answer, max_context_tokens=10**6)
    collate = Collator(own, prompt="describe", findings=FINDINGS, **limits)
    example = Example(Study("study", "patient", "train", (), {}), tuple(answers))
    prompt = own(text=[made.prompt], images=[made.image], return_tensors="pt")
    batch = replace(
        collate([(example, [made.image])]), prefix_ids=prompt["input_ids"], prefix_mask=prompt["attention_mask"]
    )
    wanted = (setup.prompt, setup.negatives + 1, setup.answer)
    if (batch.prefix_ids.shape[1], *batch.branch_ids.shape[1:]) != wanted or not batch.branch_mask.all():
        raise ValueError(f"wanted {wanted}, got {batch.prefix_ids.shape} and {batch.branch_ids.shape}")
    return batch


def base(setup: Setup, own: JoinedProcessor) -> Qwen2_5_VLForConditionalGeneration:
    """Random Qwen2.5-VL in float32, everything frozen. 57 M parameters, with the published models' ratios of MLP to
    hidden size, of key to query heads, of head to decoder and of tower to whole; or 1 M (``setup.tiny``)."""
    width, layers, mlp, heads, tower = (64, 2, 192, 2, 64) if setup.tiny else (512, 8, setup.mlp, 8, 256)
    depth = 2 if setup.tiny else 6
    ids = own.tokenizer.convert_tokens_to_ids
    text = dict(
        hidden_size=width,
        num_hidden_layers=layers,
        intermediate_size=mlp,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        vocab_size=setup.vocabulary,
        max_position_embeddings=8192,
        rope_parameters=dict(
            rope_type="default",
            rope_theta=1e6,
            mrope_section=[width // heads // 8, width // heads * 3 // 16, width // heads * 3 // 16],
        ),
        bos_token_id=None,
        eos_token_id=own.tokenizer.eos_token_id,
        pad_token_id=own.tokenizer.pad_token_id,
    )
    vision = dict(
        depth=depth,
        hidden_size=tower,
        num_heads=tower // 64,
        intermediate_size=3 * tower,
        out_hidden_size=width,
        fullatt_block_indexes=[depth // 2 - 1, depth - 1],
    )
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        tie_word_embeddings=False,
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    torch.manual_seed(setup.seed)
    network = Qwen2_5_VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")
    return network.to(torch.float32).requires_grad_(False)


def adapter(network: nn.Module) -> LoraConfig:
    """LoRA of rank 8 on every linear layer of the language part, no dropout."""
    return LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, target_modules=language_linears(network))


def trainable(setup: Setup, own: JoinedProcessor) -> nn.Module:
    """The network of `base` in training mode, with fresh adapters, or with its language part and head free."""
    network = base(setup, own)
    if not setup.full:
        torch.manual_seed(setup.seed)
        return get_peft_model(network, adapter(network)).train()
    return free_language(network).train()


def free_language(network: nn.Module) -> nn.Module:
    """Train decoder, embeddings and head; the vision tower stays frozen."""
    network.model.language_model.requires_grad_(True)
    network.lm_head.requires_grad_(True)
    return network


def alternate(steps: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each step, taken in turn in each round, so that a slow minute of the machine hits all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def spread(seconds: list[float]) -> dict[str, float]:
    """Median, fastest and slowest."""
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds)}


def peak_mb(step: Callable[[], Any]) -> float:
    """How far one step drives this process's resident memory above what it held before, in MB (10^6 bytes).

    The kernel's high-water mark is reset first where it can be; otherwise whatever came before must have been smaller.
    """
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e6
    before = _status("VmRSS")
    step()
    return (_status("VmHWM") - before) * 1024 / 1e6


def _status(field: str) -> int:
    """A line of /proc/self/status, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def child_peak(name: str, setup: Setup, threads: int, *, plain_malloc: bool = False) -> float:
    """Peak of contender ``name`` in a fresh process. Freed blocks of 64 KiB and more go back to the system at once
    there, so that the mark is what the step holds; with ``plain_malloc`` it is also what glibc keeps of what was freed,
    which grows with the number of passes."""
    give_back = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    environment = {key: value for key, value in os.environ.items() if key not in give_back}
    environment |= {} if plain_malloc else give_back
    script = Path(__file__).with_name("apo_step.py")
    call = [sys.executable, str(script), "--peak-of", name, "--setup", json.dumps(asdict(setup))]
    done = subprocess.run(
        [*call, "--threads", str(threads)], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"measuring the peak of {name} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


def fresh(batch: BranchBatch) -> BranchBatch:
    """The batch without what an earlier step left in it, so that every step pays for its image."""
    return replace(batch, features=None)


def options(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add what the benchmarks of a step have in common."""
    parser.add_argument("--answers", type=int, default=300, help="tokens of an answer")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="train all language weights instead of LoRA adapters")
    parser.add_argument("--vocabulary", type=int, default=Setup.vocabulary)
    parser.add_argument("--mlp", type=int, default=Setup.mlp, help="width inside the MLPs of the decoder")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to try the code")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"))
    return parser
