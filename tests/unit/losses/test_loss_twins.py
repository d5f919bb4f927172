"""Every loss against its naive twin: the equation in plain Python floats, one token, answer and study at a time."""

from __future__ import annotations

import pytest
import torch

from apo_lightning.functional.logprobs import sequence_logps
from apo_lightning.losses import LOSSES
from tests.helpers import reference_losses as naive

TWINS = [
    ("apo_listwise", "listwise", {}),
    ("apo_pairwise", "pairwise", {}),
    ("apo_conflict", "listwise", {}),
    ("apo_conflict", "listwise", {"both": True}),
    ("apo_majority", "listwise", {"votes": 2}),
    ("apo_majority", "listwise", {"votes": 2, "both": True}),
    ("apo_plackett_luce", "plackett_luce", {"order": "weight"}),
    ("apo_plackett_luce", "plackett_luce", {"order": "agreement"}),
]
"""Loss, its term in the helper of naive twins, and settings of its own."""
MORE = {
    "apo_plackett_luce": ("agreement",),
    "apo_conflict": ("conflict",),
    "apo_majority": ("conflict", "contradicted"),
}
"""What a loss asks for beyond the quantities of all preference losses."""
SHARED = ("policy_token_logps", "reference_token_logps", "mask", "weight", "present")


def random_batch(studies=6, teachers=4, tokens=7) -> dict[str, torch.Tensor]:
    """Mixed N, one study without a preferred answer, one without teachers, one weight 0, ties in agreement."""
    torch.manual_seed(0)
    shape = (studies, 1 + teachers)
    batch = {
        "policy_token_logps": -5 * torch.rand(*shape, tokens).double(),
        "reference_token_logps": -5 * torch.rand(*shape, tokens).double(),
        "mask": torch.arange(tokens) < torch.randint(1, tokens + 1, shape)[..., None],
        "weight": torch.rand(shape).double() + 0.1,
        "present": torch.rand(shape) > 0.3,
        "agreement": torch.randint(0, 4, shape).double() / 4,
        "conflict": torch.rand(*shape, tokens) > 0.6,
        "contradicted": torch.randint(0, 4, (*shape, tokens)),
    }
    batch["present"][:, 0] = True
    batch["present"][1, 0], batch["present"][2, 1:], batch["weight"][0, 2] = False, False, 0.0
    return batch


def lists(batch: dict[str, torch.Tensor], *names: str) -> list:
    return [batch[name].tolist() for name in names]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(("reduction", "alpha"), [("sum", 1.0), ("mean", 1.0), ("sum", 0.3), ("sum", 0.0)])
@pytest.mark.parametrize(("name", "term", "choice"), TWINS)
def test_preference_equals_naive_twin(name, term, choice, reduction, alpha, smoothing):
    settings = {
        "beta": 0.3,
        "nll_weight": 0.7,
        "reduction": reduction,
        "label_smoothing": smoothing,
        "length_alpha": alpha,
        **choice,
    }
    batch, more = random_batch(), MORE.get(name, ())
    got = LOSSES[name](**settings)(**{key: batch[key] for key in (*SHARED, *more)})
    extra = {key: batch[key].tolist() for key in more}
    expected = naive.preference(term, *lists(batch, *SHARED), **settings, **extra)
    assert got.loss.item() == pytest.approx(expected, rel=0, abs=1e-10)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_dpo_draws_every_pair_and_nothing_else(reduction):
    """The draws of DPO are the single pairs of a study: over 60 seeds each is met, and no other value."""
    settings = {"beta": 0.3, "nll_weight": 0.7, "reduction": reduction, "label_smoothing": 0.1}
    batch = {name: value[:1] for name, value in random_batch().items()}
    counted = batch["present"] & (batch["weight"] > 0)
    expected = set()
    for teacher in counted[0].nonzero().flatten().tolist()[1:]:
        pair = {name: batch[name][:, [0, teacher]] for name in SHARED}
        expected.add(round(naive.preference("pairwise", *lists(pair, *SHARED), **settings), 10))
    loss, batch = LOSSES["dpo"](**settings), {name: batch[name] for name in SHARED}
    seen = {round(loss(**batch, generator=torch.Generator().manual_seed(s)).loss.item(), 10) for s in range(60)}
    assert len(expected) > 1 and seen == expected


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_sum"])
def test_spd_and_sft_equal_naive_twins(reduction):
    batch = random_batch()
    logps, lengths = sequence_logps(batch["policy_token_logps"], batch["mask"])
    weight, present = batch["weight"], batch["present"]
    spd = LOSSES["spd_nll"](reduction=reduction)(logps=logps, lengths=lengths, weight=weight, present=present)
    expected = naive.spd_nll(logps.tolist(), lengths.tolist(), weight.tolist(), present.tolist(), reduction)
    assert spd.loss.item() == pytest.approx(expected, rel=0, abs=1e-10)
    sft = LOSSES["sft"](reduction=reduction)(
        chosen_logps=logps[:, 0], chosen_lengths=lengths[:, 0], chosen_present=present[:, 0]
    )
    expected = naive.sft(logps[:, 0].tolist(), lengths[:, 0].tolist(), present[:, 0].tolist(), reduction)
    assert sft.loss.item() == pytest.approx(expected, rel=0, abs=1e-10)


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_sum"])
def test_sft_agreement_equals_its_naive_twin(reduction):
    batch = random_batch()
    share = batch["contradicted"][:, 0] / 3
    share[4] = 0  # a study whose tokens weigh nothing
    given = [batch["policy_token_logps"][:, 0], batch["mask"][:, 0], share, batch["present"][:, 0]]
    names = ("chosen_token_logps", "chosen_mask", "chosen_agreement", "chosen_present")
    got = LOSSES["sft_agreement"](reduction=reduction)(**dict(zip(names, given, strict=True)))
    expected = naive.sft_agreement(*(value.tolist() for value in given), reduction)
    assert got.loss.item() == pytest.approx(expected, rel=0, abs=1e-10)
    assert got.per_study[4] == 0 and len(got.per_study.unique()) > 3


def test_length_alpha_one_is_the_plain_sum_bit_for_bit():
    batch = {key: value.float() if value.is_floating_point() else value for key, value in random_batch().items()}
    given = [batch[name] for name in SHARED]
    seen = LOSSES["apo_listwise"](beta=0.3, nll_weight=0, reduction="sum").candidates(*given)
    policy, reference = (torch.where(batch["mask"], tokens, 0).sum(-1) for tokens in given[:2])
    assert torch.equal(seen.rewards[batch["present"]], (0.3 * (policy - reference))[batch["present"]])
