"""Texts that decline to read the image: "I cannot interpret medical images", "Please consult a radiologist."."""

from __future__ import annotations

import re

_WHO = r"(?:i|we|as an ai|this (?:model|system|assistant)|the (?:model|assistant))"
_DECLINE = (
    r"(?:can ?not|can't|unable|not able|not capable|incapable|not qualified|won't|will not|do not have the ability"
    r"|don't have the ability|must decline|have to decline|not (?:allowed|permitted|authorized|equipped|trained)"
    r"|not a (?:doctor|radiologist))"
)
_REFUSAL = re.compile(
    rf"(?:\b{_WHO}\b[^.!?]{{0,80}}?{_DECLINE}|\bnot possible for me to)[^.!?]{{0,40}}?"
    r"\b(?:interpret\w*|diagnos\w*|analy[sz]\w*|read|evaluat\w*|provid\w*|give|help|assist|view|open|access|process|comply"
    r"|offer|make)\b"
    r"[^.!?]{0,40}?\b(?:images?|pictures?|x-?rays?|radiographs?|scans?|diagnos[ei]s|medical|requests?|files?)\b"
    r"(?![^.!?]*[.,]? (?:but|however),? (?:here|i can (?:describe|explain|point|tell|note)))"
)
_MODEST = re.compile(r"\b(?:definitive|certain|final)")
_DEFLECT = re.compile(
    r"\b(?:please |you should |i (?:recommend|suggest|advise)\b[^.!?]{0,30})(?:consult|see|seek|contact|ask"
    r"|speak|talk|show)\w*"
    r"[^.!?]{0,60}\b(?:radiologist|physician|doctor|professional|specialist|clinician|provider)\b"
    r"|\b(?:i(?:'m| am)? (?:so |very )?sorry|i apologi[sz]e|sorry)\b[^.!?]{0,60}\b(?:can ?not|can't|unable|won't"
    r"|not able)\b"
    rf"|\b{_WHO}\b[^.!?]{{0,30}}?(?:can ?not|can't|unable to|won't|not able to) (?:help|assist|comply|do (?:that"
    rf"|this)|see (?:the|any|an) (?:image|picture|x-?ray)|answer|say)\b"
    r"|\bno image (?:was |has been |is )?(?:provided|attached|uploaded|included|found)\b"
    r"|\b(?:image|x-?ray) (?:was |has |is )?(?:not|n't) (?:been )?(?:provided|attached|uploaded|loaded|visible to me)\b"
)


def declines(words: str) -> bool:
    """A refusal by its words, whatever else a plain text says.

    "I cannot give a definitive diagnosis" is modesty, and so is an offer to describe.
    """
    found = _REFUSAL.search(words)
    return found is not None and not _MODEST.search(found.group())


def deflects(words: str) -> bool:
    """Sends the asker elsewhere, or is sorry: a refusal in a text that states nothing."""
    return _DEFLECT.search(words) is not None
