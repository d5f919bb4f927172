"""Scores of findings: by hand, by their policy, and against sklearn and torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_f1_score

from apo_lightning.metrics import findings as M

NAN = np.nan
NONE = np.zeros(5, dtype=bool)


def table(labels, answers, refused, names=("edema",)) -> dict[tuple[str, str], float]:
    rows = M.scores(np.array(labels, float), np.array(answers, float), np.array(refused), names)
    assert len({row[:2] for row in rows}) == len(rows)
    return {(metric, finding): value for metric, finding, value in rows}


def column(*values: float) -> list[list[float]]:
    return [[value] for value in values]


def test_values_by_hand() -> None:
    """Labels 1 1 1 0 0, answers 1 1 0 1 0: three of five right; recalls 2/3 and 1/2; tp 2, fp 1, fn 1, so F1 4/6."""
    got = table(column(1, 1, 1, 0, 0), column(1, 1, 0, 1, 0), NONE)
    assert got["accuracy", "edema"] == pytest.approx(0.6)
    assert got["balanced_accuracy", "edema"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert got["positive_f1", "edema"] == pytest.approx(4 / 6)
    assert got["refusals", "mean"] == 0 and got["unstated", "mean"] == 0


def test_mean_is_over_findings() -> None:
    got = table([[1, 0], [1, 0]], [[1, 1], [1, 0]], [False, False], ("a", "b"))
    assert (got["accuracy", "a"], got["accuracy", "b"], got["accuracy", "mean"]) == (1, 0.5, 0.75)


def test_a_refusal_is_wrong_whatever_the_label() -> None:
    """One right answer and one refusal in each class: half right everywhere. F1: tp 1, fp 1, fn 1."""
    got = table(column(1, 1, 0, 0), column(1, 1, 0, 0), [False, True, False, True])
    assert got["accuracy", "edema"] == 0.5
    assert got["balanced_accuracy", "edema"] == 0.5
    assert got["positive_f1", "edema"] == pytest.approx(0.5)
    assert got["refusals", "mean"] == 0.5


def test_all_refused_scores_zero() -> None:
    got = table(column(1, 1, 0, 0, 0), column(NAN, NAN, NAN, NAN, NAN), ~NONE)
    assert [got[metric, "edema"] for metric in M.METRICS] == [0, 0, 0]
    assert got["refusals", "mean"] == 1 and np.isnan(got["unstated", "mean"])


def test_a_text_that_states_nothing_is_wrong_and_has_a_share_of_its_own() -> None:
    """Two absent labels: an always-no of words is right, babble is not; the third is a normal report."""
    labels, answers = np.zeros((3, 1)), np.array([[0.0], [np.nan], [0.0]])
    nothing, normal = np.array([False, True, False]), np.array([False, False, True])
    rows = M.scores(labels, answers, np.zeros(3, bool), ["edema"], nothing=nothing, normal=normal)
    got = {(metric, finding): value for metric, finding, value in rows}
    assert got["accuracy", "edema"] == pytest.approx(2 / 3)
    shares = [got[name, "mean"] for name in ("refusals", "states_nothing", "normal", "unstated")]
    assert shares == pytest.approx([0, 1 / 3, 1 / 3, 0])


def test_unstated_counts_as_absent() -> None:
    """Labels 1 0, nothing stated: right on the absent one; recalls 0 and 1; nothing is found, so F1 is 0."""
    got = table(column(1, 0), column(NAN, NAN), [False, False])
    assert got["accuracy", "edema"] == 0.5
    assert got["balanced_accuracy", "edema"] == 0.5
    assert got["positive_f1", "edema"] == 0
    assert got["unstated", "mean"] == 1


def test_unstated_is_a_share_of_labelled_findings_in_readable_answers() -> None:
    got = table([[1, NAN], [0, 1], [1, 1]], [[NAN, NAN], [0, NAN], [NAN, NAN]], [False, False, True], ("a", "b"))
    assert got["unstated", "mean"] == pytest.approx(2 / 3)


def test_nan_labels_add_nothing() -> None:
    with_nan = table(column(1, NAN, 0, NAN, 0), column(1, 1, 1, NAN, 0), [False, False, False, True, False])
    without = table(column(1, 0, 0), column(1, 1, 0), [False, False, False])
    for metric in M.METRICS:
        assert with_nan[metric, "edema"] == without[metric, "edema"]


def test_a_finding_without_labels_is_nan_and_stays_out_of_the_mean() -> None:
    got = table([[1, NAN], [0, NAN]], [[1, 1], [1, 1]], [False, False], ("a", "b"))
    assert np.isnan(got["accuracy", "b"]) and np.isnan(got["positive_f1", "b"])
    assert got["accuracy", "mean"] == got["accuracy", "a"] == 0.5


@pytest.mark.parametrize("only", [0, 1])
def test_a_finding_with_one_class_has_no_value_where_two_are_compared(only: int) -> None:
    """Three of four right on it; balanced accuracy and F1 are those of the other finding, which is always right."""
    labels, answers = [[only, 1], [only, 0], [only, 1], [only, 0]], [[only, 1], [only, 0], [only, 1], [1 - only, 0]]
    got = table(labels, answers, [False] * 4, ("a", "b"))
    assert (got["accuracy", "a"], got["accuracy", "mean"]) == (0.75, 0.875)
    for metric in ("balanced_accuracy", "positive_f1"):
        assert np.isnan(got[metric, "a"])
        assert got[metric, "b"] == got[metric, "mean"] == 1


def test_always_no_is_worth_half_and_nothing() -> None:
    """Fifteen studies, two findings, one of them never present: always no finds none of the other."""
    labels = [[int(i < 4), 0] for i in range(15)]
    got = table(labels, np.zeros((15, 2)), [False] * 15, ("a", "b"))
    assert (got["balanced_accuracy", "mean"], got["positive_f1", "mean"]) == (0.5, 0)
    assert got["accuracy", "mean"] == pytest.approx((11 / 15 + 1) / 2)


def test_parity_with_sklearn_and_torchmetrics() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        labels, answers = rng.integers(2, size=(2, 40, 3)).astype(float)
        got = table(labels, answers, np.zeros(40, bool), ("a", "b", "c"))
        for f, name in enumerate("abc"):
            y, p = labels[:, f], answers[:, f]
            assert got["accuracy", name] == pytest.approx(sk.accuracy_score(y, p))
            assert got["balanced_accuracy", name] == pytest.approx(sk.balanced_accuracy_score(y, p))
            assert got["positive_f1", name] == pytest.approx(sk.f1_score(y, p))
            expected = binary_f1_score(torch.tensor(p), torch.tensor(y))
            assert got["positive_f1", name] == pytest.approx(float(expected), abs=1e-6)
        assert got["positive_f1", "mean"] == pytest.approx(sk.f1_score(labels, answers, average="macro"))


def test_order_of_studies_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    labels, answers = rng.integers(2, size=(2, 30, 2)).astype(float)
    refused, order = rng.random(30) < 0.3, rng.permutation(30)
    assert table(labels, answers, refused, "ab") == table(labels[order], answers[order], refused[order], "ab")


def test_majority_vote() -> None:
    """Study 1: two of three present, a tie, nobody. Study 2: one against none, two against one, absent by all."""
    answers = np.array([[[1, 1, NAN], [1, 0, NAN], [0, NAN, NAN]], [[1, 0, 0], [NAN, 1, 0], [NAN, 0, 0]]])
    np.testing.assert_array_equal(M.majority_vote(answers), [[1, 0, NAN], [1, 0, 0]])


def test_wrong_shapes_and_values_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[studies, findings\] = \[2, 1\]"):
        M.scores(np.zeros((2, 2)), np.zeros((2, 2)), np.zeros(2, bool), ["edema"])
    with pytest.raises(ValueError, match=r"answers must be 0, 1 or NaN, got 2\.0 \(edema, row 1\)"):
        M.scores(np.zeros((2, 1)), np.array([[0.0], [2.0]]), np.zeros(2, bool), ["edema"])
    with pytest.raises(ValueError, match=r"labels must be 0, 1 or NaN, got -1\.0"):
        M.scores(np.array([[-1.0]]), np.zeros((1, 1)), np.zeros(1, bool), ["edema"])


def test_no_studies_give_nan_not_an_error() -> None:
    got = table(np.zeros((0, 1)), np.zeros((0, 1)), np.zeros(0, bool))
    assert np.isnan(got["accuracy", "mean"]) and np.isnan(got["refusals", "mean"])
