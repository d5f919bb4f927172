"""p-values: by hand, against scipy and statsmodels, and how often they are small where nothing differs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests

from apo_lightning.metrics.paired import holm, mcnemar, permutation, smallest_p, too_small

NAN = float("nan")


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ([], 1),
        ([0, 0, 0], 1),
        ([1], 1),
        ([1, 1], 1 / 2),  # of ++ +- -+ -- two are as far as 2
        ([1, 1, 1, 0, 0], 1 / 4),  # zeros change nothing
        ([3, 1, -1], 6 / 8),  # sums 3 5 1 3 and their opposites: as far as 3 are six
        ([0.1, 0.2, -0.3], 1),  # 5.6e-17 is 0
        ([1 / 3, 1 / 3, 1 / 3, -1 / 7], 4 / 16),  # 1 - 1/7 is reached by +++-, ++++ and their opposites
    ],
)
def test_permutation_by_hand(differences: list[float], p: float) -> None:
    assert permutation(np.array(differences, float)) == p


def test_permutation_against_every_swap_in_plain_python() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        own = [int(v) for v in draw.integers(-2, 3, size=9)]
        sums = [sum(sign * v for sign, v in zip(signs, own, strict=True)) for signs in product((1, -1), repeat=9)]
        want = sum(abs(s) >= abs(sum(own)) for s in sums) / len(sums)
        assert permutation(np.array(own, float) / 8) == pytest.approx(want, abs=1e-15)


@pytest.mark.parametrize("count", [3, 8, 13])
def test_permutation_is_scipys_where_all_are_gone_through(count: int) -> None:
    one, other = np.random.default_rng(count).normal(size=(2, count))
    one += 0.5
    theirs = scipys(one, other, np.inf)
    assert permutation(one - other) == pytest.approx(theirs, abs=1e-12)


def scipys(one: np.ndarray, other: np.ndarray, resamples: float) -> float:
    return stats.permutation_test(
        (one, other),
        lambda x, y, axis: (x - y).sum(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=1,
    ).pvalue


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_permutation_is_scipys_to_the_noise_of_random_swaps(shift: float) -> None:
    """A share p of 19,999 and of 9,999 deviates by at most sqrt(.25/20,000 + .25/10,000) = .0061; three of them."""
    one, other = np.random.default_rng(2).normal(size=(2, 60))
    one += shift
    p, theirs = permutation(one - other), scipys(one, other, 9_999)
    assert p == pytest.approx(theirs, abs=3 * np.sqrt(p * (1 - p) * (1 / 20_000 + 1 / 10_000)) + 1e-4)


def test_random_swaps_and_all_of_them_agree_and_no_p_is_zero() -> None:
    own = np.random.default_rng(4).normal(0.4, 1, size=14)
    assert permutation(own, resamples=4_000) == pytest.approx(permutation(own), abs=0.02)
    assert permutation(np.ones(40)) == 1 / 20_000
    assert permutation(np.ones(40), resamples=99) == 1 / 100


def test_the_same_input_gives_the_same_p() -> None:
    own = np.random.default_rng(5).normal(size=40)
    assert permutation(own) == permutation(own) == permutation(-own)


def test_five_of_a_hundred_are_below_a_twentieth_where_nothing_differs() -> None:
    """Patients differ by whole numbers of studies, most by none; the binomial deviation of 5 % of 1,000 is .7 %."""
    draw = np.random.default_rng(6)
    drawn = draw.integers(-2, 3, size=(1_000, 60)) * (draw.random((1_000, 60)) < 0.4)
    p = np.array([permutation(own.astype(float), resamples=999) for own in drawn])
    assert 0.03 <= (p <= 0.05).mean() <= 0.07


@pytest.mark.parametrize(
    ("better", "worse", "p"), [(0, 0, 1), (1, 0, 1), (5, 0, 1 / 16), (0, 6, 1 / 32), (3, 1, 5 / 8)]
)
def test_mcnemar_by_hand(better: int, worse: int, p: float) -> None:
    """(3, 1): of 16 equally likely patterns 3 or more either way are 2 * (4 + 1)."""
    assert mcnemar(better, worse) == pytest.approx(p)


@pytest.mark.parametrize(("better", "worse"), [(1, 0), (7, 7), (12, 3), (3, 12), (150, 110), (0, 40)])
def test_mcnemar_is_statsmodels(better: int, worse: int) -> None:
    theirs = sm_mcnemar([[30, better], [worse, 20]], exact=True)
    assert mcnemar(better, worse) == pytest.approx(theirs.pvalue, rel=1e-9) and theirs.statistic == min(better, worse)


def test_holm_by_hand() -> None:
    """.01 x 4; .02 x 3 = .06; .03 x 2 = .06; .04 x 1 is held at .06. NaN is no member."""
    assert holm([0.04, NAN, 0.01, 0.03, 0.02]) == pytest.approx([0.06, NAN, 0.04, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.9]).tolist() == [1, 1] and holm([]).tolist() == [] and np.isnan(holm([NAN])).all()


@pytest.mark.parametrize("count", [1, 2, 10, 91])
def test_holm_is_statsmodels(count: int) -> None:
    draw = np.random.default_rng(count)
    for p in (draw.random(count) ** 4, np.round(draw.random(count), 1)):
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)


@pytest.mark.parametrize(
    ("test", "n", "p"),
    [
        ("mcnemar", 0, 1),
        ("mcnemar", 1, 1),
        ("mcnemar", 5, 1 / 16),
        ("mcnemar", 6, 1 / 32),
        ("mcnemar", 40, 2.0**-39),
        ("permutation", 0, 1),
        ("permutation", 1, 1),
        ("permutation", 6, 1 / 32),
        ("permutation", 14, 2.0**-13),
        ("permutation", 16, 1 / 20_000),
        ("permutation", 5_000, 1 / 20_000),
    ],
)
def test_smallest_p(test: str, n: int, p: float) -> None:
    """It is what the tests give where everything speaks for one of the two."""
    assert smallest_p(test, n) == p
    one_way = mcnemar(n, 0) if test == "mcnemar" else permutation(np.ones(n))
    assert p == pytest.approx(one_way, rel=1e-9) or n == 16  # of 20,000 random swaps one or two may be as far


def test_there_is_no_third_test() -> None:
    with pytest.raises(ValueError, match="test must be permutation or mcnemar, got 'wilcoxon'"):
        smallest_p("wilcoxon", 3)


def test_too_small_by_hand() -> None:
    """Alone, six discordant studies reach 1/32 and five 1/16. In a family of two of which the other is no smaller, six
    reach 2/32, seven 2/64; where the other is .0001 and stays ahead, six reach 1/32 again. No p: too small."""
    assert too_small("mcnemar", [6], [0.7]).tolist() == [False]
    assert too_small("mcnemar", [5], [1 / 16]).tolist() == [True]
    assert too_small("mcnemar", [6, 7], [0.7, 0.5]).tolist() == [True, False]
    assert too_small("mcnemar", [6, 30], [0.7, 0.0001]).tolist() == [False, False]
    assert too_small("mcnemar", [0, 6], [NAN, 0.7]).tolist() == [True, False]
    assert too_small("permutation", [], []).tolist() == []


def test_too_small_is_holm_with_the_smallest_p_in_its_place() -> None:
    draw = np.random.default_rng(8)
    for _ in range(30):
        n = draw.integers(0, 14, size=12)
        p = np.array([mcnemar(int(b), int(c - b)) for c, b in zip(n, draw.binomial(n, 0.8), strict=True)])
        want = []
        for i, count in enumerate(n):
            best = p.copy()
            best[i] = smallest_p("mcnemar", int(count))
            want.append(holm(best)[i] > 0.05)
        assert too_small("mcnemar", n, p).tolist() == want
