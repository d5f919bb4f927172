"""What a stage is trained on where ``pool.gate`` is set: the gate goes by the conflict of the teachers it hears."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from types import ModuleType
from typing import Any

import numpy as np

from apo_lightning.drift import conflict, corpus, gate
from apo_lightning.errors import DataError
from apo_lightning.experiment.context import Context
from apo_lightning.hashing import inventory
from apo_lightning.types import Example

CODE: tuple[ModuleType, ...] = (gate, conflict, corpus)
"""What a gated stage computes with beside the rest."""


COUNTED = {
    "studies_in_conflict": "studies beyond their threshold",
    "findings_in_conflict": "findings of a study beyond theirs",
    "sentences_left_out": "sentences left out",
    "texts_left_out": "texts left out whole",
    "studies_without_teacher": "studies left without a teacher",
}
"""Counts of `gate.apply`, in words."""


def inputs(own: Context) -> dict[str, Any]:
    """What a key has of the gate; nothing where it is not set, or changes nothing that is trained."""
    plan = own.cfg.pool.gate
    return {"gate": asdict(plan)} if plan and plan.action != "report" else {}


def gated(own: Context, examples: Sequence[Example], counts: Counter[str]) -> Sequence[Example]:
    """Training examples as the gate leaves them. Scores are those of the teachers that the arm hears.

    Raises:
        DataError: it leaves none.
    """
    plan = own.cfg.pool.gate
    if plan is None or not examples:
        return examples
    scores, findings = _scores(own, {example.study.id for example in examples}), list(own.data.findings)
    left = gate.apply(examples, scores, plan, findings, counts=counts, as_read=own.thinking.as_read)
    if not left:
        limits = f"studies {plan.studies}, findings {plan.findings}"
        raise DataError(
            f"pool.gate ({limits}, action {plan.action}) leaves none of {len(examples)} training studies of arm "
            f"'{own.arm}'. Raise its thresholds, or set pool.gate.action=weight."
        )
    return left


def facts(arms: Iterable[Context]) -> dict[str, Any]:
    """What a run's manifest says of the gate: how much each stage found beyond the thresholds; nothing without one."""
    found: dict[str, None] = {}
    for own in arms:
        for stage, made in own.done.items() if own.cfg.pool.gate else ():
            record = inventory.read(made.path)
            counts = record.get("filtered") or {}
            if said := [f"{counts[key]:,} {words}" for key, words in COUNTED.items() if key in counts]:
                found[f"{stage} kept {record['studies']:,} studies: {', '.join(said)}"] = None
    return {"gated": list(found)} if found else {}


def _scores(own: Context, studies: set[str]) -> gate.Conflicts:
    as_read = own.thinking.as_read
    texts = {
        study: {name: as_read(said.text) for name, said in heard.items()}
        for study, heard in own.heard.items()
        if study in studies and heard
    }
    if not texts:
        return gate.Conflicts({}, {})
    read = corpus.Corpus.read(texts, list(own.data.findings))
    found = conflict.conflict(read)
    return gate.Conflicts(
        {name: float(score) for name, score in zip(read.studies, found.by_study, strict=True) if not np.isnan(score)},
        {
            name: {finding: float(score) for finding, score in zip(read.findings, row, strict=True) if score > 0}
            for name, row in zip(read.studies, found.by_finding, strict=True)
        },
    )
