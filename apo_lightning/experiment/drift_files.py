"""``drift.json`` in a run folder: what a run measures of its teachers by the way, and what ``apo drift`` adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from apo_lightning import leader
from apo_lightning.drift import pruning
from apo_lightning.drift import run as drift
from apo_lightning.drift.pruning import Ranking
from apo_lightning.errors import ArtifactError, ConfigError, did_you_mean, first_line
from apo_lightning.experiment import drift_sources, pool, pruned
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.drift_sources import Source
from apo_lightning.files import yaml_files
from apo_lightning.files.formats import write_json
from apo_lightning.reports.drift import NAME, load
from apo_lightning.settings import ExperimentSettings, PriceSettings, PruneSettings
from apo_lightning.text.mentions import MENTIONS
from data_modules.loading.splits import SPLITS

QUICK = 1_000
"""Texts that a run reads for its report; ``apo drift`` reads all."""
QUICK_RESAMPLES = 200
FEW = 10
"""Patients below which teachers are not ranked."""


def write_quick(arms: Mapping[str, Context], folder: Path) -> Path | None:
    """``drift.json`` of a run that has just ended: text-only numbers of at most `QUICK` texts. One that ``apo drift``
    has written of the same texts stays. None where there are fewer than two teachers, or no texts.

    Args:
        arms: of the run; the texts are those of the first.
    """
    own = next(iter(arms.values()))
    heard = pool.heard({name: each.cfg for name, each in arms.items()})
    said = [one for one in own.thinking.apply_policy(own.trajectories, "read") if one.teacher in heard]
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
    wanted = list(own.scored) or list(MENTIONS)  # a data set without labels
    corpus = drift_sources.ordered(chosen, studies.values(), wanted, heard, str(folder))
    record = drift.measure(
        corpus,
        beyond=thresholds(own.cfg),
        resamples=QUICK_RESAMPLES,
        orders=0,
        signs=0,
        style=False,
        student=drift_sources.untrained(folder, own.cfg),
    )
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


def ranking(source: Source, costs: Path | None, loss: float, by: pruning.By) -> tuple[Ranking, str] | None:
    """What each teacher adds, on the validation split where there is one with labels, else on all that have some. None
    where nothing is labelled, there are few patients, or one teacher.

    Raises:
        ConfigError: ``loss`` or ``costs`` cannot be used.
    """
    if not 0 <= loss < 1:
        raise ConfigError(f"--loss must be in [0, 1), got {loss}.")
    prices = _prices(costs) if costs else pruned.prices(source.cfg) if source.cfg else {}
    if costs and (unknown := [name for name in prices if name not in source.corpus.teachers]):
        raise ConfigError(f"--costs {costs} names '{unknown[0]}'. {did_you_mean(unknown[0], source.corpus.teachers)}")
    own, on = source.split("val"), "validation studies"
    if own is None or own.truth is None:
        own, on = source.corpus, "labelled studies"
    if own.truth is None or len(own.teachers) < 2 or len(set(own.patients)) < FEW:
        return None
    tokens = PruneSettings().prompt_tokens
    return pruning.rank(own, pruning.costs(own, prices, tokens), loss=loss, by=by), on


def _prices(path: Path) -> dict[str, PriceSettings]:
    try:
        content = yaml_files.load(path)
        return {str(name): PriceSettings(**own) for name, own in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise ConfigError(
            f"--costs {path} must map teachers to input and output (money of a million tokens) and seconds, as "
            f"'gpt5: {{input: 1.25, output: 10}}' ({first_line(error)})."
        ) from error


def write(record: Mapping[str, Any], folder: Path) -> Path:
    """``drift.json`` in a folder."""
    return write_json(folder / NAME, record)
