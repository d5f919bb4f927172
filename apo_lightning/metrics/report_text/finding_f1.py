"""Finding-level F1 of texts against reference texts: what both state, read by one reader (`text.labeler`), as the
field does with CheXbert. Neither the labels of the data set nor its list of findings are looked at.

- Present is what the reader calls present, so a hedge is (CheXbert's "uncertain as positive"); all else is absent.
- ``no_finding`` follows CheXpert's labeler: present where no other finding is, support devices aside. Only a text that
  is read as a report has it: a refusal, or one that states nothing, has no finding and no ``no_finding``.
- F1 of the class present. Micro: of the sums over findings. Macro: mean over those that some reference states as
  present, so that all rows of a table are means over the same ones (sklearn's would count the others as 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from apo_lightning.findings import CHEXPERT, COMPETITION
from apo_lightning.metrics.outcomes import mean_defined, ratio
from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric
from apo_lightning.text.labeler import kind, parse
from apo_lightning.text.mentions import NO_FINDING

DEVICES = "support_devices"


@TEXT_METRICS.register("findings")
class FindingF1(TextMetric):
    """F1 of what our reader reads in both texts; always measured."""

    def words(self) -> str:
        return "Finding F1: texts and references read by our rules, no labels."

    def measure(self, pairs: Pairs) -> list[Tally]:
        said, wanted = (np.array([present(text) for text in texts]) for texts in (pairs.candidates, pairs.references))
        return [f1_tally(said, wanted, CHEXPERT, "report_f1_")]


@lru_cache(maxsize=1 << 14)
def present(text: str) -> tuple[bool, ...]:
    """For each of the fourteen whether a text states it as present.

    >>> [name for name, yes in zip(CHEXPERT, present("No edema. Pacemaker in place."), strict=True) if yes]
    ['no_finding', 'support_devices']
    """
    found = {name for name, value in parse(text, CHEXPERT).items() if value == 1} - {NO_FINDING}
    if not found - {DEVICES} and kind(text, CHEXPERT) in ("normal", "stated"):
        found.add(NO_FINDING)
    return tuple(name in found for name in CHEXPERT)


def f1_tally(said: np.ndarray, wanted: np.ndarray, findings: Sequence[str], prefix: str) -> Tally:
    """Micro and macro F1 over all ``findings``, and over the five of them that CheXpert's competition scores.

    Args:
        said, wanted: ``[S, F]`` whether text and reference state each finding as present.
        findings: the F names.
        prefix: of the metrics' names.
    """
    said, wanted = (np.asarray(values, bool).reshape(-1, len(findings)) for values in (said, wanted))
    cells = np.stack([said & wanted, said & ~wanted, ~said & wanted], axis=-1).astype(float)
    five = [place for place, name in enumerate(findings) if name in COMPETITION]

    def formula(sums: np.ndarray) -> dict[str, np.ndarray]:
        table = sums.reshape(*sums.shape[:-1], len(findings), 3)
        found = {}
        for name, own in ((len(findings), table), (len(five), table[..., five, :])):
            found[f"{prefix}micro_{name}"] = _f1(own.sum(axis=-2))
            known = own[..., 0] + own[..., 2] > 0
            found[f"{prefix}macro_{name}"] = mean_defined(np.where(known, _f1(own), np.nan))
        return found

    return Tally(cells.reshape(len(said), -1), formula)


def _f1(cells: np.ndarray) -> np.ndarray:
    """Of ``[..., 3]`` true positives, false positives, false negatives."""
    return ratio(2 * cells[..., 0], 2 * cells[..., 0] + cells[..., 1] + cells[..., 2])
