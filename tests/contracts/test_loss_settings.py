"""How every registered loss takes its settings and says what it needs."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import pytest

from apo_lightning.errors import ConfigError
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import bind, needs
from apo_lightning.losses.preference import PreferenceLoss
from tests.helpers.loss_batches import choices, each_loss, preferences, settings

NAN, INF = math.nan, math.inf
REFUSED = {
    "beta": [0, -0.1, NAN, INF],
    "nll_weight": [-1, NAN, INF],
    "label_smoothing": [-0.1, 0.5, NAN],
    "length_alpha": [-0.1, 1.1, NAN],
    "temperature": [0, -1, NAN, INF],
    "mix": [0, 1, NAN],
    "temperature_squared": [],
    "penalty": [-1, NAN, INF],
    "factor": [0, 1.1, NAN],
    "calibration": [-1, NAN, INF],
    "form": [],
    "votes": [-1, 1.5, NAN],
    "both": [],
}
"""What our settings refuse, wherever a loss has them; a closed choice is read from the class."""
DEFAULTS = {
    "label_smoothing": 0.0,
    "length_alpha": 1.0,
    "mix": 0.5,
    "temperature_squared": False,
    "penalty": 50.0,
    "calibration": 1.0,
    "form": "pairwise",
    "both": False,
}
"""The only settings of ours that may be left out, and what they are then."""
OURS = {"beta", "nll_weight", "reduction", "order", "kind", "temperature", "factor", "votes", *DEFAULTS}


def example(name: str) -> dict[str, Any]:
    """Settings that the loss accepts; what is missing for that is said by ``test_it_can_be_tried``."""
    given = next(settings(name), None)
    return given if given is not None else pytest.skip("no settings to try it with")


@each_loss
def test_settings_are_frozen_and_must_be_given(name):
    """A value that the paper does not give is written in the experiment; what may be left out is named here."""
    full = example(name)
    loss = LOSSES[name](**full)
    with pytest.raises(dataclasses.FrozenInstanceError):
        loss.anything = None
    for field in dataclasses.fields(LOSSES[name]):
        less = {k: v for k, v in full.items() if k != field.name}
        default = DEFAULTS.get(field.name, dataclasses.MISSING) if field.name in OURS else field.default
        if default is not dataclasses.MISSING:
            assert getattr(LOSSES[name](**less), field.name) == default
            continue
        with pytest.raises(TypeError, match=field.name):
            LOSSES[name](**less)


@each_loss
def test_bad_settings_are_refused(name):
    """The message names the setting, what is allowed and the value."""
    full = example(name)
    for field in dataclasses.fields(LOSSES[name]):
        choice = choices(LOSSES[name], field.name)
        for value in ["nope"] if choice else REFUSED.get(field.name, []):
            wanted = (
                f"{field.name} must be one of .*, got 'nope'" if choice else f"{field.name} must be .*, got {value}"
            )
            with pytest.raises(ValueError, match=wanted):
                LOSSES[name](**{**full, field.name: value})


@pytest.mark.parametrize("name", preferences())
def test_mean_leaves_no_length_to_desensitize(name):
    given = {**example(name), "reduction": "mean", "length_alpha": 0.5}
    with pytest.raises(ValueError, match=r"length_alpha must be 1 with reduction 'mean', got 0\.5"):
        LOSSES[name](**given)


@each_loss
def test_quantities_are_required_keywords(name):
    parameters = list(inspect.signature(LOSSES[name].__call__).parameters.values())[1:]
    assert parameters and all(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)


@each_loss
def test_bind_refuses_a_stage_that_lacks_something(name):
    loss = LOSSES[name](**example(name))
    assert bind(loss, needs(loss) | {"more"}, "apo") == needs(loss) == needs(type(loss))
    for missing in needs(loss):
        with pytest.raises(ConfigError, match=f"Loss '{name}' needs {missing}, which stage 'apo' does not provide"):
            bind(loss, needs(loss) - {missing}, "apo")
    with pytest.raises(ConfigError, match="It provides: nothing"):
        bind(loss, frozenset(), "apo")


def test_a_preference_loss_without_its_term_says_what_is_missing():
    half = type("Half", (PreferenceLoss,), {})(beta=1, nll_weight=0, reduction="sum")
    with pytest.raises(NotImplementedError, match=r"Half must define preference\(seen\) or __call__"):
        half.preference(None)
