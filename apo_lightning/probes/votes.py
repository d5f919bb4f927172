"""What most of several sampled answers say: their share is a score, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from apo_lightning.metrics.labeler import kind, read
from apo_lightning.metrics.scored import ScoredOutcomes
from apo_lightning.settings import DecodingSettings, EvaluateSettings

UNREAD = ("refused", "nothing")
"""Kinds of texts that abstain."""


def sampling(plan: EvaluateSettings) -> DecodingSettings:
    """How the answers of a vote are written: sampled, all else as the one answer."""
    how = DecodingSettings(**plan.decoding())
    return replace(how, sample=True, temperature=plan.sampling.temperature, top_p=plan.sampling.top_p)


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


def unread(texts: Sequence[str], findings: Sequence[str], as_read: Callable[[str], str] = str) -> bool:
    """Whether all of a study's texts abstain."""
    return all(kind(as_read(text), findings) in UNREAD for text in texts)
