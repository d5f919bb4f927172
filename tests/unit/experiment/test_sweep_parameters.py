"""W&B's distributions as Optuna draws them: what each may come to, and which are refused."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from conftest import ROOT
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from apo_lightning.errors import ConfigError
from apo_lightning.experiment.sweeps import names, proposals
from apo_lightning.experiment.sweeps.file import Plan
from apo_lightning.experiment.sweeps.parameters import Parameter, parse

RANGE = {"min": 1, "max": 10}
MAPPED = [
    ({"value": 3}, None),
    ({"distribution": "constant", "value": [1, 2]}, None),
    ({"values": [0.1, 1.0]}, CategoricalDistribution([0.1, 1.0])),
    ({"distribution": "categorical", "values": ["a", None]}, CategoricalDistribution(["a", None])),
    ({"values": [[1], [2]]}, CategoricalDistribution(["[1]", "[2]"])),
    ({"values": [1, True]}, CategoricalDistribution(["1", "true"])),
    (RANGE, IntDistribution(1, 10)),
    ({"min": 1, "max": 10.0}, FloatDistribution(1, 10)),
    (RANGE | {"distribution": "uniform"}, FloatDistribution(1, 10)),
    ({"distribution": "int_uniform", "min": 1.0, "max": 3}, IntDistribution(1, 3)),
    (RANGE | {"distribution": "log_uniform_values"}, FloatDistribution(1, 10, log=True)),
    ({"min": 0.1, "max": 1.0, "q": 0.25}, FloatDistribution(0.25, 1.0, step=0.25)),
    (RANGE | {"distribution": "q_uniform", "q": 4}, FloatDistribution(4, 8, step=4)),
    (RANGE | {"distribution": "q_uniform"}, FloatDistribution(1, 10, step=1)),
    (RANGE | {"distribution": "q_log_uniform_values", "q": 2}, FloatDistribution(2, 10, log=True)),
]


def drawn(own: Parameter, count: int = 400) -> list:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [own.value(study.ask({own.key: own.distribution}).params[own.key]) for _ in range(count)]


@pytest.mark.parametrize(("given", "distribution"), MAPPED)
def test_mapped(given: dict, distribution: object) -> None:
    assert parse("a.b", given, "f.yaml").distribution == distribution


def test_drawing_says_nothing(capfd: pytest.CaptureFixture) -> None:
    """Optuna announces every study, those in memory too."""
    optuna.logging.set_verbosity(optuna.logging.INFO)
    own = parse("a.b", RANGE, "f.yaml")
    plan = Plan(Path("f.yaml"), Path("e.yaml"), (), (), "random", None, {"a.b": own}, 3)
    assert len({row["a.b"] for row in proposals.known_before(plan)}) > 1
    assert capfd.readouterr() == ("", "")


def test_listed_values_come_back_as_they_were_listed() -> None:
    for values in ([1, True, "1"], [[1, "x"], {"a": 1}], [1, 1.5, None], ["[1]", [1]]):
        own = parse("a", {"values": values}, "f.yaml")
        found = drawn(own)
        assert {repr(value) for value in found} == {repr(value) for value in values}
        assert [own.value(choice) for choice in own.choices] == values


def test_integers_are_drawn_with_both_ends() -> None:
    found = Counter(drawn(parse("a", {"min": 1, "max": 3}, "f.yaml")))
    assert set(found) == {1, 2, 3} and all(type(value) is int for value in found) and min(found.values()) > 90


def test_logarithmic_draws_have_their_median_at_the_geometric_mean() -> None:
    found = drawn(parse("a", {"distribution": "log_uniform_values", "min": 0.01, "max": 1.0}, "f.yaml"))
    assert 0.01 <= min(found) <= max(found) <= 1 and math.log10(np.median(found)) == pytest.approx(-1, abs=0.15)


def test_rounded_draws_are_multiples_within_the_range() -> None:
    assert set(drawn(parse("a", {"min": 0.1, "max": 0.7, "q": 0.1}, "f.yaml"))) == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
    log = drawn(parse("a", {"distribution": "q_log_uniform_values", "min": 1, "max": 101, "q": 10}, "f.yaml"))
    assert set(log) <= set(range(10, 101, 10)) and all(type(value) is int for value in log)
    assert np.median(log) == pytest.approx(30, abs=10)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([1, 2], "parameters.a.b must be a mapping such as {values: [...]} or {min: 0, max: 1}, got [1, 2] (f.yaml)."),
        ({}, "parameters.a.b must have a list of values, a value, or min and max, got {} (f.yaml)."),
        ({"min": 1}, "parameters.a.b must have a list of values, a value, or min and max, got {'min': 1} (f.yaml)."),
        ({"vlaues": [1]}, "parameters.a.b has no key 'vlaues' (f.yaml). Did you mean 'values'?"),
        ({"distribution": "normal", "mu": 0, "sigma": 1}, "parameters.a.b.distribution is not one that is drawn here,"),
        ({"distribution": "unifrom", **RANGE}, "parameters.a.b.distribution is not one that is drawn here, got 'unifr"),
        ({"values": [1, 2], "probabilities": [0.5, 0.5]}, "parameters.a.b.probabilities means nothing for categorical"),
        ({"parameters": {"c": {"value": 1}}}, "parameters.a.b.parameters: nested parameters are written with dots"),
        ({"values": []}, "parameters.a.b must have a list of values, got {'values': []} (f.yaml)."),
        ({"values": [1, 2, 1]}, "parameters.a.b.values must list each value once, got 1 twice (f.yaml)."),
        ({"min": 2, "max": 1}, "parameters.a.b.min must be < max, got 2 and 1 (f.yaml)."),
        ({"min": "1", "max": 2.0}, "parameters.a.b.min must be a number for uniform, got '1' (f.yaml)."),
        ({"distribution": "log_uniform_values", "min": 0, "max": 1}, "parameters.a.b.min must be > 0 for log_uniform"),
        ({"distribution": "int_uniform", "min": 0.5, "max": 2}, "parameters.a.b must have integers as min and max for"),
        ({"min": 0.1, "max": 1.0, "q": 0}, "parameters.a.b.q must be > 0, got 0 (f.yaml)."),
        ({"min": 0.1, "max": 1.0, "q": 2}, "parameters.a.b: fewer than two multiples of q=2 lie from 0.1 to 1.0"),
        ({"distribution": "constant"}, "parameters.a.b.value must be given for constant (f.yaml)."),
    ],
)
def test_refused_by_name(given: object, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse("a.b", given, "f.yaml")
    assert str(caught.value).startswith(said)


class TestSimplex:
    KEYS = ("teachers.a.weight", "teachers.b.weight")

    def test_shares_are_of_all_teachers_and_sum_to_one(self) -> None:
        teachers = {"a": {"weight": 1.0}, "b": {"weight": 2.0}, "c": {}}
        assert names.shares(teachers, self.KEYS) == {"a": 0.25, "b": 0.5, "c": 0.25}
        assert names.shares(teachers, ["stages.apo.loss.beta"]) == {}

    def test_the_weights_of_our_sweep_are_even_over_the_simplex(self) -> None:
        """A share of a Dirichlet of seven ones has mean 1/7 and variance 6/392 = 0.0153; eight values for each weight
        leave out the tail of the exponential, and a little of the variance."""
        spec = yaml.safe_load(Path(ROOT / "experiments/sweeps/teacher_weights.yaml").read_text())
        values = [own["values"] for own in spec["parameters"].values()]
        weights = np.stack([np.random.default_rng(k).choice(own, 20_000) for k, own in enumerate(values)], axis=1)
        shares = weights / weights.sum(1, keepdims=True)
        assert len(values) == 7 and spec["run_cap"] == 16
        assert shares.mean(0) == pytest.approx([1 / 7] * 7, abs=0.003)
        assert shares.var(0) == pytest.approx([6 / 392] * 7, rel=0.2)


def test_short_names_stay_apart() -> None:
    keys = ["stages.apo.loss.beta", "stages.apo.optim.beta", "stages.apo.optim.lr"]
    assert list(names.short(keys).values()) == [*keys[:2], "apo.lr"]
