"""What a sentence says of a finding beside present or absent: how severe, how sure, and how it has changed.

Severity and doubt are said of present findings only, a course also of absent ones ("the effusion has resolved").
A hedge is a word that leaves open whether a finding is there, after the uncertainty phrases of CheXpert's labeler
(Irvin et al. 2019, arXiv 1901.07031); "unlikely" denies and is none.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from apo_lightning.text.mentions import Mention

SEVERITIES = ("mild", "moderate", "severe")
COURSES = ("improving", "stable", "worsening")

_NOT = r"(?<!\bnot )(?<!\bnot a )(?<!\bnot very )(?<!\bno )(?<!\blow )(?<!\bwithout )"
HEDGE = re.compile(
    rf"{_NOT}\b(?:possibl[ey]|possibility|probabl[ey]|probability|likely|perhaps|maybe|presum(?:ed|ably)|conceivabl[ey]"
    r"|question(?:ed|able)?(?! mark)|uncertain|equivocal|indeterminate|borderline|suspect(?:ed)?|suspicion|suspicious"
    r"|concern(?:ing)?(?= for)|worrisome|suggest(?:s|ed|ing|ive|ion)?"
    r"|(?:may|might|could)(?! not| help| be (?:subtle|helpful|needed|considered|warranted|limited)| (?:\w+ly )?obscure)"
    r"|appears? to|seems? to|favou?r(?:s|ed|ing)?|considerations?|differential|alternatively)\b"
    r"|\b(?:can ?not|can't|could not|couldn't|may not|difficult to|hard to|not)(?: be)?(?: \w+ly)?"
    r" (?:exclud(?:e[ds]?|ing)|rul(?:e|ed|ing) out)\b"
    r"|\bin (?:the|an?) (?:appropriate|correct|proper|right) (?:clinical )?(?:setting|context)\b"
)
_COURSE_WORDS = {
    "stable": r"stable|unchanged|unaltered|persist\w*|similar|constant"
    r"|(?:no|not|without|neither|nor|little|isn't|hasn't)(?: \w+){0,2} (?:chang\w*|progress\w*|improv\w*|wors\w*"
    r"|increas\w*|decreas\w*|larger|smaller|resolv\w*)",
    "improving": r"no longer(?: \w+)?|better|improv\w+|decreas\w+|resol[vu]\w+|smaller|cleared|clearing|less|reduced"
    r"|reduction|lessened|regress\w+",
    "worsening": r"worse\w*|increas\w+|progress\w+|larger|enlarg(?:ed|ing)|(?<!no )new|more(?! likely)|grown"
    r"|developed|developing",
}
CHANGE = re.compile("|".join(rf"(?P<{name}>\b(?:{words})\b)" for name, words in _COURSE_WORDS.items()))
_WEAK = re.compile(r"increas|decreas|reduc|less|more|larger|smaller|better|similar|constant|developed|enlarg")
"""Words of change that compare places or describe an image as well."""
_TIME = re.compile(
    r"\b(?:interval\w*|since|prior|previous\w*|earlier|former\w*|recent|again|now|today|yesterday|follow-?up|last"
    r"|compar\w+ (?:to|with) (?!(?:the )?(?:left|right|contralateral|normal|other|opposite)))"
)
_GONE = ("resol", "clear", "longer", "improv", "decreas", "reduc", "regress", "lessen", "better", "smaller")
"""Parts of words by which something absent can have improved."""
_PERFECT = re.compile(r"\b(?:has|have|had|is|are|was|were|been)(?: \w+ly)? $")
_LOOK = re.compile(r"\b(?:opaci\w*|densit\w*|attenuation|markings?|volumes?|air|aeration|lucen\w*|whiteness)\b")
_SEEN_FIRST = ("lung_opacity", "infiltration", "lung_lesion", "mass", "nodule", "consolidation")
"""What an image shows before anybody says what it is."""
_GRADES = {
    "severe": r"severe(?:ly)?|large|massive|marked(?:ly)?|extensive(?:ly)?|profound(?:ly)?|huge",
    "moderate": r"moderate(?:ly)?(?:[- ]sized)?|medium(?:[- ]sized)?",
    "mild": r"mild(?:ly)?|minimal(?:ly)?|small|tiny|trace|slight(?:ly)?|subtle|subtly|minor|faint(?:ly)?|borderline",
}
_GRADE = re.compile(
    r"(?<!\bnot )(?<!\bno )\b(?:(?P<to>(?:moderate(?:ly)?|medium)[- /]to[- /](?:severe(?:ly)?|large))"
    r"|(?P<upto>(?:mild(?:ly)?|small|minimal|slight)(?:[- /]to)?[- /]moderate(?:ly)?(?:[- ]sized)?)|"
    + "|".join(f"(?P<{name}>{words})" for name, words in _GRADES.items())
    + r")\b(?!-? ?(?:bowel|caliber|bore|airway))"
    r"(?! (?:increas|decreas|improv|wors|progress|larger|smaller|elevat|widen|tortuous|rotated|displaced)\w*)"
)
_GRADE_OF = {"to": "severe", "upto": "moderate"}
"""Of two grades the graver."""
PART = re.compile(
    r"\b(?:no|without|not|nor|or|any)(?: (?:evidence|signs?) (?:of|for))?(?: (?:an?|any|obvious|visible))*"
    r" (?:new|newly|other|additional|further|developing|worsening|increasing|enlarging|focal|lobar|large|larger|sizable"
    r"|suspicious|acute|superimposed|xxxx)\b(?:[ ,/]+(?:(?!and\b|or\b|but\b)[\w-]+)){0,3}[ ,/]*$"
)
"""Before a name: a denial of part of what it names, which takes back nothing: "no new consolidation"."""
_CLAUSE = re.compile(r"[,;]|\b(?:while|whereas|but)\b")
_STOP = re.compile(r"[;:.,]|\b(?:and|or|with|but|while|whereas|which|is|are|was|were|has|have|without|no)\b")
_FAR = re.compile(r"[;.]|\b(?:and|with|but|while|whereas|without|no)\b")
_AND = re.compile(r"\b(?:and|or|vs|versus)\b|/")
_VERSUS = re.compile(r"\b(?:versus|vs)\b")
_VERB = r"(?:is|are|was|were|has|have|had|shows?|demonstrates?|remains?|appears?)"
_ENDS_LIST = re.compile(r"[.;:()]|\b(?:but|while|whereas|although|though|however|with|without|no|there|given)\b")
_SUBJECT = re.compile(r"(?:,|\band\b)[^,]*$")
_JOIN = re.compile(rf"\W*(?:\b(?!(?:{_VERB}|with|without|but|no|in|of)\b)[\w-]+\b\W*){{0,6}}")
_IS = re.compile(rf"\b{_VERB}\b")
_PASSIVE = re.compile(r"\b(?:be|being|is|are|was|were|remains?)(?: \w+ly)? (?:\w+ ?){1,2}$")
_NEAR = re.compile(r"[^(;.\w]*(?:[\w'-]+[^(;.\w]+){0,6}")
"""Between a name and a hedge behind it."""
_CAUSED = re.compile(
    r" (?:results?|resulting|caused|due|secondary|related|reflects?|explained|contribut\w+|compressive)\b"
)
_ENDED = re.compile(r"\W*(?:$|[,.;)]|(?:and|but|given|based|in|on|at|although|though)\b)")


def grouped(named: Sequence[Mention]) -> list[list[Mention]]:
    """Names of the same or adjacent words together: a calcified granuloma is a granuloma, too; "nodular opacity"."""
    groups: list[list[Mention]] = []
    end = -2
    for mention in named:
        if groups and mention.start <= end + 1:
            groups[-1].append(mention)
        else:
            groups.append([mention])
        end = max(end, mention.end) if len(groups[-1]) > 1 else mention.end
    return groups


def qualify(sentence: str, named: Sequence[Mention]) -> None:
    """Set severity, doubt and course of the mentions of one plain sentence, in their order."""
    for mention in named:
        mention.partly = mention.value == 0 and (mention.partly or _of_part(sentence, mention))
    present = any(mention.value == 1 for mention in named)
    if present:
        _grade_and_doubt(sentence, named)
    if present or any(word in sentence for word in _GONE):
        timed = _TIME.search(sentence) is not None
        for mention, change in zip(named, _nearest_changes(sentence, [(m.start, m.end) for m in named]), strict=True):
            mention.course = _course(sentence, mention, change, timed)


def _grade_and_doubt(sentence: str, named: Sequence[Mention]) -> None:
    starts = [mention.start for mention in named]
    for grade in _GRADE.finditer(sentence):
        mention = _graded(sentence, grade, named, bisect_right(starts, grade.start()))
        if mention is not None and mention.severity is None:
            kind = grade.lastgroup or ""
            mention.severity = _GRADE_OF.get(kind, kind)
    for hedge in HEDGE.finditer(sentence):
        for mention in _doubted(sentence, hedge, named, bisect_right(starts, hedge.start())):
            mention.hedged = True
    for left, right in pairwise(named):
        if _VERSUS.search(sentence, left.end, max(left.end, right.start)):
            left.hedged = right.hedged = True
    for group in grouped(named):
        severity = next((mention.severity for mention in group if mention.severity), None)
        hedged = any(mention.hedged for mention in group)
        for mention in group:
            mention.severity, mention.hedged = severity, hedged


def _of_part(sentence: str, mention: Mention) -> bool:
    return PART.search(sentence, max(0, mention.start - 60), mention.start) is not None


def courses(sentence: str, places: Sequence[tuple[int, int]]) -> list[str | None]:
    """What a plain sentence says of the course of what is named at each place: the nearest word of change.

    It is the one with fewest commas (semicolons, while, whereas, but) between, then with fewest letters, then the
    earlier one. What is part of a name ("the heart is enlarged") is no change.
    """
    return [change.lastgroup if change else None for change in _nearest_changes(sentence, places)]


def _nearest_changes(sentence: str, places: Sequence[tuple[int, int]]) -> list[re.Match[str] | None]:
    changes = list(CHANGE.finditer(sentence)) if places else []
    if changes:
        named = {place for start, end in places for place in range(start, end)}
        changes = [change for change in changes if change.start() not in named]
    starts = [change.start() for change in changes]
    found: list[re.Match[str] | None] = []
    for place in places:
        at = bisect_right(starts, place[0])  # of all before, and of all behind, none is nearer than the next
        near = changes[max(0, at - 1) : at + 1]
        found.append(min(near, key=lambda change: _distance(sentence, place, change.span()), default=None))
    return found


def _course(sentence: str, mention: Mention, change: re.Match[str] | None, timed: bool) -> str | None:
    """A course in time. "Increased density" describes an image; it needs a verb, another time, or a finding's name."""
    if change is None or timed or not _WEAK.match(change.group()):
        return change.lastgroup if change else None
    verb = _PERFECT.search(sentence, max(0, change.start() - 20), change.start())
    gap = sentence[change.end() : mention.start]
    beside = mention.finding not in _SEEN_FIRST and change.end() <= mention.start and len(gap) <= 40
    return change.lastgroup if verb or (beside and not _STOP.search(gap) and not _LOOK.search(gap)) else None


def _distance(sentence: str, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """Boundaries of clauses and letters between two places."""
    (_, end), (start, _) = sorted((one, other))
    return len(_CLAUSE.findall(sentence, end, max(start, end))), max(start - end, 0)


def _graded(sentence: str, grade: re.Match[str], named: Sequence[Mention], at: int) -> Mention | None:
    """Whose grade it is: of what it stands in, else of the name it stands before, else of the one behind it.

    Args:
        at: how many of ``named`` begin before it.
    """
    before = named[at - 1] if at else None
    if before is not None and before.end > grade.start():
        return before if grade.group() != "large" else None  # "the heart is large" is the name itself
    if at < len(named) and not _STOP.search(sentence, grade.end(), named[at].start):
        return named[at]
    return before if before is not None and not _FAR.search(sentence, before.end, grade.start()) else None


def _doubted(sentence: str, hedge: re.Match[str], named: Sequence[Mention], at: int) -> list[Mention]:
    """The names that a hedge reaches: the list that follows in its clause, else the one that stands before it."""
    before = named[at - 1] if at else None
    if before is not None and before.end > hedge.start():
        return [before]
    near = before is not None and _NEAR.fullmatch(sentence, before.end, hedge.start()) is not None
    if near and before is not None and before.finding not in _SEEN_FIRST and _CAUSED.match(sentence, hedge.end()):
        return []  # what is in doubt is why it is there
    passive = _PASSIVE.search(sentence, max(0, hedge.start() - 40), hedge.end()) and _ENDED.match(sentence, hedge.end())
    if at < len(named) and not passive:
        end = _list_end(sentence, hedge.end(), named[at].end)
        reached = [mention for mention in named[at : at + 20] if mention.end <= end]
        if reached:
            return reached
    return _chain(sentence, (named[i] for i in range(at - 1, -1, -1))) if near else []


def _list_end(sentence: str, start: int, first: int) -> int:
    """Where the list that begins at ``start`` ends: at its first comma, unless an "or" or "and" follows in the clause.

    What stands right before a verb is that verb's subject and no part of the list: "possible edema, effusion is seen".

    Args:
        first: where its first name ends.
    """
    stop = _ENDS_LIST.search(sentence, start)
    end = stop.start() if stop else len(sentence)
    verb = _IS.search(sentence, first, max(first, end))
    if verb:
        subject = _SUBJECT.search(sentence, start, verb.start())
        end = subject.start() if subject else verb.start()
    comma = sentence.find(",", start, end)
    return comma if comma >= 0 and not _AND.search(sentence, comma, end) else end


def _chain(sentence: str, ordered: Iterable[Mention]) -> list[Mention]:
    """The first and those joined to it by a list that ends in "and" or "or"."""
    reached: list[Mention] = []
    joined = 1
    for mention in ordered:
        if reached:
            one, other = sorted((reached[-1], mention), key=lambda m: m.start)
            if other.start > one.end and not _JOIN.fullmatch(sentence, one.end, other.start):
                break
            if other.start <= one.end or _AND.search(sentence, one.end, other.start):
                joined = len(reached) + 1
        reached.append(mention)
    return reached[:joined]
