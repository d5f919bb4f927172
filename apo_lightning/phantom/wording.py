"""Puts findings into words. A style is one way of speaking; teachers have theirs, the nano student is taught a mixture.

The bank is small on purpose: a 2 M parameter student must be able to read and write all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from apo_lightning.phantom.world import FINDINGS
from apo_lightning.types import Detail

NAMES: dict[str, tuple[str, ...]] = {
    "atelectasis": ("atelectasis", "volume loss", "lung collapse"),
    "cardiomegaly": ("cardiomegaly", "enlarged heart", "cardiac enlargement"),
    "consolidation": ("consolidation", "airspace consolidation", "lobar consolidation"),
    "edema": ("edema", "pulmonary edema", "interstitial edema"),
    "pleural_effusion": ("pleural effusion", "effusion", "pleural fluid"),
    "pneumonia": ("pneumonia", "infectious pneumonia", "patchy pneumonia"),
    "pneumothorax": ("pneumothorax", "pleural air", "air in the pleural space"),
}
"""Ways to name each finding; the first is the plain one."""

POSITIVE = (
    "{what}.",
    "There is {what}.",
    "{what} is present.",
    "{name}: yes{rest}.",
    "Findings support {what}.",
    "{what} is seen.",
    "I see {what}.",
)
NEGATIVE = (
    "No {name}.",
    "There is no {name}.",
    "{name} is absent.",
    "{name}: no.",
    "{name} is excluded.",
    "No evidence of {name}.",
    "I see no {name}.",
)
HEDGED = ("Possible {what}.", "{what} may be present.", "Suspicion of {what}.")
OPENERS = ("", "Chest radiograph reviewed.", "Frontal view of the chest.", "Report:", "Step by step:")
CLOSERS = ("", "Clinical correlation advised.", "End of report.")
REFUSALS = (
    "I am sorry, I cannot interpret medical images.",
    "I am unable to give a diagnosis from this image.",
    "Please consult a radiologist.",
)


@dataclass(frozen=True)
class Style:
    """One way of speaking: which phrase of each bank, which name of each finding, and in which order.

    Attributes:
        positive, negative, hedged, opener, closer, refusal: indices into the banks above.
        names: index into ``NAMES[finding]``, one for all findings.
        order: findings in the order in which they are spoken of.
    """

    positive: int = 0
    negative: int = 0
    hedged: int = 0
    opener: int = 0
    closer: int = 0
    refusal: int = 0
    names: int = 0
    order: tuple[str, ...] = FINDINGS


PLAIN = Style()
"""The neutral wording in which a reconciled report is written."""


def random_style(rng: np.random.Generator) -> Style:
    """Any style of the bank, uniformly."""
    sizes = (POSITIVE, NEGATIVE, HEDGED, OPENERS, CLOSERS, REFUSALS, NAMES["edema"])
    picks = [int(rng.integers(len(bank))) for bank in sizes]
    return Style(*picks, order=tuple(rng.permutation(FINDINGS).tolist()))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def say(style: Style, finding: str, detail: Detail | None, hedged: bool = False) -> str:
    """One sentence: ``detail`` None means the finding is absent.

    >>> say(Style(), "edema", None), say(Style(), "pneumonia", Detail("left", "mild"))
    ('No edema.', 'Mild left pneumonia.')
    """
    name = NAMES[finding][style.names]
    if detail is None:
        return _sentence(NEGATIVE[style.negative].format(name=name))
    words = [word for word in (detail.severity, detail.side) if word]
    bank = HEDGED[style.hedged] if hedged else POSITIVE[style.positive]
    rest = "".join(f", {word}" for word in words)
    return _sentence(bank.format(what=" ".join([*words, name]), name=name, rest=rest))


def compose(
    style: Style,
    present: Mapping[str, Detail],
    findings: Sequence[str] = FINDINGS,
    hedged: frozenset[str] = frozenset(),
) -> str:
    """A whole report that speaks of every finding in ``findings``, in the style's order."""
    body = [say(style, name, present.get(name), name in hedged) for name in style.order if name in findings]
    return " ".join(part for part in (OPENERS[style.opener], *body, CLOSERS[style.closer]) if part)


def ground_truth(present: Mapping[str, Detail]) -> str:
    """The reference report of a phantom study."""
    return compose(PLAIN, present)
