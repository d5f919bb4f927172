"""Wordings of radiologists' own reports: kinds of error found by reading Open-I's, one made-up case or more of each."""

from __future__ import annotations

import pytest

from apo_lightning.text.labeler import parse
from apo_lightning.text.labeler import sentences as read
from data_modules.open_i import OpenI

FINDINGS = tuple(dict.fromkeys((*OpenI.vocabulary, "consolidation", "support_devices")))


def present(text: str) -> set[str]:
    return {name for name, value in parse(text, FINDINGS).items() if value == 1} - {"no_finding"}


def absent(text: str) -> set[str]:
    return {name for name, value in parse(text, FINDINGS).items() if value == 0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Large left hydropneumothorax.", {"pneumothorax", "pleural_effusion"}),
        ("Small hemopneumothorax.", {"pneumothorax", "pleural_effusion"}),
        ("Changes of cystic fibrosis.", set()),
        ("Pulmonary fibrosis.", {"fibrosis"}),
        ("Calcified 5 mm right midlung granuloma.", {"calcified_granuloma", "granuloma"}),
        ("Granulomatous calcifications in the mediastinum.", {"calcified_granuloma", "granuloma"}),
        ("Calcified granulomata in both lungs.", {"calcified_granuloma", "granuloma"}),
        ("Granulomas in the left lung.", {"granuloma"}),
        ("Mild biapical capping.", {"pleural_thickening"}),
        ("Fissural thickening.", {"pleural_thickening"}),
        ("Fibronodular scarring.", {"nodule"}),
        ("A large mass-like lesion in the left base.", {"mass", "lung_lesion"}),
        ("The most lateral screw is fractured.", set()),
        ("Fracture of the fixation screw.", {"support_devices"}),
        ("Broken left ribs.", {"fracture"}),
        ("Prosthetic heart valve.", {"support_devices"}),
        ("Left-sided AICD with intact leads.", {"support_devices"}),
        ("Tracheostomy in place.", {"support_devices"}),
        ("Overlying monitor leads.", {"support_devices"}),
    ],
)
def test_names(text: str, expected: set[str]) -> None:
    assert present(text) - {"lung_lesion"} == expected - {"lung_lesion"}


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("The endotracheal tube and the feeding tube have been removed.", True),
        ("Interval removal of the left chest tube.", True),
        ("Interval removal of central line and feeding tube.", True),
        ("Interval placement of a chest tube.", False),
        ("The chest tube is unchanged.", False),
        ("Central line in place. Interval removal of the feeding tube.", False),
    ],
)
def test_what_is_taken_out_is_no_device(text: str, gone: bool) -> None:
    assert ("support_devices" in absent(text)) is gone and ("support_devices" in present(text)) is not gone


def test_removal_denies_nothing_but_the_device() -> None:
    assert present("Removal of the right chest tube with basilar atelectasis and a small effusion.") == {
        "atelectasis",
        "pleural_effusion",
    }


@pytest.mark.parametrize("part", ["new", "other", "additional", "large", "focal", "acute", "new focal", "developing"])
def test_a_denial_of_a_part_takes_nothing_back(part: str) -> None:
    assert "consolidation" in present(f"Left basilar consolidation. No {part} consolidation.")
    assert absent(f"No {part} consolidation.") == {"consolidation"}
    (first, second) = read(f"Consolidation. No {part} consolidation.", FINDINGS)
    assert (first.partly, second.partly) == (frozenset(), {"consolidation"})


def test_a_whole_denial_takes_back() -> None:
    assert absent("Left basilar consolidation. No consolidation.") == {"consolidation"}


@pytest.mark.parametrize(
    "text",
    [
        "Overlying bone could obscure a small nodule.",
        "CT is more sensitive in detecting small nodules.",
        "Compare with older films to locate the previously described nodule.",
        "The previously seen nodule is not well seen.",
    ],
)
def test_what_is_only_looked_for_or_recalled_is_not_stated(text: str) -> None:
    assert "nodule" not in present(text)


def test_no_hydropneumothorax_leaves_an_effusion() -> None:
    assert absent("No hydropneumothorax.") == {"pneumothorax"}
    assert present("Small effusion. No hydropneumothorax.") == {"pleural_effusion"}
