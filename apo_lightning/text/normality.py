"""Global normality: "No acute cardiopulmonary abnormality.", "Normal chest radiograph.", "The lungs are clear."

It denies every finding, as CheXpert's "No Finding" does, unless the text states one as present. What speaks of the
whole film or of disease as such is enough; clear lungs alone say it only where the text states nothing else.
"""

from __future__ import annotations

import re
from functools import lru_cache

_HOW = (
    r"(?:(?:acute|significant|active|focal|definite|obvious|radiographic(?:ally)?|visible|discernible|gross|overt|evident"
    r"|apparent|specific|suspicious|convincing|clear|new|notable|major|concerning|evidence|signs?|of|for|an?|any"
    r"|abnormal|pathologic(?:al)?|clinically|visualized|other|further|or|and|chronic|recent|relevant|appreciable|real"
    r"|demonstration|suggestion|indication|preoperative|in|the|cardiopulmonary|cardio[- ]pulmonary|pleural"
    r"|osseous|bony|pulmonary|cardiac|thoracic|intrathoracic|cardiothoracic|cardiovascular|chest|lung"
    r"|heart|x-?ray|imaging|plain film)[ ,/]+){0,12}"
)
_WHAT = (
    r"(?:findings?|abnormalit(?:y|ies)|disease|process(?:es)?|patholog(?:y|ies)|anomal(?:y|ies)|illness"
    r"|problems?|issues?)"
)
_NOT_WHOLE = (
    r"(?! (?:of|for|to suggest|suggest\w+|consistent|compatible|indicat\w+)\b(?! the (?:chest|lungs?|heart|thorax)))"
    r"(?! (?:is|are|was|were)? ?(?:seen |noted |identified |visible )?(?:in|within|involving|along"
    r"|at) (?:the )?(?:\w+ ){0,2}"
    r"(?:bon|osseous|skelet|spin|ribs?|abdom|soft|mediastin|hil|pleura|left|right|thoracic spine|diaphragm))"
)
_KIND = (
    r"(?:chest|thoracic|preoperative|bedside|screening|digital|single|two-view|frontal|pa|ap|portable|plain"
    r"|adult|lateral|single-view|and|view)"
)
_FILM = (
    r"(?:chest|cxr|study|examination|exam|radiographs?|x-?rays?|films?|images?|imaging|scan|radiography|chest series)"
)
_WHOLE = (
    rf"(?:(?:{_KIND} ){{0,5}}{_FILM}(?: {_FILM}){{0,2}}|(?:two |2 |pa and lateral |frontal )?(?:views?"
    rf"|appearance) of the chest)"
)
_FINE = r"(?:normal|unremarkable|negative|within (?:the )?normal (?:limits|range)|healthy)(?! for)"
_ENDS = (
    r"(?=\W*$|[,;:)]| (?:with|for|in appearance|appearance|and|no|chest|study|exam\w*|radiograph|x-?ray|film"
    r"|image|overall|at|as|to"
    r"|on|except|other|apart|but)\b)"
)
_VERY = (
    r"(?:(?:entirely|completely|essentially|grossly|overall|otherwise|relatively|generally|to be"
    r"|radiographically|mostly|largely|quite|perfectly) ){0,4}"
)
_IS = r"(?:is|are|was|were|appears?|looks?|seems?|remains?|reveals?|shows?)"
_TITLE = (
    r"(?:impression|conclusion|overall(?: \w+)?|summary|findings?|results?|assessment|diagnosis|interpretation"
    r"|answer|report"
    r"|final (?:answer|diagnosis|impression)|abnormalit(?:y|ies)|patholog(?:y|ies)|chest(?: x-?ray)?|cxr|study|exam)"
)
_STRONG = re.compile(
    "|".join(
        (
            rf"(?:\b(?:no|without(?: evidence of)?|absence of|free of|negative(?: for)?|devoid of)|(?:\bnot|n't)"
            rf" (?:show|see|demonstrate|reveal|find|identify|detect|appreciate|observe"
            rf"|note)(?: any)?) {_HOW}{_WHAT}\b{_NOT_WHOLE}",
            rf"\b{_VERY}{_FINE} (?:appearing |appearance of the |looking )?{_WHOLE}\b(?! (?:tube|wall|pain|port))",
            rf"(?<!of the )(?<!in the )\b{_WHOLE}\b(?: (?!for\b|of the (?:left|right)"
            rf"|the\b)[\w-]+){{0,4}}? {_IS} {_VERY}(?:an? )?"
            rf"(?:{_FINE}|clear)\b{_ENDS}",
            r"\bclear (?:chest|cxr)\b(?! (?:tube|wall|x-?ray (?:of|image)))|\bchest clear\b|\bnad\b"
            r"|\bno finding\b(?! of)",
            rf"\b(?:everything|all (?:visuali[sz]ed |visible |other )?(?:structures|findings|areas"
            rf"|regions))(?: \w+){{0,3}}? {_FINE}\b",
            rf"^\W*(?:{_TITLE}\W+){{0,6}}{_VERY}(?:{_FINE}|none)(?: study| exam\w*| appearance)?\W*$",
            r"\b(?:is |are )?(?:normal|healthy)\W*[:=] ?(?:yes|true|1)\b|\babnormal(?:ity|ities)?\W*[:=] ?(?:no"
            r"|none|false|0)\b",
            rf"\botherwise (?:{_FINE}|clear)\b{_ENDS}",
        )
    )
)
_LUNGS = re.compile(
    r"\b(?:(?:both |the |bilateral )?(?:lungs|lung fields|pulmonary fields|lung fields and \w+)"
    r"(?: (?!right|left|not|no|base|apex)[\w-]+){0,5}?[ :,]+"
    r"(?:clear|normal|unremarkable)\b|(?:clear|normal|healthy)(?: appearing)?(?: bilateral)? (?:lungs|lung fields)\b)"
    r"(?! (?:of|except|to auscultation))"
)
_PART = re.compile(
    r"\b(?:bon[ey]\w*|osseous|skelet\w*|spin\w+|ribs?|soft tissues?|abdom\w+|mediastin\w+|cardiomediastin\w+"
    r"|hil(?:a|ar|um)"
    r"|diaphragm\w*|shoulder\w*|clavic\w+|pleura|pleural spaces?|vascul\w+|airways?|trachea\w*|aort\w+"
    r"|silhouette|heart|cardiac"
    r"|lungs|lobes?|costophrenic|angles?|thorax|contours?|thoracic cage|devices?|structures of|bowel|knee|hip"
    r"|pelvis|hand)\b[^.;:]*$"
)
_LUNG = re.compile(r"\b(?:lungs|lung fields)\b[^.;:]*$")
_BONES = re.compile(r"\b(?:osseous|bony|pleural)\b")
_CHEST = re.compile(r"pulm|lung|thora|chest")
_UNSAID = re.compile(
    r"(?:\b(?:not|never|nor|if|whether|would|should|cannot|unlikely|hardly|than|prior|previous|earlier|history"
    r"|compared|without a)"
    r"\b|n't\b)[^,;:]{0,40}$"
)
_SUPPOSED = re.compile(
    r"\W*(?:would|should|typically|usually|: ?(?:no|false|0)\b|= ?(?:no|false|0)\b|examples?|: ?n/?a)"
)


@lru_cache(maxsize=1 << 16)
def normality(sentence: str) -> int:
    """2 where a plain sentence calls the whole film normal or free of disease, 1 for the lungs, else 0.

    >>> [normality(s) for s in ("no acute cardiopulmonary disease.", "lungs are clear.", "no rib fracture.")]
    [2, 1, 0]
    """
    if sentence.rstrip(" .").endswith("?"):
        return 0
    strong = max((_strength(sentence, found) for found in _STRONG.finditer(sentence)), default=0)
    return strong or int(any(_said(sentence, found) for found in _LUNGS.finditer(sentence)))


def _strength(sentence: str, found: re.Match[str]) -> int:
    """2 for the whole film; 1 where it is said of the lungs, 0 of another part: "the bones show no abnormality"."""
    words = found.group()
    whole = _CHEST.search(words) is not None
    if not _said(sentence, found) or (_BONES.search(words) and not whole):
        return 0
    before = sentence[max(0, found.start() - 120) : found.start()]
    if not whole and _PART.search(before):
        return int(_LUNG.search(before) is not None)
    return 2


def _said(sentence: str, found: re.Match[str]) -> bool:
    """Not denied, supposed, or of an earlier film."""
    before = sentence[max(0, found.start() - 60) : found.start()]
    return not _UNSAID.search(before) and not _SUPPOSED.match(sentence, found.end())
