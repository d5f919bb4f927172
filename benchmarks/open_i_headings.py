"""Open-I's hand-made headings (``MeSH/major``) as labels: what a report is indexed for, side and severity.

A heading is a term with qualifiers: ``Opacity/lung/base/left/mild``. The indexers' ways that decide what a label means:

- what a report only supposes ("may represent pneumonia") is mostly not indexed;
- "nodular" is the qualifier ``round``: a nodular opacity is ``Opacity/.../round`` and no ``Nodule``;
- an enlarged silhouette is ``Cardiac Shadow/enlarged`` and no ``Cardiomegaly``;
- airspace disease, density, volume loss and blunted angles are terms of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TERMS: dict[str, tuple[str, ...]] = {
    "atelectasis": ("pulmonary atelectasis",),
    "calcified_granuloma": ("calcified granuloma",),
    "cardiomegaly": ("cardiomegaly", "cardiac shadow/enlarged", "heart/enlarged"),
    "consolidation": ("consolidation",),
    "edema": ("pulmonary edema",),
    "emphysema": ("emphysema", "pulmonary emphysema", "bullous emphysema"),
    "fibrosis": ("pulmonary fibrosis", "fibrosis"),
    "fracture": ("fractures, bone",),
    "granuloma": ("granuloma", "calcified granuloma"),
    "hernia": ("hernia, hiatal", "hernia, diaphragmatic"),
    "infiltration": ("infiltrate",),
    "lung_opacity": ("opacity",),
    "mass": ("mass",),
    "nodule": ("nodule", "opacity//round", "density//round", "infiltrate//round", "nodule//reticular"),
    "pleural_effusion": ("pleural effusion", "hydropneumothorax", "hemopneumothorax"),
    "pleural_thickening": ("thickening/pleura",),
    "pneumonia": ("pneumonia",),
    "pneumothorax": ("pneumothorax", "hydropneumothorax", "hemopneumothorax"),
    "support_devices": ("catheters, indwelling", "implanted medical device", "tube, inserted", "medical device"),
}
"""Finding to headings; ``term//word`` is the term with that qualifier anywhere behind it."""
SIDES = ("left", "right", "bilateral")
GRADES = {"mild": "mild", "small": "mild", "moderate": "moderate", "severe": "severe", "large": "severe"}


@dataclass(frozen=True)
class Label:
    """What one report is indexed for.

    Attributes:
        present: findings of `TERMS`.
        sides: finding to left, right or bilateral, where all its headings together name a side.
        grades: finding to mild, moderate or severe, where its headings name one and the same.
    """

    present: frozenset[str]
    sides: dict[str, str]
    grades: dict[str, str]


def label(headings: Sequence[str]) -> Label:
    """Of the headings of one report, in lower case.

    >>> label(["opacity/lung/base/left/mild", "pleural effusion/right", "pleural effusion/left"]).sides
    {'lung_opacity': 'left', 'pleural_effusion': 'bilateral'}
    """
    own = {name: [h for h in headings if any(_means(h, term) for term in terms)] for name, terms in TERMS.items()}
    own = {name: found for name, found in own.items() if found}
    words = {name: {word for heading in found for word in heading.split("/")[1:]} for name, found in own.items()}
    sides = {name: _side(found) for name, found in words.items() if found & set(SIDES)}
    grades = {name: {GRADES[word] for word in found if word in GRADES} for name, found in words.items()}
    return Label(frozenset(own), sides, {name: found.pop() for name, found in grades.items() if len(found) == 1})


def _means(heading: str, term: str) -> bool:
    first, _, word = term.partition("//")
    return (heading == first or heading.startswith(f"{first}/")) and (not word or word in heading.split("/")[1:])


def _side(words: set[str]) -> str:
    found = [side for side in SIDES if side in words]
    return found[0] if len(found) == 1 else "bilateral"
