"""Arms against each other: what is compared by hand, on which studies, in which family."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from apo_lightning.metrics.bootstrap import Resampled
from apo_lightning.metrics.comparison import Compared, compare
from apo_lightning.metrics.findings import FindingOutcomes, of_findings
from apo_lightning.metrics.likelihood import of_likelihoods
from apo_lightning.metrics.paired import mcnemar, permutation
from apo_lightning.metrics.progression import of_progression
from apo_lightning.metrics.scored import ScoredOutcomes

NAN = np.nan
TWO = ["edema", "mass"]
LABELS = np.array([[1, 0], [1, NAN], [0, NAN], [0, NAN], [1, 1]], float)
"""Five labels of edema, two of mass: one right edema more is worth 1/5, one right mass 1/2, half of it in the mean."""
PATIENTS = ["p", "p", "q", "r", "r"]


def arm(wrong: str, labels: np.ndarray = LABELS, patients=PATIENTS, findings=TWO) -> FindingOutcomes:
    """Right but for the cells named, as "e0 m4": edema of study 0, mass of study 4."""
    answers = labels.copy()
    for cell in wrong.split():
        f = [name[0] for name in findings].index(cell[0])
        answers[int(cell[1:]), f] = 1 - answers[int(cell[1:]), f]
    return of_findings(labels, answers, np.zeros(len(labels), bool), findings, patients)


def named(found: list[Compared]) -> dict[tuple[str, str, str], Compared]:
    assert len({(one.arm, one.against, one.finding) for one in found}) == len(found)
    return {(one.arm, one.against, one.finding): one for one in found}


def test_by_hand() -> None:
    """b is right where a errs on edema of 0 and 1 (p), mass of 0 (p), edema of 2 (q); a where b errs on edema of 3 (r).
    Edema: p +2/5, q +1/5, r -1/5; mass: p +1/2. The mean over findings: p .2 + .25 = .45, q .1, r -.1, together .45.
    Of eight patterns of signs, six are as far as .45 (.45 +- .2 and .45 twice, less .25 is not)."""
    found = named(compare({"a": {0: arm("e0 e1 e2 m0")}, "b": {0: arm("e3")}}))
    mean = found["b", "a", "mean"]
    assert (mean.test, mean.n, mean.metric) == ("permutation", 3, "accuracy")
    assert (mean.statistic, mean.p, mean.p_holm) == (pytest.approx(0.45), 6 / 8, 6 / 8)
    edema, mass = (found["b", "a", name] for name in TWO)
    assert (edema.test, edema.n, edema.statistic, edema.p) == ("mcnemar", 4, 3, pytest.approx(5 / 8))
    assert (mass.n, mass.statistic, mass.p) == (1, 1, 1)
    assert (edema.p_holm, mass.p_holm) == (1, 1)  # 2 * 5/8 and 1


def test_seeds_of_a_patient_move_together_and_the_mean_over_seeds_counts() -> None:
    """Edema of 0: b is right in both seeds, a in one: half a study. Of 3: each is right where the other errs: none. Of
    4: b is right in both, a in none."""
    found = named(compare({"a": {0: arm("e0 e3 e4"), 1: arm("e4")}, "b": {0: arm(""), 1: arm("e3")}}))
    mean, edema = found["b", "a", "mean"], found["b", "a", "edema"]
    assert (mean.n, mean.statistic, mean.p) == (2, pytest.approx((0.5 + 1) / 5 / 2), 0.5)
    assert (edema.n, edema.statistic, edema.p) == (2, 2, 0.5)
    assert found["b", "a", "mass"].n == 0 and found["b", "a", "mass"].p == 1


def test_the_statistic_is_the_difference_of_the_table() -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice([0, 1, NAN], size=(50, 3))
    who = [f"p{i % 17}" for i in range(50)]

    def made() -> FindingOutcomes:
        return of_findings(labels, draw.integers(2, size=(50, 3)).astype(float), draw.random(50) < 0.1, "xyz", who)

    rows = {name: {seed: made() for seed in seeds} for name, seeds in (("a", (0, 1, 2)), ("b", (1, 2)), ("c", (0, 2)))}
    table = Resampled(rows)
    for one in compare(rows):
        if one.test == "permutation":
            apart = table.differences(one.arm, one.against)["accuracy", "mean"]
            assert one.statistic == pytest.approx(apart.value)


def test_every_pair_once_the_later_minus_the_earlier() -> None:
    found = compare({name: {0: arm("e0")} for name in "abc"})
    assert [(one.arm, one.against, one.finding) for one in found] == [
        (*pair, name) for pair in (("b", "a"), ("c", "a"), ("c", "b")) for name in ("mean", *TWO)
    ]


def test_families_are_all_pairs_and_for_mcnemar_all_findings_too() -> None:
    draw = np.random.default_rng(3)
    labels = draw.integers(2, size=(60, 2)).astype(float)
    who = [str(i // 2) for i in range(60)]

    def level(share: float) -> FindingOutcomes:
        flip = draw.random((60, 2)) > share
        return of_findings(labels, np.where(flip, 1 - labels, labels), np.zeros(60, bool), TWO, who)

    found = compare({"a": {0: level(0.5)}, "b": {0: level(0.75)}, "c": {0: level(0.95)}})
    for test, members in (("permutation", 3), ("mcnemar", 6)):
        own = [one for one in found if one.test == test]
        theirs = multipletests([one.p for one in own], method="holm")[1]
        assert len(own) == members and [one.p_holm for one in own] == pytest.approx(list(theirs))
        assert any(one.p < one.p_holm < 0.05 for one in own)


@pytest.mark.parametrize(
    "other",
    [
        {0: arm("e0", patients=["p", "p", "q", "r", "s"])},
        {0: arm("e0", labels=1 - LABELS[:, ::-1])},
        {0: arm("e0", labels=LABELS[:, :1], findings=["edema"])},
        {7: arm("e0")},
        {0: arm("e0"), 1: arm("e0", labels=np.where(np.isnan(LABELS), 0, LABELS))},
    ],
    ids=["patients", "labels", "findings", "seeds", "one seed's labels"],
)
def test_arms_that_were_not_asked_the_same_have_no_p_and_are_in_no_family(other) -> None:
    found = named(compare({"a": {0: arm("e0 e1"), 1: arm("")}, "b": {0: arm("e3"), 1: arm("e3")}, "c": other}))
    assert np.isnan(
        [found["c", "a", "mean"].statistic, found["c", "a", "mean"].p, found["c", "a", "mean"].p_holm]
    ).all()
    assert found["c", "a", "mean"].n == 0
    assert found["b", "a", "mean"].p_holm == found["b", "a", "mean"].p


def test_a_finding_without_labels_has_no_test_and_no_share_of_the_mean() -> None:
    labels = np.array([[1, NAN], [1, NAN], [0, NAN]])
    one, other = (arm(wrong, labels, ["p", "q", "r"]) for wrong in ("e0 e1", ""))
    found = named(compare({"a": {0: one}, "b": {0: other}}))
    assert found["b", "a", "mean"].statistic == pytest.approx(2 / 3)
    assert np.isnan(found["b", "a", "mass"].p) and np.isnan(found["b", "a", "mass"].statistic)
    assert found["b", "a", "edema"].p_holm == 0.5


def test_labels_of_nothing_and_no_studies_test_nothing() -> None:
    for labels in (np.full((2, 1), NAN), np.zeros((0, 1))):
        blank = of_findings(labels, np.zeros_like(labels), np.zeros(len(labels), bool), ["edema"])
        assert all(np.isnan(one.p) for one in compare({"a": {0: blank}, "b": {0: blank}}))


def test_likelihoods_of_texts_have_no_right_and_wrong() -> None:
    row = {"patient": "a", "preferred": -2, "teachers": [-1], "preferred_before": -2, "teachers_before": [-2]}
    assert compare({"a": {0: of_likelihoods([row])}, "b": {0: of_likelihoods([row])}}) == []


def test_courses_are_compared_too() -> None:
    """Three patients; b tells all courses, a those of the first: three labels of edema, one of mass."""
    truth = [{"edema": "stable"}, {"edema": "worsening", "mass": "stable"}, {"edema": "improving"}]
    told = [{"edema": "stable"}, {"edema": "stable"}, {"mass": "stable"}]
    rows = {"a": {0: of_progression(truth, told, TWO, "pqr")}, "b": {0: of_progression(truth, truth, TWO, "pqr")}}
    found = named(compare(rows))
    mean = found["b", "a", "mean"]
    assert (mean.metric, mean.n, mean.statistic, mean.p) == (
        "progression_accuracy",
        2,
        pytest.approx((2 / 3 + 1) / 2),
        0.5,
    )
    assert [(found["b", "a", name].n, found["b", "a", name].statistic) for name in TWO] == [(2, 2), (1, 1)]


def test_studies_of_one_patient_are_one_observation_for_the_test_that_counts() -> None:
    """Two patients of ten equal studies each, all for b: McNemar is sure, the permutation test knows two patients."""
    labels = np.ones((20, 1))
    worse, better = (
        of_findings(labels, np.full((20, 1), v), np.zeros(20, bool), ["edema"], ["p"] * 10 + ["q"] * 10)
        for v in (0.0, 1.0)
    )
    found = named(compare({"a": {0: worse}, "b": {0: better}}))
    assert found["b", "a", "mean"].p == permutation(np.ones(2)) == 0.5
    assert found["b", "a", "edema"].p == mcnemar(20, 0) < 1e-5


def test_decisions_on_scores_are_compared_too() -> None:
    """Labels 1 0 1, the third without a score. a: .5 counts as present, right, .7 is wrong; b is right on both."""
    labels = np.array([[1.0], [0.0], [1.0]])
    scores = np.array([[0.5, 0.7, NAN], [0.9, 0.1, NAN]])
    a, b = (ScoredOutcomes("pqr", labels, own[:, None], ["edema"], "likelihood") for own in scores)
    found = named(compare({"a": {0: a}, "b": {0: b}}))
    mean, edema = found["b", "a", "mean"], found["b", "a", "edema"]
    assert (mean.metric, mean.n, mean.statistic, edema.n, edema.statistic) == ("likelihood_accuracy", 1, 0.5, 1, 1)
    table = Resampled({"a": {0: a}, "b": {0: b}})
    assert mean.statistic == table.differences("b", "a")["likelihood_accuracy", "mean"].value
