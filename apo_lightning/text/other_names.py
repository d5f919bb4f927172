"""How reports name the findings beyond the seven canonical ones: the rest of CheXpert's, NIH's, and Open-I's.

They are looked for only when they are asked for. A finding that is not in this table is looked for under its own name.
"""

from __future__ import annotations

import re

_NODULAR = r"(?:micro|fibro|reticulo)?nodul\w+"
_MASS = r"mass(?:es|-?like)?(?! effect)"
_HARDWARE = r"(?:catheters?|leads?|wires?|screws?|rods?|plates?|hardware|prosthes[ie]s|lines?|tubes?)"
OTHER_NAMES: dict[str, str] = {
    "ards": r"ards|acute respiratory distress(?: syndrome)?",
    "calcification": r"calcifications?|calcified(?! granuloma)",
    "calcified_granuloma": r"calcifi(?:ed|c) (?:(?!and\b|with\b|no\b|in\b)[\w.-]+ ){0,5}granuloma(?:s|ta)?"
    r"|granulomatous (?:\w+ ){0,2}calcifications?|granuloma(?:s|ta)?,? (?:which )?(?:is|are) calcified",
    "covid_19": r"covid(?:-? ?19)?|sars-cov-2|coronavirus(?: disease)?",
    "emphysema": r"(?<!subcutaneous )(?<!mediastinal )(?<!tissue )emphysema\w*",
    "enlarged_cardiomediastinum": r"(?:enlarged|widened|wide) (?:cardio)?mediastin\w+"
    r"|(?:cardio)?mediastin\w+ (?:is |are )?(?:enlarged|widened)|mediastinal (?:widening|enlargement)",
    "fibrosis": r"(?<!cystic )fibrosis|fibrotic\w*",
    "fracture": rf"(?<!catheter )(?<!lead )(?<!wire )(?<!screw )(?<!hardware )fractures?"
    rf"(?! (?:of|through) (?:the |a )?(?:[\w-]+ ){{0,4}}{_HARDWARE})"
    r"|(?<!screw is )(?<!lead is )(?<!wire is )(?<!screws are )(?<!leads are )(?<!wires are )"
    rf"fractured(?! (?:[\w-]+ ){{0,3}}{_HARDWARE})"
    r"|broken (?:[\w-]+ ){0,2}(?:ribs?|bones?|clavicles?)",
    "granuloma": r"granuloma(?:s|ta)?|granulomatous (?:[\w-]+ ){0,2}(?:calcifications?|nodul\w+)",
    "hernia": r"(?:hiatal |hiatus |diaphragmatic )?herni(?:a|as|ation)",
    "infiltration": r"infiltrat\w+",
    "lung_lesion": rf"(?:lung |pulmonary )?(?:lesions?|{_NODULAR}|{_MASS})",
    "lung_opacity": r"(?:lung |airspace |air space |pulmonary |ground-? ?glass )*(?:opacit(?:y|ies)|opacifications?)",
    "mass": _MASS,
    "nodule": _NODULAR,
    "pleural_other": r"(?:pleural|fissural) (?:\w+ )?(?:thickening|plaques?|scarring|calcifications?)"
    r"|thickening of the (?:\w+ ){0,2}(?:pleura|fissures?)|(?:bi)?apical (?:pleural )?cap(?:ping|s)?|fibrothorax",
    "pleural_thickening": r"(?:pleural|fissural)[- ](?:\w+ )?thickening|thickened (?:pleura|fissures?)"
    r"|thickening of the (?:\w+ ){0,2}(?:pleura|fissures?)|(?:bi)?apical (?:pleural )?cap(?:ping|s)?",
    "support_devices": r"(?:support|closure|assist|cardiac|implanted|electronic|monitoring) (?:\w+ )?devices?"
    r"|tubes?|tubing|pacemakers?|pacers?|(?:a?icd|defibrillators?)(?:/pacemakers?)?|(?:neuro)?stimulators?"
    r"|loop recorders?|catheters?|(?:chest|pleural|pigtail|surgical) drains?|cannulas?"
    r"|tracheostom(?:y|ies)|gastrostom(?:y|ies)"
    r"|(?:central|venous|arterial|picc|subclavian|jugular|ij|dialysis|access|iv|intravenous) (?:venous )?lines?"
    r"|piccs?|(?:port|medi)-?a-?caths?|mediports?|(?:chest|infusion|injection|subcutaneous) ports?|sternotomy wires?"
    r"|(?:pacemaker|pacer|pacing|icd|ecg|ekg|monitor|telemetry|cardiac) leads?|(?:pulse )?generators?"
    r"|(?:ivc|vena cava) filters?"
    r"|(?:prosthetic|mechanical|artificial|replacement|bioprosthetic) (?:\w+ ){0,2}valves?"
    r"|valve (?:replacements?|prosthes[ie]s)|valvuloplasty|hardware|arthroplast(?:y|ies)"
    r"|(?:fixation|pedicle|spinal) (?:screws?|rods?|plates?)|embolization coils?|swan-?ganz|et tube|ngt|ett",
}
"""Finding to the words that name it."""
REMOVABLE = ("support_devices",)
"""Findings that are taken out. The words of removal deny nothing else: after a tube's removal an effusion may stay."""
REMOVAL = re.compile(
    r"\b(?:removal|withdrawal|explantation) of (?:(?!with|is|are|was|were|has|have|in|there)[\w-]+,? ){0,6}$"
)
REMOVED = re.compile(
    r"(?:(?:,| and|, and) (?:[\w-]+ ){1,4})?,? ?(?:has|have|had|was|were|is|are)(?: both| all| now| since| also)*"
    r"(?: been)?(?: now)? (?:removed|withdrawn|explanted|discontinued|pulled)\b"
)
