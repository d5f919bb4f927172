"""AUROC, average precision and calibration of scores: by hand, against sklearn, torchmetrics and a naive bootstrap."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_auroc,
    binary_average_precision,
    binary_calibration_error,
    binary_f1_score,
)

from apo_lightning.metrics import scored
from apo_lightning.metrics.bootstrap import Resampled, limits
from apo_lightning.metrics.scored import (
    BINS,
    ScoredOutcomes,
    weighted_auroc,
    weighted_average_precision,
    weighted_brier,
    weighted_ece,
)

LOOSE = 1e-6
"""torchmetrics sums in float32."""


def drawn_scores(size: int, seed: int, ties: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores that know something; ``ties``: of so many distinct values."""
    draw = np.random.default_rng(seed)
    labels = (draw.random(size) < 0.4).astype(float)
    scores = np.clip(draw.normal(0.4 + 0.2 * labels, 0.25), 0, 1)
    return labels, scores if ties is None else np.round(scores * ties) / ties


def outcomes(labels, scores, patients=None, findings=("edema",), kind="likelihood") -> ScoredOutcomes:
    labels, scores = (np.array(x, float).reshape(-1, len(findings)) for x in (labels, scores))
    who = [str(i) for i in range(len(labels))] if patients is None else patients
    return ScoredOutcomes(who, labels, scores, findings, kind)


def values(one: ScoredOutcomes, finding: str = "edema") -> dict[str, float]:
    return {metric: value for metric, name, value in one.rows() if name == finding}


def test_values_by_hand():
    """Scores .9 .8 .4 .2 of present, absent, present, absent. Of the four pairs three are in order: .75. Precision at
    the two positives 1 and 2/3: mean 5/6. Decisions: right at .9 and .2, so accuracy .5; of the positives one is found
    and one of the two said is right: F1 .5. Each score has a bin of its own, gaps .1 .8 .6 .2: mean .425, and of their
    squares .01 .64 .36 .04 the mean .2625."""
    found = values(outcomes([1, 0, 1, 0], [0.9, 0.8, 0.4, 0.2]))
    assert found == pytest.approx(
        {
            "likelihood_accuracy": 0.5,
            "likelihood_balanced_accuracy": 0.5,
            "likelihood_positive_f1": 0.5,
            "likelihood_auroc": 0.75,
            "likelihood_average_precision": 5 / 6,
            "likelihood_ece": 0.425,
            "likelihood_brier": 0.2625,
        },
        abs=LOOSE,
    )


def test_a_tie_counts_half_and_one_half_is_present():
    found = values(outcomes([1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5], kind="vote"))
    assert found == pytest.approx(
        {
            "vote_accuracy": 0.5,
            "vote_balanced_accuracy": 0.5,
            "vote_positive_f1": 2 / 3,
            "vote_auroc": 0.5,
            "vote_average_precision": 0.5,
            "vote_ece": 0.0,
            "vote_brier": 0.25,
        },
        abs=LOOSE,
    )


def test_unknown_labels_and_missing_scores_add_nothing():
    some = outcomes([1, 0, 1, 0, np.nan, 1], [0.9, 0.8, 0.4, 0.2, 0.3, np.nan])
    assert values(some) == values(outcomes([1, 0, 1, 0], [0.9, 0.8, 0.4, 0.2]))


def test_a_finding_of_one_class_ranks_nothing_and_stays_out_of_the_mean():
    labels = np.array([[1, 1], [0, 1], [1, 1], [0, 1.0]])
    both = outcomes(labels, np.repeat([[0.9], [0.8], [0.4], [0.2]], 2, axis=1), findings=("edema", "mass"))
    mass, mean = values(both, "mass"), values(both, "mean")
    for metric in ("auroc", "average_precision", "balanced_accuracy", "positive_f1"):
        assert np.isnan(mass[f"likelihood_{metric}"])
        assert mean[f"likelihood_{metric}"] == values(both)[f"likelihood_{metric}"]
    assert mass["likelihood_accuracy"] == 0.5 and mass["likelihood_ece"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.8) / 4)
    assert mean["likelihood_accuracy"] == 0.5


def test_a_finding_without_scores_has_no_values():
    assert all(np.isnan(value) for value in values(outcomes([1, 0], [np.nan, np.nan])).values())
    assert all(np.isnan(value) for value in values(outcomes([], [])).values())


@pytest.mark.parametrize("ties", [None, 3, 10])
@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_torchmetrics(seed, ties):
    labels, scores = drawn_scores(200, seed, ties)
    found, (p, y) = values(outcomes(labels, scores)), (torch.from_numpy(scores), torch.from_numpy(labels).long())
    decided = (p >= 0.5).long()
    assert found["likelihood_auroc"] == pytest.approx(float(binary_auroc(p, y)), abs=LOOSE)
    assert found["likelihood_average_precision"] == pytest.approx(float(binary_average_precision(p, y)), abs=LOOSE)
    assert found["likelihood_ece"] == pytest.approx(float(binary_calibration_error(p, y, n_bins=BINS)), abs=LOOSE)
    assert found["likelihood_accuracy"] == pytest.approx(float(binary_accuracy(decided, y)), abs=LOOSE)
    assert found["likelihood_positive_f1"] == pytest.approx(float(binary_f1_score(decided, y)), abs=LOOSE)


@pytest.mark.parametrize("ties", [None, 3, 15])
@pytest.mark.parametrize("seed", range(4))
def test_weighted_twins_are_those_of_sklearn_and_of_repeated_studies(seed, ties):
    """sklearn takes weights; torchmetrics has no weighted calibration error, so studies are repeated for it."""
    labels, scores = drawn_scores(60, seed, ties)
    weights = np.random.default_rng(seed + 50).integers(0, 4, size=(5, 60)).astype(float)
    area, precision = weighted_auroc(labels, scores, weights), weighted_average_precision(labels, scores, weights)
    error, square = weighted_ece(labels, scores, weights), weighted_brier(labels, scores, weights)
    for r, weight in enumerate(weights):
        assert area[r] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12)
        assert precision[r] == pytest.approx(average_precision_score(labels, scores, sample_weight=weight), abs=1e-12)
        assert square[r] == pytest.approx(brier_score_loss(labels, scores, sample_weight=weight), abs=1e-12)
        p, y = (np.repeat(column, weight.astype(int)) for column in (scores, labels))
        theirs = binary_calibration_error(torch.from_numpy(p), torch.from_numpy(y).long(), n_bins=BINS)
        assert error[r] == pytest.approx(float(theirs), abs=1e-12)
    even = np.ones((1, 60))
    ours = [metric(labels, scores, even)[0] for metric in scored.WEIGHTED.values()]
    found = values(outcomes(labels, scores))
    assert ours == pytest.approx([found[f"likelihood_{name}"] for name in scored.WEIGHTED], abs=LOOSE)


def test_a_resample_without_one_of_the_classes_ranks_nothing():
    labels, scores = np.array([1.0, 0, 0]), np.array([0.7, 0.2, 0.9])
    weights = np.array([[0, 1, 2], [3, 0, 0], [1, 1, 1], [0, 0, 0]], float)
    for metric, whole in ((weighted_auroc, 0.5), (weighted_average_precision, 0.5)):
        found = metric(labels, scores, weights)
        assert np.isnan(found[[0, 1, 3]]).all() and found[2] == whole
    for metric in (weighted_ece, weighted_brier):
        assert np.isnan(metric(labels, scores, weights)).tolist() == [False, False, False, True]


def naive(labels, scores, patients, times, place) -> np.ndarray:
    """AUROC of each resample, its studies written out one by one."""
    found = []
    for row in times:
        drawn = [i for i, who in enumerate(patients) for _ in range(int(row[place[who]]))]
        y, p = labels[drawn], scores[drawn]
        found.append(roc_auc_score(y, p) if 0 < y.sum() < len(y) else np.nan)
    return np.array(found)


def test_the_bootstrap_of_auroc_is_that_of_a_loop(monkeypatch):
    """Over patients with their studies, in blocks of a few resamples; the intervals are made of the same."""
    monkeypatch.setattr(scored, "AT_ONCE", 70)
    labels, scores = drawn_scores(30, 1, 5)
    patients = [f"p{i % 11}" for i in range(30)]
    table = Resampled({"x": {0: outcomes(labels, scores, patients)}}, resamples=200)
    ours = table.drawn["x"][0]["likelihood_auroc", "edema"]
    theirs = naive(labels, scores, patients, table.times, table.place)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    found = table.intervals("x")["likelihood_auroc", "mean"]
    assert (found.low, found.high) == pytest.approx(limits(np.array([found.value]), theirs[None], 11))
    assert (found.studies, found.patients) == (30, 11)


def test_each_finding_is_resampled_over_the_studies_that_have_its_label():
    """Two findings with unknown labels in other places, beside each alone; their mean is of those with a value."""
    labels, scores = (
        np.stack(pair, axis=1) for pair in zip(*(drawn_scores(40, seed, 6) for seed in (3, 4)), strict=True)
    )
    labels[:7, 0], labels[25:, 1], scores[3:9, 1] = np.nan, np.nan, np.nan
    together = Resampled({"x": {0: outcomes(labels, scores, findings=("a", "b"))}}, resamples=60).drawn["x"][0]
    for f, name in enumerate("ab"):
        alone = Resampled({"x": {0: outcomes(labels[:, f], scores[:, f], findings=(name,))}}, resamples=60).drawn["x"][
            0
        ]
        for metric in ("accuracy", "auroc", "average_precision", "ece"):
            np.testing.assert_allclose(together[f"likelihood_{metric}", name], alone[f"likelihood_{metric}", name])
    both = [together["likelihood_auroc", name] for name in "ab"]
    np.testing.assert_allclose(together["likelihood_auroc", "mean"], np.nanmean(both, axis=0))


def test_a_difference_of_scores_is_paired_by_study():
    labels, scores = drawn_scores(80, 2, None)
    better = np.clip(scores + 0.1 * (labels - 0.5), 0, 1)
    rows = {"a": {0: outcomes(labels, scores)}, "b": {0: outcomes(labels, better)}}
    table = Resampled(rows, resamples=400)
    found, alone = (
        table.differences("b", "a")["likelihood_auroc", "mean"],
        table.intervals("a")["likelihood_auroc", "mean"],
    )
    loop = [naive(labels, p, rows["a"][0].patients, table.times, table.place) for p in (better, scores)]
    assert (found.low, found.high) == pytest.approx(limits(np.array([found.value]), (loop[0] - loop[1])[None], 80))
    assert found.low > 0 and found.high - found.low < alone.high - alone.low


def test_resamples_say_nothing_aloud():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Resampled({"x": {0: outcomes([1, 0, 1], [0.2, 0.2, 0.9])}}, resamples=50).intervals("x")
        values(outcomes([0, 0, np.nan], [0.2, 0.2, 0.9]))


@pytest.mark.parametrize(
    ("labels", "scores", "says"),
    [([[1, 0]], [[0.5]], "must be"), ([[1]], [[1.2]], r"scores must be in \[0, 1\], got 1.2")],
)
def test_what_is_no_score_is_refused(labels, scores, says):
    with pytest.raises(ValueError, match=says):
        ScoredOutcomes(["p"], np.array(labels, float), np.array(scores, float), ["edema"], "vote")
