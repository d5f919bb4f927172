"""Every probe of an evaluation: what it writes, and what is counted of that."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from apo_lightning import leader
from apo_lightning.probes.asked import Asked
from apo_lightning.probes.flips import can_flip
from apo_lightning.probes.in_place import decisions, facts, own_words
from apo_lightning.probes.statements import plan, probabilities
from apo_lightning.probes.votes import sampling
from apo_lightning.text.votes import unread
from apo_lightning.types import Study

Lines = list[dict[str, Any]]


def probe(asked: Asked, texts: Mapping[str, str]) -> tuple[dict[str, Lines], dict[str, Any]]:
    """Ask what the evaluation's settings want beside its answers. Every process must call it.

    Args:
        asked: the evaluation.
        texts: study to the answer that was read.

    Returns:
        lines by file, none where there is nothing to ask, and what a manifest says of them.
    """
    lines: dict[str, Lines] = {}
    told: dict[str, Any] = {}
    for name, ask in ASKING.items():
        lines[name], told[name] = ask(asked, texts)
    return lines, {"probes": {name: said for name, said in told.items() if said}}


def _statements(asked: Asked, texts: Mapping[str, str]) -> tuple[Lines, dict[str, Any]]:
    """One line per study, computed by the leader alone."""
    how, began = asked.plan.likelihood, time.monotonic()
    if how.form == "off" or asked.courses:
        return [], {}
    rounds, known = plan(asked.findings, how, asked.collator, asked.prompt, asked.listed)
    if known["findings_without"]:
        leader.warn(f"    no likelihood of {', '.join(known['findings_without'])}: no statement on it can be used.")
    if not rounds:
        return [], known

    def ask() -> list[dict[str, float]]:
        return probabilities(asked.student, asked.data, asked.studies, rounds, how.normalize, asked.device)

    found = leader.from_leader(ask)
    lines = [
        {**_of(study, asked.findings), "p": {name: p.get(name) for name in asked.findings}}
        for study, p in zip(asked.studies, found, strict=True)
    ]
    return lines, {**known, "seconds": round(time.monotonic() - began, 1)}


def _in_place(asked: Asked, texts: Mapping[str, str]) -> tuple[Lines, dict[str, Any]]:
    """One line per study, computed by the leader alone."""
    how, began = asked.plan.likelihood, time.monotonic()
    if how.form == "off" or not how.in_place or asked.courses:
        return [], {}
    words = own_words(texts, asked.findings, how.in_place, asked.as_read)
    collate = asked.collator(asked.prompt, asked.listed)

    def ask() -> list[dict[str, float]]:
        return decisions(asked.student, asked.data, asked.studies, texts, words, collate, asked.device)

    found = leader.from_leader(ask)
    lines = [
        {**_of(study, asked.findings), "p": {name: p.get(name) for name in asked.findings}}
        for study, p in zip(asked.studies, found, strict=True)
    ]
    return lines, {**facts(words, asked.findings, found), "seconds": round(time.monotonic() - began, 1)}


def _samples(asked: Asked, texts: Mapping[str, str]) -> tuple[Lines, dict[str, Any]]:
    count = asked.plan.samples
    if not count:
        return [], {}
    if asked.courses:
        leader.warn("    evaluate.samples draws no votes here: these studies are asked for the course of findings.")
        return [], {}
    how = sampling(asked.plan)
    drawn = asked.answers(asked.studies, how=how, samples=count, beside="samples")
    lines = [
        {**_of(study, asked.findings), "texts": [answer.text for answer in drawn[study.id]]} for study in asked.studies
    ]
    silent = sum(unread(line["texts"], asked.findings, asked.as_read) for line in lines)
    cut = sum(answer.cut for answers in drawn.values() for answer in answers)
    return lines, {"each": count, "decoding": how.decoding(), "cut": cut, "studies_without_readable": silent}


def _flips(asked: Asked, texts: Mapping[str, str]) -> tuple[Lines, dict[str, Any]]:
    studies = [study for study in asked.studies if can_flip(study)]
    if not asked.plan.flip or not studies:
        return [], {}
    other = asked.answers(studies, beside="flips", swapped=True)
    return [
        {
            "study": study.id,
            "patient": study.patient,
            "progression": dict(study.progression),
            "text": texts.get(study.id, ""),
            "swapped": other[study.id][0].text,
        }
        for study in studies
    ], {"studies": len(studies), "cut": sum(answers[0].cut for answers in other.values())}


ASKING = {"statements": _statements, "in_place": _in_place, "samples": _samples, "flips": _flips}


def _of(study: Study, findings: Sequence[str]) -> dict[str, Any]:
    """A study with its labels, as a line begins."""
    truth = {name: study.findings.get(name, np.nan) for name in findings}
    known = {name: None if np.isnan(value) else int(value) for name, value in truth.items()}
    return {"study": study.id, "patient": study.patient, "truth": known}
