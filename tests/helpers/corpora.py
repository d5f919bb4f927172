"""A `Corpus` from arrays, without a text to read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apo_lightning.drift.corpus import Corpus
from apo_lightning.text.labeler import KINDS


def corpus(
    said: np.ndarray | Sequence,
    *,
    truth: np.ndarray | Sequence | None = None,
    patients: Sequence[str] | None = None,
    refused: np.ndarray | None = None,
    place: np.ndarray | None = None,
    **arrays: np.ndarray | Sequence,
) -> Corpus:
    """Of ``said`` ``[S, N, F]``; sides, severities, hedged, steps, lengths, true_sides and true_severities as given."""
    said = np.asarray(said, float)
    count, teachers, findings = said.shape
    refused = np.zeros(said.shape[:2], bool) if refused is None else np.asarray(refused, bool)
    kind = np.where(refused, KINDS.index("refused"), KINDS.index("stated"))
    of_findings = {"sides": np.int8, "severities": np.int8, "hedged": bool, "true_sides": np.int8}
    given = {name: np.asarray(own, of_findings.get(name)) for name, own in arrays.items()}
    names = tuple(f"s{i}" for i in range(count))
    return Corpus(
        studies=names,
        patients=names if patients is None else tuple(patients),
        teachers=tuple("abcdefghijklm"[:teachers]),
        findings=tuple(f"f{i}" for i in range(findings)),
        texts={name: {} for name in names},
        place=np.linspace(0, 1, count) if place is None else np.asarray(place, float),
        present=np.ones(said.shape[:2], bool),
        kind=kind.astype(np.int8),
        said=said,
        truth=None if truth is None else np.asarray(truth, float),
        **{
            "sides": np.zeros(said.shape, np.int8),
            "severities": np.zeros(said.shape, np.int8),
            "hedged": np.zeros(said.shape, bool),
            "steps": np.full(said.shape, np.nan),
            "lengths": np.full(said.shape[:2], 3),
            **given,
        },
    )
