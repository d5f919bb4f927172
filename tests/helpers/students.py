"""A tiny student of every family that the README names, saved as its publisher would: random weights, a configuration
shrunk to a few thousand parameters, a tokenizer made here, the family's own processor settings and chat template."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    AutoTokenizer,
    CLIPImageProcessorPil,
    Gemma3ImageProcessorPil,
    GotOcr2ImageProcessorPil,
    Idefics3ImageProcessorPil,
    LlavaOnevisionImageProcessorPil,
    PreTrainedConfig,
    PreTrainedTokenizerBase,
    Qwen2VLImageProcessorPil,
    SmolVLMImageProcessorPil,
)

from apo_lightning.models.processor import NANO
from apo_lightning.nano.parts import CHAT

HIDDEN, LAYERS = 32, 3
TEXT = dict(
    hidden_size=HIDDEN,
    intermediate_size=48,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=4096,
    tie_word_embeddings=False,
)
TOWER = dict(hidden_size=HIDDEN, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2)


@dataclass(frozen=True)
class Recipe:
    """How a family's folder is made.

    Attributes:
        config: keyword arguments of the configuration, from the ids of its special tokens.
        images: the image processor.
        processor: what ``processor_config.json`` holds, its class first.
        chat: the template, with what stands for an image.
        named: special tokens that the processor reads from the tokenizer by name.
        others: special tokens beside them.
    """

    config: Callable[[Callable[[str], int]], dict[str, Any]]
    images: Any
    processor: dict[str, Any]
    chat: str
    named: dict[str, str] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    end: str = "<|im_end|>"


def _turns(user: str, assistant: str, image: str, end: str, begin: str = "") -> str:
    """A chat template: every message is its role's opening, its parts, and ``end``."""
    return (
        begin + "{% for m in messages %}{{ '" + user + "' if m['role'] == 'user' else '" + assistant + "' }}"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}{{ '" + image + "' }}{% elif p['type'] == 'text' %}{{ p['text'] }}{% endif %}"
        "{% endfor %}{% endif %}{{ '" + end + "' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '" + assistant + "' }}{% endif %}"
    )


def _rope(**more: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, **more}}


def _qwen(ids: Callable[[str], int], text: dict[str, Any], vision: dict[str, Any]) -> dict[str, Any]:
    return dict(
        text_config=text,
        vision_config=vision,
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )


def _qwen2(ids: Callable[[str], int]) -> dict[str, Any]:
    vision = dict(depth=2, embed_dim=32, hidden_size=32, num_heads=2, mlp_ratio=1, patch_size=4, temporal_patch_size=2)
    return _qwen(ids, {**TEXT, **_rope(mrope_section=[1, 1, 2])}, vision)


def _qwen25(ids: Callable[[str], int]) -> dict[str, Any]:
    vision = dict(
        depth=2,
        hidden_size=32,
        num_heads=2,
        intermediate_size=32,
        out_hidden_size=32,
        patch_size=4,
        spatial_merge_size=2,
        temporal_patch_size=2,
        window_size=16,
        fullatt_block_indexes=[1],
    )
    return _qwen(ids, {**TEXT, **_rope(mrope_section=[1, 1, 2])}, vision)


def _qwen3(ids: Callable[[str], int]) -> dict[str, Any]:
    vision = dict(
        depth=3,
        hidden_size=32,
        num_heads=2,
        intermediate_size=32,
        out_hidden_size=32,
        patch_size=4,
        spatial_merge_size=2,
        temporal_patch_size=2,
        num_position_embeddings=64,
        deepstack_visual_indexes=[0, 1],
    )
    return _qwen(ids, {**TEXT, "head_dim": 8, **_rope(mrope_section=[2, 1, 1], mrope_interleaved=True)}, vision)


def _llava(ids: Callable[[str], int]) -> dict[str, Any]:
    vision = dict(model_type="clip_vision_model", image_size=12, patch_size=4, projection_dim=32, **TOWER)
    return dict(
        text_config=dict(model_type="llama", **TEXT),
        vision_config=vision,
        image_token_index=ids("<image>"),
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def _onevision(ids: Callable[[str], int]) -> dict[str, Any]:
    vision = dict(model_type="siglip_vision_model", image_size=12, patch_size=4, vision_use_head=False, **TOWER)
    return dict(
        text_config=dict(model_type="qwen2", **TEXT),
        vision_config=vision,
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        image_grid_pinpoints=PINPOINTS,
    )


def _internvl(ids: Callable[[str], int]) -> dict[str, Any]:
    vision = dict(image_size=[16, 16], patch_size=[4, 4], **TOWER)
    return dict(
        text_config=dict(model_type="qwen2", **TEXT),
        vision_config=vision,
        tie_word_embeddings=False,
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )


def _idefics3(ids: Callable[[str], int]) -> dict[str, Any]:
    vision = dict(image_size=16, patch_size=4, **TOWER)
    text = dict(model_type="llama", **TEXT, pad_token_id=ids("<|endoftext|>"))
    return dict(text_config=text, vision_config=vision, image_token_id=ids("<image>"), scale_factor=2)


def _gemma3(ids: Callable[[str], int]) -> dict[str, Any]:
    """A window of 6 tokens, shorter than an image: what lies beyond it shows whether caches count columns rightly."""
    vision = dict(model_type="siglip_vision_model", image_size=16, patch_size=4, vision_use_head=False, **TOWER)
    rope = {
        "full_attention": {"rope_type": "default", "rope_theta": 10000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    }
    text = dict(
        **TEXT,
        head_dim=8,
        query_pre_attn_scalar=8,
        sliding_window=6,
        rope_parameters=rope,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        bos_token_id=None,
        eos_token_id=ids("<|im_end|>"),
        pad_token_id=ids("<|endoftext|>"),
    )
    return dict(
        text_config=text,
        vision_config=vision,
        mm_tokens_per_image=4,
        tie_word_embeddings=False,
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        image_token_index=ids("<image_soft_token>"),
    )


PINPOINTS = [[12, 12], [12, 24], [24, 12], [24, 24]]
QWEN_IMAGES = dict(patch_size=4, merge_size=2, temporal_patch_size=2, min_pixels=64, max_pixels=512)
SQUARE = {"height": 12, "width": 12}
IDEFICS = dict(size={"longest_edge": 32}, max_image_size={"longest_edge": 16}, do_image_splitting=True)
IDEFICS_CHAT = _turns("User:", "Assistant:", "<image>", "<end_of_utterance>\\n", "<|im_start|>")
IDEFICS_TOKENS = (
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    "<end_of_utterance>",
    *(f"<row_{i}_col_{j}>" for i in range(1, 4) for j in range(1, 4)),
)
RECIPES = {
    "qwen2_5_vl": Recipe(
        _qwen25, Qwen2VLImageProcessorPil(**QWEN_IMAGES), dict(processor_class="Qwen2_5_VLProcessor"), CHAT
    ),
    "qwen2_vl": Recipe(_qwen2, Qwen2VLImageProcessorPil(**QWEN_IMAGES), dict(processor_class="Qwen2VLProcessor"), CHAT),
    "qwen3_vl": Recipe(_qwen3, Qwen2VLImageProcessorPil(**QWEN_IMAGES), dict(processor_class="Qwen3VLProcessor"), CHAT),
    "llava": Recipe(
        _llava,
        CLIPImageProcessorPil(size={"shortest_edge": 12}, crop_size=SQUARE),
        dict(
            processor_class="LlavaProcessor",
            patch_size=4,
            vision_feature_select_strategy="default",
            num_additional_image_tokens=1,
        ),
        _turns("USER: ", "ASSISTANT: ", "<image>\\n", " "),
        others=("<image>",),
    ),
    "llava_onevision": Recipe(
        _onevision,
        LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=PINPOINTS),
        dict(processor_class="LlavaOnevisionProcessor", num_image_tokens=9, vision_feature_select_strategy="full"),
        _turns("<|im_start|>user ", "<|im_start|>assistant\\n", "<image>", "<|im_end|>"),
        others=("<image>", "<video>"),
    ),
    "internvl": Recipe(
        _internvl,
        GotOcr2ImageProcessorPil(size={"height": 16, "width": 16}, crop_to_patches=True, min_patches=1, max_patches=3),
        dict(processor_class="InternVLProcessor", image_seq_length=4),
        _turns("<|im_start|>user\\n", "<|im_start|>assistant\\n", "<IMG_CONTEXT>\\n", "<|im_end|>\\n"),
        named=dict(
            start_image_token="<img>",
            end_image_token="</img>",
            context_image_token="<IMG_CONTEXT>",
            video_token="<video>",
        ),
    ),
    "idefics3": Recipe(
        _idefics3,
        Idefics3ImageProcessorPil(**IDEFICS),
        dict(processor_class="Idefics3Processor", image_seq_len=4),
        IDEFICS_CHAT,
        others=IDEFICS_TOKENS,
    ),
    "smolvlm": Recipe(
        _idefics3,
        SmolVLMImageProcessorPil(**IDEFICS),
        dict(processor_class="SmolVLMProcessor", image_seq_len=4),
        IDEFICS_CHAT,
        others=(*IDEFICS_TOKENS, "<video>"),
        end="<end_of_utterance>",
    ),
    "gemma3": Recipe(
        _gemma3,
        Gemma3ImageProcessorPil(size={"height": 16, "width": 16}),
        dict(processor_class="Gemma3Processor", image_seq_length=4),
        _turns("<start_of_turn>user\\n", "<start_of_turn>model\\n", "<start_of_image>", "<end_of_turn>\\n"),
        named=dict(boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>"),
        others=("<start_of_turn>", "<end_of_turn>"),
    ),
}
"""By model type. Where image processor and model settings both say how many tokens an image has, they agree."""


def tokenizer(recipe: Recipe, more: Sequence[AddedToken] = ()) -> PreTrainedTokenizerBase:
    """The embedded student's words, with the special tokens of a family, and ``more``."""
    made = AutoTokenizer.from_pretrained(NANO, extra_special_tokens=recipe.named)
    made.add_special_tokens({"additional_special_tokens": list(recipe.others)}, replace_extra_special_tokens=False)
    made.add_tokens(list(more))
    made.eos_token = recipe.end
    made.chat_template = recipe.chat
    return made


def config(family: str, words: PreTrainedTokenizerBase) -> PreTrainedConfig:
    made = RECIPES[family].config(words.convert_tokens_to_ids)
    made["text_config"]["vocab_size"] = len(words) + (-len(words)) % 8
    return AutoConfig.for_model(family, **made)


def network(family: str, *, seed: int = 0, spread: float = 0.3) -> nn.Module:
    """A model in which nothing is negligible: weights are drawn wide, so that image, position and text matter."""
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(config(family, tokenizer(RECIPES[family])))
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=spread / parameter.shape[-1] ** 0.5 * 2)
    return model.eval()


def save(path: Path, family: str, seed: int = 0) -> Path:
    """A folder that ``student.model`` can name."""
    recipe = RECIPES[family]
    words = tokenizer(recipe)
    model = network(family, seed=seed)
    model.generation_config.update(eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id)
    model.save_pretrained(path)
    return save_processor(path, family)


def save_processor(path: Path, family: str, more: Sequence[AddedToken] = ()) -> Path:
    """What `load_processor` reads of a folder; ``more`` tokens beside the family's."""
    recipe = RECIPES[family]
    words = tokenizer(recipe, more)
    config(family, words).save_pretrained(path)
    words.save_pretrained(path)
    recipe.images.save_pretrained(path)
    (path / "processor_config.json").write_text(json.dumps(recipe.processor))
    return path
