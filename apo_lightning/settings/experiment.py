"""The typed shape of an experiment file. Values that the paper does not give have no default here (REQUIRED):
an experiment must state them. Sections that name something registered (data, teachers, loss, callbacks) are plain
mappings; `config.py` checks them against the settings of what they name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from apo_lightning.settings.checks import REQUIRED
from apo_lightning.settings.checks import choice as _choice
from apo_lightning.settings.checks import positive as _positive
from apo_lightning.settings.fitting import FitSettings
from apo_lightning.settings.plain import CacheSettings, CurvePoint, EvaluationSet, ThinkingSettings
from apo_lightning.settings.probes import LikelihoodSettings, SamplingSettings
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.settings.trainer import TrainerSettings


@dataclass
class AdapterSettings:
    """How the student is trained: ``lora`` adapters, ``qlora`` (the same over 4-bit weights), or ``full``."""

    kind: str = "lora"
    r: int = 8
    alpha: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _choice("kind", self.kind, ("lora", "qlora", "full"))
        _positive(r=self.r, alpha=self.alpha)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


@dataclass
class ScorerSettings:
    """How answers are scored: ``joint``, ``branchwise`` or ``separate`` (see `scoring.modes`); ``auto`` takes joint
    where it fits the memory and branchwise elsewhere. All give the same numbers up to rounding."""

    mode: str = "auto"
    rows: int | None = None
    """Answers that run at a time, at most."""
    memory_gb: float | None = None
    """What ``auto`` may plan with; null: most of what is free."""

    def __post_init__(self) -> None:
        _choice("mode", self.mode, ("auto", "joint", "branchwise", "separate"))
        _positive(rows=self.rows, memory_gb=self.memory_gb)


@dataclass
class StudentSettings:
    """The vision-language model: ``nano`` (embedded), a folder, or a name on the Hugging Face hub."""

    model: str = REQUIRED
    adapter: AdapterSettings = field(default_factory=AdapterSettings)
    dtype: str = "float32"
    attention: str = "sdpa"
    gradient_checkpointing: bool = False
    scorer: ScorerSettings = field(default_factory=ScorerSettings)
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_prompt_tokens: int = REQUIRED
    max_branch_tokens: int = REQUIRED
    max_context_tokens: int = REQUIRED
    """Budget of the reconcile prompt, which holds the texts of all teachers."""

    def __post_init__(self) -> None:
        _choice("dtype", self.dtype, ("float32", "bfloat16", "float16"))
        _choice("attention", self.attention, ("sdpa", "eager", "flash_attention_2"))
        _positive(max_prompt_tokens=self.max_prompt_tokens, max_branch_tokens=self.max_branch_tokens)
        _positive(max_context_tokens=self.max_context_tokens, min_pixels=self.min_pixels, max_pixels=self.max_pixels)
        if self.min_pixels and self.max_pixels and self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels must be at most max_pixels ({self.max_pixels}), got {self.min_pixels}")


@dataclass
class PoolSettings:
    """Which of the configured teachers an arm hears: ``all``, ``best_on_val`` (one), or a list of names."""

    select: Any = "all"


@dataclass
class DecodingSettings:
    """How texts are written: greedy, or sampled. Decoding settings that came with a model are not used."""

    max_new_tokens: int = REQUIRED
    sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """Most likely tokens that are drawn from; 0: all."""
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0

    def __post_init__(self) -> None:
        _positive(max_new_tokens=self.max_new_tokens, temperature=self.temperature, top_p=self.top_p)
        _positive(repetition_penalty=self.repetition_penalty)
        if self.top_p > 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        for key in ("top_k", "no_repeat_ngram_size"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} must be >= 0 (0 switches it off), got {getattr(self, key)}")

    def decoding(self) -> dict[str, Any]:
        """These settings alone, of a section that has more: what a manifest says of how texts were written."""
        return {own.name: getattr(self, own.name) for own in fields(DecodingSettings)}


@dataclass
class SelfDistillSettings(DecodingSettings):
    """How t+ is found: by a strategy (``apo_lightning/positives``); ``student`` reads every teacher and writes."""

    positive: dict[str, Any] = field(default_factory=lambda: {"name": "student"})
    prompt: str = "reconcile"
    batch_studies: int = REQUIRED
    samples: int = 1
    """Texts a study; of several, t+ is the one that agrees best with the others in what it states."""
    splits: list[str] = field(default_factory=lambda: ["train", "val", "test"])

    def __post_init__(self) -> None:
        super().__post_init__()
        _positive(batch_studies=self.batch_studies, samples=self.samples)
        if self.samples != REQUIRED and self.samples > 1 and not self.sample:
            raise ValueError(f"samples must be 1 unless sample is true (greedy texts are alike), got {self.samples}")


@dataclass
class StagesSettings:
    """learn, compare, critique."""

    spd: FitSettings = field(default_factory=FitSettings)
    self_distill: SelfDistillSettings = field(default_factory=SelfDistillSettings)
    apo: FitSettings = field(default_factory=FitSettings)


@dataclass
class EvaluateSettings(DecodingSettings):
    """Answers to the diagnose prompt, read back into findings and compared with the labels."""

    data: dict[str, Any] | None = None
    """Another set to answer, whose test split takes the place of the training set's; None: the training set's own."""
    sets: dict[str, EvaluationSet] = field(default_factory=dict)
    """Further sets that are answered beside that one, by the name of their folder; those not on disk are left out."""
    prompt: str | None = None
    """What is asked; None: the prompt of the experiment."""
    split: str = "test"
    batch_studies: int = REQUIRED
    findings: list[str] = field(default_factory=list)
    """Findings that are counted; empty means all of the data set."""
    likelihood: LikelihoodSettings = field(default_factory=LikelihoodSettings)
    samples: int = 0
    """Answers a study that are drawn for a vote, beside the one that is read; 0: none."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    flip: bool = True
    """Ask once more with the earlier and the current image swapped, where a study has both and its course is told."""
    likelihood_studies: int = 64
    """Validation studies on which log p(t+) and log p(teachers) are reported."""
    warn_cut: float = 0.05
    """Share of texts that ran into ``max_new_tokens`` above which the table warns."""
    report_text: ReportTextSettings = field(default_factory=ReportTextSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        _choice("split", self.split, ("val", "test"))
        _positive(batch_studies=self.batch_studies)
        if self.samples != 0 and self.samples < 2:
            raise ValueError(f"samples must be 0 (no vote) or at least 2, got {self.samples}")
        if self.likelihood_studies < 0:
            raise ValueError(f"likelihood_studies must be >= 0, got {self.likelihood_studies}")


@dataclass
class ArmSettings:
    """One row of the table. ``set`` maps dotted keys to values laid over the experiment for this arm alone."""

    label: str = REQUIRED
    stages: list[str] = field(default_factory=list)
    set: dict[str, Any] = field(default_factory=dict)
    curve: CurvePoint | None = None
    """Where the arm is a point of a curve."""


@dataclass
class WandbSettings:
    """Weights & Biases; ``offline`` writes beside the run and never needs an account."""

    mode: str = "offline"
    project: str = "apo-lightning"
    entity: str | None = None

    def __post_init__(self) -> None:
        _choice("mode", self.mode, ("offline", "online", "disabled"))


@dataclass
class ExperimentSettings:
    """A whole experiment: arms x seeds x stages."""

    name: str = REQUIRED
    runs_dir: str = "runs"
    seeds: list[int] = field(default_factory=lambda: [0])
    only: list[str] = field(default_factory=list)
    """Names of the arms to run; empty means all."""
    data: dict[str, Any] = REQUIRED
    acknowledge: list[str] = field(default_factory=list)
    """Names of data sets under a data use agreement whose images and texts the report of this run may show, because
    whoever will see it has signed the agreement too."""
    student: StudentSettings = field(default_factory=StudentSettings)
    prompt: str = "diagnose"
    teachers: dict[str, dict[str, Any]] = REQUIRED
    pool: PoolSettings = field(default_factory=PoolSettings)
    thinking: ThinkingSettings = field(default_factory=ThinkingSettings)
    stages: StagesSettings = field(default_factory=StagesSettings)
    evaluate: EvaluateSettings = field(default_factory=EvaluateSettings)
    arms: dict[str, ArmSettings] = REQUIRED
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    callbacks: dict[str, dict[str, Any]] = field(default_factory=dict)
    cache: CacheSettings = field(default_factory=CacheSettings)
    wandb: WandbSettings = field(default_factory=WandbSettings)

    resolved = MappingProxyType[str, "ExperimentSettings"]({})
    """Arm to the experiment as that arm runs it, given by `config.load`; no field, since it is made of the others."""

    def of_set(self, name: str) -> ExperimentSettings:
        """The same experiment where a further set is answered: its question, its test split, all of its findings."""
        own, asked = self.evaluate.sets[name], self.evaluate
        prompt = own.prompt or asked.prompt
        return replace(self, evaluate=replace(asked, data=None, sets={}, prompt=prompt, split="test", findings=[]))
