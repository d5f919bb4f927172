"""Teachers many of whose texts are cut before the student learns from them: told once a run, before it trains, with
the limit that would do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from apo_lightning import leader
from apo_lightning.experiment.context import Context
from apo_lightning.models.processor import load_processor
from apo_lightning.models.text_tokens import TextTokens
from apo_lightning.reports import long_texts as told
from apo_lightning.text.thinking import is_tag

MANY = 0.1
"""Share of a teacher's texts that are cut, above which somebody should know."""
READ = 500
"""Texts of a teacher whose tokens are counted, spread over all of them."""
END = 1
"""Tokens that end an answer."""

_found: dict[tuple[Any, ...], dict[str, int]] = {}
"""Of this run, by teacher and what else the counts depend on; those of whose texts enough are whole have none."""


def begin() -> None:
    """Forget what another run of this process found."""
    _found.clear()


def tell(own: Context) -> None:
    """Count the texts of those that an arm hears once they are collected, and warn, of each teacher once.

    An arm that learns nothing hears nobody. Only the leader counts.
    """
    if not own.stages or not leader.is_leader():
        return
    student = own.cfg.student
    on = (own.done["collect"].path, student.model, student.max_branch_tokens, own.thinking)
    new = [name for name, weight in own.given.items() if weight > 0 and (name, *on) not in _found]
    counted = counts_of(own, new) if new else {}
    _found.update({(name, *on): counted.get(name, {}) for name in new})
    for sentence in told.warnings({told.KEY: counted}):
        leader.warn(f"    {sentence}")


def counts_of(own: Context, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Teacher to its counts, of those of whose texts on the training split more than `MANY` are cut."""
    student, train = own.cfg.student, {study.id for study in own.data.studies("train")}
    processor = load_processor(student.model, student.min_pixels, student.max_pixels)
    read = TextTokens(processor, is_tag if own.thinking.taught else None)
    texts: dict[str, list[str]] = {name: [] for name in names}
    for item in own.thinking.apply_policy(own.trajectories, "taught"):
        if item.teacher in texts and item.study in train and item.text.strip():
            texts[item.teacher].append(item.text)
    found = {}
    for name, written in texts.items():
        lengths = [len(read(text).ids) + END for text in written[:: -(-len(written) // READ) or 1]]
        if sum(length > student.max_branch_tokens for length in lengths) > MANY * len(lengths):
            found[name] = counts(lengths, student.max_branch_tokens)
    return found


def counts(lengths: list[int], limit: int) -> dict[str, int]:
    """How many texts there are, how many are longer than the limit, and which limits leave 95 % and all of them whole.

    >>> counts([10, 20, 30, 40], 25)
    {'texts': 4, 'cut': 2, 'limit': 25, 'enough_95': 40, 'enough': 40}
    """
    ordered = sorted(lengths)
    most = ordered[math.ceil(0.95 * len(ordered)) - 1]
    cut = sum(length > limit for length in ordered)
    return {"texts": len(ordered), "cut": cut, "limit": limit, "enough_95": most, "enough": ordered[-1]}


def facts() -> dict[str, dict[str, dict[str, int]]]:
    """What the run's manifest says; of a teacher that arms hear under several limits, the last one's."""
    return {told.KEY: {name: own for (name, *_), own in _found.items() if own}}
