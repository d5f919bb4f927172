"""Kappa of seeds: by hand, against sklearn and torchmetrics, and what it is where chance alone gives the answers."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score
from torchmetrics.functional.classification import multiclass_cohen_kappa

from apo_lightning.metrics.agreement import Agreed, agreement, kappa
from apo_lightning.metrics.findings import FindingOutcomes, of_findings
from apo_lightning.metrics.likelihood import of_likelihoods
from apo_lightning.metrics.progression import of_progression

NAN = np.nan


def seed(answers, refused=None, labels=None, patients=None, names=("edema",)) -> FindingOutcomes:
    answers = np.array(answers, float).reshape(-1, len(names))
    labels = np.zeros_like(answers) if labels is None else labels
    refused = np.zeros(len(answers), bool) if refused is None else np.array(refused, bool)
    return of_findings(labels, answers, refused, list(names), patients)


def named(found: list[Agreed]) -> dict[str, Agreed]:
    return {one.finding: one for one in found}


def test_by_hand() -> None:
    """Equal on 7 of 10; yes 6 and 5 of ten: by chance .6 * .5 + .4 * .5 = .5, so (.7 - .5) / .5 = .4."""
    one, other = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 1, 0, 0, 0]
    found = named(agreement({3: seed(one), 5: seed(other)}))
    assert found["edema"].kappa == found["mean"].kappa == pytest.approx(0.4)
    assert (found["edema"].seeds, found["edema"].studies) == (2, 10)
    assert found["edema"].low < 0.4 < found["edema"].high


def test_right_and_wrong_do_not_enter_and_labels_need_not_be_known() -> None:
    one, other = [1, 1, 0, 0], [1, 0, 0, 0]
    for labels in (np.ones((4, 1)), np.zeros((4, 1)), np.array([[1.0], [NAN], [NAN], [0]])):
        assert named(agreement({0: seed(one, labels=labels), 1: seed(other, labels=labels)}))["edema"].kappa == 0.5


def test_a_refusal_is_an_answer_of_its_own_and_an_unstated_finding_is_absent() -> None:
    """Labels all present: a refusal counts as absent in accuracy, and agrees with a refusal alone here. Kinds: one says
    R R 1 0, other R 0 1 0: equal 3 of 4, chance (2*1 + 1*2 + 1*1) / 16, so (12 - 5) / (16 - 5) = 7/11."""
    labels = np.ones((4, 1))
    one = seed([NAN, NAN, 1, 0], [1, 1, 0, 0], labels)
    other = seed([NAN, NAN, 1, 0], [1, 0, 0, 0], labels)
    assert named(agreement({0: one, 1: other}))["edema"].kappa == pytest.approx(7 / 11)


def test_the_mean_is_over_pairs_of_seeds_and_over_findings() -> None:
    draw = np.random.default_rng(0)
    said = draw.integers(2, size=(3, 30, 2))
    found = named(agreement({s: seed(said[s], names="ab") for s in range(3)}))
    each = [[cohen_kappa_score(said[i, :, f], said[j, :, f]) for i, j in ((0, 1), (0, 2), (1, 2))] for f in (0, 1)]
    assert [found[name].kappa for name in "ab"] == pytest.approx(np.mean(each, axis=1).tolist())
    assert found["mean"].kappa == pytest.approx(np.mean(each)) and found["mean"].seeds == 3


def test_always_one_answer_has_no_kappa() -> None:
    """0 / 0, as sklearn says; beside it, a student who sometimes says otherwise agrees no more than by chance: 0. Of a
    finding where all pairs but one have none, that one is the mean; of findings likewise."""
    no, some = np.zeros(6), np.array([1, 0, 0, 1, 0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.isnan(cohen_kappa_score(no, no))
    alone = named(agreement({0: seed(no), 1: seed(no)}))
    assert np.isnan([alone["edema"].kappa, alone["edema"].low, alone["mean"].kappa]).all()
    assert named(agreement({0: seed(no), 1: seed(some)}))["edema"].kappa == 0
    two = [seed(np.stack([no, some], 1), names="ab"), seed(np.stack([no, some], 1), names="ab")]
    found = named(agreement(dict(enumerate(two))))
    assert np.isnan(found["a"].kappa) and found["b"].kappa == found["mean"].kappa == 1


@pytest.mark.parametrize("kinds", [2, 3, 4])
def test_kappa_is_sklearns_and_torchmetrics(kinds: int) -> None:
    draw = np.random.default_rng(kinds)
    one = draw.integers(kinds, size=80)
    other = np.where(draw.random(80) < 0.5, one, draw.integers(kinds, size=80))
    table = np.zeros((kinds, kinds))
    np.add.at(table, (one, other), 1)
    assert kappa(table) == pytest.approx(cohen_kappa_score(one, other))
    theirs = multiclass_cohen_kappa(torch.tensor(one), torch.tensor(other), num_classes=kinds)
    assert kappa(table) == pytest.approx(float(theirs), abs=1e-6)


def test_studies_of_a_patient_are_drawn_together() -> None:
    one, other = np.random.default_rng(1).integers(2, size=(2, 12))
    other = np.where(np.arange(12) < 8, one, other)
    wide, narrow = (
        named(agreement({s: seed(np.repeat(said, 6), patients=who) for s, said in enumerate((one, other))}))["edema"]
        for who in ([str(i // 6) for i in range(72)], None)
    )
    assert wide.kappa == narrow.kappa
    assert (wide.high - wide.low) > 1.7 * (narrow.high - narrow.low)


def test_courses_have_kappa_too_and_one_that_is_not_told_is_an_answer() -> None:
    truth = [{"edema": "stable"}] * 4
    said = [["stable", "worsening", None, None], ["stable", "worsening", None, "improving"]]
    rows = {
        s: of_progression(truth, [{"edema": c} if c else {} for c in each], ["edema"]) for s, each in enumerate(said)
    }
    want = cohen_kappa_score([str(c) for c in said[0]], [str(c) for c in said[1]])
    assert named(agreement(rows))["edema"].kappa == pytest.approx(want)


def test_one_seed_other_studies_and_texts_without_answers_have_none() -> None:
    assert agreement({0: seed([1, 0])}) == [] and agreement({}) == []
    assert agreement({0: seed([1, 0]), 1: seed([1, 0, 1])}) == []
    assert agreement({0: seed([1, 0], patients=["a", "b"]), 1: seed([1, 0], patients=["b", "a"])}) == []
    row = {"patient": "a", "preferred": -2, "teachers": [-1], "preferred_before": -2, "teachers_before": [-2]}
    assert agreement({0: of_likelihoods([row]), 1: of_likelihoods([row])}) == []
