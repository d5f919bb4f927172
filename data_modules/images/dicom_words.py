"""What a header's free words say: whether the part is a chest, and whether a view is a projection.

BodyPartExamined has defined terms, and devices write what their operators see instead: ``CHEST PA``, ``PORT CHEST``,
``AP SUPINE``, ``CHEST 2 VIEWS``. So words are read, not terms.
"""

from __future__ import annotations

import re
import unicodedata

CHEST = ("CHEST", "THORAX", "TORAX", "TORACE", "LUNG", "LUNGS", "CXR")
"""A word that begins or ends with one of these names the chest: ``PORTCHEST``, ``CHESTABDOMEN``, ``HEMITHORAX``."""
NO_CHEST = frozenset(("RIB", "RIBS", "RIBCAGE", "SPINE", "TSPINE", "STERNUM", "CLAVICLE", "SHOULDER", "SCAPULA"))
"""Bones of the chest, taken with a technique of their own, in whatever company."""
PLAIN = frozenset(
    (
        "AP",
        "PA",
        "LAT",
        "LATERAL",
        "LATERALS",
        "LL",
        "RL",
        "LLAT",
        "RLAT",
        "LATL",
        "LATR",
        "LLD",
        "RLD",
        "LAO",
        "RAO",
        "LPO",
        "RPO",
        "LLO",
        "RLO",
        "OBL",
        "OBLIQUE",
        "OBLIQUES",
        "AXIAL",
        "FRONTAL",
        "LORDOTIC",
        "APICAL",
        "DECUB",
        "DECUBITUS",
        "SUPINE",
        "PRONE",
        "ERECT",
        "UPRIGHT",
        "STANDING",
        "SITTING",
        "SEMI",
        "SEMIERECT",
        "SEMIUPRIGHT",
        "RECUMBENT",
        "SWIMMERS",
        "CROSS",
        "XTABLE",
        "TABLE",
        "CROSSTABLE",
        "PORT",
        "PORTABLE",
        "MOBILE",
        "BEDSIDE",
        "BED",
        "STRETCHER",
        "WHEELCHAIR",
        "INSP",
        "EXP",
        "INSPIRATION",
        "EXPIRATION",
        "INSPIRATORY",
        "EXPIRATORY",
        "LEFT",
        "RIGHT",
        "L",
        "R",
        "LT",
        "RT",
        "BILATERAL",
        "VIEW",
        "VIEWS",
        "VW",
        "VWS",
        "V",
        "ONE",
        "TWO",
        "THREE",
        "SINGLE",
        "ROUTINE",
        "ADULT",
        "CHILD",
        "PED",
        "PEDS",
        "PEDIATRIC",
        "INFANT",
        "NEONATE",
        "NEONATAL",
        "AND",
        "OR",
        "W",
        "WO",
        "WITH",
        "WITHOUT",
        "GRID",
    )
)
"""Words of projection, position, technique and number, which name no part of the body."""
SILENT = frozenset(("UNKNOWN", "NONE", "NA", "UNSPECIFIED", "UNDEFINED"))
NUMBER = re.compile(r"\d+(V|VW|VWS|VIEW|VIEWS)?")


def words(text: str) -> list[str]:
    """In capitals, without accents.

    >>> words("chest_pa/lat"), words("Tórax AP")
    (['CHEST', 'PA', 'LAT'], ['TORAX', 'AP'])
    """
    plain = unicodedata.normalize("NFKD", text.upper())
    return re.findall(r"[A-Z0-9]+", "".join(mark for mark in plain if not unicodedata.combining(mark)))


def is_chest(text: str) -> bool:
    """Whether a body part is the chest, or no part is named at all.

    >>> is_chest("PORT CHEST"), is_chest("AP SUPINE"), is_chest("ABDOMEN AP"), is_chest("THORACIC SPINE")
    (True, True, False, False)
    """
    said = words(text)
    if NO_CHEST.intersection(said):
        return False
    return any(map(_names_chest, said)) or (all(map(_is_plain, said)) if said else not text.strip())


def is_projection(text: str) -> bool:
    """Whether a view is made of words of projection.

    >>> is_projection("AP SUPINE"), is_projection("chest lat"), is_projection("ZZ")
    (True, True, False)
    """
    said = words(text)
    return all(_is_plain(word) or _names_chest(word) for word in said) if said else not text.strip()


def is_listed(text: str, listed: tuple[str, ...]) -> bool:
    """Whether the user has allowed this text, in any spelling of its words."""
    return any(words(text) == words(one) and words(one) for one in listed)


def _names_chest(word: str) -> bool:
    return word.startswith(CHEST) or word.endswith(CHEST)


def _is_plain(word: str) -> bool:
    return word in PLAIN or word in SILENT or NUMBER.fullmatch(word) is not None
