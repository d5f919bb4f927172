"""The student's weights for another machine: merged into one network, or one adapter that carries the whole chain."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils.hub import cached_file

from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.files.formats import write_json
from apo_lightning.models import whole_adapter
from apo_lightning.models.network import load_network
from apo_lightning.models.processor import locate
from apo_lightning.models.saved import read_record
from apo_lightning.models.whole_adapter import chain
from apo_lightning.settings import StudentSettings

PREFIX, A, B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
"""How peft names a layer's matrices in a file."""


def write_merged(settings: StudentSettings, saved: Path | None, folder: Path) -> None:
    """The whole network, with what adapters add, as ``config.json`` and safetensors.

    A layer of a 4-bit base (qlora) is what the student computed with: the values that four bits stand for.

    Args:
        settings: of the student.
        saved: folder of the saved student; None: nothing is added.
        folder: takes the files.

    Raises:
        ConfigError, ArtifactError: something cannot be read, or the base is stored quantised.
    """
    if saved and read_record(saved).get("kind") == "full":
        model = load_network(settings, saved / "weights")
    else:
        model = load_network(settings)
        if settings.adapter.kind == "qlora":
            model = model.dequantize().to(getattr(torch, settings.dtype))
        if saved:
            add(model, chain(saved)[1])
    model.save_pretrained(folder)
    write_config(settings, folder)
    whole_adapter.share(folder)


def write_base(settings: StudentSettings, folder: Path) -> None:
    """The network before any training, in the student's precision."""
    write_merged(replace(settings, adapter=replace(settings.adapter, kind="lora")), None, folder)


@torch.no_grad()
def add(model: nn.Module, state: dict[str, Tensor]) -> None:
    """``W + B A`` in float32, rounded once to the layer's own precision, layer by layer.

    Args:
        state: of an adapter of scale 1: ``<layer>.lora_A.weight [r, in]``, ``<layer>.lora_B.weight [out, r]``.

    Raises:
        ConfigError: a layer is stored in numbers that nothing can be added to (a quantised base).
        ArtifactError: the model has no such layer.
    """
    layers = dict(model.named_modules())
    for key in (key for key in state if key.endswith(A)):
        name = key.removeprefix(PREFIX).removesuffix(A)
        weight = getattr(layers.get(name), "weight", None)
        if weight is None:
            raise ArtifactError(f"The adapter adds to '{name}', which the base model does not have.")
        if not weight.is_floating_point():
            raise ConfigError(f"Layer '{name}' of the base is stored as {weight.dtype}: export with --adapter.")
        delta = state[key.removesuffix(A) + B].to(weight.device) @ state[key].to(weight.device)
        weight.copy_((weight.float() + delta).to(weight.dtype))


def write_adapter(saved: Path, folder: Path, base: str) -> int:
    """``adapter_config.json`` and ``adapter_model.safetensors``; returns the adapter's rank.

    Args:
        base: how the model under it is called on another machine.

    Raises:
        ConfigError, ArtifactError: see `chain`.
    """
    return whole_adapter.write(*chain(saved), folder, base)


def write_config(settings: StudentSettings, folder: Path) -> None:
    """``config.json``, by which libraries know the model: without it `AutoProcessor` of a folder that has no weights,
    as that of an adapter, is a bare tokenizer, which leaves images out in silence."""
    write_json(folder / "config.json", _config(settings))


def _config(settings: StudentSettings) -> dict[str, Any]:
    """The base's own ``config.json``, which other tools know: the same shapes, in the precision of what is written."""
    config = json.loads(Path(str(cached_file(locate(settings.model), "config.json"))).read_text("utf-8"))
    config.pop("quantization_config", None)
    parts = [config, *(part for part in config.values() if isinstance(part, dict))]
    for part in parts:
        part.update({key: settings.dtype for key in ("dtype", "torch_dtype") if key in part})
    if not {"dtype", "torch_dtype"} & config.keys():
        config["dtype"] = settings.dtype
    return {key: value for key, value in config.items() if key != "_name_or_path"}
