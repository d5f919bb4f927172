"""One-word answers: what "Pneumothorax: No", a table's cell, a JSON value or a tick says of a finding.

Hedges count as present, as in sentences; what was not assessed is not stated.
"""

from __future__ import annotations

import math
import re

TICKS = "\u2713\u2714\u2705\u2611\U0001f5f8\U0001f5f9\U0001f44d\u2795"
CROSSES = (
    "\u2717\u2718\u274c\u2612\u2716\u2715\u274e\U0001f5f4\U0001f5f5\U0001f5f7\U0001f6ab\u26d4\U0001f44e"
    "\u2610\u2b1c\u2796"
)
"""An empty box is not ticked."""
DASHES = "\u2013\u2212"

_SEEN = (
    r"(?:seen|present|identified|visible|visuali[sz]ed|evident|demonstrated|appreciated|detected|noted|observed|found"
    r"|apparent|suspected|diagnosed|confirmed|shown|indicated|suggested|likely|there|observable|detectable)"
)
_HOW = (
    r"(?:(?:it is|they are|is|are|there is|there are|appears?|seems?|most|very|highly|likely|probably|definitely"
    r"|clearly"
    r"|completely|currently|answer|all|both|still|now|quite|extremely|radiographically|the answer is) ?:? )*"
)
_THING = (
    r"(?: (?:evidence|signs?|findings?|abnormalit(?:y|ies)|indication|acute|significant|definite|visible|obvious))*"
)
VERDICTS: dict[str, str] = {
    "na": r"n ?[/.] ?a\.?|not (?:applicable|assess(?:ed|able)|evaluat(?:ed|able)|available|mentioned|stated|reported"
    r"|determined|determinable|known|specified|addressed|provided|discussed|evaluable|documented|commented on|included)"
    r"|unknown|null|nan|unassessed|unable to (?:assess|determine|evaluate|tell)|undetermined|undefined|inconclusive"
    r"|non-?diagnostic|(?:can ?not|can't|could not)(?: be)? (?:assess|determine|evaluate|tell|say)\w*|pending|tbd"
    r"|insufficient (?:information|data|evidence)|-{2,}|\u2014+|\?+",
    "no": rf"no|none|nope|nil|n|neg|negative|-ve|false|absent|absence|not|not {_SEEN}|no{_THING}|no{_THING} {_SEEN}"
    rf"|none {_SEEN}|none of (?:these|them|which|the above)(?: \w+){{0,3}}|no longer(?: {_SEEN})?|unlikely"
    rf"|unremarkable|normal|denied|ruled out|excluded|resolved|clear"
    rf"|cleared|within normal limits|wnl|not {_SEEN} (?:on|in) th(?:is|e) \w+|nothing|undetected|unseen|improbable"
    rf"|low(?: (?:probability|likelihood|suspicion|risk))?|0(?:\.0+)?|no \(0\)|zero|0 ?/ ?1|isn't|aren't|intact",
    "yes": rf"yes|y|yep|true|1(?:\.0+)?|positive|pos|\+ve|{_SEEN}|possibl[ey]|probabl[ey]|uncertain|equivocal"
    r"|indeterminate|questionable|maybe|abnormal|high(?: (?:probability|likelihood|suspicion))?|1 ?/ ?1|borderline"
    r"|(?:can ?not|can't|could not|may not) be (?:entirely |fully |completely )?(?:excluded|ruled out)"
    r"|not (?:entirely |fully |completely )?(?:excluded|ruled out)"
    r"|(?:very )?(?:small|tiny|trace|minimal|mild|moderate|severe|large|massive|subtle|slight|marked)",
}
"""Kind to the values that say it, in lower case. ``na`` stands first: "not assessed" is no denial."""
_NUMBER = r"(?P<number>-?\d{1,3}(?:\.\d{1,6})?|-?\.\d{1,6}) ?(?P<percent>%)?"
_END = (
    r"(?=\s*(?:$|[.,;:)\]}|(\[!?\u2013\u2014\"']|-(?!\w)|\b(?:but|with|confidence)\b|\band [\w ]{1,40} ?:)"
    r"|\s+[\w/]+(?: \w+){0,2} ?[:=])(?!\.\d)"
)
VALUE = rf"{_HOW}(?:" + "|".join(rf"(?P<{kind}>{words})" for kind, words in VERDICTS.items()) + rf"){_END}"
NUMBER = rf"{_NUMBER}(?=\s*(?:$|[,;)\]}}|(]|\.(?!\d)))"
_VALUE, _CHANCE = re.compile(VALUE), re.compile(NUMBER)
_WORDS = re.compile(r"[^\W_]")
_EMPTY = re.compile(r"[\s*_`'\"]+")
_MARKED = re.compile(r"^[\s*_`'\"(\[]*([-+xX\u25cf\u2022]+)[\s*_`'\")\]]*$")


def verdict(value: str, *, ticked: bool = False) -> float | None:
    """1 present, 0 absent, NaN said to be unknown, of a whole value; None where it is no verdict.

    Args:
        value: of a key, or a cell.
        ticked: an x or a dot is a tick, as in a column named "present" beside one named "absent".

    >>> verdict("No (95 %)"), verdict("**Yes**"), verdict("0.12"), verdict("N/A"), verdict("left lower lobe")
    (0.0, 1.0, 0.0, nan, None)
    """
    marked = _MARKED.match(value.translate(str.maketrans(dict.fromkeys(DASHES, "-"))))
    if marked:
        sign = marked[1].lower()[0]
        return 0.0 if sign == "-" else 1.0 if sign == "+" or ticked else None
    for sign in value:
        if sign in TICKS or sign in CROSSES:
            return float(sign in TICKS)
    words = _EMPTY.sub(" ", value.lower().replace("\u2019", "'")).strip()
    found = _VALUE.match(words)
    if found:
        return {"no": 0.0, "yes": 1.0, "na": math.nan}[kind_of(found)]
    number = _CHANCE.match(words)
    return chance(number) if number else None


def spelled(value: str, *, ticked: bool = False) -> str | None:
    """A sign as a word: "yes" for a tick, "no" for a cross or a minus; None for words, which speak for themselves."""
    said = None if _WORDS.search(value) and value.strip().lower() not in ("x", "xx") else verdict(value, ticked=ticked)
    return None if said is None else "n/a" if math.isnan(said) else "yes" if said else "no"


def kind_of(found: re.Match[str]) -> str:
    """Which of `VERDICTS` a match of `VALUE` is."""
    return next(kind for kind in VERDICTS if found[kind] is not None)


def chance(found: re.Match[str]) -> float:
    """A probability as a verdict, present from one half on: "0.12", "85 %", CheXpert's -1 (uncertain, so a hedge)."""
    number = float(found["number"])
    if number == -1:
        return 1.0
    share = number / 100 if found["percent"] else number
    return float(share >= 0.5) if 0 <= share <= 1 else math.nan
