"""Tokenizer and image processor of a student as one callable: the family's own processor without its video half.

Several families' processors demand a video processor, and that demands torchvision. This project shows still images
only, so the video half is never built, whether torchvision is there or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from transformers import AutoConfig, ProcessorMixin, Qwen2_5_VLProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

from apo_lightning.errors import ConfigError, first_line
from apo_lightning.models.families import Family, family_of
from apo_lightning.models.model_folder import require_bounded
from apo_lightning.models.text_tokens import take_out_breaks
from apo_lightning.scoring.image_records import by_image

NANO = Path(__file__).parents[1] / "assets" / "nano"


def locate(model: str) -> str:
    """``nano`` is the embedded folder; anything else is a folder or a hub name."""
    return str(NANO) if model == "nano" else model


class StillImages:
    """Laid over a processor class of transformers: no video half, and images as one record each.

    ``processor(text=[...], images=[[...], ...])``, one list of images per text, returns ``input_ids, attention_mask``
    and what `image_records.by_image` says.
    """

    @classmethod
    def get_attributes(cls) -> list[str]:
        return [name for name in super().get_attributes() if name != "video_processor"]

    @classmethod
    def from_args_and_dict(cls, args: Sequence[Any], processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        video = "video_processor" in super().get_attributes()
        return super().from_args_and_dict([*args, *([None] if video else [])], processor_dict, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Loading workers get a processor by pickle, which finds no class that was made while the program ran."""
        order = type(self).__mro__
        return _unpickled, (order[order.index(StillImages) + 1], self.__dict__)

    def apply_chat_template(self, *args: Any, **kwargs: Any) -> str:
        return ProcessorMixin.apply_chat_template(self, *args, **kwargs)  # SmolVLM's own asks its video processor

    def _process_images(self, images: Any, **kwargs: Any) -> tuple[Any, list[str]]:
        found, shown = super()._process_images(images, **kwargs)
        return by_image(found), shown


@cache
def still(kind: type) -> type:
    """A processor class of transformers without its video half."""
    return type(kind.__name__, (StillImages, kind), {})


def _unpickled(kind: type, state: dict[str, Any]) -> Any:
    made = still(kind).__new__(still(kind))
    made.__dict__.update(state)
    return made


class JoinedProcessor(StillImages, Qwen2_5_VLProcessor):
    """A Qwen-VL processor made of its two working halves."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        super().__init__(image_processor, tokenizer, chat_template=tokenizer.chat_template)


def load_processor(model: str, min_pixels: int | None = None, max_pixels: int | None = None) -> Any:
    """Processor of a model folder or hub name, padding on the left so that answers start at the last column.

    Raises:
        ConfigError: the folder or name holds no tokenizer or image processor, is of a family that does not fit, or
            needs a package that is missing.
    """
    path = locate(model)
    limits = {key: value for key, value in (("min_pixels", min_pixels), ("max_pixels", max_pixels)) if value}
    config = load_config(model)
    family = family_of(config, f"student.model '{model}'")
    if limits and not family.pixel_limits:
        raise ConfigError(
            f"student.{next(iter(limits))} says nothing to {family.name} (student.model '{model}'), whose images "
            f"become: {family.images}. Remove it."
        )
    try:
        processor = still(PROCESSOR_MAPPING[type(config)]).from_pretrained(path, trust_remote_code=False, **limits)
    except Exception as error:  # a folder's files raise whatever their content leads to
        raise ConfigError(_unbuilt(model, family, error)) from error
    processor.tokenizer.padding_side = "left"
    if not processor.chat_template:
        processor.chat_template = processor.tokenizer.chat_template
    check_whole(model, processor)
    take_out_breaks(processor.tokenizer)
    return processor


def load_config(model: str, *, local_files_only: bool = False) -> Any:
    """Configuration of a model folder or hub name; with ``local_files_only`` the hub is not asked.

    Raises:
        ConfigError: there is none.
    """
    try:
        require_bounded(locate(model))
        return AutoConfig.from_pretrained(locate(model), local_files_only=local_files_only, trust_remote_code=False)
    except Exception as error:  # as above
        raise ConfigError(
            f"student.model '{model}' is neither 'nano', nor a model folder, nor a downloaded hub name "
            f"({first_line(error)})."
        ) from error


def _unbuilt(model: str, family: Family, error: Exception) -> str:
    """The first cause of a processor that could not be built, and how to mend it."""
    text = str(error)
    missing = [name for name in ("num2words", "torchvision", "sentencepiece", "tiktoken", "protobuf") if name in text]
    what = f"student.model '{model}' ({family.name}) has no usable tokenizer and image processor: {first_line(error)}."
    if isinstance(error, ImportError) and missing:
        return f"{what} Install what is missing: pip install {' '.join(missing)}."
    return (
        f"{what} Give 'nano', a folder with a saved model and its processor, or a hub name that is already downloaded."
    )


def check_whole(model: str, processor: Any) -> None:
    """A folder may hold a tokenizer that knows neither turns nor ends.

    Raises:
        ConfigError: it does.
    """
    words = processor.tokenizer
    gone = {
        "a chat template (chat_template.jinja)": processor.chat_template,
        "an end token (eos_token of tokenizer_config.json)": words.eos_token_id is not None,
    }
    for what, there in gone.items():
        if not there:
            raise ConfigError(f"student.model '{model}' lacks {what}. Take it from the model that it was made from.")
    if words.pad_token_id is None:
        words.pad_token = words.eos_token


def end_of_turn(processor: Any) -> int:
    """Id of the token that ends an answer in the family's chat template; the tokenizer's end of text where the
    template writes none of its special tokens behind an answer.

    Gemma ends a turn with ``<end_of_turn>``, not with the tokenizer's ``<eos>``.
    """
    words, mark = processor.tokenizer, "@answer@"
    turns = [
        {"role": role, "content": [{"type": "text", "text": text}]}
        for role, text in (("user", "@question@"), ("assistant", mark))
    ]
    behind = processor.apply_chat_template(turns, tokenize=False).rpartition(mark)[2].lstrip()
    first = words(behind, add_special_tokens=False)["input_ids"][:1]
    return first[0] if first and first[0] in words.all_special_ids else words.eos_token_id
