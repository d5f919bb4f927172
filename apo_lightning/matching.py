"""Identifiers of one file beside those of another: which are one, and which may be."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

from apo_lightning.identifiers import (
    CHEXPERT_STUDY,
    MIMIC_STUDY_ID,
    NIH_IMAGE,
    OPEN_I_UID,
    TEXT,
    Form,
    cleaned,
    without_suffix,
)
from apo_lightning.whole_numbers import Unsure, whole

OF_STUDIES = (MIMIC_STUDY_ID, NIH_IMAGE, CHEXPERT_STUDY, OPEN_I_UID)
"""Forms that a study's id tells."""


def alike(text: str, letter: str = "") -> str:
    """What all ways of writing one identifier have in common. Two that differ may share it, so nothing is joined by it.

    Args:
        text: an identifier.
        letter: may stand before a number.

    >>> alike("007", "p") == alike("P7.0", "p") == alike("7", "p"), alike("1,007") == alike("1007")
    (True, True)
    """
    if text.isascii() and text.isdigit():
        return text.lstrip("0") or "0"
    plain = unicodedata.normalize("NFKC", cleaned(text)).casefold()
    plain = re.sub(r"[\u2012-\u2015]", "-", " ".join(plain.split()))
    bare = plain[1:] if letter and re.match(rf"{letter}[0-9]", plain) else plain
    try:
        return whole(bare) or plain
    except Unsure:
        return re.sub("[^0-9]", "", bare) if re.fullmatch(r"[0-9]{1,3}[.,]000", bare) else plain


def own_form(study: str) -> Form:
    """The form of a study's id."""
    return next((form for form in OF_STUDIES if form.normal.match(study) and _kept(form, study)), TEXT)


def _kept(form: Form, text: str) -> bool:
    try:
        return form(text) == text
    except ValueError:
        return False


def matched(texts: Iterable[str], studies: Collection[str]) -> dict[str, str]:
    """Text to the study that it names, however it is written; texts that name none are left out.

    Args:
        texts: as a list or a file of another hand has them.
        studies: ids as a data set has them. A text that is one of them means it.
    """
    held = dict.fromkeys(studies)
    texts = dict.fromkeys(texts)
    odd = [text for text in texts if text not in held]
    found = {text: text for text in texts if text in held}
    if not odd:
        return found
    forms = {own_form(study) for study in held} | {TEXT}
    spelled: dict[str | None, set[str]] = defaultdict(set)
    for study in held:
        spelled[study].add(study)
        spelled[_normal(TEXT, study)].add(study)
    for text in odd:
        ways = {_normal(form, part) for part in (text, without_suffix(text)) for form in forms} - {None}
        named = {study for way in ways & spelled.keys() for study in spelled[way]}
        if len(named) == 1:
            found[text] = named.pop()
    return found


def _normal(form: Form, text: str) -> str | None:
    try:
        return form(text)
    except ValueError:
        return None


def lookalikes(texts: Iterable[str], studies: Iterable[str], letter: str = "") -> dict[str, str]:
    """Text to a study that it may mean, of texts and studies that were not joined."""
    known = {alike(study, letter): study for study in studies}
    return {text: known[key] for text in texts if (key := alike(text, letter)) in known}


def unsure(texts: Iterable[str], studies: Iterable[str]) -> dict[str, str]:
    """Text to why it cannot be told which study it names, of texts that name none."""
    forms = {own_form(study) for study in studies}
    found: dict[str, str] = {}
    for text in texts:
        for form in forms:
            try:
                form(text)
            except Unsure as error:
                found[text] = str(error)
            except ValueError:
                continue
    return found


def may_be_one(texts: Iterable[str], letter: str = "") -> dict[str, str]:
    """Identifiers that may be another one of ``texts``, to that other one.

    >>> may_be_one(["01", "1", "2", "A"])
    {'01': '1', '1': '01'}
    """
    found: dict[str, list[str]] = defaultdict(list)
    for text in dict.fromkeys(texts):
        found[alike(text, letter)].append(text)
    return {text: names[text == names[0]] for names in found.values() if len(names) > 1 for text in names}
