"""Tokenizer, image processor, chat template and generation settings beside an exported student."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from apo_lightning.files.formats import write_json
from apo_lightning.models import generation
from apo_lightning.models.processor import locate
from apo_lightning.models.student import Student
from apo_lightning.settings import DecodingSettings, StudentSettings

FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
"""The base's own, copied as they are: this project changes neither words nor template."""
SIDES = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
"""``student.min_pixels`` and ``max_pixels`` under the other name that image processors keep them by."""


def copy(settings: StudentSettings, folder: Path) -> None:
    """The base's processor files, with the run's limits of an image's pixels."""
    for name in FILES:
        if found := _find(settings.model, name):
            shutil.copyfile(found, folder / name)
    limits = {key: value for key in SIDES if (value := getattr(settings, key))}
    for name in ("preprocessor_config.json", "processor_config.json"):
        if limits and (folder / name).is_file():
            content = json.loads((folder / name).read_text("utf-8"))
            _limit(content.get("image_processor", content), limits)
            write_json(folder / name, content)


def _find(model: str, name: str) -> str | None:
    silent = {f"_raise_exceptions_for_{what}": False for what in ("missing_entries", "connection_errors", "gated_repo")}
    return cached_file(locate(model), name, **silent)


def _limit(content: dict[str, Any], limits: dict[str, int]) -> None:
    size = content.get("size")
    for key, value in limits.items():
        if isinstance(size, dict) and SIDES[key] in size:
            size[SIDES[key]] = value
        if key in content or not (isinstance(size, dict) and SIDES[key] in size):
            content[key] = value


def write_generation(student: Student, how: DecodingSettings, folder: Path) -> None:
    """``generation_config.json``: how the run's answers were written, nothing left to a library's defaults."""
    pad = student.processor.tokenizer.pad_token_id
    generation.decoding(how, stop=student.stop_tokens, pad=pad).save_pretrained(folder)
