"""What strategies for negatives look at, made by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from apo_lightning.batching.examples import Rejected, index, preference_examples
from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Seen
from apo_lightning.types import Answer, Example, Study, Trajectory

FINDINGS = ("edema", "pleural_effusion", "pneumonia")
Texts = Mapping[str, Mapping[str, str]]


def settings(name: str) -> dict[str, Any]:
    """Settings to try a strategy with: none, or what its class gives as an example."""
    return getattr(NEGATIVES[name], "example", dict)()


def seen(
    texts: Texts,
    preferred: Mapping[str, str],
    *,
    weights: Mapping[str, float] | None = None,
    written: Texts | None = None,
    patients: Mapping[str, str] | None = None,
    **more: Any,
) -> Seen:
    """``texts`` and ``written`` are study to name to text; teachers weigh 1 unless ``weights`` says otherwise."""
    teachers = dict.fromkeys(name for own in texts.values() for name in own)
    given = {"findings": FINDINGS, "seed": 0} | more
    return Seen(
        studies=[Study(name, (patients or {}).get(name, name), "train", (), {}) for name in preferred],
        preferred=preferred,
        texts={study: texts.get(study, {}) for study in preferred},
        weights={study: {name: (weights or {}).get(name, 1.0) for name in teachers} for study in preferred},
        written={study: {n: Answer(text) for n, text in own.items()} for study, own in (written or {}).items()},
        **given,
    )


def compared(
    name: str, own: Seen, counts: Counter[str] | None = None, *, how: Mapping[str, Any] | None = None, **filters: Any
) -> list[Example]:
    """Examples as a stage takes them under a strategy, its filters included."""
    made = NEGATIVES[name](**(settings(name) if how is None else how))
    heard = index([Trajectory(s, n, text) for s, said in own.texts.items() for n, text in said.items()], _names(own))
    return preference_examples(
        own.studies,
        heard,
        {},
        own.preferred,
        by_study=own.weights,
        findings=own.findings,
        as_read=own.as_read,
        counts=counts,
        instead=Rejected(made.proposed(own), lambda study, answers: made.kept(own, study, answers)),
        **filters,
    )


def _names(own: Seen) -> list[str]:
    return list(dict.fromkeys(name for said in own.texts.values() for name in said))


def sources(examples: list[Example]) -> dict[str, list[str]]:
    """Study to the names of its negatives."""
    return {each.study.id: [branch.source for branch in each.branches[1:]] for each in examples}
