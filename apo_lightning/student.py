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
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from apo_lightning import scoring
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.families import WHOLE
from apo_lightning.processor import end_of_turn, load_processor, locate
from apo_lightning.settings import StudentSettings
from apo_lightning.stores.features import FeatureCache
from apo_lightning.types import BranchBatch, PromptBatch, Scores

RECORD = "student.json"


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


def quantization_config(settings: StudentSettings) -> BitsAndBytesConfig:
    """NF4 with double quantisation (QLoRA, arXiv 2305.14314); the vision tower and the head keep their precision."""
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=getattr(torch, settings.dtype),
        bnb_4bit_use_double_quant=True, llm_int8_skip_modules=list(WHOLE),
    )  # fmt: skip


def load_base(settings: StudentSettings, folder: str | None = None) -> nn.Module:
    """Pre-trained model in the configured precision.

    Raises:
        ConfigError: the folder or hub name holds no image-text-to-text model.
    """
    four_bits = {"quantization_config": quantization_config(settings)} if settings.adapter.kind == "qlora" else {}
    try:
        return AutoModelForImageTextToText.from_pretrained(
            folder or locate(settings.model), dtype=getattr(torch, settings.dtype),
            attn_implementation=settings.attention, **four_bits,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"student.model '{settings.model}' could not be loaded ({str(error).splitlines()[0]}). "
            "Give 'nano', a folder with a saved image-text-to-text model, or a hub name that is already downloaded."
        ) from error


class Student(nn.Module):
    """A model with its processor.

    Args:
        model: Hugging Face image-text-to-text model, or its PEFT wrapper.
        processor: see `apo_lightning.processor`.
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
    def load(cls, settings: StudentSettings, source: Path | None = None) -> Student:
        """The base model, or the saved student in ``source``: its adapters are merged into the base, in order, so that
        a new adapter starts from exactly that student. Over 4-bit weights they stay apart and frozen, since merging
        into 4 bits would change them."""
        processor = load_processor(settings.model, settings.min_pixels, settings.max_pixels)
        record = read_record(source) if source else {}
        weights = str(source / "weights") if record.get("kind") == "full" else None
        model = load_base(settings, weights)
        for adapter in sorted((source / "adapters").iterdir()) if source and not weights else []:
            if settings.adapter.kind == "qlora":
                model = _stack(model, adapter)
            else:
                model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        return cls(model.requires_grad_(False).eval(), processor, settings, source)

    def make_trainable(self, seed: int) -> Student:
        """Put a fresh adapter on (or free the language part), and make the present state the reference."""
        torch.manual_seed(seed)
        if self.settings.adapter.kind == "full":
            self.frozen = copy.deepcopy(self.model)
            self.model.get_decoder().requires_grad_(True)
            self.model.get_output_embeddings().requires_grad_(True)
        else:
            self._add_adapter()
        if self.settings.gradient_checkpointing:
            self.model.activation_checkpointing_enable({"use_reentrant": False})
        return self

    def train(self, mode: bool = True) -> Student:
        """Training mode for what is trained; the frozen copy and adapters below the newest stay without dropout."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        below = list(self.model.peft_config)[:-1] if isinstance(self.model, PeftModel) else []
        for name, module in self.model.named_modules():
            if "lora_dropout" in name and name.rsplit(".", 1)[-1] in below:
                module.eval()
        return self

    def _add_adapter(self) -> None:
        adapter = self.settings.adapter
        base = self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model
        config = LoraConfig(
            r=adapter.r, lora_alpha=adapter.alpha, lora_dropout=adapter.dropout, target_modules=language_linears(base),
        )  # fmt: skip
        if isinstance(self.model, PeftModel):
            name = f"stage{len(self.model.peft_config)}"
            below = list(self.model.peft_config)
            self.model.add_adapter(name, config)
            self.model.base_model.set_adapter([*below, name])
            for key, parameter in self.model.named_parameters():
                parameter.requires_grad_(f".{name}." in key)
        else:
            self.model = get_peft_model(self.model, config)

    def score(self, batch: BranchBatch, slope: Tensor | None = None) -> Scores:
        """Log-probabilities of every branch, see `scoring.score`."""
        self.see(batch)
        return scoring.score(self.model, batch, slope=slope, **self._way)

    def compare(self, batch: BranchBatch, teachers: Mapping[str, Student], divergence: scoring.RowsOf, *,
                mixed: bool) -> Tensor:  # fmt: skip
        """Divergence between teachers' token distributions and this student's, see `scoring.compare`."""
        self.see(batch)
        models = {name: teacher.model for name, teacher in teachers.items()}
        return scoring.compare(self.model, batch, models, divergence, mixed=mixed, **self._way)

    @property
    def _way(self) -> dict[str, Any]:
        how = self.settings.scorer
        return dict(mode=how.mode, rows=how.rows, budget=int(how.memory_gb * 1e9) if how.memory_gb else None)

    @torch.no_grad()
    def see(self, batch: PromptBatch) -> None:
        """Encode the images of a batch, through the feature cache where there is one. The tower is never trained."""
        self.counts["images encoded"] += scoring.see(scoring.Parts.of(self.model), batch, self.feature_cache)

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

    @torch.no_grad()
    def generate(self, batch: PromptBatch, *, max_new_tokens: int, sample: bool = False, temperature: float = 1.0,
                 top_p: float = 1.0, samples: int = 1) -> list[list[str]]:  # fmt: skip
        """``samples`` answers to each prompt, greedy unless ``sample``; special tokens are left out of the text."""
        self.see(batch)
        choice = dict(do_sample=True, temperature=temperature, top_p=top_p) if sample else dict(do_sample=False)
        inputs = scoring.model_inputs(self.model, batch, scoring.as_encoder_outputs(batch.features or []))
        ids = self.model.generate(
            **inputs, **choice, max_new_tokens=max_new_tokens, num_return_sequences=samples,
            eos_token_id=self.stop_tokens, pad_token_id=self.processor.tokenizer.pad_token_id,
        )  # fmt: skip
        answers = ids[:, batch.prefix_ids.shape[1] :]
        texts = [text.strip() for text in self.processor.tokenizer.batch_decode(answers, skip_special_tokens=True)]
        return [texts[i : i + samples] for i in range(0, len(texts), samples)]

    @property
    def stop_tokens(self) -> list[int]:
        """Ids that end an answer: the tokenizer's end of turn and what the model's own generation settings name."""
        named = self.model.generation_config.eos_token_id
        named = named if isinstance(named, list) else [named]
        ends = {self.processor.tokenizer.eos_token_id, end_of_turn(self.processor)}
        return sorted({*ends, *(i for i in named if i is not None)})

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
        (folder / RECORD).write_text(json.dumps(record, indent=2))

    def _save_adapters(self, folder: Path, state: dict[str, Tensor] | None) -> None:
        kept = sorted((self.source / "adapters").iterdir()) if self.source else []
        for adapter in kept:
            shutil.copytree(adapter, folder / adapter.name, dirs_exist_ok=True)
        newest = list(self.model.peft_config)[-1]
        target, scratch = folder / f"{len(kept)}", folder / ".new"
        self.model.save_pretrained(scratch, selected_adapters=[newest], state_dict=state)
        (scratch / newest if (scratch / newest).exists() else scratch).rename(target)
        shutil.rmtree(scratch, ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any]:
    """What a saved student says of itself.

    Raises:
        ArtifactError: the record is missing or unreadable.
    """
    try:
        return json.loads((folder / RECORD).read_text())
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder / RECORD} is missing or unreadable ({error}). Remove {folder.parent} and run again."
        ) from error


def _stack(model: nn.Module, adapter: Path) -> PeftModel:
    if not isinstance(model, PeftModel):
        return PeftModel.from_pretrained(model, adapter, adapter_name="stage0")
    name = f"stage{len(model.peft_config)}"
    model.load_adapter(adapter, adapter_name=name)
    model.base_model.set_adapter(list(model.peft_config))
    return model


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
