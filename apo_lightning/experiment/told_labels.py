"""Which teachers were told the labels of the images that they speak of, and which students learned from them.

A teacher that is given the labels and asked for their basis (`explain_labels`, as in CXR-MAX) is right by construction.
Its texts teach a student what the labels say; what that student then scores, asked by a prompt that names labels, is
another quantity than what a student of teachers scores that looked at the image alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from apo_lightning import prompts
from apo_lightning.experiment.context import Context
from apo_lightning.hashing import inventory
from apo_lightning.reports.told import marked
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages import STAGES
from apo_lightning.types import Trajectory

OF_TEACHERS = ("majority_vote", "preferred")
"""Rows that are made of what teachers say."""


def count(trajectories: Iterable[Trajectory]) -> dict[str, dict[str, int]]:
    """Teacher to prompt to its number of texts; without those of whose texts none says its prompt."""
    found: dict[str, Counter[str]] = {}
    for item in trajectories:
        found.setdefault(item.teacher, Counter())[item.prompt] += 1
    return {name: dict(sorted(own.items())) for name, own in found.items() if set(own) != {""}}


def asked(own: Context) -> dict[str, dict[str, int]]:
    """The same of the texts that an arm has collected, as their stage has filed it."""
    return inventory.read(own.done["collect"].path).get("prompts") or {} if "collect" in own.done else {}


def told(own: Context) -> list[str]:
    """Teachers of an arm that were told labels with any of their texts."""
    return [name for name, known in asked(own).items() if any(prompts.tells_answer(prompt) for prompt in known)]


def facts(arms: Iterable[Context]) -> dict[str, Any]:
    """What a run's manifest says: the prompts of its teachers, and who was told labels."""
    contexts = list(arms)
    return {
        "teacher_prompts": {name: known for own in contexts for name, known in asked(own).items()},
        "told_labels": sorted({name for own in contexts for name in told(own)}),
    }


def mark(rows: Iterable[Any], cfg: ExperimentSettings, arms: Mapping[str, Context]) -> Iterator[Any]:
    """Rows of a table (kind, arm, label), the labels of those marked that labels were told to."""
    for row in rows:
        yield replace(row, label=marked(row.label)) if _is_told(row, cfg, arms) else row


def _is_told(row: Any, cfg: ExperimentSettings, arms: Mapping[str, Context]) -> bool:
    if row.kind == "arm":
        own = arms[row.arm]
        named = prompts.names_labels(own.cfg.evaluate.prompt or own.cfg.prompt)
        return named and _learns(cfg.arms[row.arm].stages) and _heard(own)
    name, _, arm = row.arm.partition("@")
    contexts = [arms[arm]] if arm in arms else list(arms.values())
    if row.kind == "teacher":
        return any(name in told(own) for own in contexts)
    return name.startswith(OF_TEACHERS) and any(_heard(own) for own in contexts)


def _learns(stages: Sequence[str]) -> bool:
    return any("trajectories" in STAGES.lookup(name).reads for name in stages)


def _heard(own: Context) -> bool:
    """Whether an arm hears a teacher that was told; where it chooses the best one, that may be any."""
    chosen = own.cfg.pool.select
    names = chosen if isinstance(chosen, list) else list(own.cfg.teachers)
    return any(float(own.cfg.teachers[name].get("weight", 1.0)) > 0 for name in told(own) if name in names)
