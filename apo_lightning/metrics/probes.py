"""What is counted of the files of an evaluation beside its answers: statements, samples, flips, likelihoods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from apo_lightning.metrics.flips import FlipOutcomes, of_flips
from apo_lightning.metrics.likelihood import of_likelihoods
from apo_lightning.metrics.outcomes import Measure
from apo_lightning.metrics.scored import ScoredOutcomes
from apo_lightning.text.labeler import kind, read
from apo_lightning.text.progression import read_progression
from apo_lightning.text.votes import UNREAD


def of_votes(rows: Sequence[Mapping[str, Any]], as_read: Callable[[str], str] = str) -> ScoredOutcomes:
    """From lines of ``samples.jsonl``: ``patient``, ``texts`` and ``truth`` by finding.

    A finding's score is the share of the readable texts that say present; one that a readable text does not mention
    counts as absent there. Refusals, and texts that state nothing, abstain. Where all do, the study counts as wrong on
    every finding, as a refusal does in `metrics.findings`: its score is the opposite of the label.
    """
    findings = list(rows[0]["truth"]) if rows else []
    truth = [[np.nan if row["truth"][name] is None else row["truth"][name] for name in findings] for row in rows]
    labels = np.array(truth, float).reshape(len(rows), len(findings))
    scores = np.stack([_shares(row["texts"], findings, as_read) for row in rows]) if rows else labels
    return ScoredOutcomes(
        [row["patient"] for row in rows], labels, np.where(np.isnan(scores), 1 - labels, scores), findings, "vote"
    )


def _shares(texts: Sequence[str], findings: Sequence[str], as_read: Callable[[str], str]) -> np.ndarray:
    """``[F]``; NaN where no text can be read."""
    said = [text for text in map(as_read, texts) if kind(text, findings) not in UNREAD]
    return (read(said, findings)[0] == 1).mean(axis=0) if said else np.full(len(findings), np.nan)


def of_statements(rows: Sequence[Mapping[str, Any]], kind: str = "likelihood") -> ScoredOutcomes:
    """From lines of ``statements.jsonl`` or ``in_place.jsonl``: ``patient``, ``truth`` and ``p`` by finding, null where
    there is none. Names of metrics begin with ``kind``."""
    findings = list(rows[0]["truth"]) if rows else []
    labels, scores = (
        np.array([[_number(row[key].get(name)) for name in findings] for row in rows], float).reshape(
            len(rows), len(findings)
        )
        for key in ("truth", "p")
    )
    return ScoredOutcomes([row["patient"] for row in rows], labels, scores, findings, kind)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def of_flip_rows(
    rows: Sequence[Mapping[str, Any]], findings: Sequence[str], as_read: Callable[[str], str] = str
) -> FlipOutcomes:
    """From lines of ``flips.jsonl``: ``patient``, ``progression``, the answer (``text``) and the one with the images
    swapped (``swapped``)."""
    told, other = ([read_progression(as_read(row[key]), findings) for row in rows] for key in ("text", "swapped"))
    return of_flips([row["progression"] for row in rows], told, other, findings, [row["patient"] for row in rows])


FILES = ("statements", "in_place", "samples", "flips")
"""Names of the files of an evaluation that probes write, one line per study."""


SCORED = {"statements": "likelihood", "in_place": "in_place"}
"""Files of probabilities, and what their metrics begin with."""


def of_probe(name: str, rows: Sequence[Mapping[str, Any]], as_read: Callable[[str], str]) -> Measure:
    """What is counted of the lines of one of `FILES`, at least one."""
    if name in SCORED:
        return of_statements(rows, SCORED[name])
    if name == "samples":
        return of_votes(rows, as_read)
    findings = dict.fromkeys(finding for row in rows for finding in row["progression"])
    return of_flip_rows(rows, list(findings), as_read)


def measured(name: str, rows: Sequence[Mapping[str, Any]], as_read: Callable[[str], str]) -> Measure:
    """What is counted of the lines of one file of an evaluation.

    Args:
        name: ``statements``, ``samples``, ``flips`` or ``likelihoods``.
        rows: its lines, at least one.
        as_read: makes of a text what is read of it.
    """
    if name == "likelihoods":
        return of_likelihoods(rows)
    return of_probe(name, rows, as_read)
