"""How a student writes: only what the settings say. Published checkpoints carry decoding settings of their own (a
repetition penalty, top_k 1), and the library has defaults (top_k 50); both would change answers unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn
from transformers import GenerationConfig, LogitsProcessor

from apo_lightning.errors import DivergedError
from apo_lightning.settings import DecodingSettings


def stop_tokens(model: nn.Module, ends: Iterable[int]) -> list[int]:
    """Ids that end an answer: the tokenizer's, and what the model's own generation settings name."""
    named = model.generation_config.eos_token_id
    named = named if isinstance(named, list) else [named]
    return sorted({*ends, *(i for i in named if i is not None)})


def decoding(how: DecodingSettings, *, stop: Sequence[int], pad: int, samples: int = 1) -> GenerationConfig:
    """Settings as the library takes them, every one of ours written out."""
    sampling = dict(temperature=how.temperature, top_p=how.top_p, top_k=how.top_k) if how.sample else {}
    return GenerationConfig(
        max_new_tokens=how.max_new_tokens,
        do_sample=how.sample,
        num_return_sequences=samples,
        num_beams=1,
        repetition_penalty=how.repetition_penalty,
        no_repeat_ngram_size=how.no_repeat_ngram_size,
        eos_token_id=list(stop),
        pad_token_id=pad,
        **sampling,
    )


@contextmanager
def only(model: nn.Module, config: GenerationConfig) -> Iterator[None]:
    """Inside, the model's own generation settings are ``config``: the library fills gaps from them."""
    own = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = own


class RequireNumbers(LogitsProcessor):
    """Refuses to choose a token among values that are no numbers: the first of the vocabulary would be the highest."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """
        Args:
            input_ids: ``[B, T]`` what is written so far.
            scores: ``[B, V]`` logits of the next token.

        Raises:
            DivergedError: one of them is NaN.
        """
        if scores.isnan().any():
            raise DivergedError(
                "The student cannot write: its logits are NaN. Its weights are damaged or were trained until they "
                "diverged, or values overflow in student.dtype float16: try bfloat16."
            )
        return scores


def is_cut(answer: Tensor, stop: Sequence[int]) -> bool:
    """Whether an answer (token ids ``[T]``) ran into the limit: no token of it ends an answer."""
    return not any(int(token) in stop for token in answer)
