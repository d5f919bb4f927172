"""Identifiers of one file beside those of another: which are one, and which may be."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable

from apo_lightning.identifiers.forms import (
    CHEXPERT_STUDY,
    MIMIC_STUDY_ID,
    NIH_IMAGE,
    OPEN_I_UID,
    TEXT,
    Form,
    cleaned,
    without_suffix,
)
from apo_lightning.identifiers.whole_numbers import Unsure, whole

OF_STUDIES = (MIMIC_STUDY_ID, NIH_IMAGE, CHEXPERT_STUDY, OPEN_I_UID)
"""Forms that a study's id tells."""
LEADS = {"p": "p|pts?|pat(?:ient)?s?|sub(?:j(?:ect)?)?s?|mrn", "s": "s|st|study"}
"""Letter that may stand before a number, to the words that may stand there in its place."""
LEAD = r"(?:{})?[\W_]*(?:id|no|nr|num(?:ber)?)?[\W_]*(?=[0-9])"
UUID = re.compile("(?:urn:uuid:)?" + "[ _-]?".join(f"([0-9a-f]{{{n}}})" for n in (8, 4, 4, 4, 12)))


def alike(text: str, letter: str = "") -> str:
    """What all ways of writing one identifier have in common. Two that differ may share it, so nothing is joined by it.

    Case goes, so do marks and blanks, zeros before a number, and words of ``LEADS`` before the first one. Numbers stay
    apart from each other, as "1-12" is not "11-2".

    Args:
        text: an identifier.
        letter: may stand before a number; one of ``LEADS``, or "" for none.

    >>> alike("007", "p") == alike("P7.0", "p") == alike("7", "p"), alike("1,007") == alike("1007")
    (True, True)
    >>> alike("Pat.-ID: 001", "p"), alike("A_01"), alike("1-12"), alike("1.5")
    ('1', 'a1', '1-12', '1-5')
    """
    if text.isascii() and text.isdigit():
        return text.lstrip("0") or "0"
    plain = unicodedata.normalize("NFKC", cleaned(text)).casefold()
    bare = plain.strip("".join(c for c in plain if _letter_or_blank(c) == " "))
    if found := UUID.fullmatch(bare):
        return "".join(found.groups())
    if letter and (lead := re.match(LEAD.format(LEADS[letter]), bare)):
        bare = bare[lead.end() :]
    try:
        return whole(bare) or _without_marks(bare) or plain
    except Unsure:
        return re.sub("[^0-9]", "", bare) if re.fullmatch(r"[0-9]{1,3}[.,]000", bare) else _without_marks(bare)


def _without_marks(text: str) -> str:
    """Of marks between two numbers one stays.

    >>> _without_marks("a - 0012 / 03 b")
    'a12-3b'
    """
    words = " ".join("".join(map(_letter_or_blank, text)).split())
    joined = re.sub("(?<=[0-9]) (?=[0-9])", "-", words).replace(" ", "")
    return re.sub("(?<![0-9])0+(?=[0-9])", "", joined)


def _letter_or_blank(character: str) -> str:
    """Accents and vowel signs are parts of letters."""
    return character if character.isalnum() or unicodedata.category(character)[0] == "M" else " "


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
