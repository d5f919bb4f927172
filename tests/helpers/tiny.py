"""A random nano network and what goes with it, made once a test session; no weights are read."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from apo_lightning.batching.collate import Collator
from apo_lightning.models.processor import JoinedProcessor, load_processor
from apo_lightning.models.student import Student
from apo_lightning.nano import parts
from apo_lightning.phantom.drawing import draw
from apo_lightning.phantom.wording import ground_truth
from apo_lightning.phantom.world import FINDINGS, Case, cases
from apo_lightning.settings import AdapterSettings, StudentSettings
from apo_lightning.types import Branch, Example, Study, Trajectory

LIMITS = dict(max_prompt_tokens=96, max_branch_tokens=160, max_context_tokens=1200)


@cache
def processor() -> JoinedProcessor:
    return load_processor("nano")


def settings(**adapter: Any) -> StudentSettings:
    return StudentSettings(model="nano", adapter=AdapterSettings(**adapter), **LIMITS)


def student(seed: int = 0, **adapter: Any) -> Student:
    """A student with random weights, not yet trainable."""
    own = processor()
    network = parts.build_network(own.tokenizer, seed).requires_grad_(False).eval()
    return Student(network, own, settings(**adapter))


def collator(prompt: str = "describe", **limits: int) -> Collator:
    return Collator(processor(), prompt=prompt, findings=FINDINGS, **{**LIMITS, **limits})


@cache
def drawn(count: int = 8) -> tuple[tuple[Case, Image.Image], ...]:
    return tuple((case, draw(case, parts.SIDE)) for case in cases(3, count))


def study(case: Case) -> Study:
    return Study(case.id, str(case.patient), "train", (), {f: float(f in case.present) for f in FINDINGS}, case.present)


def item(place: int, texts: dict[str, str], reports: tuple[str, ...] = ()) -> tuple[Example, list[Image.Image]]:
    """Example number ``place`` with the named branches and the given reports to read."""
    case, image = drawn()[place]
    context = tuple(Trajectory(case.id, f"t{i}", text) for i, text in enumerate(reports))
    return Example(study(case), tuple(Branch(name, text) for name, text in texts.items()), context), [image]


def truth(place: int) -> str:
    return ground_truth(drawn()[place][0].present)


def folder(path: Path, seed: int = 2) -> Path:
    """A saved random student that ``student.model`` can name. Most seeds repeat the line break that a prompt ends with;
    this one has something to say."""
    parts.save(path, parts.build_network(processor().tokenizer, seed), processor().tokenizer)
    return path
