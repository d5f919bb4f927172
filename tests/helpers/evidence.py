"""What strategies for t+ look at, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from apo_lightning.positives import POSITIVES
from apo_lightning.positives.base import Evidence, Write
from apo_lightning.types import Answer, Study

FINDINGS = ("edema", "pleural_effusion")


def never(shown: object = None) -> Mapping[str, Sequence[Answer]]:
    raise AssertionError("the student was asked to write")


def study(name: str, *values: float, findings: Sequence[str] = FINDINGS, **more: Any) -> Study:
    return Study(name, name, "val", (), dict(zip(findings, values, strict=True)), **more)


def evidence(
    texts: Mapping[str, Mapping[str, str]],
    labelled: Sequence[Study] = (),
    *,
    asked: Sequence[str] | None = None,
    findings: Sequence[str] = FINDINGS,
    scored: Sequence[str] | None = None,
    teachers: Sequence[str] | None = None,
    as_read: Callable[[str], str] = str,
    write: Write = never,
) -> Evidence:
    """``texts`` is study to teacher to text; studies that are not ``labelled`` are asked for."""
    known = {each.id for each in labelled}
    return Evidence(
        asked=[name for name in texts if name not in known] if asked is None else asked,
        texts=texts,
        teachers=list(dict.fromkeys(n for own in texts.values() for n in own)) if teachers is None else teachers,
        labelled=labelled,
        findings=findings,
        scored=findings if scored is None else scored,
        as_read=as_read,
        write=write,
    )


def permuted(seen: Evidence, order: Sequence[str]) -> Evidence:
    """The same with the teachers in another order."""
    texts = {s: {name: own[name] for name in order if name in own} for s, own in seen.texts.items()}
    return evidence(
        texts,
        seen.labelled,
        asked=seen.asked,
        findings=seen.findings,
        scored=seen.scored,
        teachers=order,
        as_read=seen.as_read,
        write=seen.write,
    )


def settings(name: str) -> dict[str, Any]:
    """Settings to try a strategy with: none, or what its class gives as an example."""
    return getattr(POSITIVES[name], "example", dict)()
