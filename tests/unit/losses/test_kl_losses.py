"""The losses on teachers' logits: reductions by hand and by loops, and how the two losses relate."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from apo_lightning.functional.teacher_logits import mixture
from apo_lightning.losses import LOSSES
from tests.helpers import reference_losses as naive
from tests.helpers.given_logits import given_logits

NAMES = {"spd_kl": "divergence", "spd_mixture_kl": "mixture_divergence"}
each_loss = pytest.mark.parametrize("name", sorted(NAMES))


def f64(values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def build(name: str, **settings):
    return LOSSES[name](**{"kind": "forward", "temperature": 1.0, "reduction": "token_mean", **settings})


def run(name: str, batch: dict[str, Tensor], **settings):
    """Hands the divergences over under the name that the loss has for them."""
    given = {NAMES[name] if key == "values" else key: value for key, value in batch.items()}
    return build(name, **settings)(**given)


def by_hand() -> dict[str, Tensor]:
    """Study 0: trajectories of (1, 3) and (4), weights 3 and 1. Study 1: no teacher, NaN throughout."""
    return {
        "values": f64([[[1, 3, math.nan], [4, math.nan, 9]], [[math.nan] * 3, [5, math.nan, 5]]]).requires_grad_(),
        "mask": torch.tensor([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [1, 1, 1]]]),
        "weight": f64([[3, 1], [1, 0]]),
        "present": torch.tensor([[True, True], [False, True]]),
    }


@each_loss
@pytest.mark.parametrize(
    ("settings", "value", "slope"),
    [
        ({"reduction": "token_mean"}, 3 / 4 * 2 + 1 / 4 * 4, [3 / 8, 3 / 8, 1 / 4]),
        ({"reduction": "sequence_sum"}, 3 / 4 * 4 + 1 / 4 * 4, [3 / 4, 3 / 4, 1 / 4]),
        ({"temperature": 2.0}, 2.5, [3 / 8, 3 / 8, 1 / 4]),
        ({"temperature": 2.0, "temperature_squared": True}, 10.0, [1.5, 1.5, 1.0]),
    ],
)
def test_by_hand(name, settings, value, slope):
    """Shares 3/4 and 1/4. Masked NaN, absent teachers and weight 0 reach neither value nor gradient; the second study
    has no teacher and is no part of the mean. The metric is 2.5 a token whatever the reduction and the temperature."""
    batch = by_hand()
    output = run(name, batch, **settings)
    assert output.loss.item() == pytest.approx(value) and output.per_study.tolist() == pytest.approx([value, 0])
    assert output.metrics["divergence"].item() == pytest.approx(2.5)
    output.loss.backward()
    gradient = batch["values"].grad
    assert gradient[0, 0, :2].tolist() + gradient[0, 1, :1].tolist() == pytest.approx(slope)
    assert gradient.isfinite().all() and gradient[0, 0, 2] == 0 and (gradient[0, 1, 1:] == 0).all()
    assert (gradient[1] == 0).all()


@each_loss
@pytest.mark.parametrize("reduction", ["token_mean", "sequence_sum"])
def test_equals_naive_twin(name, reduction):
    batch = {
        "values": torch.rand(5, 3, 4).double(),
        "mask": torch.rand(5, 3, 4) > 0.4,
        "weight": torch.rand(5, 3).double(),
        "present": torch.rand(5, 3) > 0.3,
    }
    batch["mask"][..., 0], batch["present"][0], batch["weight"][1, 2] = True, False, 0
    studies = []
    for values, mask, weight, present in zip(*(x.tolist() for x in batch.values()), strict=True):
        share, total = naive.weights(weight, present, 1.0), 0.0
        for s, row, kept in zip(share, values, mask, strict=True):
            seen = [x for x, k in zip(row, kept, strict=True) if k]
            total += s * sum(seen) / (len(seen) if reduction == "token_mean" else 1)
        if any(share):
            studies.append(total)
    assert len(studies) == 4
    assert run(name, batch, reduction=reduction).loss.item() == pytest.approx(sum(studies) / 4, abs=1e-12)


def at_one_state(kind: str) -> tuple[list[tuple[Tensor, Tensor]], tuple[Tensor, Tensor], Tensor]:
    """Values and slopes of three teachers and of their mixture, at the same token states; the teachers' weights."""
    teachers, student = [given_logits(2 * torch.randn(6, 9).double()) for _ in range(3)], torch.randn(6, 9).double()
    weight = f64([0.5, 0.3, 0.2])
    each = [build("spd_kl", kind=kind).rows(t)(student.clone(), slice(0, 6), True) for t in teachers]
    mixed = build("spd_mixture_kl", kind=kind).rows(mixture(teachers, weight))(student.clone(), slice(0, 6), True)
    return each, mixed, weight


def test_mixture_of_kls_and_kl_of_the_mixture_have_one_gradient():
    """They differ by the teachers' disagreement, which is above 0 and the same for every student."""
    each, mixed, weight = at_one_state("forward")
    summed = [sum(w * pair[i] for w, pair in zip(weight, each, strict=True)) for i in (0, 1)]
    torch.testing.assert_close(summed[1], mixed[1], rtol=0, atol=1e-12)
    assert (summed[0] - mixed[0]).min() > 0.1


@pytest.mark.parametrize("kind", ["reverse", "jensen_shannon"])
def test_the_other_divergences_part(kind):
    each, mixed, weight = at_one_state(kind)
    assert (sum(w * slope for w, (_, slope) in zip(weight, each, strict=True)) - mixed[1]).abs().max() > 1e-2


@pytest.mark.parametrize("kind", ["forward", "reverse", "jensen_shannon"])
def test_a_student_that_is_the_mixture_has_nothing_to_learn(kind):
    teachers, weight = [given_logits(torch.randn(6, 9).double()) for _ in range(3)], f64([0.5, 0.3, 0.2])
    mixed = mixture(teachers, weight)
    loss = build("spd_mixture_kl", kind=kind, temperature=2.0)
    values, slope = loss.rows(mixed)(2 * mixed(slice(0, 6), 2.0), slice(0, 6), True)
    assert values.abs().max() < 1e-12 and slope.abs().max() < 1e-12


def test_rows_take_the_settings_of_the_loss():
    teacher, student = given_logits(torch.randn(4, 5).double()), torch.randn(4, 5).double()

    def value(**settings) -> float:
        return build("spd_kl", **settings).rows(teacher)(student.clone(), slice(0, 4), False)[0].sum().item()

    settings = [{}, {"temperature": 2.0}, {"kind": "reverse"}, {"kind": "jensen_shannon"}]
    settings += [{"kind": "jensen_shannon", "mix": 0.2}]
    assert len({round(value(**s), 9) for s in settings}) == 5
    assert value(reduction="sequence_sum", temperature_squared=True) == value()


@each_loss
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "nope"}, "kind must be one of forward, reverse, jensen_shannon, got 'nope'"),
        ({"reduction": "nope"}, "reduction must be one of token_mean, sequence_sum, got 'nope'"),
        ({"temperature": -1.0}, r"temperature must be > 0, got -1\.0"),
        ({"mix": 1.0}, r"mix must be in \(0, 1\), got 1\.0"),
    ],
)
def test_bad_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        build(name, **settings)
