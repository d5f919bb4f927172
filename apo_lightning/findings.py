"""One vocabulary of findings: the fourteen of CheXpert, what other sets add, and how each set's names map onto both.

A finding is 1 (present), 0 (absent) or NaN (unknown). ``CHEXPERT`` are the observations of Irvin et al. 2019
(arXiv:1901.07031), which MIMIC-CXR's labels share. Names that other sets add keep their own word; a name maps onto a
CheXpert one only where both mean the same observation (NIH's Effusion is a pleural effusion).
"""

from __future__ import annotations

import re

CHEXPERT = (
    "atelectasis",
    "cardiomegaly",
    "consolidation",
    "edema",
    "enlarged_cardiomediastinum",
    "fracture",
    "lung_lesion",
    "lung_opacity",
    "no_finding",
    "pleural_effusion",
    "pleural_other",
    "pneumonia",
    "pneumothorax",
    "support_devices",
)
COMPETITION = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
"""The five on which CheXpert is scored."""
CANONICAL = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
"""The seven that the embedded student was taught."""
NIH = (
    "atelectasis",
    "cardiomegaly",
    "consolidation",
    "edema",
    "emphysema",
    "fibrosis",
    "hernia",
    "infiltration",
    "mass",
    "nodule",
    "pleural_effusion",
    "pleural_thickening",
    "pneumonia",
    "pneumothorax",
)
"""The fourteen of ChestX-ray14 (Wang et al. 2017)."""
NO_FINDING = "no_finding"
SYNONYMS = {
    "airspace_opacity": "lung_opacity",  # MIMIC-CXR-JPG 2.1.0, the radiologist's test labels
    "effusion": "pleural_effusion",
    "infiltrate": "infiltration",
    "lesion": "lung_lesion",
    "normal": NO_FINDING,
    "opacity": "lung_opacity",
}
"""Other sets' names in the spelling of ``canonical``, and what they are called here."""


def canonical(name: str) -> str:
    """A set's own name in this project's spelling.

    >>> canonical("Enlarged Cardiomediastinum"), canonical("Pleural_Thickening"), canonical("COVID-19")
    ('enlarged_cardiomediastinum', 'pleural_thickening', 'covid_19')
    >>> canonical("Effusion")
    'pleural_effusion'
    """
    plain = re.sub(r"[^a-z0-9]+", "_", name.strip().lower()).strip("_")
    return SYNONYMS.get(plain, plain)
