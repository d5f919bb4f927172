"""Losses that ask what the other teachers say of a sentence: by hand, and from texts to the quantities of the stage."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from apo_lightning.batching.examples import preference_examples
from apo_lightning.drift.gate import cut_out
from apo_lightning.experiment.steps.fit import READ_TEXTS
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO, CHOSEN
from apo_lightning.text.conflict import statements, votes
from apo_lightning.types import PREFERRED, Branch, Scores, Study, Trajectory, Votes
from tests.helpers import tiny
from tests.unit.losses.test_loss_values import LOG2, LOG3, f64

FINDINGS = ["edema", "pneumonia", "pleural_effusion"]
SUM = {"beta": 1, "nll_weight": 0, "reduction": "sum"}


def conflict_batch() -> dict[str, torch.Tensor]:
    """Log-ratios: t+ (log 2, log 3), of which the second token is contradicted; teachers (7, log 4, log 2), in conflict
    in its last two tokens, and (log 5, 9), in its first."""
    ratio = f64([[[LOG2, LOG3, 0], [7, math.log(4), LOG2], [math.log(5), 9, 0]]])
    policy = -torch.ones_like(ratio)
    return {
        "policy_token_logps": policy,
        "reference_token_logps": policy - ratio,
        "conflict": torch.tensor([[[0, 1, 1], [0, 1, 1], [1, 0, 0]]]).bool(),
        "mask": torch.tensor([[[1, 1, 0], [1, 1, 1], [1, 1, 0]]]).bool(),
        "weight": f64([[1, 1, 1]]),
        "present": torch.ones(1, 3).bool(),
    }


def test_apo_conflict_on_both_sides_by_hand():
    """r_+ is log 3 alone, r_1 log 8, r_2 log 5: -log 3/16. The nll is that of the whole t+, 1 a token."""
    out = LOSSES["apo_conflict"](**{**SUM, "nll_weight": 0.5}, both=True)(**conflict_batch())
    assert out.loss.item() == pytest.approx(-math.log(3 / 16) + 0.5, abs=1e-12)
    assert out.metrics["reward_chosen"].item() == pytest.approx(LOG3, abs=1e-6)


def test_without_a_contested_sentence_of_the_preferred_nobody_is_pushed():
    """Only padding of t+ is in conflict: no reward of t+ stands against those of the teachers."""
    batch = conflict_batch()
    batch["conflict"][0, 0] = torch.tensor([False, False, True])
    tokens = batch["policy_token_logps"].requires_grad_()
    out = LOSSES["apo_conflict"](**SUM, both=True)(**batch)
    out.loss.backward()
    assert out.loss == 0 and not tokens.grad.any()
    assert LOSSES["apo_conflict"](**SUM)(**batch).loss > 0


def test_apo_majority_by_hand():
    """Votes of the first teacher's tokens (., 1, 2), of the second's (2, .), of t+ (0, 1). From 2 on: r_1 = log 2 and
    r_2 = log 5 against log 6 of the whole t+, -log 6/13; from 3 on nobody. From 1 on, on both sides: r_1 = log 8 and
    r_2 = log 5 against log 3. None asked for: ``apo_conflict``."""
    batch = conflict_batch()
    contradicted = torch.tensor([[[0, 1, 9], [9, 1, 2], [2, 9, 9]]])

    def value(votes: int, both: bool = False) -> float:
        return LOSSES["apo_majority"](**SUM, votes=votes, both=both)(**batch, contradicted=contradicted).loss.item()

    assert value(2) == pytest.approx(-math.log(6 / 13), abs=1e-12)
    assert value(3) == 0 == value(2, both=True)
    assert value(1, both=True) == pytest.approx(-math.log(3 / 16), abs=1e-12)
    assert value(0) == LOSSES["apo_conflict"](**SUM)(**batch).loss.item()


def agreement_batch(share: list[list[float]]) -> dict[str, torch.Tensor]:
    return {
        "chosen_token_logps": f64([[-4, -2, math.nan], [-1, -3, -5]]),
        "chosen_mask": torch.tensor([[1, 1, 0], [1, 1, 1]]),
        "chosen_present": torch.tensor([True, False]),
        "chosen_agreement": f64(share),
    }


def test_sft_agreement_by_hand():
    """Tokens of 4 and 2 nats that weigh 1/2 and 1: 4/1.5 a token by weight, 4 in all; unweighted 3 and 6. The second
    study has no t+."""
    for reduction, expected in {"token_mean": 4 / 1.5, "sequence_sum": 4.0}.items():
        out = LOSSES["sft_agreement"](reduction=reduction)(**agreement_batch([[0.5, 1, math.nan], [9, 9, 9]]))
        assert out.loss.item() == pytest.approx(expected, abs=1e-12)
        assert {k: v.item() for k, v in out.metrics.items()} == {"nll": 3, "logp_chosen": -6, "agreement": 0.75}


@pytest.mark.parametrize("reduction", ["token_mean", "sequence_sum"])
def test_where_all_agree_it_is_sft(reduction):
    batch = agreement_batch([[1, 1, 0], [1, 1, 1]])
    batch["chosen_present"][:] = True
    given = {"chosen_logps": f64([-6, -9]), "chosen_lengths": torch.tensor([2, 3]), "chosen_present": torch.ones(2) > 0}
    found, expected = LOSSES["sft_agreement"](reduction=reduction)(**batch), LOSSES["sft"](reduction=reduction)(**given)
    torch.testing.assert_close(found.per_study, expected.per_study)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_sft_agreement_refuses_a_share_outside_its_range(value):
    with pytest.raises(ValueError, match=r"chosen_agreement must be in \[0, 1\], got"):
        LOSSES["sft_agreement"](reduction="token_mean")(**agreement_batch([[0.5, value, 0], [0, 0, 0]]))


@pytest.mark.parametrize(
    ("text", "others", "expected"),
    [
        ("Edema.", ["Edema.", "No edema.", "No pneumonia."], [("Edema.", 1, 2)]),
        ("Edema. No edema.", ["No edema."], [("Edema.", 1, 1), ("No edema.", 0, 1)]),
        ("Left effusion and edema.", ["Right effusion. Edema."], [("Left effusion and edema.", 1, 1)]),
        ("Left effusion.", ["Effusion.", "Right effusion.", "Bilateral effusions."], [("Left effusion.", 1, 3)]),
        ("Edema.", [], [("Edema.", 0, 0)]),
        ("A chest. Cardiomegaly.", ["No cardiomegaly."], []),
        ("Edema.", ["I cannot interpret medical images. No edema."], [("Edema.", 0, 0)]),
    ],
)
def test_votes_by_hand(text: str, others: list[str], expected: list[tuple]) -> None:
    """A sentence, how many are against it, how many speak of it; of findings that are asked for alone."""
    found = votes(text, [statements(other, FINDINGS) for other in others], FINDINGS)
    assert [(text[vote.start : vote.end], vote.against, vote.judged) for vote in found] == expected


BEST = "Edema. No effusion."
SAID = {"a": "No edema. Pneumonia.", "b": "No edema.", "c": "Edema. No pneumonia.", "d": BEST, "e": "A chest film."}


def examples(weights: dict[str, float] | None = None, **how) -> list:
    study = Study("s", "p", "train", (), {})
    heard = {"s": {name: Trajectory("s", name, text) for name, text in SAID.items()}}
    weights = dict.fromkeys(SAID, 1.0) | (weights or {})
    return preference_examples([study], heard, weights, {"s": BEST}, compare=FINDINGS, counts=Counter(), **how)


def said_of(branch: Branch) -> list[tuple]:
    return [(branch.text[vote.start : vote.end], vote.against, vote.judged) for vote in branch.votes]


def test_teachers_vote_on_the_preferred_and_on_each_other() -> None:
    """Edema: a, b against c and d, of which d is a copy of t+ and is dropped, but has voted."""
    (example,) = examples()
    assert [branch.source for branch in example.branches] == [PREFERRED, "a", "b", "c", "e"]
    chosen, a, b, c, e = example.branches
    assert said_of(chosen) == [("Edema.", 2, 4), ("No effusion.", 0, 1)]
    assert [BEST[slice(*span)] for span in chosen.conflicts] == ["Edema."]
    assert said_of(a) == [("No edema.", 2, 3), ("Pneumonia.", 1, 1)] and said_of(b) == [("No edema.", 2, 3)]
    assert said_of(c) == [("Edema.", 2, 3), ("No pneumonia.", 1, 1)] and e.votes == ()


def test_a_teacher_without_weight_does_not_vote() -> None:
    (example,) = examples({"a": 0.0})
    assert said_of(example.branches[0])[0] == ("Edema.", 1, 3)
    assert said_of(example.branches[1])[0] == ("No edema.", 2, 3)


def test_nobody_votes_where_no_loss_asks() -> None:
    study, heard = Study("s", "p", "train", (), {}), {"s": {"a": Trajectory("s", "a", "No edema.")}}
    (example,) = preference_examples([study], heard, {"a": 1.0}, {"s": BEST}, counts=Counter())
    assert not any(branch.votes or branch.conflicts for branch in example.branches)


def collated(count: int = 2):
    (example,) = examples()
    item = tiny.item(0, {"a": "x"})
    return tiny.collator()([(replace(item[0], branches=example.branches[:count]), item[1])])


def test_tokens_have_the_votes_of_their_sentence() -> None:
    """The end of turn and what states nothing have none; a batch in which nobody votes has no tensors of them."""
    collate, batch = tiny.collator(), collated()
    tokens = [len(collate.answer(text).ids) for text in ("Edema.", BEST)]
    against, judged = batch.contradicted[0, 0].tolist(), batch.judged[0, 0].tolist()
    assert against[: tokens[1] + 1] == [2] * tokens[0] + [0] * (tokens[1] - tokens[0] + 1)
    assert judged[0] == 4 and judged[tokens[1] - 1] == 1 and judged[tokens[1]] == 0
    assert torch.equal(batch.conflict[0, 0], batch.contradicted[0, 0] > 0)
    assert batch.first(1).contradicted.shape[1] == 1 == batch.first(1).judged.shape[1]
    plain = collate([tiny.item(0, {"a": "No edema."})])
    assert plain.contradicted is None is plain.first(1).judged


def stage(name: str, **own) -> APO:
    student = tiny.student().make_trainable(seed=0)
    made = APO(student, LOSSES[name](**own), OptimSettings(lr=1e-3), steps=10, seed=0)
    made.log_loss = lambda output, batch, **extra: {"output": output, **extra}  # no Trainer here
    return made.train()


def test_the_stage_hands_over_votes_and_shares() -> None:
    """Half of the four who speak of edema agree that there is one."""
    batch = collated()
    zeros = torch.zeros(batch.branch_mask.shape)
    own = stage("sft_agreement", reduction="token_mean")
    given = own.quantities(batch, Scores(zeros, zeros.sum(-1), zeros.sum(-1)))
    assert given["chosen_agreement"][0, 0] == 0.5 and given["chosen_agreement"][0, -1] == 1
    assert torch.equal(given["contradicted"], batch.contradicted)
    batch.contradicted = batch.judged = None
    given = own.quantities(batch, Scores(zeros, zeros.sum(-1), zeros.sum(-1)))
    assert not given["contradicted"].any() and (given["chosen_agreement"] == 1).all()


def test_sft_agreement_is_not_charged_for_the_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    own, seen = stage("sft_agreement", reduction="token_mean"), []
    score = own.student.score
    monkeypatch.setattr(own.student, "score", lambda batch, *more: seen.append(batch) or score(batch, *more))
    out = own.training_step(collated(), 0)["output"]
    out.loss.backward()
    assert [batch.branch_ids.shape[1] for batch in seen] == [1] and 0 < out.metrics["agreement"] < 1
    assert any(p.grad is not None and p.grad.any() for p in own.student.parameters())


@pytest.mark.parametrize("name", ["apo_conflict", "apo_majority", "sft_agreement"])
def test_texts_are_compared_for_whoever_asks(name: str) -> None:
    assert needs(LOSSES[name]) & READ_TEXTS
    assert (needs(LOSSES[name]) <= CHOSEN) == (name == "sft_agreement")


def test_votes_move_with_a_text_that_is_cut() -> None:
    branch = Branch("a", "0123456789", votes=(Votes(0, 2, 1, 1), Votes(3, 5, 1, 1), Votes(6, 9, 0, 2)))
    assert cut_out(branch, [(2, 4), (9, 10)]).votes == (Votes(0, 2, 1, 1), Votes(4, 7, 0, 2))
