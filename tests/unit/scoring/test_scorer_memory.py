"""Which way `auto` takes: the estimate by hand, and the choice on both sides of every edge."""

from __future__ import annotations

import pytest
import torch

from apo_lightning.scoring import Parts, memory, score
from apo_lightning.scoring.memory import choose, estimate
from apo_lightning.types import BranchBatch
from tests.helpers import families

P, TOKENS, LONGEST = 12, 8, 5
"""Prompt of 6 words and an image of 4 tokens between two brackets; answers of 5 and 3 tokens."""


@pytest.fixture
def parts() -> Parts:
    return Parts.of(families.network("llava"))


@pytest.fixture
def batch() -> BranchBatch:
    made = families.batch("llava", words=(6,), lengths=((5, 3),))
    assert made.prefix_ids.shape == (1, P)
    return made


def test_the_estimate_by_hand(parts: Parts, batch: BranchBatch) -> None:
    """Hidden 32, MLP 48, keys 2 x 8, queries 4 x 8, three layers of 4-byte numbers. A token of a layer holds 16 x 32 +
    4 x 48 + 4 x 16 = 768 of them, a prompt token that an answer reads 2 x (16 + 32) = 96, keys and values 2 x 16."""
    need = estimate(parts, batch)
    assert need.prompt == 4 * 3 * (P * 768 + P * 32)
    assert need.branch == 4 * 3 * (LONGEST * 768 + (P + LONGEST) * 96)
    assert need.branches == 4 * 3 * (TOKENS * 768 + (2 * P + TOKENS) * 96)


def test_checkpointed_layers_keep_their_input_and_one_layer_is_whole(parts: Parts, batch: BranchBatch) -> None:
    """And so are the gradients of the whole one: of its input, and of the gate and what it scales."""
    parts.whole.train().activation_checkpointing_enable({"use_reentrant": False})
    whole = 768 + 32 + 2 * 48
    assert estimate(parts, batch).branch == 4 * (3 * LONGEST * 32 + LONGEST * whole + (P + LONGEST) * 96)


def test_packed_in_16_bits_by_hand(batch: BranchBatch) -> None:
    """A token of a layer holds 4 x 32 + 2 x 32 + 2 x 16 + 4 x 48 = 416 numbers of 2 bytes, and no answer a copy of its
    prompt's keys and values."""
    need = estimate(Parts.of(families.network("llava").bfloat16()), batch, packed=True)
    assert need.prompt == 2 * 3 * P * 416
    assert need.branches == 2 * 3 * TOKENS * 416


def test_joint_to_the_last_byte_that_fits_then_branchwise(parts: Parts, batch: BranchBatch) -> None:
    need = estimate(parts, batch)
    assert choose(parts, batch, None, need.prompt + need.branches) == ("joint", None)
    assert choose(parts, batch, 3, need.prompt + need.branches) == ("joint", 3)
    assert choose(parts, batch, None, need.prompt + need.branches - 1) == ("branchwise", 1)


def test_packed_where_there_is_a_flash_attention(
    parts: Parts, batch: BranchBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last byte that fits, which is earlier than for joint; not where rows are limited, or the model cannot."""
    monkeypatch.setattr(memory, "_has_flash", lambda _: True)
    need = estimate(parts, batch, packed=True)
    assert choose(parts, batch, None, need.prompt + need.branches) == ("packed", None)
    assert choose(parts, batch, None, need.prompt + need.branches - 1)[0] == "branchwise"
    assert choose(parts, batch, 3, 10**9) == ("joint", 3)
    parts.whole.config.get_text_config().attention_dropout = 0.1
    assert choose(parts, batch, None, 10**9) == ("joint", None)


def test_branchwise_takes_as_many_answers_as_fit_and_never_none(parts: Parts) -> None:
    batch = families.batch("llava", words=(6,), lengths=((5, 5, 5, 5, 5, 5),))
    need = estimate(parts, batch)
    assert choose(parts, batch, None, need.prompt + 3 * need.branch) == ("branchwise", 3)
    assert choose(parts, batch, None, need.prompt + 4 * need.branch - 1) == ("branchwise", 3)
    assert choose(parts, batch, 2, need.prompt + 3 * need.branch) == ("branchwise", 2)
    assert choose(parts, batch, None, 1) == ("branchwise", 1)


@torch.no_grad()
def test_without_gradients_nothing_is_run_twice(parts: Parts, batch: BranchBatch) -> None:
    assert choose(parts, batch, None, 1) == ("joint", 1)


def test_auto_gives_the_same_scores_with_and_without_room(batch: BranchBatch) -> None:
    model = families.network("llava")
    roomy, tight = (score(model, batch, mode="auto", budget=budget).token_logps for budget in (10**12, 1))
    torch.testing.assert_close(tight, roomy, atol=1e-5, rtol=0)
