"""Headings and keys that speak for a whole list: "Absent:", "pertinent negatives", "positive_findings"."""

from __future__ import annotations

import math
import re

_WHAT = (
    r"(?:findings?|conditions?|patholog(?:y|ies)|abnormalit(?:y|ies)|diagnos[ei]s|labels?|features?|signs?|observations?"
    r"|diseases?|items?|list|results?|on this (?:image|study|radiograph|x-?ray))"
)
_WHICH = (
    r"(?:pertinent|relevant|key|important|significant|other|radiographic|imaging|the|following|all|these|main|also)"
)
_ARE = r"(?:(?:that |which )?(?:is|are|were|was) )?"
_SEEN = r"(?:present|seen|identified|detected|observed|visuali[sz]ed|visible|evident|found|noted|demonstrated)"
_KINDS: dict[str, str] = {
    "na": rf"not (?:assess(?:ed|able)|evaluat(?:ed|able)|mentioned|applicable|stated|reported|determined)|unknown|n/a"
    rf"|(?:un|in)determined|limited evaluation|not {_SEEN}? ?/ ?not (?:assessed|mentioned)",
    "no": rf"absent|negatives?|no|none|false|not {_SEEN}|ruled out|excluded|unlikely|denied|normal|resolved"
    rf"|no (?:evidence|signs?|indications?|findings?)(?: (?:of|for))?|absence(?: of)?|negative for|without|un{_SEEN}"
    r"|is not present|not likely|unremarkable",
    "yes": rf"present|positives?|yes|true|{_SEEN}|abnormal|possible|likely|probable|suspected|confirmed|uncertain"
    r"|positive for|evidence of|new|active",
}
INLINE: dict[str, str] = {
    kind: rf"(?:{_WHICH} ){{0,3}}(?:{_WHAT} )?(?:\(|- )?{_ARE}(?:{words})\)?"
    rf"(?: {_WHICH}){{0,2}}(?: (?:and|or) (?:normal|negative|positive|abnormal))?(?: {_WHAT})?"
    for kind, words in _KINDS.items()
}
"""Kind to the headings that say it, in lower case without a colon: "findings not seen", "pertinent negatives"."""
_HEADING = re.compile("|".join(f"(?P<{kind}>{words})" for kind, words in INLINE.items()))


def heading(words: str) -> float | None:
    """What a heading or key says of its list: 1 present, 0 absent, NaN not assessed; None where it says nothing.

    >>> heading("Pertinent negatives"), heading("positive_findings"), heading("Lungs")
    (0.0, 1.0, None)
    """
    plain = re.sub(r"[\s*#_`]+", " ", words.lower()).strip(" :.\u274c\u2705\u2717\u2718\u2713\u2714\ufe0f")
    found = _HEADING.fullmatch(plain) if len(plain) <= 60 else None
    return {"na": math.nan, "no": 0.0, "yes": 1.0}[found.lastgroup or ""] if found else None
