"""A saved student's adapters as one in a folder, in the form that peft and vLLM read."""

from __future__ import annotations

import shutil
from pathlib import Path

from peft import LoraConfig
from safetensors.torch import save_file
from torch import Tensor

from apo_lightning.errors import ConfigError
from apo_lightning.models.adapters import join, learned
from apo_lightning.models.saved import adapters, read_record

ADAPTER, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def chain(saved: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """All adapters of a saved student as one of scale 1, float32.

    Raises:
        ConfigError: it was trained as a whole and has none.
        ArtifactError: they cannot be read.
    """
    if read_record(saved).get("kind") == "full":
        raise ConfigError(
            f"{saved} was fully fine-tuned (student.adapter.kind full) and has no adapter. Export it without --adapter."
        )
    return join([learned(adapters(saved))])


def write(config: LoraConfig, state: dict[str, Tensor], folder: Path, base: str) -> int:
    """``adapter_config.json`` and ``adapter_model.safetensors``; returns the adapter's rank.

    Args:
        config, state: see `chain`.
        folder: takes the files.
        base: how the model under it is called where the adapter is read.
    """
    if isinstance(config.target_modules, set):  # another order in each process would be another file
        config.target_modules = sorted(config.target_modules)
    config.base_model_name_or_path, config.inference_mode = base, True
    config.save_pretrained(str(folder))
    save_file({name: value.contiguous() for name, value in state.items()}, folder / ADAPTER, metadata={"format": "pt"})
    share(folder)
    return config.r


def share(folder: Path) -> None:
    """Whoever may read the configuration may read the tensors, which safetensors gives to their owner alone."""
    for path in folder.glob("*.safetensors"):
        shutil.copymode(next(folder.glob("*config.json")), path)
