"""LoRA adapters as a student carries them: float32, beside the network and never merged into it.

Merging rounds to the network's precision: an update under half a bfloat16 step is lost, which at a preference stage's
learning rate is most of it. Adapters of earlier stages are joined by rank into one instead, so that a chain of any
length costs what one adapter costs: ``sum_k s_k B_k A_k = [B_1 .. B_n] [s_1 A_1; ..; s_n A_n]``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict
from torch import Tensor, nn

from apo_lightning.errors import ArtifactError, first_line
from apo_lightning.layers import use_lora_linear
from apo_lightning.models.model_folder import require_bounded

LEARNED, NEWEST = "learned", "newest"
"""Names of what earlier stages have learned, joined, and of what is trained now."""

SAID = 3
"""Keys of each kind that an error names."""


def language_linears(model: nn.Module) -> list[str]:
    """Names of all linear layers of the language part, without vision tower and vocabulary head: what "all-linear"
    means for a multimodal model in the authors' scripts."""
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    found: list[str] = []
    for name, module in decoder.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)  # a layer that already carries an adapter
        if isinstance(module, nn.Linear | BaseTunerLayer) and not inside:
            found.append(name)
    return [f"{prefix}.{name}" for name in found]


def read_adapter(folder: Path) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Configuration and float32 weights of a saved adapter.

    Raises:
        ArtifactError: a file is missing or damaged, or it is not a plain LoRA adapter.
    """
    try:
        require_bounded(folder)
        config = PeftConfig.from_pretrained(str(folder))
        state = load_peft_weights(str(folder), device="cpu")
    except Exception as error:  # peft, safetensors and json each have their own
        raise ArtifactError(
            f"The adapter in {folder} cannot be read ({first_line(error)}). A saved adapter is "
            "adapter_config.json and adapter_model.safetensors: copy both again, or remove the stage's folder and run "
            "again."
        ) from error
    plain = isinstance(config, LoraConfig) and config.bias == "none"
    if not plain or config.use_dora or config.modules_to_save or config.megatron_config:
        raise ArtifactError(
            f"The adapter in {folder} is no plain LoRA adapter (peft_type {config.peft_type}): a student carries LoRA "
            "without DoRA, biases, modules_to_save and Megatron's layers. Train it with student.adapter.kind lora."
        )
    return config, {name: value.float() for name, value in state.items()}


def join(adapters: Sequence[tuple[LoraConfig, dict[str, Tensor]]]) -> tuple[LoraConfig, dict[str, Tensor]]:
    """Several adapters as one of the summed rank that adds the same to every layer.

    Args:
        adapters: configuration and weights (``<layer>.lora_A.weight [r, in]``, ``<layer>.lora_B.weight [out, r]``), all
            of the same layers.

    Returns:
        one adapter of scale 1 without dropout.

    Raises:
        ValueError: they are not of the same layers, or have ranks or scales of their own for some layers.
    """
    keys = set().union(*(state for _, state in adapters))
    for place, (config, state) in enumerate(adapters):
        if absent := sorted(keys - state.keys()):
            raise ValueError(f"number {place} lacks {', '.join(absent[:SAID])}{_more(absent)}, which another one has")
        if config.rank_pattern or config.alpha_pattern:
            raise ValueError(f"number {place} has rank_pattern or alpha_pattern, which cannot be joined")
    joined = {}
    for key in sorted(keys):
        if ".lora_A." in key:
            joined[key] = torch.cat([state[key] * _scale(config) for config, state in adapters], 0)
        else:
            joined[key] = torch.cat([state[key] for _, state in adapters], 1)
    rank = sum(config.r for config, _ in adapters)
    own = replace(adapters[0][0], r=rank, lora_alpha=rank, use_rslora=False, lora_dropout=0.0)
    return own, joined


def learned(folders: Sequence[Path]) -> tuple[LoraConfig, dict[str, Tensor]]:
    """What a chain of saved adapters adds to a model, as one adapter.

    Raises:
        ArtifactError: one cannot be read, or they are not of one student.
    """
    found = [read_adapter(folder) for folder in folders]
    if len(found) == 1:
        config, state = found[0]
        return replace(config, lora_dropout=0.0), state
    try:
        return join(found)
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"The adapters in {folders[0].parent} are not a chain of one student: {first_line(error)}. "
            "Copy their files again, or remove the stage's folder and run again."
        ) from error


def put_on(
    model: nn.Module, config: LoraConfig, name: str, state: dict[str, Tensor] | None = None, source: Path | None = None
) -> PeftModel:
    """Lay an adapter over a model, beside those that are there; all of them are then active, only this one is trained.

    Args:
        config: of the adapter.
        name: under which the model knows it.
        state: its weights, None for a fresh one.
        source: where the weights came from, for errors.

    Raises:
        ArtifactError: the weights are not those of this adapter over this model; what is missing, left over or of
            another shape is named.
    """
    if isinstance(model, PeftModel):
        model.add_adapter(name, config)
    else:
        model = get_peft_model(model, config, adapter_name=name)
    for parameter in _parameters(model, name).values():
        parameter.data = parameter.data.float()  # masters, whatever precision the layers beside them have
    use_lora_linear(model)
    if state is not None:
        _fill(model, name, state, source)
    model.base_model.set_adapter(list(model.peft_config))
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(f".{name}." in key)
    return model


def _fill(model: PeftModel, name: str, state: dict[str, Tensor], source: Path | None) -> None:
    place = source or "the given state"
    try:
        result = set_peft_model_state_dict(model, state, adapter_name=name)
    except (RuntimeError, ValueError, KeyError) as error:
        lines = [line.strip() for line in str(error).splitlines() if "size mismatch" in line] or [first_line(error)]
        raise ArtifactError(
            f"The adapter in {place} does not fit the student: {'; '.join(lines[:SAID])}{_more(lines)}. "
            "It was trained over another model: set student.model to that one."
        ) from error
    missing = [key for key in result.missing_keys if key in _parameters(model, name)]
    unexpected = list(result.unexpected_keys)
    if missing or unexpected:
        found = [
            f"{len(keys)} keys are {what} ({', '.join(keys[:SAID])}{_more(keys)})"
            for what, keys in (("missing", missing), ("unexpected", unexpected))
            if keys
        ]
        raise ArtifactError(
            f"The adapter in {place} does not fit the student: {' and '.join(found)}. Its file is damaged, was written "
            "for another model, or by a library that names layers differently; nothing of it was used. Copy the file "
            "again, or remove the stage's folder and run again."
        )
    odd = [key for key, parameter in _parameters(model, name).items() if not parameter.isfinite().all()]
    if odd:
        raise ArtifactError(f"The adapter in {place} holds NaN or infinity in {', '.join(odd[:SAID])}{_more(odd)}.")


def _parameters(model: PeftModel, name: str) -> dict[str, nn.Parameter]:
    return {key: parameter for key, parameter in model.named_parameters() if f".{name}." in key}


def _scale(config: LoraConfig) -> float:
    return config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)


def _more(items: Sequence[str]) -> str:
    return f" and {len(items) - SAID} more" if len(items) > SAID else ""
