"""Students that are known to work, by ``model_type``, and why others do not. Each of the table is tried by
``tests/unit/models/test_students.py`` on a tiny model with its own processor; what was never tried is refused, since a
scorer that does not fit a model gives wrong numbers, not an error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TEXT_MODELS

from apo_lightning.errors import ConfigError


@dataclass(frozen=True)
class Family:
    """A kind of student.

    Attributes:
        name: as its publisher writes it.
        cls: its class in transformers.
        hub: names of published members.
        images: what becomes of an image.
        pixel_limits: whether ``student.min_pixels`` and ``student.max_pixels`` mean something to its processor.
        packages: what its processor asks for beyond this project's requirements.
    """

    name: str
    cls: str
    hub: tuple[str, ...]
    images: str
    pixel_limits: bool = False
    packages: tuple[str, ...] = ()


_NATIVE = "native size between min_pixels and max_pixels"
FAMILIES = {
    "qwen2_5_vl": Family(
        "Qwen2.5-VL",
        "Qwen2_5_VLForConditionalGeneration",
        ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen2.5-VL-7B-Instruct"),
        _NATIVE,
        pixel_limits=True,
    ),
    "qwen2_vl": Family(
        "Qwen2-VL", "Qwen2VLForConditionalGeneration", ("Qwen/Qwen2-VL-2B-Instruct",), _NATIVE, pixel_limits=True
    ),
    "qwen3_vl": Family(
        "Qwen3-VL", "Qwen3VLForConditionalGeneration", ("Qwen/Qwen3-VL-4B-Instruct",), _NATIVE, pixel_limits=True
    ),
    "llava": Family("LLaVA 1.5", "LlavaForConditionalGeneration", ("llava-hf/llava-1.5-7b-hf",), "one size, cropped"),
    "llava_onevision": Family(
        "LLaVA-OneVision",
        "LlavaOnevisionForConditionalGeneration",
        ("llava-hf/llava-onevision-qwen2-0.5b-ov-hf",),
        "tiles; one size where a study has several images",
    ),
    "internvl": Family("InternVL 3 (HF)", "InternVLForConditionalGeneration", ("OpenGVLab/InternVL3-2B-hf",), "tiles"),
    "idefics3": Family("Idefics3", "Idefics3ForConditionalGeneration", ("HuggingFaceM4/Idefics3-8B-Llama3",), "tiles"),
    "smolvlm": Family(
        "SmolVLM2",
        "SmolVLMForConditionalGeneration",
        ("HuggingFaceTB/SmolVLM2-2.2B-Instruct",),
        "tiles",
        packages=("num2words",),
    ),
    "gemma3": Family("Gemma 3", "Gemma3ForConditionalGeneration", ("google/gemma-3-4b-it",), "one size"),
}
"""In the order of the table in docs/students.md. All of them score in every mode of `scoring.modes`."""

_CROSS = "its images enter by cross-attention beside the text, and answers read a prompt's images from its cache"
_ENCODER = "it is an encoder and a decoder, and the scorer continues a prompt in one decoder"
_PREFIX = "its prompt attends in both directions, and the scorer computes a prompt's last token with every answer"
_TURNS = "it has no turns (no chat template), and much of it is an encoder and a decoder"
_STATE = "its layers keep a running state, which answers cannot read beside each other"
_NEIGHBOURS = "its processor pads images to the largest of the batch, so that an image's record is not its own"
REFUSED = {
    "mllama": _CROSS,
    "idefics": _CROSS,
    "florence2": _ENCODER,
    "vision-encoder-decoder": _ENCODER,
    "pix2struct": _ENCODER,
    "t5gemma2": _ENCODER,
    "paligemma": _PREFIX,
    "blip": _TURNS,
    "blip-2": _TURNS,
    "instructblip": _TURNS,
    "instructblipvideo": _TURNS,
    "qwen3_5": _STATE,
    "qwen3_5_moe": _STATE,
    "lfm2_vl": _STATE,
    "pixtral": _NEIGHBOURS,
    "mistral3": _NEIGHBOURS,
}
TOWERS = ("visual", "vision_tower", "vision_model", "multi_modal_projector", "connector")
WHOLE = (*(f"model.{name}" for name in TOWERS), "lm_head")
"""Full names of towers, of what joins them to the text, and of heads: in their own precision where the rest has 4 bits.
The library matches a name from its start, so that "visual" alone would keep nothing."""
PLAIN_LAYERS = {"full_attention", "sliding_attention", "attention"}
"""Kinds of decoder layers whose keys and values answers can read from a cache."""


def family_of(config: Any, where: str = "student.model") -> Family:
    """The family of a model's configuration.

    Args:
        config: as `AutoConfig` reads it.
        where: key and value, for the message.

    Raises:
        ConfigError: it is known not to fit, or has not been tried.
    """
    kind = config.model_type
    reason = REFUSED.get(kind)
    if kind in FAMILIES:
        reason = _trouble_inside(config)
        if reason is None:
            return FAMILIES[kind]
    elif reason is None and kind in TEXT_MODELS and not hasattr(config, "vision_config"):
        reason = "it reads text only, and a student looks at images"
    known = ", ".join(f"{family.name} ({name})" for name, family in FAMILIES.items())
    if reason is None:
        reason = "nobody has shown that the scorer fits it: add it to apo_lightning/models/families.py and to its tests"
    raise ConfigError(
        f"{where} is of the family '{kind}', which cannot be a student: {reason}. Known to work: {known}."
    )


def _trouble_inside(config: Any) -> str | None:
    """What is wrong with the parts of a model whose family fits; None if nothing is."""
    tower, text = config.vision_config.model_type, config.get_text_config()
    if tower == "pixtral":
        return f"with a {tower} tower {_NEIGHBOURS}"
    odd = sorted(set(getattr(text, "layer_types", None) or ()) - PLAIN_LAYERS)
    if odd or hasattr(text, "mamba_d_state"):
        return f"with layers of the kind {', '.join(odd) or 'mamba'} {_STATE}"
    if getattr(text, "use_bidirectional_attention", False):
        return f"with text.use_bidirectional_attention {_PREFIX}"
    return None
