"""How large a student and its adapter are, counted without any memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.integrations.bitsandbytes import replace_with_bnb_linear

from apo_lightning.errors import ConfigError
from apo_lightning.models.adapters import language_linears
from apo_lightning.models.network import quantization_config
from apo_lightning.processor import locate
from apo_lightning.settings import StudentSettings


def count_on_meta(settings: StudentSettings) -> tuple[int, int]:
    """Build the student with its adapter without any memory.

    Returns:
        number of parameters in all, and of those that are trained.

    Raises:
        ConfigError: the architecture is not known here, or is not one that this project can adapt.
    """
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(_architecture(settings.model))
    total = sum(parameter.numel() for parameter in model.parameters())
    if settings.adapter.kind == "full":
        return total, sum(p.numel() for p in model.get_decoder().parameters())
    if settings.adapter.kind == "qlora":
        model = replace_with_bnb_linear(model, ["visual", "lm_head"], quantization_config(settings))
    targets = language_linears(model)
    with torch.device("meta"):
        adapted = get_peft_model(
            model, LoraConfig(r=settings.adapter.r, lora_alpha=settings.adapter.alpha, target_modules=targets)
        )
    return total, sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)


def _architecture(model: str) -> Any:
    """Configuration of a model: from its folder or cache; for the paper's student from the copy beside this file."""
    known = Path(__file__).parent / "assets" / "architectures" / f"{model.replace('/', '--')}.json"
    try:
        return AutoConfig.from_pretrained(known if known.exists() else locate(model))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"student.model '{model}' is neither 'nano', nor a model folder, nor a downloaded hub name "
            f"({str(error).splitlines()[0]})"
        ) from error
