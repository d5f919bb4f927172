"""What every registered loss promises. New losses are tested because they are registered."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.stages import STAGES
from tests.helpers.loss_batches import (
    batch,
    close,
    columns,
    counts,
    each_case,
    each_loss,
    each_preference,
    each_reducing,
    preferences,
    rows,
    run,
    same,
    settings,
    tried,
)


@each_case
def test_output_has_its_form(name, given):
    """A scalar, a value a study, their mean over the studies that count; float64 stays float64."""
    plain = batch()
    out, grad = run(LOSSES[name](**given), plain)
    assert out.loss.shape == () and out.per_study.shape == (5,)
    assert out.loss.dtype == out.per_study.dtype == torch.float64
    means = [out.per_study[counted].mean() for counted in counts(name, plain)]
    assert any(torch.isclose(out.loss, mean, rtol=1e-10) for mean in means), "loss is not the mean of per_study"
    assert not out.per_study[~counts(name, plain)[0]].any()
    assert grad.any() and out.metrics
    for value in out.metrics.values():
        assert value.shape == () and value.dtype == torch.float32 and not value.requires_grad and value.isfinite()


@each_case
def test_pulls_the_preferred_answer_up(name, given):
    """A step down the gradient lowers no token of the answer in slot 0 (for SPD a teacher like the others), and raises
    all scored tokens of some study's; a loss may be content with others. One that declares that it does not pull up
    lowers an answer that is far above the reference."""
    loss, plain = LOSSES[name](**given), batch()
    _, grad = run(loss, plain)
    scored = plain["mask"][:, 0] & plain["present"][:, :1]
    assert ((grad[:, 0] < 0) == scored).all(-1)[scored.any(-1)].any()
    if getattr(loss, "pulls_up", True):
        assert (grad[:, 0] <= 0).all()
    else:
        plain["policy"] = plain["reference"] + 100
        assert (run(loss, plain)[1][:, 0] > 0).any(), "it declares that it does not pull up, and lowers nothing"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gap", [1e4, -1e4])
@each_case
def test_extreme_gaps_are_finite(name, given, gap, dtype):
    """Reward gaps of 1e4 and more, either way, mixed with NaN where absent or not scored."""
    extreme = batch(dtype=dtype)
    extreme["policy"][:, 1:] -= gap * 10 / 0.3
    unseen = ~(extreme["mask"] & extreme["present"][..., None])
    extreme["policy"][unseen] = extreme["reference"][unseen] = math.nan
    out, grad = run(LOSSES[name](**given), extreme)
    assert out.loss.isfinite() and out.per_study.isfinite().all() and grad.isfinite().all()


@each_case
def test_tokens_that_are_not_scored_change_nothing(name, given):
    """NaN in the padding, and two more tokens of padding that "conflict"."""
    loss, plain = LOSSES[name](**given), batch()
    longer = {key: value[..., [*range(6), 0, 0]] if value.dim() == 3 else value for key, value in plain.items()}
    longer["mask"][..., 6:], longer["conflict"][..., 6:] = False, True
    longer["policy"][~longer["mask"]] = longer["reference"][~longer["mask"]] = math.nan
    (out, grad), expected = run(loss, longer), run(loss, plain)
    same((out, grad[..., :6]), expected)
    assert not grad[~longer["mask"]].any()


@each_case
def test_absent_branches_change_nothing(name, given):
    """Three more columns of NaN that are not present: same value, same metrics, same gradient, none in the columns."""
    loss, plain = LOSSES[name](**given), batch()
    padded = columns(plain, [*range(6), 1, 1, 1])
    for value in padded.values():
        value[:, 6:] = math.nan if value.is_floating_point() else True
    padded["present"][:, 6:] = False
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
        values = torch.stack([torch.cat([out.loss[None], grad[0, back].flatten()]) for out, grad in runs])
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


@each_case
def test_linear_is_what_it_says(name, given):
    """The gradient of a linear loss is known before the log-probs are: it is that of any other log-probs, too."""
    loss, plain = LOSSES[name](**given), batch()
    if not getattr(loss, "linear", False):
        return
    for scale in (0.0, 2.0, 50.0):
        other = batch()
        other["policy"] = other["policy"].flip(-1) * scale
        assert torch.equal(run(loss, plain)[1], run(loss, other)[1]), "it declares linear, and its gradient changes"


@each_preference
def test_desensitizing_leaves_the_likelihoods_alone(name, given):
    """The nll term and the logged log-probs are those of whole answers, and so is every nll-only study."""
    loss, plain = LOSSES[name](**given), batch()
    whole = dataclasses.replace(loss, length_alpha=1.0)
    (out, _), (expected, _) = run(loss, plain), run(whole, plain)
    for key in ("nll", "logp_chosen", "logp_rejected"):
        close(out.metrics[key], expected.metrics[key])
    close(out.per_study[2], expected.per_study[2])
    assert loss.length_alpha < 1 or out.loss == expected.loss


@each_preference
def test_rewards_are_0_where_policy_is_reference(name, given):
    start = batch(studies=7, teachers=7)
    start["policy"] = start["reference"].clone()
    out, _ = run(LOSSES[name](**given), start)
    assert all(out.metrics[key] == 0 for key in ("reward_chosen", "reward_rejected", "margin", "accuracy"))


FACTORIALS = [math.log(math.factorial(n + 1)) for n in range(1, 8)]
LISTWISE, PAIRWISE = [math.log(1 + n) for n in range(1, 8)], [math.log(2)] * 7
AT_START = {
    ("apo_listwise", None): LISTWISE,
    ("apo_conflict", None): LISTWISE,
    ("apo_majority", None): LISTWISE,
    ("apo_plackett_luce", "weight"): LISTWISE,
    ("apo_plackett_luce", "agreement"): FACTORIALS,
    ("dpo", None): PAIRWISE,
    ("apo_pairwise", None): PAIRWISE,
    ("dpop", None): PAIRWISE,
    ("dpo_shift", None): PAIRWISE,
    ("cal_dpo", None): [math.log(2) + 1 / (2 * 0.3**2)] * 7,
}
"""Value of each of our losses, by its order, for N = 1..7 where policy and reference are one model."""


@pytest.mark.parametrize(("name", "order"), AT_START)
def test_value_where_policy_is_reference(name, order):
    """All rewards 0, N = 1..7 mixed in one batch, weights equal and agreements not."""
    start = batch(studies=7, teachers=7)
    start["policy"], start["weight"][:], start["conflict"][:] = start["reference"].clone(), 1, True
    start["contradicted"][:] = 9
    start["present"] = torch.arange(8) <= torch.arange(1, 8)[:, None]
    for given in (one for one in settings(name) if one.get("order") == order):
        out, _ = run(LOSSES[name](**{**given, "nll_weight": 0, "label_smoothing": 0.0}), start)
        close(out.per_study, torch.tensor(AT_START[name, order], dtype=torch.float64))


@each_reducing
def test_one_teacher_of_weight_one_is_dpo(name, given):
    """Of a loss that declares ``reduces_to_dpo``, where all of the teacher's text is in conflict."""
    pair = batch(teachers=1)
    pair["weight"][:], pair["conflict"][:] = 1, True
    shared = {key: value for key, value in given.items() if key in next(settings("dpo"))}
    same(run(LOSSES[name](**given), pair), run(LOSSES["dpo"](**shared), pair))


@each_reducing
def test_copy_of_the_preferred_answer_carries_no_gradient_in_its_pair(name, given):
    """One teacher whose text is t+: both log-probs are one function of the parameters, and their gradients cancel."""
    pair = columns(rows(batch(), [0]), [0, 0])
    pair["weight"][:], pair["conflict"][:] = 1, True
    _, grad = run(LOSSES[name](**{**given, "nll_weight": 0}), pair)
    assert torch.equal(grad[0, 0], -grad[0, 1]) and grad.any()


def test_copy_beside_another_teacher_only_dilutes_pairwise():
    """Parameters feel t+ and its copy through one log-prob: beside the copy, the other pair gives half."""
    both = columns(rows(batch(), [0]), [0, 0, 1])
    both["weight"][:] = 1
    loss = LOSSES["apo_pairwise"](beta=0.3, nll_weight=0, reduction="sum")
    (_, with_copy), (_, without) = run(loss, both), run(loss, columns(both, [0, 2]))
    close(with_copy[0, 0] + with_copy[0, 1], without[0, 0] / 2)
    close(with_copy[0, 2], without[0, 1] / 2)


def test_our_preference_losses_declare_that_they_reduce_to_dpo():
    ours = {"apo_listwise", "apo_pairwise", "apo_plackett_luce", "apo_conflict", "dpo"}
    assert ours <= {name for name in preferences() if LOSSES[name].reduces_to_dpo}


@each_loss
def test_a_stage_provides_what_it_needs(name):
    provided = [kind.provides for kind in STAGES.values() if hasattr(kind, "provides")]
    unknown = sorted(needs(LOSSES[name]) - frozenset().union(*provided))
    assert any(needs(LOSSES[name]) <= names for names in provided), (
        f"no stage provides all that '{name}' needs; unknown to every stage: {', '.join(unknown) or 'nothing'}"
    )


@each_loss
def test_it_can_be_tried(name):
    untold = [field for field, values in tried(LOSSES[name]).items() if not values]
    assert not untold, (
        f"'{name}' has no default for {', '.join(untold)}: give the class a classmethod example() that returns a dict "
        "with a value of each to test it with, or a default"
    )
    assert next(settings(name), None), f"'{name}' refuses all that it is tried with: {tried(LOSSES[name])}"
