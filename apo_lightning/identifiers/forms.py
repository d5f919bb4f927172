"""Identifiers of patients, studies and images: one normal form of each kind, whatever a re-exported table made of it.

A `Form` says how one kind is written. It takes what spreadsheets and other programs do to an identifier (floats, blanks
and zeros around it, a leading letter, apostrophes, marks without width, thousands separators, exponents, wide digits,
upper and lower case) and gives the one text by which it is joined. What cannot be told from another identifier is
refused. ``TEXT`` is the form of a user's own: it takes away what nobody can see and what a float adds, and no more.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from apo_lightning.identifiers.whole_numbers import Unsure, whole

QUOTES = "'’‘`´ʹ\"“”"
HYPHENS = "\u2010\u2011\u2212\ufe63\uff0d"
WITHOUT_WIDTH = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))
"""Characters that are not seen although Unicode counts them among letters and accents."""
NARROW = ("<wide>", "<narrow>", "<noBreak>")
"""Decompositions that change the width of a character alone."""
FORMULA = re.compile(r'=\s*"(.*)"')
IMAGE_SUFFIX = re.compile(r"(?:\.(?:jpe?g|png|dcm|dicom|tiff?|gz|txt|xml)){1,3}\s*$", re.IGNORECASE)

FLOAT = re.compile(r"(?:0|[1-9][0-9]*)[.,]0+|[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{2,3}|[0-9][.,][0-9]+[eE]\+?[0-9]{1,3}")
"""A whole number that was made a float; "1e5" without point and sign may be a name."""


@dataclass(frozen=True)
class Form:
    """How one kind of identifier is written.

    Attributes:
        what: its name, for messages.
        normal: matches the normal form, without look-around, so that whole columns can be compared at once.
        read: normal form of a text that `cleaned` gave; None where it is none. May raise `Unsure`.
    """

    what: str
    normal: re.Pattern[str]
    read: Callable[[str], str | None]

    def __call__(self, text: str) -> str:
        """
        Raises:
            ValueError: ``text`` is no identifier of this kind; as `Unsure`, it cannot be told from another one.
        """
        if self.normal.fullmatch(text):
            return text
        try:
            found = self.read(cleaned(text))
        except Unsure as error:
            raise Unsure(f"{self.what} {error}") from None
        if not found:
            raise ValueError(f"is no {self.what}")
        return found

    def quoting(self, text: str) -> str:
        """
        Raises:
            ValueError: as by a call, with the text behind the reason.
        """
        try:
            return self(text)
        except ValueError as error:
            raise ValueError(f"{error} ({text[:80]!r})") from None


def cleaned(text: str) -> str:
    """``text`` without what is not seen, in ASCII digits, and without the quotes and formulas that keep a spreadsheet
    from calculating.

    >>> cleaned("\\ufeff '１0001\\u200b "), cleaned('="10001"')
    ('10001', '10001')
    """
    text = unicodedata.normalize("NFC", "".join(map(_seen, text))).strip()
    if formula := FORMULA.fullmatch(text):
        text = formula[1].strip()
    if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES:
        text = text[1:-1]
    return text.lstrip(QUOTES).strip()


def _seen(character: str) -> str:
    if character.isascii() and character.isprintable():
        return character
    if character.isspace():
        return " "
    if character in HYPHENS:
        return "-"
    kind = unicodedata.category(character)
    if kind in ("Cf", "Cc") or character in WITHOUT_WIDTH:
        return ""
    if kind == "Nd":
        return str(unicodedata.digit(character))
    width, _, plain = unicodedata.decomposition(character).partition(" ")
    return chr(int(plain, 16)) if width in NARROW else character


def _numbered(word: str, length: int | None, form: str = "{}") -> Callable[[str], str | None]:
    """Reads numbers, perhaps behind ``word`` (a pattern of the letters in front)."""
    lead = re.compile(rf"(?:(?:{word})(?:[ _-]*id)?[ _#:-]*)?(.+)", re.IGNORECASE)

    def read(text: str) -> str | None:
        digits = whole(lead.fullmatch(text)[1]) if text else None
        return form.format(digits) if digits and length in (None, len(digits)) else None

    return read


def _name(text: str) -> str:
    """Last part of a path, without the suffix of an image or a report."""
    return without_suffix(text.replace("\\", "/").rpartition("/")[2])


def without_suffix(text: str) -> str:
    """Without the suffix of an image or a report."""
    return IMAGE_SUFFIX.sub("", text)


def _mimic_study(text: str) -> str | None:
    """A number, or the last part of a path to it: ``p10/p10000032/s50414267.txt``."""
    name = _name(text)
    is_path = re.search(r"[/\\]", text) and not re.fullmatch("s[0-9]{8}", name, re.IGNORECASE)
    return None if is_path else _numbered("study|s", 8)(name)


def _mimic_study_id(text: str) -> str | None:
    """``s50414267``, perhaps with the names of images behind it, as pairs of images have."""
    study, *images = text.split("_") if re.match(r"s?[0-9]{8}_", text, re.IGNORECASE) else [text]
    number, names = _mimic_study(study), [_dicom(image) for image in images]
    return "_".join([f"s{number}", *names]) if number and all(names) else None


def _dicom(text: str) -> str | None:
    """Forty digits in five groups; an image that was renamed keeps its name."""
    name = text if re.search(r"[/\\]", text) else _name(text)
    digits = re.sub(r"[\W_]", "", name).lower()
    if re.fullmatch("[0-9a-f]{40}", digits):
        return "-".join(digits[start : start + 8] for start in range(0, 40, 8))
    return name if re.fullmatch(r"[\w-]+", name) else None


def _mimic_tree(text: str) -> str | None:
    """Path below ``files`` without suffix; in the official layout from wherever it is written, else of plain names."""
    text = text.replace("\\", "/").removeprefix("files/")
    found = re.fullmatch(r"(?:.*/)?p[0-9]{2}/p([0-9]{8})/s([0-9]{8})/([^/]+)", text, re.IGNORECASE)
    if found:
        name = _dicom(found[3])
        return name and f"p{found[1][:2]}/p{found[1]}/s{found[2]}/{name}"
    *folders, name = without_suffix(text).split("/")
    if not all(re.fullmatch(r"[\w-]+", part) for part in (*folders, name)):
        raise Unsure("leads out of data.root")
    return "/".join([*folders, str(_dicom(name))])


def _nih_image(text: str) -> str | None:
    found = re.fullmatch(r"([0-9]{1,8})[_ -]+([0-9]{1,3})", _name(text))
    return f"{int(found[1]):08d}_{int(found[2]):03d}" if found else None


def _nih_file(text: str) -> str:
    """With the suffix in lower case, ``.png`` where there is none; an image that was renamed keeps its name."""
    suffix = IMAGE_SUFFIX.search(text)
    name = _nih_image(text)
    return f"{name}{suffix[0].strip().lower() if suffix else '.png'}" if name else text


def _chexpert_patient(text: str) -> str | None:
    digits = _numbered("patient|p", None)(text)
    return f"patient{digits:0>5}" if digits else None


def _chexpert_study(text: str) -> str | None:
    found = re.fullmatch(r"(?:.*[/\\])?([^/\\]+)[/\\]study *([0-9]+)(?:[/\\][^/\\]*)?", text, re.IGNORECASE)
    patient = _chexpert_patient(found[1]) if found else None
    return f"{patient}/study{int(found[2])}" if patient else None


def _chexpert_path(text: str) -> str:
    """Split folder, patient, study and perhaps the file; what is before stays, and so does any other path."""
    text = text.replace("\\", "/").rstrip("/")
    found = re.fullmatch(r"(.*/)?(train|valid|test)(/patient[^/]+/study[^/]+)((?:/[^/]+)?)", text, re.IGNORECASE)
    study = _chexpert_study(found[3][1:]) if found else None
    return f"{found[1] or ''}{found[2].lower()}/{study}{found[4].lower()}" if study else text


def _open_i(text: str) -> str | None:
    return _numbered("cxr", None, "CXR{}")(re.sub(r"(?:_[0-9]+)?_IM-.*", "", _name(text), flags=re.IGNORECASE))


def _number(text: str) -> str:
    if (digits := whole(text)) is None:
        raise Unsure("is no number")
    return digits


def _covid_patient(text: str) -> str | None:
    """A number, a number and a letter, or whatever is there."""
    found = re.fullmatch(r"p?0*([0-9]+[a-z])", text, re.IGNORECASE)
    return found[1].lower() if found else _numbered("patient|p", None)(text) or _text(text)


def _text(text: str) -> str | None:
    """Whole numbers that were made floats lose what this added; everything else stays."""
    is_float = FLOAT.fullmatch(text)
    return (whole(text) or text) if is_float else text


MIMIC_SUBJECT = Form("subject id", re.compile("[1-9][0-9]{7}"), _numbered("patient|subject|p", 8))
MIMIC_STUDY = Form("study id", re.compile("[1-9][0-9]{7}"), _mimic_study)
MIMIC_STUDY_ID = Form("study id", re.compile("s[1-9][0-9]{7}"), _mimic_study_id)
"""With its letter, as `Study.id`."""
MIMIC_DICOM = Form("dicom id", re.compile("[0-9a-f]{8}(-[0-9a-f]{8}){4}"), _dicom)
MIMIC_TREE = Form(
    "image path", re.compile(f"p[0-9]{{2}}/p[0-9]{{8}}/s[0-9]{{8}}/{MIMIC_DICOM.normal.pattern}"), _mimic_tree
)
"""Below ``files``, without suffix."""
NIH_PATIENT = Form("patient id", re.compile("[1-9][0-9]*"), _numbered("patient|p", None))
NIH_IMAGE = Form("image index", re.compile("[0-9]{8}_[0-9]{3}"), _nih_image)
"""Without the suffix of its file."""
NIH_FILE = Form("image index", re.compile(r"[0-9]{8}_[0-9]{3}\.png"), _nih_file)
CHEXPERT_STUDY = Form("study", re.compile("patient[0-9]{5}/study[1-9][0-9]*"), _chexpert_study)
CHEXPERT_PATH = Form(
    "image path",
    re.compile(
        r"(?:[A-Za-z0-9 ._()-]+/)*(?:train|valid|test)/patient[0-9]{5}/study[1-9][0-9]*"
        r"(?:/view[0-9]+_[a-z]+\.[a-z]+)?"
    ),
    _chexpert_path,
)
OPEN_I_NUMBER = Form("uid", re.compile("[1-9][0-9]*"), _number)
"""As Kaggle's tables have it."""
OPEN_I_UID = Form("uid", re.compile("CXR[1-9][0-9]*"), _open_i)
COVID_PATIENT = Form("patient id", re.compile("[1-9][0-9]*[a-z]?"), _covid_patient)
TEXT = Form("id", re.compile(r"[A-Za-z][A-Za-z0-9_./:-]*|[0-9]+"), _text)
"""Whatever a user takes for one."""
