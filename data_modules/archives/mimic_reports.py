"""Radiology reports as MIMIC-CXR has them: their sections, and the sentences that speak of earlier examinations.

A report is plain text: titles (FINAL REPORT), headings in capitals with a colon, ``___`` where text was removed. Rules
of the section parser:

- A heading stands at the start of a line. Its words decide (CLINICAL HISTORY is a history); a long word that nearly
  is a known one is that word misspelt. Headings that name no section (LUNGS:) stay in the text that they stand in.
- FINDINGS AND IMPRESSION gives its text to both names.
- Parts are parted by a full line of underscores or a title. One of them is the report; the others are addenda, or
  preliminary readings (WET READ).
- Without a FINDINGS heading, the text under a heading that names the views (PA AND LATERAL CHEST:) are the findings;
  else the paragraphs behind the first of the section before the impression, whose own text is one paragraph. In a
  report that has no impression either they are the ``last_paragraph``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

SECTIONS = (
    "addendum",
    "comparison",
    "examination",
    "findings",
    "history",
    "impression",
    "indication",
    "last_paragraph",
    "notification",
    "recommendation",
    "technique",
    "wet_read",
)
WORDS = {
    "ADDENDUM": "addendum",
    "WET": "wet_read",
    "PRELIMINARY": "wet_read",
    "PROVISIONAL": "wet_read",
    "IMPRESSION": "impression",
    "CONCLUSION": "impression",
    "OPINION": "impression",
    "FINDINGS": "findings",
    "RECOMMENDATION": "recommendation",
    "NOTIFICATION": "notification",
    "COMMUNICATION": "notification",
    "COMPARISON": "comparison",
    "PRIOR": "comparison",
    "PRIORS": "comparison",
    "REFERENCE": "comparison",
    "INDICATION": "indication",
    "REASON": "indication",
    "REQUEST": "indication",
    "HISTORY": "history",
    "HISTROY": "history",
    "HX": "history",
    "CLINICAL": "history",
    "TECHNIQUE": "technique",
    "TECHNICAL": "technique",
    "PROCEDURE": "technique",
    "EXAMINATION": "examination",
    "EXAM": "examination",
    "STUDY": "examination",
    "STUDIES": "examination",
}
"""A word of a heading and the section that it names; where words disagree, the upper one wins."""
VIEW_WORDS = frozenset(
    {
        "CHEST",
        "PA",
        "AP",
        "LATERAL",
        "PORTABLE",
        "FRONTAL",
        "UPRIGHT",
        "SUPINE",
        "ERECT",
        "SEMI",
        "SEMIUPRIGHT",
        "SEMIERECT",
        "DECUBITUS",
        "RADIOGRAPH",
        "RADIOGRAPHS",
        "VIEW",
        "VIEWS",
        "FILM",
        "FILMS",
        "XRAY",
        "X",
        "RAY",
        "A",
        "AND",
        "OF",
        "THE",
        "SINGLE",
        "ONE",
        "TWO",
        "THREE",
        "1",
        "2",
        "3",
    }
)
TITLE_CASE = frozenset(
    {"Addendum", "Comparison", "Examination", "Findings", "History", "Impression", "Indication", "Technique"}
)
"""Headings that are also taken when only their first letter is a capital."""
VIEW = "view"
LONGEST = 8
"""Words of a heading."""
_HEADING = re.compile(r"^[ \t]*([A-Z][A-Za-z0-9 \t()/,&#-]*[A-Za-z0-9)])[ \t]*:(?!\d)", re.MULTILINE)
_PARTING = re.compile(r"^[ \t]*(?:_{8,}[ \t]*$|(FINAL (?:REPORT|ADDENDUM))\b:?)", re.MULTILINE)
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_ADDENDUM = re.compile(r"(?<!\s)\s*ADDENDUM\b[ \t]*(?:#?\d+)?[ \t]*:?")
_WET_READ = re.compile(r"(?<!\s)\s*WET READ\b[ \t]*:?")


def sections(text: str) -> dict[str, str]:
    """A report by sections, each as one line without repeated blanks; sections without text are left out.

    Args:
        text: a whole report, or any text with such headings.

    Returns:
        names of ``SECTIONS`` to their text; a section that comes twice is joined.

    >>> sections(" FINAL REPORT\\n INDICATION:  Cough.\\n\\n FINDINGS:\\n Clear\\n lungs.\\n IMPRESSION: Normal.")
    {'indication': 'Cough.', 'findings': 'Clear lungs.', 'impression': 'Normal.'}
    """
    parts = _parts(text.replace("\r\n", "\n"))
    reports = [i for i, (kind, _) in enumerate(parts) if kind == "report"]
    core = [i for i in reports or range(len(parts)) if _has_core(parts[i][1])]
    main = (core or reports or [None])[-1]
    found: dict[str, list[str]] = {}
    for place, (kind, body) in enumerate(parts):
        named = _named(body) if place == main else [("addendum" if kind == "report" else kind, _untitled(body))]
        for name, words in named:
            if words.strip():
                found.setdefault(name, []).append(" ".join(words.split()))
    return {name: " ".join(texts) for name, texts in found.items()}


def _parts(text: str) -> list[tuple[str, str]]:
    """(``report``, ``addendum`` or ``wet_read``; text) of what underscores and titles part."""
    pieces = ["", *_PARTING.split(text)]
    parts = []
    for title, body in zip(pieces[::2], pieces[1::2], strict=True):
        if title == "FINAL ADDENDUM" or _ADDENDUM.match(body):
            parts.append(("addendum", body))
        elif body.strip():
            parts.append(("wet_read" if _WET_READ.match(body) else "report", body))
    return parts


def _untitled(body: str) -> str:
    return _ADDENDUM.sub("", _WET_READ.sub("", body, count=1), count=1)


def _has_core(body: str) -> bool:
    return any(name in ("findings", "impression") for names, _ in _headed(body) for name in names)


def _headed(body: str) -> list[tuple[tuple[str, ...], str]]:
    """(section names, text) in order; the first, without a name, is what stands before any heading."""
    starts = [(match, names) for match in _HEADING.finditer(body) if (names := _names(" ".join(match[1].split())))]
    ends = [match.start() for match, _ in starts] + [len(body)]
    return [((), body[: ends[0]])] + [
        (names, body[match.end() : end]) for (match, names), end in zip(starts, ends[1:], strict=True)
    ]


@lru_cache(maxsize=4096)
def _names(heading: str) -> tuple[str, ...]:
    """Sections that a heading names; none where it is no heading of a section."""
    if not heading.isupper():
        return _names(heading.upper()) if heading in TITLE_CASE else ()
    words = re.findall(r"[A-Z0-9]+", heading)
    if len(words) > LONGEST:
        return ()
    if VIEW_WORDS.issuperset(words):
        return (VIEW,) if len(heading) >= 5 else ()
    named = _by_words(words)
    if named and named[0] in ("addendum", "wet_read"):
        return named[:1]
    if core := tuple(name for name in named if name in ("findings", "impression")):
        return core
    joined = [_by_words(piece.split())[:1] for piece in re.split(r"\bAND\b|[/&,]", heading)]
    return tuple(dict.fromkeys(name for piece in joined for name in piece)) if all(joined) else named[:1]


def _by_words(words: Sequence[str]) -> tuple[str, ...]:
    """Sections that the words name, each once, the most telling first."""
    named = {name for word in map(_mended, words) if (name := WORDS.get(word))}
    return tuple(sorted(named, key=list(WORDS.values()).index))


def _mended(word: str) -> str:
    close = difflib.get_close_matches(word, WORDS, n=1, cutoff=0.87) if len(word) > 6 else ()
    return close[0] if close else word


def _named(body: str) -> list[tuple[str, str]]:
    """(section name, text) of the report itself, with text that no heading of its own names."""
    entries = _headed(body)
    with_text = {name for names, words in entries if words.strip() for name in names}
    loose = "findings" if "impression" in with_text else "last_paragraph"
    home = max((i for i, (names, _) in enumerate(entries) if "impression" not in names), default=0)
    if "impression" in with_text:
        home = next(i for i, (names, words) in enumerate(entries) if "impression" in names and words.strip()) - 1
    named: list[tuple[str, str]] = []
    for place, (names, words) in enumerate(entries):
        rest = ""
        if "findings" not in with_text and VIEW not in with_text and place == home:
            words, rest = _first_paragraph(words, alone=len(entries) == 1)
        views = "examination" if "findings" in with_text else "findings"
        named += [(views if name == VIEW else name, words) for name in names or ("examination",)]
        named.append((loose, rest))
    return named


def _first_paragraph(words: str, *, alone: bool) -> tuple[str, str]:
    """The first paragraph, and the others; a single one that stands ``alone`` in the report is no title."""
    first, *rest = _BLANK_LINE.split(words.strip(), maxsplit=1)
    return ("", first) if alone and not rest else (first, "".join(rest))


_EXAMINATION = (
    r"(?:exam\w*|stud(?:y|ies)|films?|radiograph\w*|x-?rays?|imag(?:e|es|ing)|scans?|ct|chest|tomogra\w+|cxr|"
    r"report\w*)"
)
_COMPARES = re.compile(
    r"\b(?:unchanged|un-changed|again|re-?demonstrat\w*|re-?identified|interval|interim|stable|stably|previously|"
    r"compared|comparison|since|new|newly|now|still|no longer|persist\w*|remain(?:s|ed)?|continu(?:es|ed|ing)|"
    r"improv(?:ed|es|ing|ement)|worse(?:n\w*)?|resol(?:ved|ving|ution)|progress(?:ed|ion|ing)|as before|"
    r"(?:has|have|had) (?:\w+ )?(?:been )?(?:\w+ )?"
    r"(?:changed|increased|decreased|cleared|developed|appeared|disappeared|removed|placed|advanced|withdrawn|"
    r"retracted|repositioned|replaced|extubated|intubated|enlarged|grown)|"
    r"(?:increas|decreas)\w* in (?:size|extent|severity|number|conspicuity|volume)|"
    r"(?:no|little|without|any|minimal) (?:\w+ ){0,2}changes? (?:from|in|to|of|is|are)\b|"
    r"(?:no|little|without|minimal) (?:(?:significant|relevant|appreciable|substantial|other|definite|major|gross|"
    r"overall|radiographic|apparent) ){0,2}change\b|changed? (?:from|compared)|"
    r"(?:than|as) (?:on|in|seen on) (?:the )?(?:prior|previous|last|earlier|recent)|"
    rf"(?:prior|previous|preceding|earlier|recent|last|old) (?:[\w-]+ ){{0,3}}{_EXAMINATION})\b"
    r"|\bpriors?\s*(?:[.,;)]|$|and\b)|\b(?:from|on|than|to|with) (?:the )?(?:prior|previous) (?:\w+ ){0,2}(?:___|XXXX)",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?]) (?=[A-Z0-9_(\"])")
_NO_END = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|Drs|vs|approx|No|St|e\.g|i\.e)\.$")
_NUMBER = re.compile(r"(?:^|(?<=[.:!?] ))\d{1,2}[.)] (?=\S)")


def drop_prior_sentences(text: str) -> str:
    """Without the sentences that compare with an earlier examination, which one image cannot show.

    A sentence goes when a word or phrase of comparison is in it ("unchanged", "again seen", "interval", "new"). What
    the body shows of the past stays ("degenerative changes", "prior sternotomy"). The points of a numbered list are
    numbered anew. The words alone decide: a comparison without such a word stays.

    >>> drop_prior_sentences("1. Unchanged cardiomegaly. 2. No pneumothorax. Mild degenerative changes.")
    '1. No pneumothorax. Mild degenerative changes.'
    """
    lead, *points = _NUMBER.split(" ".join(text.split()))
    kept = [point for point in map(_kept, points) if point]
    return " ".join([*filter(None, [_kept(lead)]), *(f"{number}. {point}" for number, point in enumerate(kept, 1))])


def _kept(text: str) -> str:
    sentences: list[str] = []
    for piece in _SENTENCE_END.split(text.strip()):
        if sentences and _NO_END.search(sentences[-1]):
            sentences[-1] += f" {piece}"
        else:
            sentences.append(piece)
    return " ".join(sentence for sentence in sentences if not _COMPARES.search(sentence))


def compose(found: Mapping[str, str], wanted: Sequence[str], *, drop_comparisons: bool) -> str | None:
    """The wanted sections in their order, one a line; None where nothing is left.

    A text that two sections share (FINDINGS AND IMPRESSION) comes once.
    """
    texts = dict.fromkeys(found[name] for name in wanted if found.get(name))
    lines = map(drop_prior_sentences, texts) if drop_comparisons else texts
    return "\n".join(filter(None, lines)) or None
