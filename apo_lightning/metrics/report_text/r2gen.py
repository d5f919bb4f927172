"""A report as R2Gen reads it before it is scored (Chen et al. 2020, arXiv 2010.16056), and as its followers do.

Lower case; the marks of numbered lists go; what is between full stops is a sentence, without signs but hyphens and
digits; each ends in a full stop of its own. R2Gen has two cleaners: MIMIC-CXR's, taken here for every set, also reads
line breaks and runs of signs; on one-line texts without such runs it gives the words that the one of IU X-ray gives.

Two things of R2Gen are left out, since they depend on a training split: it writes ``<unk>`` for words that are rare
there (in references too), and cuts references after 60 (IU X-ray) or 100 words (MIMIC-CXR). Both raise its scores.
"""

from __future__ import annotations

import re

RUNS = (("__", 7), ("  ", 7), ("..", 8))
"""Signs that are halved in number so many times: up to 128 or 256 of them become one."""
SIGNS = re.compile(r"[.,?;*!%^&_+():-\[\]{}\"/\\']")
"""As there: ``:-\\[`` is a range, of ``: ; < = > ? @``, capitals and ``[``; the hyphen is not in it."""


def cleaned(report: str) -> str:
    """Words and full stops with one blank between; an empty report stays empty, where R2Gen's would be a full stop.

    >>> cleaned("1. The heart is normal in size. 2. No effusion, pneumothorax/edema.")
    'the heart is normal in size . no effusion pneumothoraxedema .'
    """
    if not report.strip():
        return ""
    text = report.replace("\n", " ")
    for sign, times in RUNS:
        for _ in range(times):
            text = text.replace(sign, sign[0])
    text = text.replace("1. ", "")
    for before in (". ", " "):
        for number in "2345":
            text = text.replace(f"{before}{number}. ", ". ")
    sentences = (SIGNS.sub("", sentence) for sentence in text.strip().lower().split(". "))
    return " ".join(" . ".join([*sentences, ""]).split())
