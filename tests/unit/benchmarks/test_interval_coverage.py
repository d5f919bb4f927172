"""How often intervals hold the truth: a few made-up tables always, enough to tell 2 % apart among the slow tests.

The shares are those of fixed draws, so they repeat; how far they may lie from 95 % is what `interval_coverage` finds
over thousands of tables, and the binomial deviation on top."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from conftest import ROOT
from scipy.stats import norm

from apo_lightning.metrics.scored import weighted_auroc


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of benchmarks/, which is a folder of scripts."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return __import__("interval_coverage")


def test_the_truth_is_that_of_a_hundred_thousand_patients(study: ModuleType) -> None:
    draw = np.random.default_rng(0)
    world = study.World(patients=100_000, seeds=1, apart=0.2)
    sums, _, seeds = world.sums(draw)
    assert (sums[0, 0] > 0).mean() == pytest.approx(world.truth(study.BETTER, seeds[0]), abs=0.004)
    many = study.World(patients=300, seeds=4_000, apart=0.2)
    sums, *_ = many.sums(draw)
    wide = np.sqrt(study.PATIENT**2 / 300 * 2)  # the mean over patients, studies of one together
    assert (sums[1] > 0).mean() == pytest.approx(many.truth(study.WORSE, seeds[1]), abs=2 * 0.3 * wide)


def test_the_truth_of_an_auroc_is_that_of_many_studies(study: ModuleType) -> None:
    rows, (better, _) = study.rankings(study.World(20_000, 1, 0.2), np.random.default_rng(1))
    one = rows[0][0]
    found = weighted_auroc(one.labels[:, 0], one.scores[:, 0], np.ones((1, len(one.patients))))
    assert found[0] == pytest.approx(better, abs=0.006) and 0.5 < better < 1
    assert better == pytest.approx(norm.cdf(2 * study.BETTER / np.sqrt(2 * 1.98)), abs=0.1)


@pytest.mark.parametrize(("patients", "seeds", "apart"), [(60, 1, 0.0), (60, 3, 0.1)])
def test_about_nineteen_of_twenty_intervals_hold_the_truth(
    study: ModuleType, patients: int, seeds: int, apart: float
) -> None:
    """Of 60 tables; the binomial deviation is 2.8 %, three of them below and the best above."""
    found = study.coverage(study.World(patients, seeds, apart), tables=60, resamples=200)
    assert all(share >= 0.87 for share, _ in found.values())
    again = study.coverage(study.World(patients, seeds, apart), tables=60, resamples=200)
    assert found == again


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patients", "seeds", "apart"),
    [(60, 1, 0.0), (100, 1, 0.0), (150, 1, 0.0), (60, 2, 0.1), (60, 3, 0.1), (100, 3, 0.1)],
)
def test_intervals_hold_the_truth_in_93_to_97_of_100(
    study: ModuleType, patients: int, seeds: int, apart: float
) -> None:
    """Accuracy, of 800 tables: the binomial deviation is .77 %. Differences of several seeds err to the wide side."""
    found = study.coverage(study.World(patients, seeds, apart), tables=800, resamples=300)
    assert 0.93 - 0.0077 <= found["value"][0] <= 0.97 + 0.0077
    assert 0.93 - 0.0077 <= found["difference"][0] <= (0.97 if seeds == 1 else 0.99) + 0.0077


@pytest.mark.slow
def test_patients_alone_would_not_do(study: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the seeds' part, intervals of three seeds that lie apart speak of those three alone."""
    world = study.World(60, 3, 0.2)
    whole = study.coverage(world, tables=200, resamples=200)
    monkeypatch.setattr("apo_lightning.metrics.bootstrap.variance", lambda whole, drawn, patients: (drawn, 1.96))
    alone = study.coverage(world, tables=200, resamples=200)
    assert whole["difference"][0] > 0.9 > 0.75 > alone["difference"][0]
