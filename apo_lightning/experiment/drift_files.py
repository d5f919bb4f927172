"""``drift.json`` in a run folder: what a run measures of its teachers by the way, and what ``apo drift`` adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apo_lightning import leader
from apo_lightning.drift import run as drift
from apo_lightning.errors import ArtifactError
from apo_lightning.experiment import drift_sources
from apo_lightning.experiment.context import Context
from apo_lightning.files.formats import write_json
from apo_lightning.reports.drift import NAME, load
from apo_lightning.settings import ExperimentSettings
from data_modules.loading.splits import SPLITS

QUICK = 1_000
"""Texts that a run reads for its report; ``apo drift`` reads all."""
QUICK_RESAMPLES = 200


def write_quick(arms: Mapping[str, Context], folder: Path) -> Path | None:
    """``drift.json`` of a run that has just ended: text-only numbers of at most `QUICK` texts. One that ``apo drift``
    has written of the same texts stays. None where there are fewer than two teachers, or no texts.

    Args:
        arms: of the run; the texts are those of the first.
    """
    own = next(iter(arms.values()))
    said = own.thinking.apply_policy(own.trajectories, "read")
    studies = {study.id: study for split in SPLITS for study in own.data.studies(split)}
    spoken = list(dict.fromkeys(one.study for one in said if one.study in studies))
    every = -(-len(said) // QUICK) or 1
    kept = set(spoken[::every])
    if not kept or len({one.teacher for one in said}) < 2:
        return None
    texts = drift_sources.about(said)
    before = _before(folder / NAME) if (folder / NAME).is_file() else None
    if before and before["texts"] == texts and before["whole"]:
        return folder / NAME
    chosen = [one for one in said if one.study in kept]
    corpus = drift_sources.ordered(chosen, studies.values(), list(own.scored), list(own.cfg.teachers), str(folder))
    record = drift.measure(corpus, beyond=thresholds(own.cfg), resamples=QUICK_RESAMPLES)
    part = f"Every {every}th study of {len(spoken):,}." if every > 1 else ""
    return write({**record, "texts": texts, "whole": False, "part": part}, folder)


def _before(path: Path) -> dict[str, Any] | None:
    try:
        return load(path)
    except ArtifactError as error:
        leader.warn(f"{error} It is written anew.")
        return None


def thresholds(cfg: ExperimentSettings | None) -> tuple[float | None, float | None]:
    """Those of the gate, where there is one."""
    gate = cfg.pool.gate if cfg else None
    return (gate.studies, gate.findings) if gate else (None, None)


def write(record: Mapping[str, Any], folder: Path) -> Path:
    """``drift.json`` in a folder."""
    return write_json(folder / NAME, record)
