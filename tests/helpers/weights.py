"""What strategies for weights look at, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apo_lightning.types import Study
from apo_lightning.weighting import WEIGHTS
from apo_lightning.weighting.base import Seen
from tests.helpers.evidence import FINDINGS

Scores = Mapping[str, Mapping[str, float]]


def unasked() -> Scores:
    raise AssertionError("the student was asked how likely texts are")


def seen(
    texts: Mapping[str, Mapping[str, str]],
    labelled: Sequence[Study] = (),
    *,
    asked: Sequence[str] | None = None,
    teachers: Sequence[str] = ("a", "b", "c"),
    given: Mapping[str, float] | None = None,
    findings: Sequence[str] = FINDINGS,
    scored: Sequence[str] | None = None,
    score: Callable[[], Scores] = unasked,
) -> Seen:
    """``texts`` is study to teacher to text; weights are asked for on all studies."""
    return Seen(
        asked=list(texts) if asked is None else asked,
        teachers=list(teachers),
        texts={s: {name: own[name] for name in teachers if name in own} for s, own in texts.items()},
        labelled=labelled,
        findings=findings,
        scored=findings if scored is None else scored,
        given=dict.fromkeys(teachers, 1.0) if given is None else given,
        score=score,
    )


def settings(name: str) -> dict[str, Any]:
    """Settings to try a strategy with: none, or what its class gives as an example."""
    return getattr(WEIGHTS[name], "example", dict)()
