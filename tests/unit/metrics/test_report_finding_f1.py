"""F1 of the findings that texts and their references state."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from apo_lightning.findings import CHEXPERT, COMPETITION
from apo_lightning.metrics.report_text.finding_f1 import f1_tally, present
from apo_lightning.metrics.report_text.measured import report_outcomes
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.types import Study


def stated(text: str) -> set[str]:
    return {name for name, yes in zip(CHEXPERT, present(text), strict=True) if yes}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("No edema. No effusion.", {"no_finding"}),
        ("Normal chest.", {"no_finding"}),
        ("Normal chest. Small left effusion.", {"pleural_effusion"}),
        ("No edema. Right picc line.", {"no_finding", "support_devices"}),
        ("Possible pneumonia, no pneumothorax.", {"pneumonia"}),
        ("No finding: yes. Edema: yes.", {"edema"}),
        ("Edema and rib fracture.", {"edema", "fracture"}),
        ("I cannot interpret medical images.", set()),
        ("The image shows a chest.", set()),
        ("", set()),
    ],
)
def test_what_a_text_states(text: str, found: set[str]) -> None:
    assert stated(text) == found


def test_values_by_hand() -> None:
    """Edema: 1 right, 1 missed. Effusion: 1 too much. Fracture: 1 right. No finding: 1 right of 1. The references have
    no effusion, so that it is in the micro value and not in the macro one."""
    reports = ["Edema.", "Edema. Old rib fracture.", "No edema. No pleural effusion."]
    said = ["Edema. Pleural effusion.", "No edema. Rib fracture.", "No edema."]
    studies = [Study(str(i), "p", "test", (), {}, report=report) for i, report in enumerate(reports)]
    texts = {str(i): text for i, text in enumerate(said)}
    got = {m: v for m, _, v in report_outcomes(texts, studies, ReportTextSettings(backend="python"))[0].rows()}
    assert got["report_f1_micro_14"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    assert got["report_f1_macro_14"] == pytest.approx((2 / 3 + 1 + 1) / 3)
    assert got["report_f1_micro_5"] == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert got["report_f1_macro_5"] == pytest.approx(2 / 3)


def test_against_sklearn() -> None:
    rng = np.random.default_rng(1)
    said, wanted = rng.random((2, 60, 14)) < 0.3
    wanted[:, 3] = False
    tally = f1_tally(said, wanted, CHEXPERT, "")
    got = {name: float(value) for name, value in tally.formula(tally.counts.sum(axis=0)).items()}
    five = [CHEXPERT.index(name) for name in COMPETITION]
    known = [place for place in range(14) if place != 3]
    assert got["micro_14"] == pytest.approx(f1_score(wanted, said, average="micro"))
    assert got["macro_14"] == pytest.approx(f1_score(wanted, said, average="macro", labels=known))
    assert got["micro_5"] == pytest.approx(f1_score(wanted[:, five], said[:, five], average="micro"))
    kept = [place for place in five if place != 3]
    assert got["macro_5"] == pytest.approx(f1_score(wanted, said, average="macro", labels=kept))


def test_nothing_stated_anywhere_has_no_value() -> None:
    tally = f1_tally(np.zeros((2, 14)), np.zeros((2, 14)), CHEXPERT, "")
    assert all(np.isnan(value) for value in tally.formula(tally.counts.sum(axis=0)).values())
