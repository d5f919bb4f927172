"""Which strategy weighs the teachers, and whether the data have what it goes by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from apo_lightning import config
from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.scored import require_labels
from apo_lightning.experiment.stage_files import require_whole
from apo_lightning.files.jsonlines import again
from apo_lightning.files.jsonlines import read as read_jsonl
from apo_lightning.settings import ExperimentSettings
from apo_lightning.weighting import DEFAULT, WEIGHTS
from apo_lightning.weighting.base import Weighting, Weights
from data_modules.base import CXRDataModule

KEY, STEP, FILE = "pool.weights", "weigh", "weights.jsonl"
TAUGHT, REJECTED = "taught", "rejected"
"""Columns of the file: what a text weighs where it is taught, and where t+ is preferred to it."""


def strategy(cfg: ExperimentSettings) -> Weighting:
    """The strategy of an arm's resolved settings."""
    return config.build(WEIGHTS, cfg.pool.weights, KEY)


def weighs(cfg: ExperimentSettings) -> bool:
    """Whether weights are others than those of the experiment file, so that they are found in a step of their own."""
    own = cfg.pool.weights
    return own["name"] != DEFAULT or own.get("rejected", "same") != "same"


def require(cfg: ExperimentSettings, arm: str, data: CXRDataModule) -> None:
    """See that the data have what the arm's strategy goes by, before anything is trained.

    Raises:
        ConfigError: studies are labelled with what it does not know, or it needs labels and there are none.
    """
    if cfg.arms[arm].stages and weighs(cfg):
        require_labels(KEY, cfg.pool.weights["name"], WEIGHTS, cfg, data)


def read(path: Path, column: str) -> Weights:
    """Study to teacher to weight (``weights.jsonl``).

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    require_whole(path)
    rows = read_jsonl(path, ("study", TAUGHT, REJECTED))
    if not all(_is_weights(row[column]) for row in rows):
        raise ArtifactError(f"{path} must hold a number for each teacher. {again(path.parent)}")
    return {str(row["study"]): row[column] for row in rows}


def _is_weights(own: Any) -> bool:
    return isinstance(own, dict) and all(isinstance(value, int | float) for value in own.values())
