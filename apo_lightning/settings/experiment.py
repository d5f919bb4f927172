"""The typed shape of an experiment file. Values that the paper does not give have no default here (REQUIRED):
an experiment must state them. Sections that name something registered (data, teachers, loss, callbacks) are plain
mappings; `config.py` checks them against the settings of what they name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from apo_lightning.settings.checks import REQUIRED, check_choices
from apo_lightning.settings.checks import positive as _positive
from apo_lightning.settings.plain import CacheSettings, CurvePoint, EvaluationSet, ThinkingSettings
from apo_lightning.settings.pool import GateSettings, PruneSettings
from apo_lightning.settings.probes import LikelihoodSettings, SamplingSettings
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.settings.stages import DecodingSettings, StagesSettings
from apo_lightning.settings.student import StudentSettings
from apo_lightning.settings.trainer import TrainerSettings


@dataclass
class PoolSettings:
    """Which of the configured teachers an arm hears: ``all``, ``best_on_val`` (one), ``cheapest`` (see ``prune``), or a
    list of names; and how loud."""

    select: Any = "all"
    weights: dict[str, Any] = field(default_factory=lambda: {"name": "user"})
    """A strategy (``apo_lightning/weighting``); ``user`` takes the weights that the file gives the teachers."""
    prune: PruneSettings | None = None
    """How ``cheapest`` chooses; None: as `PruneSettings` has it."""
    gate: GateSettings | None = None
    """What is done where teachers conflict; None: nothing, and nobody looks."""


@dataclass
class EvaluateSettings(DecodingSettings):
    """Answers to the diagnose prompt, read back into findings and compared with the labels."""

    data: dict[str, Any] | None = None
    """Another set to answer, whose test split takes the place of the training set's; None: the training set's own."""
    sets: dict[str, EvaluationSet] = field(default_factory=dict)
    """Further sets that are answered beside that one, by the name of their folder; those not on disk are left out."""
    prompt: str | None = None
    """What is asked; None: the prompt of the experiment."""
    split: Literal["val", "test"] = "test"
    batch_studies: int = REQUIRED
    findings: list[str] = field(default_factory=list)
    """Findings that are counted; empty means all of the data set."""
    likelihood: LikelihoodSettings = field(default_factory=LikelihoodSettings)
    samples: int = 0
    """Answers per study that are drawn for a vote, beside the one that is read; 0: none."""
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
        check_choices(self)
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

    mode: Literal["offline", "online", "disabled"] = "offline"
    project: str = "apo-lightning"
    entity: str | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 < len(self.project) <= 128 or set(self.project) & set("/\\#?%:"):
            raise ValueError(f"project must be 1 to 128 characters without / \\ # ? % :, got '{self.project}'")


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
    acknowledge_sending: list[str] = field(default_factory=list)
    """Names of data sets under a data use agreement whose images may be sent to the endpoints of the teachers, because
    their agreement permits it. It says nothing of what may be shown."""
    student: StudentSettings = field(default_factory=StudentSettings)
    prompt: str = "diagnose"
    teachers: dict[str, dict[str, Any]] = REQUIRED
    cast: dict[str, Any] = field(default_factory=dict)
    """Settings that lie over every simulated teacher: the axes of a made-up world."""
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
    unheard = tuple[str, ...]()
    """Sentences about words of the command line that change nothing in this run, given by `config.load` too."""

    def of_set(self, name: str) -> ExperimentSettings:
        """The same experiment where a further set is answered: its question, its test split, all of its findings."""
        own, asked = self.evaluate.sets[name], self.evaluate
        prompt = own.prompt or asked.prompt
        plan = replace(asked, data=None, sets={}, prompt=prompt, split="test", findings=[])
        if not own.probes:
            plan = replace(plan, likelihood=replace(asked.likelihood, form="off"), samples=0)
        return replace(self, evaluate=plan)
