"""The typed shape of an experiment file; `config` reads files into it."""

from __future__ import annotations

from apo_lightning.settings.checks import REQUIRED
from apo_lightning.settings.experiment import (
    ArmSettings,
    EvaluateSettings,
    ExperimentSettings,
    PoolSettings,
    WandbSettings,
)
from apo_lightning.settings.plain import CacheSettings, CurvePoint, EvaluationSet, ThinkingSettings
from apo_lightning.settings.pool import GateSettings, PriceSettings, PruneSettings
from apo_lightning.settings.probes import LikelihoodSettings, SamplingSettings
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.settings.stages import (
    DecodingSettings,
    FitSettings,
    OptimSettings,
    SelfDistillSettings,
    StagesSettings,
)
from apo_lightning.settings.student import AdapterSettings, ScorerSettings, ServerSettings, StudentSettings
from apo_lightning.settings.trainer import TrainerSettings

__all__ = [
    "REQUIRED",
    "AdapterSettings",
    "ArmSettings",
    "CacheSettings",
    "CurvePoint",
    "DecodingSettings",
    "EvaluateSettings",
    "EvaluationSet",
    "ExperimentSettings",
    "FitSettings",
    "GateSettings",
    "LikelihoodSettings",
    "OptimSettings",
    "PoolSettings",
    "PriceSettings",
    "PruneSettings",
    "ReportTextSettings",
    "SamplingSettings",
    "ScorerSettings",
    "SelfDistillSettings",
    "ServerSettings",
    "StagesSettings",
    "StudentSettings",
    "ThinkingSettings",
    "TrainerSettings",
    "WandbSettings",
]
