"""How large a student and its adapter are, counted without any memory."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from apo_lightning.errors import ConfigError
from apo_lightning.models.adapters import language_linears
from apo_lightning.models.blocks import blocks
from apo_lightning.models.families import WHOLE, family_of
from apo_lightning.models.network import quantization_config
from apo_lightning.models.processor import load_config
from apo_lightning.settings import AdapterSettings, StudentSettings


def count_on_meta(settings: StudentSettings) -> tuple[int, int]:
    """Build the student with its adapter without any memory, once per process for each model and adapter.

    Returns:
        number of parameters in all, and of those that are trained.

    Raises:
        ConfigError: the architecture is not known here, or is not one that this project can adapt.
    """
    adapter = settings.adapter
    return _count(settings.model, adapter.kind, adapter.r, settings.dtype)


@cache
def _count(name: str, kind: str, r: int, dtype: str) -> tuple[int, int]:
    settings = StudentSettings(model=name, dtype=dtype, adapter=AdapterSettings(kind=kind, r=r))
    config = architecture(settings.model)
    if kind != "full" and r > config.get_text_config().hidden_size:
        width = config.get_text_config().hidden_size
        raise ConfigError(f"student.adapter.r must be at most the width of student.model '{name}', {width}, got {r}.")
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, trust_remote_code=False)
    total = sum(parameter.numel() for parameter in model.parameters())
    if settings.adapter.kind == "full":
        return total, sum(p.numel() for p in model.get_decoder().parameters())
    if settings.adapter.kind == "qlora":
        model = replace_with_bnb_linear(model, list(WHOLE), quantization_config(settings))
    targets = language_linears(model)
    with torch.device("meta"):
        adapted = get_peft_model(
            model, LoraConfig(r=settings.adapter.r, lora_alpha=settings.adapter.alpha, target_modules=targets)
        )
    return total, sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


@cache
def count_parts(name: str) -> tuple[int, int]:
    """What FSDP2 gathers on a device (`models.blocks`), counted without any memory.

    Returns:
        parameters of the largest block, and of all that is in no block: embedding, head, ends of the tower.

    Raises:
        ConfigError: the architecture is not known here.
    """
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(architecture(name), trust_remote_code=False)
    sizes = [sum(p.numel() for p in block.parameters()) for block in blocks(model).values()]
    return max(sizes), sum(p.numel() for p in model.parameters()) - sum(sizes)


def architecture(model: str) -> Any:
    """Configuration of a model: from its folder or cache; of the students that ready experiments name from the copies
    beside this file.

    Raises:
        ConfigError: there is none, or its family cannot be a student.
    """
    known = Path(__file__).parents[1] / "assets" / "architectures" / f"{model.replace('/', '--')}.json"
    config = AutoConfig.from_pretrained(known, trust_remote_code=False) if known.exists() else load_config(model)
    family_of(config, f"student.model '{model}'")
    return config
