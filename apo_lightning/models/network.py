"""The pre-trained network: read once, in its precision, and shared by all students of a run."""

from __future__ import annotations

import copy
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from apo_lightning.errors import ArtifactError, ConfigError, first_line
from apo_lightning.layers import use_fused_norms
from apo_lightning.models.families import WHOLE
from apo_lightning.models.processor import locate
from apo_lightning.settings import StudentSettings

UNREADABLE = (OSError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError, zipfile.BadZipFile)
"""What files of weights raise that are damaged, or that would run code."""


def quantization_config(settings: StudentSettings) -> BitsAndBytesConfig:
    """NF4 with double quantisation (QLoRA, arXiv 2305.14314); the vision tower and the head keep their precision."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
        bnb_4bit_use_double_quant=True,
        llm_int8_skip_modules=list(WHOLE),
    )


def load_network(settings: StudentSettings, saved: Path | None = None) -> nn.Module:
    """Image-text-to-text model in the configured precision, frozen.

    Args:
        settings: of the student.
        saved: whole weights of a student after full fine-tuning, None for the pre-trained ones.

    Raises:
        ConfigError: the folder or hub name holds no image-text-to-text model, or not all of its weights.
        ArtifactError: the same of ``saved``.
    """
    four_bits = {"quantization_config": quantization_config(settings)} if settings.adapter.kind == "qlora" else {}
    try:
        model, found = AutoModelForImageTextToText.from_pretrained(
            saved or locate(settings.model),
            dtype=getattr(torch, settings.dtype),
            attn_implementation=settings.attention,
            output_loading_info=True,
            trust_remote_code=False,
            **four_bits,
        )
    except Exception as error:  # a folder's files raise whatever their content leads to
        if isinstance(error, torch.OutOfMemoryError) or (saved and not isinstance(error, UNREADABLE)):
            raise  # nobody is to remove what was trained for want of memory or of a package
        if saved:
            raise ArtifactError(
                f"The weights in {saved} cannot be read ({first_line(error)}). "
                f"Remove {saved.parent.parent} and run again."
            ) from error
        raise ConfigError(
            f"student.model '{settings.model}' could not be loaded ({_why(error)}). "
            "Give 'nano', a folder with a saved image-text-to-text model, or a hub name that is already downloaded."
        ) from error
    require_whole(found, settings, saved)
    use_fused_norms(model)
    _keep_unpacked(model)
    return model.requires_grad_(False).eval()


def _why(error: Exception) -> str:
    """In one line; of weights in another shape transformers only names a setting of its own."""
    return (
        "weights have another shape than config.json says" if "ignore_mismatched" in str(error) else first_line(error)
    )


def _keep_unpacked(model: nn.Module) -> None:
    """On processors with AVX512-BF16, bitsandbytes packs a 4-bit layer at its first pass in evaluation, for good, into
    a form that has no gradient and computes in bfloat16: what trains afterwards, in this student or in another around
    the same tensors, would leave the layers below without gradients."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def require_whole(found: dict[str, Any], settings: StudentSettings, saved: Path | None = None) -> None:
    """What the library only warns of: weights that the file lacks would stay as they were drawn at random.

    Raises:
        ConfigError, ArtifactError: some are lacking; of the base model, or of ``saved``.
    """
    missing = sorted(found["missing_keys"])
    wrong = [*missing, *sorted(str(row[0]) for row in found["mismatched_keys"])]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        text = f"lacks {len(wrong)} weights of the model, or has them in another shape: {', '.join(wrong[:3])}{more}"
        if saved:
            raise ArtifactError(f"{saved} {text}. Remove {saved.parent.parent} and run again.")
        raise ConfigError(f"student.model '{settings.model}' {text}. Download or save it again.")


class Networks:
    """Networks of one process. The pre-trained one is read once; each student gets its own modules around the same
    tensors, so that another student costs its adapters alone.

    Args:
        keep: hold on to the network. False where a strategy takes its parameters apart (FSDP).
    """

    def __init__(self, *, keep: bool = True) -> None:
        self.keep = keep
        self._held: tuple[Any, nn.Module] | None = None

    def take(self, settings: StudentSettings) -> nn.Module:
        """The pre-trained network for one student. Full fine-tuning changes it, and so gets one of its own.

        Raises:
            ConfigError: see `load_network`.
        """
        if not self.keep or settings.adapter.kind == "full":
            return load_network(settings)
        key = (locate(settings.model), settings.dtype, settings.attention, settings.adapter.kind == "qlora")
        if self._held is None:
            self._held = (key, load_network(settings))
        held, network = self._held
        return share(network) if held == key else load_network(settings)


def share(model: nn.Module) -> nn.Module:
    """A copy of the modules around the same parameters and buffers: what is put between the layers of one (adapters,
    checkpointing) is not in the other, and what it weighs is there once."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
