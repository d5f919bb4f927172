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

EXTRAS = ("rib fracture", "lung nodule", "pleural thickening", "emphysema", "hiatal hernia")
"""What no phantom has: a report that speaks of it says more than anybody can have seen."""

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
FORMS = ("prose", "structured", "list", "positives")
"""How a report is laid out: one sentence after the other; under headings, with an impression of what is present; one
line a sentence; or in prose that is silent about what is absent."""
NORMAL = (
    "",
    "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.",
    "The lungs are clear.",
)
"""What takes the place of all sentences where nothing is present; the empty one: they are spoken one by one."""
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
        form, normal: indices into `FORMS` and `NORMAL`.
    """

    positive: int = 0
    negative: int = 0
    hedged: int = 0
    opener: int = 0
    closer: int = 0
    refusal: int = 0
    names: int = 0
    order: tuple[str, ...] = FINDINGS
    form: int = 0
    normal: int = 0


PLAIN = Style()
"""The neutral wording in which a reconciled report is written."""


def random_style(rng: np.random.Generator) -> Style:
    """Any wording of the banks, uniformly, in prose that speaks of everything."""
    sizes = (POSITIVE, NEGATIVE, HEDGED, OPENERS, CLOSERS, REFUSALS, NAMES["edema"])
    picks = [int(rng.integers(len(bank))) for bank in sizes]
    return Style(*picks, order=tuple(rng.permutation(FINDINGS).tolist()))


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _described(style: Style, finding: str, detail: Detail) -> str:
    """A present finding with what is known of it, as ``mild left pneumonia``."""
    return " ".join([*(word for word in (detail.severity, detail.side) if word), NAMES[finding][style.names]])


def say(style: Style, finding: str, detail: Detail | None, hedged: bool = False) -> str:
    """One sentence: ``detail`` None means the finding is absent.

    >>> say(Style(), "edema", None), say(Style(), "pneumonia", Detail("left", "mild"))
    ('No edema.', 'Mild left pneumonia.')
    """
    name = NAMES[finding][style.names]
    if detail is None:
        return _sentence(NEGATIVE[style.negative].format(name=name))
    bank = HEDGED[style.hedged] if hedged else POSITIVE[style.positive]
    rest = "".join(f", {word}" for word in (detail.severity, detail.side) if word)
    return _sentence(bank.format(what=_described(style, finding, detail), name=name, rest=rest))


def _impression(
    style: Style, present: Mapping[str, Detail], spoken: Sequence[str], hedged: frozenset[str], extras: Sequence[str]
) -> str:
    named = [
        ("possible " if name in hedged else "") + _described(style, name, present[name])
        for name in spoken
        if name in present
    ]
    named += extras
    return f"Impression: {', '.join(named)}." if named else f"Impression: {NORMAL[1]}"


def compose(
    style: Style,
    present: Mapping[str, Detail],
    findings: Sequence[str] = FINDINGS,
    hedged: frozenset[str] = frozenset(),
    extras: Sequence[str] = (),
) -> str:
    """A whole report on every finding in ``findings``, in the order and the form of the style; then on ``extras``, of
    which it says that they are there."""
    spoken = [name for name in style.order if name in findings]
    form, nothing = FORMS[style.form], not any(name in present for name in spoken)
    said = [name for name in spoken if name in present] if form == "positives" else spoken
    body = [say(style, name, present.get(name), name in hedged) for name in said]
    if spoken and nothing and not extras and (style.normal or form == "positives"):
        body = [NORMAL[style.normal or 1]]
    body += [_sentence(POSITIVE[style.positive].format(what=name, name=name, rest="")) for name in extras]
    if form == "structured" and spoken:
        body = ["Findings:", *body, _impression(style, present, spoken, hedged, extras)]
    between = "\n" if form == "list" else " "
    return between.join(part for part in (OPENERS[style.opener], *body, CLOSERS[style.closer]) if part)


def ground_truth(present: Mapping[str, Detail]) -> str:
    """The reference report of a phantom study."""
    return compose(PLAIN, present)
