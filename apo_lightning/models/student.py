"""The vision-language model that is trained: load, score, generate, reference, save. One class for every Hugging Face
image-text-to-text model; the nano student is a folder, not another code path.

A saved student is a folder: ``student.json`` names the base model, and either ``adapters/<k>`` hold the LoRA adapters
that lie over it in order, or ``weights`` holds the whole model after full fine-tuning.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from torch import Tensor, nn

from apo_lightning import scoring
from apo_lightning.caches.features import FeatureCache
from apo_lightning.files.atomic import write_text
from apo_lightning.layers import rounded_once
from apo_lightning.models import generation
from apo_lightning.models.adapters import LEARNED, NEWEST, language_linears, learned, put_on
from apo_lightning.models.network import Networks, load_network
from apo_lightning.models.processor import end_of_turn, load_processor
from apo_lightning.models.saved import RECORD, adapters, read_record
from apo_lightning.scoring import precision
from apo_lightning.scoring.apart import score_apart
from apo_lightning.scoring.sharding import is_sharded
from apo_lightning.settings import DecodingSettings, StudentSettings
from apo_lightning.types import Answer, BranchBatch, PromptBatch, Scores


class Student(nn.Module):
    """A model with its processor.

    Args:
        model: Hugging Face image-text-to-text model, or its PEFT wrapper.
        processor: see `apo_lightning.models.processor`.
        settings: what it was loaded by.
        source: folder of the saved student it came from, None for the base model.
    """

    def __init__(self, model: nn.Module, processor: Any, settings: StudentSettings, source: Path | None = None) -> None:
        super().__init__()
        self.model, self.processor, self.settings, self.source = model, processor, settings, source
        self.frozen: nn.Module | None = None
        self.feature_cache: FeatureCache | None = None
        self.counts: Counter[str] = Counter()

    @classmethod
    def load(cls, settings: StudentSettings, source: Path | None = None, networks: Networks | None = None) -> Student:
        """The base model, or the saved student in ``source``.

        Its adapters lie beside the base in float32, joined into one, so that it is the student that was trained to the
        rounding of a forward pass, in 16 bits and in 4 too.

        Args:
            networks: where the run keeps the pre-trained network; None: it is read from disk.

        Raises:
            ConfigError: the base model or its processor cannot be read.
            ArtifactError: the saved student cannot be read, or does not fit the base model.
        """
        processor = load_processor(settings.model, settings.min_pixels, settings.max_pixels)
        record = read_record(source) if source else {}
        if source and record.get("kind") == "full":
            return cls(load_network(settings, source / "weights"), processor, settings, source)
        model = (networks or Networks()).take(settings)
        if source:
            config, state = learned(adapters(source))
            model = put_on(model, config, LEARNED, state, source / "adapters")
        return cls(model.requires_grad_(False).eval(), processor, settings, source)

    def make_trainable(self, seed: int) -> Student:
        """Put a fresh adapter on (or free the language part), and make the present state the reference. What is trained
        is float32, see `models.precision`."""
        torch.manual_seed(seed)
        if self.settings.adapter.kind == "full":
            trained = (self.model.get_decoder(), self.model.get_output_embeddings())
            precision.keep_masters(*trained)
            self.frozen = copy.deepcopy(self.model)
            for part in trained:
                part.requires_grad_(True)
        else:
            self._add_adapter()
        if self.settings.gradient_checkpointing:
            self.model.activation_checkpointing_enable({"use_reentrant": False})
        return self

    def train(self, mode: bool = True) -> Student:
        """Training mode for what is trained; the frozen copy stays without dropout."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    def _add_adapter(self) -> None:
        adapter = self.settings.adapter
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        config = LoraConfig(
            r=adapter.r, lora_alpha=adapter.alpha, lora_dropout=adapter.dropout, target_modules=language_linears(base)
        )
        self.model = put_on(self.model, config, NEWEST)

    def score(self, batch: BranchBatch, grad_wrt_logps: Tensor | None = None) -> Scores:
        """Log-probabilities of every branch behind its own images, see `scoring.score`."""
        with precision.compute(self.model, self.settings.dtype):
            for prompts in (batch, batch.damaged):
                if prompts is not None:
                    self.encode_images(prompts)
            return score_apart(
                lambda part, known: scoring.score(self.model, part, grad_wrt_logps=known, **self._way),
                batch,
                grad_wrt_logps,
            )

    def compare(
        self,
        batch: BranchBatch,
        teachers: Mapping[str, Student | scoring.Recorded],
        divergence: scoring.RowsOf,
        *,
        mixed: bool,
    ) -> Tensor:
        """Divergence between teachers' token distributions and this student's, see `scoring.compare`."""
        models = {name: who.model if isinstance(who, Student) else who for name, who in teachers.items()}
        with precision.compute(self.model, self.settings.dtype):
            self.encode_images(batch)
            return scoring.compare(self.model, batch, models, divergence, mixed=mixed, **self._way)

    def top_k(self, batch: BranchBatch, k: int, temperature: float = 1.0) -> scoring.Listed:
        """The K likeliest next tokens at every token of every branch, see `scoring.top_k`."""
        vocabulary = min(len(self.head[0]), len(self.processor.tokenizer))
        with precision.compute(self.model, self.settings.dtype):
            self.encode_images(batch)
            return scoring.top_k(self.model, batch, k, vocabulary=vocabulary, temperature=temperature, **self._way)

    @torch.no_grad()
    def states(self, batch: BranchBatch) -> tuple[Tensor, Tensor]:
        """Hidden states behind every scored token and the token's place, see `scoring.states`."""
        with precision.compute(self.model, self.settings.dtype):
            self.encode_images(batch)
            return scoring.states(self.model, batch, **self._way)

    @property
    def head(self) -> tuple[Tensor, Tensor | None]:
        """The vocabulary projection: weight ``[V, H]``, and bias ``[V]`` where there is one."""
        head = scoring.Parts.of(self.model).head
        return head.weight, getattr(head, "bias", None)

    @property
    def _way(self) -> dict[str, Any]:
        how = self.settings.scorer
        return dict(mode=how.mode, rows=how.rows, budget=int(how.memory_gb * 1e9) if how.memory_gb else None)

    @torch.no_grad()
    def encode_images(self, batch: PromptBatch) -> None:
        """Encode the images of a batch, through the feature cache where there is one. The tower is never trained."""
        self.counts["images encoded"] += scoring.encode_images(scoring.Parts.of(self.model), batch, self.feature_cache)

    @contextmanager
    def reference(self) -> Iterator[None]:
        """Inside, `score` asks the frozen student that training started from, without gradients."""
        with torch.no_grad():
            if self.frozen is not None:
                self.model, self.frozen = self.frozen, self.model
                try:
                    yield
                finally:
                    self.model, self.frozen = self.frozen, self.model
            elif isinstance(self.model, PeftModel):
                with _without_newest(self.model):
                    yield
            else:
                yield

    def generate(self, batch: PromptBatch, *, samples: int = 1, **how: Any) -> list[list[str]]:
        """The texts of `write`, with the fields of `DecodingSettings` as keywords."""
        written = self.write(batch, DecodingSettings(**how), samples)
        return [[answer.text for answer in answers] for answers in written]

    @torch.no_grad()
    def write(self, batch: PromptBatch, how: DecodingSettings, samples: int = 1) -> list[list[Answer]]:
        """``samples`` answers to each prompt; special tokens are left out of the text. Nothing but ``how`` decides how
        they are written: decoding settings that came with the model are not used.

        Raises:
            DivergedError: the logits are NaN.
        """
        rows, stop = self.write_tokens(batch, how, samples), self.stop_tokens
        texts = self.processor.tokenizer.batch_decode(rows, skip_special_tokens=True)
        answers = [  # a cut may lie inside a character
            Answer(text.rstrip("\ufffd").strip(), generation.is_cut(row, stop))
            for text, row in zip(texts, rows, strict=True)
        ]
        return [answers[i : i + samples] for i in range(0, len(answers), samples)]

    @torch.no_grad()
    def write_tokens(self, batch: PromptBatch, how: DecodingSettings, samples: int = 1) -> Tensor:
        """Token ids ``[B * samples, T]`` of the answers of `write`, a study's in a row; padding behind an end."""
        pad = self.processor.tokenizer.pad_token_id
        config = generation.decoding(how, stop=self.stop_tokens, pad=pad, samples=samples)
        if self.settings.compiled_writing:
            config.cache_implementation = "static"
        whole = scoring.Parts.of(self.model).whole
        once = nullcontext() if is_sharded(whole.get_decoder()) else rounded_once(self.model)
        with precision.compute(self.model, self.settings.dtype), generation.only(whole, config), once:
            self.encode_images(batch)
            ids = whole.generate(
                **scoring.model_inputs(self.model, batch, scoring.as_encoder_outputs(batch.features or [])),
                generation_config=config,
                logits_processor=[generation.RequireNumbers()],
            )
        return ids[:, batch.prefix_ids.shape[1] :]

    @property
    def stop_tokens(self) -> list[int]:
        """Ids that end an answer: the tokenizer's end of turn and what the model's own generation settings name."""
        ends = {self.processor.tokenizer.eos_token_id, end_of_turn(self.processor)}
        return generation.stop_tokens(scoring.Parts.of(self.model).whole, ends)

    def save(self, folder: Path, state: dict[str, Tensor] | None = None) -> None:
        """Write a self-contained record of this student. ``state`` is the gathered state dict where parameters are
        sharded over processes. Chained adapters of the source are copied along."""
        shutil.rmtree(folder, ignore_errors=True)  # what a kill in the middle of an earlier call left
        folder.mkdir(parents=True)
        if self.settings.adapter.kind == "full":
            self.model.save_pretrained(folder / "weights", state_dict=state)
        else:
            self._save_adapters(folder / "adapters", state)
        record = {
            "base": self.settings.model,
            "kind": self.settings.adapter.kind,
            "adapter": asdict(self.settings.adapter),
        }
        write_text(folder / RECORD, json.dumps(record, indent=2))

    def _save_adapters(self, folder: Path, state: dict[str, Tensor] | None) -> None:
        kept = adapters(self.source) if self.source else []
        for adapter in kept:
            shutil.copytree(adapter, folder / adapter.name, dirs_exist_ok=True)
        scratch, config = folder / ".new", self.model.peft_config[NEWEST]
        config.target_modules = sorted(config.target_modules)  # peft's set has another order in each process
        self.model.save_pretrained(scratch, selected_adapters=[NEWEST], state_dict=state)
        (scratch / NEWEST).rename(folder / f"{len(kept)}")
        shutil.rmtree(scratch)  # the model card that peft writes beside


@contextmanager
def _without_newest(model: PeftModel) -> Iterator[None]:
    """All adapters but the newest stay on; with a single one the base model is what is left."""
    names = list(model.peft_config)
    if len(names) == 1:
        with model.disable_adapter():
            yield
        return
    trainable = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    model.base_model.set_adapter(names[:-1])
    try:
        yield
    finally:
        model.base_model.set_adapter(names)
        for key, parameter in model.named_parameters():
            parameter.requires_grad_(key in trainable)
