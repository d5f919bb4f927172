"""How reports name the findings beyond the seven canonical ones: the rest of CheXpert's, NIH's, and Open-I's.

They are looked for only when they are asked for. A finding that is not in this table is looked for under its own name.
"""

from __future__ import annotations

OTHER_NAMES: dict[str, str] = {
    "ards": r"ards|acute respiratory distress(?: syndrome)?",
    "calcification": r"calcifications?|calcified(?! granuloma)",
    "covid_19": r"covid(?:-? ?19)?|sars-cov-2|coronavirus(?: disease)?",
    "emphysema": r"(?<!subcutaneous )emphysema\w*",
    "enlarged_cardiomediastinum": r"(?:enlarged|widened|wide) (?:cardio)?mediastin\w+"
    r"|(?:cardio)?mediastin\w+ (?:is |are )?(?:enlarged|widened)|mediastinal (?:widening|enlargement)",
    "fibrosis": r"fibrosis|fibrotic\w*",
    "fracture": r"fractures?|fractured",
    "hernia": r"(?:hiatal |hiatus |diaphragmatic )?herni(?:a|as|ation)",
    "infiltration": r"infiltrat\w+",
    "lung_lesion": r"(?:lung |pulmonary )?(?:lesions?|nodul\w+|mass(?:es)?(?! effect))",
    "lung_opacity": r"(?:lung |airspace |air space |pulmonary |ground-? ?glass )*(?:opacit(?:y|ies)|opacifications?)",
    "mass": r"mass(?:es)?(?! effect)",
    "nodule": r"nodul\w+",
    "pleural_other": r"pleural (?:thickening|plaques?|scarring|calcifications?)",
    "pleural_thickening": r"pleural thickening|thickened pleura",
    "support_devices": r"support devices?|(?:endotracheal|tracheostomy|nasogastric|feeding|chest|ng|et) tubes?"
    r"|pacemakers?|catheters?|central (?:venous )?lines?|picc(?: lines?)?|port-a-cath|sternotomy wires?"
    r"|(?:pacemaker|icd|ecg|ekg) leads",
}
"""Finding to the words that name it."""
