"""Answers as JSON, tables and ticks, as large models write them.

A case is a text and what is right: ``px=0`` absent, ``px=1`` present, all else not stated; NORMAL denies every finding.
"""

from __future__ import annotations

import pytest
from helpers.readings import FOURTEEN, right

CASES: list[tuple[str, str]] = [
    ("[x] Cardiomegaly\n[ ] Pneumothorax\n[ ] Edema", "ca=1 px=0 ed=0"),
    ("- [x] Cardiomegaly\n- [ ] Pneumothorax", "ca=1 px=0"),
    ('{"pneumothorax": false, "edema": true, "pneumonia": null}', "px=0 ed=1"),
    (
        '```json\n{\n  "pneumothorax": "absent",\n  "edema": "present",\n  "pneumonia": "uncertain"\n}\n```',
        "px=0 ed=1 pn=1",
    ),
    ('{"pneumothorax": 0, "edema": 1}', "px=0 ed=1"),
    ('{"pneumothorax": 0.02, "edema": 0.91}', "px=0 ed=1"),
    (
        '{"findings": {"pneumothorax": {"present": false, "confidence": 0.98}, "edema": '
        '{"present": true, "confidence": 0.7}}}',
        "px=0 ed=1",
    ),
    (
        '{"positive": ["edema", "cardiomegaly"], "negative": ["pneumothorax", "pleural effusion"]}',
        "ed=1 ca=1 px=0 pe=0",
    ),
    ('{"present": [], "absent": ["edema", "pneumonia"]}', "ed=0 pn=0"),
    ('[{"finding": "Edema", "present": "no"}, {"finding": "Pneumonia", "present": "yes"}]', "ed=0 pn=1"),
    (
        '{"results": [{"name": "edema", "status": "absent", "confidence": 0.9}, {"name": '
        '"effusion", "status": "present"}]}',
        "ed=0 pe=1",
    ),
    ("{'edema': False, 'pneumonia': True}", "ed=0 pn=1"),
    ('{"edema": "Negative", "pneumonia": "Positive",}', "ed=0 pn=1"),
    (
        'Here is the result:\n```json\n{"edema": "no", "pleuralEffusion": "yes"}\n```\nLet me know if you need more.',
        "ed=0 pe=1",
    ),
    ('{"edema": "no", "pneumonia": "ye', "ed=0"),
    ('{"report": "No edema. Small left effusion.", "labels": ["pleural effusion"]}', "ed=0 pe=1"),
    ('{"edema": {"probability": 0.05}, "pneumonia": {"probability": 0.8}}', "ed=0 pn=1"),
    (
        '{"pleural_effusion": {"left": true, "right": false}, "pneumothorax": {"left": false, "right": false}}',
        "pe=1 px=0",
    ),
    ('{"impression": "No acute cardiopulmonary abnormality."}', "NORMAL"),
    ('{"edema": "not assessed"}', "NOTHING"),
    ('{"Is there edema?": "No", "Is there pneumonia?": "Yes"}', "ed=0 pn=1"),
    ('{"atelectasis": "mild, left base", "consolidation": "none"}', "at=1 co=0"),
    ('{"yes": ["edema"], "no": ["pneumonia", "pneumothorax"]}', "ed=1 pn=0 px=0"),
    ('{"edema": -1, "pneumonia": 0}', "ed=1 pn=0"),
    ('{"edema": "❌", "pneumonia": "✅"}', "ed=0 pn=1"),
    ('{"edema": {"absent": true}, "pneumonia": {"absent": false}}', "ed=0 pn=1"),
    ('{"finding": "No acute findings"}', "NORMAL"),
    ("\\boxed{No edema}", "ed=0"),
    ("Cardiomegaly [+]\nEffusion [-]", "ca=1 pe=0"),
    ('{"cardiomegaly": "The heart is not enlarged", "edema": "No evidence of edema"}', "ca=0 ed=0"),
    ('{"diagnosis": "pneumonia", "confidence": 0.9}', "pn=1"),
    (
        '{"diagnoses": [{"label": "Pneumonia", "probability": 0.1}, {"label": "Edema", "probability": 0.9}]}',
        "pn=0 ed=1",
    ),
    ('{"findings": ["Cardiomegaly", "No effusion"]}', "ca=1 pe=0"),
    ('{"findings": {"present": ["cardiomegaly"], "absent": ["effusion", "edema"]}}', "ca=1 pe=0 ed=0"),
    ('{"Pneumothorax": {"status": "Absent"}, "Edema": {"status": "Present", "severity": "mild"}}', "px=0 ed=1"),
    ('{"Pneumothorax": "No.", "Edema": "Yes."}', "px=0 ed=1"),
    ('{"pneumothorax": "none", "pleural_effusion": "small left"}', "px=0 pe=1"),
    ('{"pneumothorax": "False", "edema": "True"}', "px=0 ed=1"),
    ('{"pneumothorax": "0", "edema": "1"}', "px=0 ed=1"),
    ('{"pneumothorax":{"value":0},"edema":{"value":1}}', "px=0 ed=1"),
    ('{"pneumothorax": [false, 0.9], "edema": [true, 0.8]}', "px=0 ed=1"),
    ('{"no_finding": false, "edema": true}', "ed=1"),
    ('{"no_finding": true}', "NORMAL"),
    ('{"answer": {"edema": "no"}, "reasoning": "Edema would show Kerley lines"}', "ed=0"),
    ('{"edema": {"present": "no", "evidence": "no Kerley lines", "location": null}}', "ed=0"),
    ('["cardiomegaly", "edema"]', "ca=1 ed=1"),
    ('[{"edema": 0}, {"pneumonia": 1}]', "ed=0 pn=1"),
    (
        '{"labels": {"Edema": "Absent", "Pneumonia": "Present"}, "explanation": "There is a consolidation."}',
        "ed=0 pn=1 co=1",
    ),
    ("JSON: {edema: false, pneumonia: true}", "ed=0 pn=1"),
    ('{"predictions": [0, 1]}', "NOTHING"),
    ('{"presence": {"edema": false, "pneumonia": true}}', "ed=0 pn=1"),
    ('{"edema_present": false, "pneumonia_present": true}', "ed=0 pn=1"),
    ('{"has_edema": false, "has_pneumonia": true}', "ed=0 pn=1"),
    ('{"edema": "absent"}{"pneumonia": "present"}', "ed=0 pn=1"),
    ('{"edema": "absent"}\n{"pneumonia": "present"}', "ed=0 pn=1"),
    (
        '{\n  "Atelectasis": {"Present": "No", "Reasoning": "No volume loss"},\n  "Edema": '
        '{"Present": "Yes", "Reasoning": "Kerley B lines"}\n}',
        "at=0 ed=1",
    ),
    ('{"findings":[{"type":"edema","present":false},{"type":"effusion","present":true}]}', "ed=0 pe=1"),
    ('{"edema": {"label": 0}, "effusion": {"label": 1}}', "ed=0 pe=1"),
    ('{"edema": "N", "effusion": "Y"}', "ed=0 pe=1"),
    ('{"edema": "unlikely", "effusion": "likely"}', "ed=0 pe=1"),
    ('{"edema": "No evidence", "effusion": "Small, left"}', "ed=0 pe=1"),
    ('{"edema": "", "effusion": "present"}', "pe=1"),
    (
        '{"findings": {"lungs": "No consolidation or edema", "pleura": "Small left effusion", "heart": "normal size"}}',
        "co=0 ed=0 pe=1 ca=0",
    ),
    ('{"abnormal": false, "impression": "normal chest"}', "NORMAL"),
    ('{"ruled_out": ["pneumothorax"], "suspected": ["pneumonia"]}', "px=0 pn=1"),
    (
        '{"negative_findings": ["no edema", "no effusion"], "positive_findings": ["mild cardiomegaly"]}',
        "ed=0 pe=0 ca=1",
    ),
    ('{"Edema":"0","Effusion":"1","No Finding":"0"}', "ed=0 pe=1"),
    ('{"score": {"edema": 0.1, "effusion": 0.8}}', "ed=0 pe=1"),
    ('{"edema": {"score": 0.2, "present": true}}', "ed=1"),
    ('[{"label": "edema", "score": 0.1}, {"label": "effusion", "score": 0.9}]', "ed=0 pe=1"),
    ('{"question": "Is there edema?", "answer": "No"}', "ed=0"),
    (
        "| Finding | Present? | Confidence |\n|:---|:---:|---:|\n| **Pneumothorax** | **No** "
        "| 0.97 |\n| **Edema** | **Yes** | 0.81 |",
        "px=0 ed=1",
    ),
    (
        "| Confidence | Present | Finding |\n|---|---|---|\n| 0.97 | No | Pneumothorax |\n| 0.81 | Yes | Edema |",
        "px=0 ed=1",
    ),
    (
        "| Finding | Status | Comment |\n|---|---|---|\n| Edema | Absent | No Kerley lines "
        "|\n| Effusion | Present | Blunted angle |",
        "ed=0 pe=1",
    ),
    ("| Finding | Yes | No |\n|---|---|---|\n| Edema | | ✓ |\n| Effusion | ✓ | |", "ed=0 pe=1"),
    ("| Finding | Present | Absent |\n|---|---|---|\n| Edema | | X |\n| Effusion | X | |", "ed=0 pe=1"),
    ("| Pneumothorax | Edema |\n|---|---|\n| No | Yes |", "px=0 ed=1"),
    ("Finding | Present\n--- | ---\nEdema | No\nPneumonia | Yes", "ed=0 pn=1"),
    ("| Edema | ❌ |\n| Effusion | ✅ |", "ed=0 pe=1"),
    ("| # | Finding | Result |\n|---|---|---|\n| 1 | Edema | Negative |\n| 2 | Effusion | Positive |", "ed=0 pe=1"),
    (
        "| Finding | Assessment |\n|---|---|\n| Pleural effusion | Costophrenic angles clear "
        "|\n| Pneumothorax | No evidence of pneumothorax |",
        "pe=0 px=0",
    ),
    (
        "| Finding | Side | Present |\n|---|---|---|\n| Effusion | Left | Yes |\n| Pneumothorax | - | No |",
        "pe=1 px=0",
    ),
    ("| Finding | Probability |\n|---|---|\n| Edema | 0.04 |\n| Pneumonia | 0.88 |", "ed=0 pn=1"),
    ("| Finding | Present |\n|---|---|\n| Edema | N/A |\n| Pneumonia | Uncertain |", "pn=1"),
    ("|Edema|0|\n|Pneumonia|1|", "ed=0 pn=1"),
    (
        "Summary:\n\n| Condition | Detected |\n|-----------|----------|\n| Atelectasis | "
        "False |\n| Cardiomegaly | True |\n\nThe heart is enlarged.",
        "at=0 ca=1",
    ),
    (
        "| Finding | Present | Absent | Uncertain |\n|---|:-:|:-:|:-:|\n| Edema | | ✔ | |\n| "
        "Pneumonia | | | ✔ |\n| Effusion | ✔ | | |",
        "ed=0 pn=1 pe=1",
    ),
    ("| Finding | Present (Yes/No) |\n|---|---|\n| Edema | No |\n| Effusion | Yes |", "ed=0 pe=1"),
    ("|Finding|Value|\n|-|-|\n|Edema|❌|\n|Effusion|✔️|", "ed=0 pe=1"),
    ("| | Edema | Effusion |\n|---|---|---|\n| Present | No | Yes |", "ed=0 pe=1"),
    (
        "| Region | Finding | Present |\n|---|---|---|\n| Pleura | Effusion | No |\n| Lung | Edema | Yes |",
        "pe=0 ed=1",
    ),
    (
        "| Finding | Evidence | Verdict |\n|---|---|---|\n| Edema | No Kerley lines, no "
        "cephalization | Absent |\n| Effusion | Blunted left angle | Present |",
        "ed=0 pe=1",
    ),
    (
        "| Finding | Present | Location |\n|---|---|---|\n| Effusion | Yes | Left base |\n| Pneumothorax | No | — |",
        "pe=1 px=0",
    ),
    ("| Edema | + |\n| Effusion | - |", "ed=1 pe=0"),
    ("| Finding | Reader |\n|---|---|\n| Effusion | small, left |\n| Pneumothorax | none |", "pe=1 px=0"),
    ("+-------+-----+\n| Edema | No  |\n| Effusion | Yes |\n+-------+-----+", "ed=0 pe=1"),
    ("Edema | No\nEffusion | Yes", "ed=0 pe=1"),
    ("<think>\n| Edema | Yes |\n</think>\n| Edema | No |", "ed=0"),
    ("| ❌ | Edema |\n| ✅ | Effusion |", "ed=0 pe=1"),
    ("| Finding | Likelihood |\n|---|---|\n| Edema | Unlikely |\n| Effusion | Likely |", "ed=0 pe=1"),
    ("| Pathology | Result | Notes |\n|---|---|---|\n| Edema | – | |\n| Effusion | + | small |", "ed=0 pe=1"),
    ("| Finding | Present? |\n|---|---|\n| Edema / Effusion | No |\n| Cardiomegaly | Yes |", "ed=0 pe=0 ca=1"),
    ("| Edema | Not seen on this view |\n| Effusion | Seen |", "ed=0 pe=1"),
    ("| Study | Edema | Effusion |\n|---|---|---|\n| s1 | 0 | 1 |", "ed=0 pe=1"),
]


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_json_tables_and_boxes(text: str, expected: str) -> None:
    assert right(text, expected) == expected


NIH: list[tuple[str, str]] = [
    ("Hernia: No\nMass: Yes\nNodule: No", "h=0 m=1 n=0"),
    ('{"Hernia": 0, "Mass": 1, "Infiltration": "no", "Pleural_Thickening": "yes"}', "h=0 m=1 inf=0 pt=1"),
    (
        "| Finding | Present |\n|---|---|\n| Emphysema | No |\n| Fibrosis | Yes |\n| Pleural Thickening | No |",
        "em=0 fi=1 pt=0",
    ),
    ("No mass, nodule or infiltrate. Emphysematous changes.", "m=0 n=0 inf=0 em=1"),
    ("Absent:\n- Mass\n- Nodule\n- Hernia", "m=0 n=0 h=0"),
    ("❌ Mass\n✅ Nodule", "m=0 n=1"),
    ("No nodules or masses. Hiatal hernia present.", "n=0 m=0 h=1"),
    ("Mass/Nodule: none", "m=0 n=0"),
]


@pytest.mark.parametrize(("text", "expected"), NIH)
def test_names_of_chestxray14(text: str, expected: str) -> None:
    assert right(text, expected, FOURTEEN) == expected
