"""Models that read text alone: a folder or hub name of any causal language model, or one GGUF file. They write texts
as teachers do, and never are students."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as TEXT_MODELS
from transformers.utils.import_utils import is_gguf_available

from apo_lightning.errors import ConfigError, first_line
from apo_lightning.models.network import quantization_config, require_whole
from apo_lightning.models.processor import check_whole, load_config
from apo_lightning.models.text_tokens import take_out_breaks
from apo_lightning.settings import StudentSettings

GGUF = ".gguf"


class TextProcessor:
    """A tokenizer with the interface of a processor that has never seen an image.

    Attributes:
        tokenizer: a fast one, padding on the left.
        chat_template: its own.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.chat_template = tokenizer, tokenizer.chat_template

    def __call__(self, text: Sequence[str], images: Any = None, **how: Any) -> Any:
        """``input_ids`` and ``attention_mask`` of prompts that `apply_chat_template` has made.

        Raises:
            ValueError: there are images.
        """
        if images:
            raise ValueError("a model that reads text only was shown images")
        return self.tokenizer(list(text), add_special_tokens=False, return_token_type_ids=False, **how)

    def apply_chat_template(self, messages: Sequence[dict[str, Any]], **how: Any) -> str:
        """Turns whose content is a list of parts, as a processor takes them; templates of text models know strings."""
        turns = [
            {**turn, "content": "".join(part["text"] for part in turn["content"] if part["type"] == "text")}
            for turn in messages
        ]
        return self.tokenizer.apply_chat_template(turns, **how)


def is_gguf(model: str) -> bool:
    return model.lower().endswith(GGUF)


def reads_text_only(model: str) -> bool:
    """Whether a model looks at no image.

    Raises:
        ConfigError: it is neither a GGUF file, a folder nor a downloaded hub name.
    """
    if is_gguf(model):
        return True
    config = load_config(model)
    return config.model_type in TEXT_MODELS and not hasattr(config, "vision_config")


def load_text_processor(model: str) -> TextProcessor:
    """
    Raises:
        ConfigError: there is no fast tokenizer with turns and ends.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(**_place(model), trust_remote_code=False)
    except Exception as error:  # a damaged GGUF file raises whatever its bytes lead to
        raise ConfigError(_unread(model, "tokenizer", error)) from error
    if not tokenizer.is_fast:
        raise ConfigError(f"student.model '{model}' has no fast tokenizer (tokenizer.json), which this needs.")
    tokenizer.padding_side = "left"
    processor = TextProcessor(tokenizer)
    check_whole(model, processor)
    take_out_breaks(tokenizer)
    return processor


def load_text_network(settings: StudentSettings) -> nn.Module:
    """Causal language model in the configured precision, frozen. The weights of a GGUF file are made whole.

    Raises:
        ConfigError: it cannot be read, lacks weights, or is a GGUF file that is to be loaded in 4 bits.
    """
    four_bits = settings.adapter.kind == "qlora"
    if four_bits and is_gguf(settings.model):
        raise ConfigError(
            f"student.model '{settings.model}' is a GGUF file, whose weights are made whole when they are read: "
            "remove bits, or give the folder that it was made from."
        )
    how = {"quantization_config": quantization_config(settings)} if four_bits else {}
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            **_place(settings.model),
            dtype=getattr(torch, settings.dtype),
            attn_implementation=settings.attention,
            output_loading_info=True,
            trust_remote_code=False,
            **how,
        )
    except Exception as error:  # as above
        raise ConfigError(_unread(settings.model, "model", error)) from error
    require_whole(found, settings)
    return model.requires_grad_(False).eval()


def _place(model: str) -> dict[str, Any]:
    """Where the library finds it.

    Raises:
        ConfigError: a GGUF file is not there, or the package that reads it is not.
    """
    if not is_gguf(model):
        return {"pretrained_model_name_or_path": model}
    if not Path(model).is_file():
        raise ConfigError(f"student.model '{model}' is no file. Give the path of a GGUF file.")
    if not is_gguf_available():
        raise ConfigError(f"student.model '{model}' needs the package gguf: pip install 'apo-lightning[gguf]'.")
    return {"pretrained_model_name_or_path": str(Path(model).parent), "gguf_file": Path(model).name}


def _unread(model: str, what: str, error: Exception) -> str:
    form = "a GGUF file of a causal language model that transformers knows" if is_gguf(model) else "a saved model"
    return f"student.model '{model}' has no {what} that can be read ({first_line(error)}). Give {form}."
