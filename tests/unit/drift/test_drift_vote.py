"""What a corpus says of its vote before anything is trained: by hand, and found again where it was planted."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from apo_lightning.drift import run
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.vote import agreements, entropy, expected_vote, one_coin, summary
from apo_lightning.reports import drift_words

NAN = np.nan


def pairs(accuracy: np.ndarray) -> np.ndarray:
    """How often teachers of these accuracies agree, ``[N, N]``."""
    skill = 2 * np.asarray(accuracy) - 1
    return (1 + np.outer(skill, skill)) / 2


def test_a_corpus_by_hand() -> None:
    """Edema: three agree, then two against one. Effusion: one against one, then one alone, which is no vote. Of three
    cells that two or more speak of, two are divided; entropies 0, .918 and 1."""
    texts = {
        "s0": {"a": "Edema. Pleural effusion.", "b": "Edema. No pleural effusion.", "c": "Edema."},
        "s1": {"a": "Edema. Pleural effusion.", "b": "Edema.", "c": "No edema."},
    }
    truth = {"s0": {"edema": 1.0, "pleural_effusion": 1.0}, "s1": {"edema": 1.0}}
    found = summary(Corpus.read(texts, ["edema", "pleural_effusion"], truth))
    assert found.cells == 3 and found.divided == pytest.approx(2 / 3)
    assert found.entropy == pytest.approx((0 + 0.9182958 + 1) / 3)
    # edema: a and b agree always, each of them with c every second time, so that p = 1, 1 and .5
    assert found.expected["c"] == pytest.approx(0.5, abs=1e-3)
    assert found.vote_accuracy == pytest.approx((1 + 0) / 2), "the tie is absent, and wrong"


@pytest.mark.parametrize("accuracy", [(0.9, 0.7, 0.6), (0.95, 0.9, 0.8, 0.7, 0.6, 0.55), (0.8, 0.8, 1.0)])
def test_accuracies_are_found_again_from_agreement(accuracy: tuple[float, ...]) -> None:
    agreed = pairs(np.array(accuracy))
    counted = np.ones_like(agreed) - np.eye(len(agreed))
    assert one_coin(agreed * counted, counted) == pytest.approx(accuracy, abs=1e-5)


def test_two_are_equally_good_and_one_is_unknown() -> None:
    """(2 p - 1)^2 = 2 * .82 - 1 = .64, so p = .9."""
    counted = np.array([[0.0, 50], [50, 0]])
    assert one_coin(0.82 * counted, counted) == pytest.approx([0.9, 0.9])
    assert np.isnan(one_coin(np.zeros((1, 1)), np.zeros((1, 1)))).all()
    alone = np.array([[0.0, 50, 0], [50, 0, 0], [0, 0, 0]])
    assert one_coin(0.82 * alone, alone) == pytest.approx([0.9, 0.9, NAN], nan_ok=True)


def test_teachers_that_agree_by_chance_or_less_are_worth_a_coin() -> None:
    counted = np.ones((3, 3)) - np.eye(3)
    assert one_coin(0.4 * counted, counted) == pytest.approx([0.5] * 3, abs=0.06)
    said = np.array([[1.0, 0, NAN]] * 4)
    assert expected_vote(said, np.full(3, 0.5)) == pytest.approx(0.5)


def test_agreements_by_hand() -> None:
    agreed, counted = agreements(np.array([[1, 1, NAN], [0, 1, 0], [1, 1, 1]]))
    assert agreed.tolist() == [[0, 2, 2], [2, 0, 1], [2, 1, 0]]
    assert counted.tolist() == [[0, 3, 2], [3, 0, 2], [2, 2, 0]]


def test_the_vote_by_hand_and_by_going_through_all_that_can_happen() -> None:
    """Three of .9, .8 and .7: .9 * .8 + .9 * .2 * .7 + .1 * .8 * .7 = .902. Two of them tie in .26: .72 + .13."""
    right = np.array([0.9, 0.8, 0.7])
    assert expected_vote(np.array([[1.0, 0, 1]]), right) == pytest.approx(0.902)
    assert expected_vote(np.array([[1.0, 0, NAN]]), right) == pytest.approx(0.72 + 0.26 / 2)
    assert expected_vote(np.array([[NAN, NAN, 1], [NAN] * 3]), right) == pytest.approx(0.7), "nobody's cell is left out"
    assert np.isnan(expected_vote(np.full((2, 3), NAN), right))
    assert expected_vote(np.array([[1.0, 0, 1]]), np.array([0.9, 0.8, NAN])) == pytest.approx(0.85)
    five = np.array([0.9, 0.8, 0.75, 0.65, 0.55])
    by_hand = sum(
        np.prod([p if hit else 1 - p for p, hit in zip(five, hits, strict=True)])
        for hits in product((0, 1), repeat=5)
        if sum(hits) > 2
    )
    assert expected_vote(np.ones((1, 5)), five) == pytest.approx(by_hand)


def test_entropy_by_hand() -> None:
    assert entropy(np.array([0, 1, 0.5, 2 / 3])) == pytest.approx([0, 0, 1, 0.9182958])


def planted(draw: np.random.Generator, together: float) -> Corpus:
    """Five teachers of accuracy .75 on 600 studies; with chance ``together`` all make the error of the first."""
    words = {1: "Edema.", 0: "No edema."}
    truth = draw.integers(2, size=600)
    wrong = draw.random((600, 5)) < 0.25
    wrong = np.where((draw.random(600) < together)[:, None], wrong[:, :1], wrong)
    texts = {f"s{i}": {f"t{u}": words[int(truth[i] ^ wrong[i, u])] for u in range(5)} for i in range(600)}
    return Corpus.read(texts, ["edema"], {f"s{i}": {"edema": float(truth[i])} for i in range(600)})


def test_what_is_expected_is_met_by_independent_teachers_and_missed_by_others() -> None:
    alone = summary(planted(np.random.default_rng(0), 0.0))
    assert alone.vote_expected == pytest.approx(alone.vote_accuracy, abs=0.03)
    assert list(alone.expected.values()) == pytest.approx([0.75] * 5, abs=0.07)
    tied = summary(planted(np.random.default_rng(0), 0.6))
    assert tied.vote_expected > tied.vote_accuracy + 0.1, "agreement is no proof"


def test_the_record_has_it_and_says_it() -> None:
    corpus = planted(np.random.default_rng(1), 0.0).only(np.arange(600) < 40)
    found = run.measure(corpus, resamples=20, orders=0, signs=0, style=False)
    told = found["summary"]
    assert told["conflict_mean"] == found["conflict"]["mean"] and told["cells"] == 40
    assert set(told["teacher_expected_accuracy"]) == {f"t{u}" for u in range(5)}
    assert told["vote_expected_accuracy"] > 0.8 and told["vote_accuracy"] > 0.8
    (said,) = [text for text in drift_words.sentences(found | {"source": "x"}) if "erred independently" in text]
    assert f"{told['divided']:.0%} of the findings" in said and "by the labels" in said
    del found["summary"]  # of an earlier version
    assert not [text for text in drift_words.sentences(found | {"source": "x"}) if "erred independently" in text]


def test_one_teacher_and_no_labels_say_less() -> None:
    found = run.measure(Corpus.read({"s0": {"a": "Edema."}}, ["edema"]), resamples=5, orders=0, signs=0, style=False)
    told = found["summary"]
    assert told["cells"] == 0 and told["teacher_expected_accuracy"] == {"a": None}
    empty = ("conflict_mean", "divided", "vote_entropy", "vote_expected_accuracy", "vote_accuracy")
    assert [told[key] for key in empty] == [None] * len(empty)
