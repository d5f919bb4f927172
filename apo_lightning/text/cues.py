"""The words that decide what a sentence says of the findings it names, after NegEx (Chapman et al. 2001).

A table of kinds. A kind says how far its words reach; ``sentence_rules.py`` walks over them.
"""

from __future__ import annotations

import re

from apo_lightning.text.headings import INLINE
from apo_lightning.text.verdicts import NUMBER, VALUE

_SEEN = (
    r"(?:seen|present|identified|visible|visuali[sz]ed|evident|demonstrated|appreciated|detected|noted|observed|found"
    r"|apparent|suspected|appreciable|discernible|shown|indicated|confirmed|diagnosed)"
)
_CHANGE = r"(?:change|increase|decrease|improvement|progression|worsening|resolution|clearing)"
_GRADE = r"(?:small|mild|moderate|severe|minimal|trace|tiny|stable|unchanged|persistent|residual|worsening|improv\w+)"
_CANNOT = (
    r"(?:can ?not|can't|could not|couldn't|may not|not|\w+n't|difficult to|hard to|unable to|impossible to|without)"
)
_BE = r"(?:is|are|was|were|has|have|had|been|be|appears?|seems?|remains?)"
CUES: dict[str, str] = {
    # "edema: no", "edema - absent", "edema (+)", "edema = 0.9": the value of a key.
    "value": rf"(?:\s*(?::|=|\u2192|[-=]>|\|)\s*(?:- )?(?:(?:status|answer|result|presence)\s*[:=]\s*)?|\s+-+\s+"
    rf"|\s*[(\[]\s*|\s*\.{{2,}}\s*){VALUE}",
    # "pleural effusion: costophrenic angles are sharp": what is fine has not the finding.
    "fine": r"\s*: ?(?:(?!otherwise|not\b|no\b|but\b|small|mild|except|never)[a-z-]+ ){0,6}?"
    r"(?:sharp|clear|normal|unremarkable|intact|within normal limits|preserved|expanded)\b"
    r"|\s*: ?(?:[a-z-]+ ){0,6}?no (?:visible |discernible )?pleural line\b",
    "rate": rf"\s*(?::|=|\u2192|[-=]>|\|)\s*{NUMBER}",
    # "Absent: edema, effusion", at the start of a clause.
    **{f"list_{kind}": rf"(?:^|(?<=[.;,(] ))\W*(?:{words}) ?:(?!\w)" for kind, words in INLINE.items()},
    # Negations that deny nothing; they stand first so that the plain "no" and "not" do not fire on them.
    "pseudo": rf"\b{_CANNOT}(?: be)?(?: \w+ly)? (?:exclud(?:e[ds]?|ing)|rul(?:e|ed|ing) out)\b"
    r"|\bnot(?: be)?(?: \w+ly)? (?:excludable|without|absent|free of|clear of|negative for|devoid of)\b"
    rf"|\b(?:no|without)(?: (?:significant|interval|definite|acute|appreciable|further|substantial|marked|major))*"
    rf" {_CHANGE}(?: in| of)?\b"
    r"|\bnot (?:only|necessarily|just|merely)\b|\b(?:not|incompletely|partially|nearly|almost)(?: yet"
    r"| \w+ly)? resolved\b"
    r"|\bno (?:doubt|question)\b|\bno less\b|\b(?:near|nearly|partial|incomplete"
    r"|almost)(?:[- ]complete)? (?:resolution|clearing)"
    r" of\b",
    # What the film does not show well enough to say.
    "unknown": r"\b(?:can ?not|can't|could not|couldn't|unable to|difficult to|not|n't)(?: be)?(?: \w+ly)?"
    rf" (?:assess\w*|evaluat\w*|determin\w*|comment\w*|mention\w*|applicable)\b"
    rf"|\bnot(?: as)? (?:well|clearly)[- ]{_SEEN}\b"
    r"|\bif (?:present|any|there at all)\b|\blimit(?:s|ed|ing)? (?:the )?(?:assessment|evaluation)(?: (?:of|for))?\b",
    # Only looked for, remembered or supposed.
    "null": r"\b(?:obscur|mask|hid|conceal)(?:e|ing)\b|\b(?:sensitive|better) (?:in|for|at|to)\b"
    r"|\b(?:previous(?:ly)?|prior) (?:described|reported|mentioned|questioned|suspected)\b"
    r"|\b(?:in|for|to) detect(?:ing|ion of)?\b"
    r"|\b(?:correlat|evaluat|assess|look|search|check|screen|examin|inspect)\w*(?: \w+){0,4}? for\b"
    r"|\b(?:rule out|to exclude|history of|h/o|conditions such as|causes include|if|whether|presence or absence"
    r"|presence/absence|present or absent|risk (?:of|for|factors)|in case of)\b|\bwhen (?=[^,.]*suspected)"
    r"|^\W*(?:indication|history|clinical (?:history|information|indication|question)"
    r"|reason for (?:the )?(?:exam|study)\w*"
    r"|comparison|technique|question|prompt|task|instructions?|user)s?\b(?= ?:)"
    r"|^\W*(?:indication|history|clinical (?:history|information|indication)|reason for exam\w*)\b"
    r"|\b(?:findings|conditions|pathologies|abnormalities|labels|diseases) (?:to|that (?:should|must)"
    r"|which should)(?: be)?"
    r" (?:assess\w*|evaluat\w*|report\w*|check\w*|consider\w*)\b"
    r"|^\W*(?:is|are|was|were|does|do|did|can|could) (?:there|the|this|it|you|we)\b(?=[^:]*\?)",
    "explain": r"\b(?:is an?(?: abnormal)? (?:condition|type|collection)|refers to|is defined as"
    r"|would (?:typically |usually |often )?(?:appear|present|show|look|manifest|be seen as|be expected|require))\b"
    r"|\b(?:can|may|often|typically|usually) (?:appears?|presents?|manifests?) (?:as|with)\b",
    # Deny what stands before them.
    "post": rf"\bno longer(?: {_SEEN}|(?=\W*$))|\b(?:not|can ?not|\w+n't"
    rf"|never)(?: be)?(?: \w+ly)?(?: be)? {_SEEN}\b|\babsent\b"
    rf"|\b{_BE}(?: (?!near|partial|incomplete)\w+ly| been| now| also| both| all)* (?:excluded|ruled out|resolved"
    rf"|negative(?! for)"
    r"|unlikely|cleared|improbable|doubtful|not likely|disappeared|gone|unseen|undetected)\b"
    r"|\b(?:excluded|ruled out|resolved|negative|unlikely|none|no)(?=\W*$)|\bno(?=[,;])|\b(?:is|are|was"
    r"|were) not(?=\W*$)"
    r"|\b(?:resolved|unlikely)(?=,| (?:since|compared|in the interval|given|at this time|based))"
    r"|: (?:none|negative(?! for))\b|(?<= )-ve(?=\W*(?:$|,|;))|\bnot (?:likely|favou?red)\b(?!.*\bmore likely\b)",
    # "edema: no" denies what stands before, "impression: no edema" what follows.
    "both": r": (?:no|not)\b",
    # Deny what follows.
    "pre": r"(?<![\w:])-ve\b(?! for)|\bnone of(?: (?:the following|these|those)(?: \w+)?)?"
    rf"(?: (?:is|are|was|were) {_SEEN})?|\blow (?:suspicion|probability|likelihood|risk) (?:for|of)\b"
    r"|\b(?:non(?=-enlarged)|doubtful for|no|not|without(?! comparison)|w/o|negative for|free (?:of|from)"
    r"|clear of|absence of|lack(?:s|ing)?|neither"
    r"|nor|never|rather than|instead of|as opposed to|against|den(?:y|ies|ied)|fails? to|resolved|resolution of"
    r"|clearing of|unlikely|excludes?|devoid of|can ?not|can't|insufficient evidence|nothing (?:to suggest"
    r"|to indicate|suggestive|suspicious|that suggests)|\w+n't)\b",
    "seen": rf"\b(?:is|are|was|were)(?: \w+ly)? {_SEEN}\b",
    "same": r"\bas (?:is|are|was|were)(?: the| any| an?)?\b",
    # Ends of a negation's reach; the first kind also parts what stood before from a later "is absent".
    "hard": r"\b(?:but|however|although|though|except|aside from|apart from|other than|yet|while|whereas"
    r"|with the exception of"
    r"|instead(?! of))\b",
    "key": r",(?= ?[\w ]{1,40} ?[:=])",
    "soft": r"\bwhich\b|\byes (?:for|to)\b|\bpositive for\b|\+ve\b"
    r"|(?<!if )(?<!whether )(?<!when )(?<!that )(?<!think )(?<!believe )\bthere (?:is|are|was|were)\b|: yes\b"
    rf"|(?:,|\band|\bwith) (?:an? |new |bilateral |left |right )*{_GRADE}\b(?!.*\bor\b)"
    r"|, (?=consistent|compatible|suggest\w+|represent\w+|indicating)",
}
PATTERN = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in CUES.items()))
STATE = {
    "pre": 0.0,
    "both": 0.0,
    "list_no": 0.0,
    "null": None,
    "unknown": None,
    "list_na": None,
    "hard": 1.0,
    "soft": 1.0,
    "key": 1.0,
    "list_yes": 1.0,
    "value": 1.0,
    "fine": 1.0,
    "rate": 1.0,
}
"""What is stated about a name that follows the cue; kinds that are not here change nothing."""
