"""How a server is told to write: every setting spelled out, since servers take what is left out from the files of the
model (``generation_config.json``) or have defaults of their own."""

from __future__ import annotations

from typing import Any

from transformers import GenerationConfig

from apo_lightning.errors import ConfigError, first_line
from apo_lightning.hashing.contents import digest
from apo_lightning.models.processor import end_of_turn, load_config, locate
from apo_lightning.settings import DecodingSettings, StudentSettings


def body(how: DecodingSettings, settings: StudentSettings, stop: list[int]) -> dict[str, Any]:
    """What of a request says how is written, in the fields of vLLM and SGLang; see `seed`.

    Raises:
        ConfigError: no server can do it.
    """
    if how.no_repeat_ngram_size:
        raise ConfigError(
            "no_repeat_ngram_size must be 0 where a server writes (student.server.url), got "
            f"{how.no_repeat_ngram_size}."
        )
    drawn = {"temperature": how.temperature, "top_p": how.top_p, "top_k": how.top_k or -1}
    pixels = {key: value for key in ("min_pixels", "max_pixels") if (value := getattr(settings, key))}
    return {
        "max_tokens": how.max_new_tokens,
        **(drawn if how.sample else {"temperature": 0.0, "top_p": 1.0, "top_k": -1}),
        "min_p": 0.0,
        "repetition_penalty": how.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": stop,
        "skip_special_tokens": True,
        **({"mm_processor_kwargs": pixels} if pixels else {}),
    }


def seed(run: int, study: str, sample: int) -> int:
    """Of one answer: the same whoever else is asked about beside it.

    >>> seed(0, "a", 0) == seed(0, "a", 0) != seed(0, "a", 1)
    True
    """
    return int(digest([run, study, sample])[:15], 16) % 2**31


def stop_tokens(settings: StudentSettings, processor: Any) -> list[int]:
    """Ids that end an answer, as `Student.stop_tokens` has them, without the network."""
    try:
        own = GenerationConfig.from_pretrained(locate(settings.model), trust_remote_code=False)
    except OSError:  # the model has no settings of its own beside its configuration
        own = GenerationConfig.from_model_config(load_config(settings.model))
    except Exception as error:  # a file raises whatever its content leads to
        raise ConfigError(
            f"student.model '{settings.model}' has a generation_config.json that cannot be read ({first_line(error)})."
        ) from error
    named = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    ends = {processor.tokenizer.eos_token_id, end_of_turn(processor), *named}
    return sorted(each for each in ends if each is not None)
