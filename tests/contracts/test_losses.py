"""What every registered loss promises. New losses are tested because they are registered.

A loss with a setting or a quantity unknown here needs one line in NUMBERS, REFUSED or ``quantities``.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import Tensor

from apo_lightning.errors import ConfigError
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import PreferenceLoss, bind, needs
from apo_lightning.types import LossOutput

NUMBERS = {"beta": [0.3], "nll_weight": [0.5], "label_smoothing": [0.0, 0.1]}
"""Values to test a numeric setting with; a closed choice (Literal) is read from the class."""
NAN, INF = math.nan, math.inf
REFUSED = {"beta": [0, -0.1, NAN, INF], "nll_weight": [-1, NAN, INF], "label_smoothing": [-0.1, 0.5, NAN]}


def values(kind: type, field: str) -> list[Any]:
    hint = get_type_hints(kind)[field]
    return list(get_args(hint)) if get_origin(hint) is Literal else NUMBERS[field]


def settings(name: str) -> Iterator[dict[str, Any]]:
    """Every combination of the tested values of a loss's settings."""
    fields = [f.name for f in dataclasses.fields(LOSSES[name])]
    for combination in itertools.product(*(values(LOSSES[name], field) for field in fields)):
        yield dict(zip(fields, combination, strict=True))


def preferences(prefix: str = "") -> list[str]:
    return [name for name, kind in LOSSES.items() if name.startswith(prefix) and issubclass(kind, PreferenceLoss)]


CASES = [
    pytest.param(name, given, id="-".join([name, *map(str, given.values())]))
    for name in LOSSES
    for given in settings(name)
]
each_case = pytest.mark.parametrize(("name", "given"), CASES)
each_loss = pytest.mark.parametrize("name", LOSSES)


def batch(studies: int = 5, teachers: int = 5, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Random answers ``[B, 1+N]``, slot 0 preferred: N varies, study 1 has no preferred answer, study 2 no teacher."""
    draw = torch.Generator().manual_seed(0)
    shape = (studies, 1 + teachers)
    out = {
        "policy": -20 * torch.rand(shape, generator=draw, dtype=dtype),
        "reference": -20 * torch.rand(shape, generator=draw, dtype=dtype),
        "lengths": torch.randint(1, 30, shape, generator=draw),
        "weight": torch.rand(shape, generator=draw, dtype=dtype) + 0.1,
        "present": torch.rand(shape, generator=draw) > 0.25,
    }
    out["present"][:, 0] = out["present"][0] = True
    out["present"][1:2, 0] = out["present"][2:3, 1:] = False
    return out


def quantities(given: dict[str, Tensor], policy: Tensor, seed: int) -> dict[str, Any]:
    """Everything that a stage may provide, by the name a loss asks for it."""
    return {
        "policy_logps": policy, "logps": policy, "reference_logps": given["reference"], "lengths": given["lengths"],
        "weight": given["weight"], "present": given["present"], "generator": torch.Generator().manual_seed(seed),
        "chosen_logps": policy[:, 0], "chosen_lengths": given["lengths"][:, 0],
        "chosen_present": given["present"][:, 0],
    }  # fmt: skip


def run(loss: Any, given: dict[str, Tensor], seed: int = 0) -> tuple[LossOutput, Tensor]:
    """Output and gradient with respect to the policy's log-probs ``[B, 1+N]``."""
    policy = given["policy"].clone().requires_grad_()
    have = quantities(given, policy, seed)
    out = loss(**{name: have[name] for name in needs(loss)})
    out.loss.backward()
    return out, policy.grad


def columns(given: dict[str, Tensor], index: list[int]) -> dict[str, Tensor]:
    return {name: value[:, index] for name, value in given.items()}


def rows(given: dict[str, Tensor], index: list[int]) -> dict[str, Tensor]:
    return {name: value[index] for name, value in given.items()}


def close(a, b) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def same(a: tuple[LossOutput, Tensor], b: tuple[LossOutput, Tensor]) -> None:
    """Two results of ``run`` agree in everything."""
    (out, grad), (expected, expected_grad) = a, b
    close((out.loss, out.per_study, out.metrics), (expected.loss, expected.per_study, expected.metrics))
    close(grad, expected_grad)


@each_case
def test_output_has_its_form(name, given):
    """A scalar, a value a study, their mean over the studies that have something; float64 stays float64."""
    out, grad = run(LOSSES[name](**given), batch())
    assert out.loss.shape == () and out.per_study.shape == (5,)
    assert out.loss.dtype == out.per_study.dtype == torch.float64
    close(out.loss, out.per_study[out.per_study != 0].mean())
    assert grad.any() and out.metrics
    for value in out.metrics.values():
        assert value.shape == () and value.dtype == torch.float32 and not value.requires_grad and value.isfinite()


@each_case
def test_pulls_the_preferred_answer_up(name, given):
    """A step down the gradient never lowers the answer in slot 0 (for SPD a teacher like the others)."""
    _, grad = run(LOSSES[name](**given), batch())
    assert (grad[:, 0] <= 0).all() and grad[0, 0] < 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1e4, -1e4])
@each_case
def test_extreme_gaps_are_finite(name, given, gap, dtype):
    """Reward gaps of 1e4 and more, either way, mixed with NaN where absent."""
    extreme = batch(dtype=dtype)
    extreme["policy"][:, 1:] -= gap * 30 / 0.3
    extreme["policy"][~extreme["present"]] = extreme["reference"][~extreme["present"]] = math.nan
    out, grad = run(LOSSES[name](**given), extreme)
    assert out.loss.isfinite() and out.per_study.isfinite().all() and grad.isfinite().all()


@each_case
def test_absent_branches_change_nothing(name, given):
    """Three more columns of NaN that are not present: same value, same metrics, same gradient, none in the columns."""
    loss, plain = LOSSES[name](**given), batch()
    padded = columns(plain, [*range(6), 1, 1, 1])
    for key in padded:
        padded[key][:, 6:] = 0 if key in ("lengths", "present") else math.nan
    (out, grad), expected = run(loss, padded), run(loss, plain)
    same((out, grad[:, :6]), expected)
    assert not grad[:, 6:].any()


@each_case
def test_study_with_nothing_changes_nothing(name, given):
    loss, plain = LOSSES[name](**given), batch()
    padded = rows(plain, [0, 1, 2, 3, 4, 0])
    padded["present"][5] = False
    (out, grad), (expected, expected_grad) = run(loss, padded), run(loss, plain)
    close((out.loss, out.metrics), (expected.loss, expected.metrics))
    close(grad[:5], expected_grad)
    assert out.per_study[5] == 0 and not grad[5].any()


@each_case
def test_empty_batch_is_zero_and_still_has_a_graph(name, given):
    """All studies without anything: 0 with gradient 0, so that a distributed backward does not hang."""
    empty = batch()
    empty["present"][:] = False
    out, grad = run(LOSSES[name](**given), empty)
    assert out.loss == 0 and not grad.any()


@each_case
def test_batch_order_changes_nothing(name, given):
    """Losses that draw get one teacher a study, since their draws follow the order by design."""
    loss = LOSSES[name](**given)
    plain = batch(teachers=1 if "generator" in needs(loss) else 5)
    order = [3, 0, 4, 2, 1]
    (out, grad), (expected, expected_grad) = run(loss, rows(plain, order)), run(loss, plain)
    close((out.loss, out.per_study, out.metrics), (expected.loss, expected.per_study[order], expected.metrics))
    close(grad, expected_grad[order])


@each_case
def test_permuting_teachers_with_their_weights_changes_nothing(name, given):
    """For losses that draw: the same outcomes are possible, over 60 seeds."""
    loss, plain = LOSSES[name](**given), rows(batch(), [0])
    order = [0, 3, 1, 5, 2, 4]
    seeds = range(60) if "generator" in needs(loss) else [0]

    def outcomes(given: dict[str, Tensor], back: list[int]) -> Tensor:
        runs = [run(loss, given, seed) for seed in seeds]
        values = torch.stack([torch.cat([out.loss[None], grad[0, back]]) for out, grad in runs])
        return values.mul(1e9).round().unique(dim=0)

    close(outcomes(columns(plain, order), [order.index(i) for i in range(6)]), outcomes(plain, list(range(6))))


@each_case
def test_weight_zero_is_as_good_as_absent(name, given):
    loss = LOSSES[name](**given)
    zero, absent = batch(), batch()
    zero["weight"][:, [2, 4]], absent["present"][:, [2, 4]] = 0, False
    result = run(loss, zero)
    same(result, run(loss, absent))
    assert not result[1][:, [2, 4]].any()


@each_case
def test_scale_of_the_weights_changes_nothing(name, given):
    loss, plain, scaled = LOSSES[name](**given), batch(), batch()
    scaled["weight"] *= 100
    same(run(loss, scaled), run(loss, plain))


@each_case
def test_reads_its_inputs_only(name, given):
    loss, plain, kept = LOSSES[name](**given), batch(), batch()
    same(run(loss, plain), run(loss, plain))
    close(plain, kept)


@pytest.mark.parametrize("name", preferences())
def test_value_where_policy_is_reference(name):
    """All rewards 0: log(1+N) for N = 1..7 mixed in one batch for the listwise loss, log 2 for those of pairs."""
    start = batch(studies=7, teachers=7)
    start["policy"], start["weight"][:] = start["reference"].clone(), 1
    start["present"] = torch.arange(8) <= torch.arange(1, 8)[:, None]
    out, _ = run(LOSSES[name](beta=0.3, nll_weight=0, reduction="sum"), start)
    of_pairs = torch.full((7,), math.log(2), dtype=torch.float64)
    close(out.per_study, torch.arange(2, 9).double().log() if "listwise" in name else of_pairs)
    assert all(out.metrics[key] == 0 for key in ("reward_chosen", "reward_rejected", "margin", "accuracy"))


@pytest.mark.parametrize("given", list(settings("dpo")), ids=str)
@pytest.mark.parametrize("name", preferences("apo_"))
def test_one_teacher_of_weight_one_is_dpo(name, given):
    pair = batch(teachers=1)
    pair["weight"][:] = 1
    same(run(LOSSES[name](**given), pair), run(LOSSES["dpo"](**given), pair))


@pytest.mark.parametrize("name", preferences())
def test_copy_of_the_preferred_answer_carries_no_gradient_in_its_pair(name):
    """One teacher whose text is t+: both log-probs are one function of the parameters, and their gradients cancel."""
    pair = columns(rows(batch(), [0]), [0, 0])
    pair["weight"][:] = 1
    _, grad = run(LOSSES[name](beta=0.3, nll_weight=0, reduction="sum"), pair)
    assert grad[0, 0] == -grad[0, 1] != 0


def test_copy_beside_another_teacher_only_dilutes_pairwise():
    """Parameters feel t+ and its copy through one log-prob: beside the copy, the other pair gives half."""
    both = columns(rows(batch(), [0]), [0, 0, 1])
    both["weight"][:] = 1
    loss = LOSSES["apo_pairwise"](beta=0.3, nll_weight=0, reduction="sum")
    (_, with_copy), (_, without) = run(loss, both), run(loss, columns(both, [0, 2]))
    close(with_copy[0, 0] + with_copy[0, 1], without[0, 0] / 2)
    close(with_copy[0, 2], without[0, 1] / 2)


@each_loss
def test_settings_are_frozen_and_must_be_given(name):
    """A value that the paper does not give is written in the experiment: only label smoothing has a default."""
    full = next(settings(name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(LOSSES[name](**full), next(iter(full)), None)
    for field in dataclasses.fields(LOSSES[name]):
        if field.name != "label_smoothing":
            with pytest.raises(TypeError, match=field.name):
                LOSSES[name](**{k: v for k, v in full.items() if k != field.name})


@each_loss
def test_bad_settings_are_refused(name):
    """The message names the setting, what is allowed and the value."""
    full = next(settings(name))
    for field, hint in get_type_hints(LOSSES[name]).items():
        choice = get_origin(hint) is Literal
        for value in ["nope"] if choice else REFUSED[field]:
            wanted = f"{field} must be one of .*, got 'nope'" if choice else f"{field} must be .*, got {value}"
            with pytest.raises(ValueError, match=wanted):
                LOSSES[name](**{**full, field: value})


@each_loss
def test_quantities_are_required_keywords(name):
    parameters = list(inspect.signature(LOSSES[name].__call__).parameters.values())[1:]
    assert parameters and all(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in parameters)


@each_loss
def test_bind_refuses_a_stage_that_lacks_something(name):
    loss = LOSSES[name](**next(settings(name)))
    assert bind(loss, needs(loss) | {"more"}, "apo") == needs(loss) == needs(type(loss))
    for missing in needs(loss):
        with pytest.raises(ConfigError, match=f"Loss '{name}' needs {missing}, which stage 'apo' does not provide"):
            bind(loss, needs(loss) - {missing}, "apo")
    with pytest.raises(ConfigError, match="It provides: nothing"):
        bind(loss, frozenset(), "apo")
