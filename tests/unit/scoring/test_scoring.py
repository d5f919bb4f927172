"""The scorer against a plain forward of one unpadded sequence at a time."""

from __future__ import annotations

import pytest
import torch

from apo_lightning.scoring import score
from tests.helpers import tiny

TEXTS = {"a": "No edema. Mild left pneumonia.", "b": "Edema: yes, severe.", "c": "I see no atelectasis."}


def alone(model: torch.nn.Module, place: int, text: str) -> torch.Tensor:
    """Token log-probabilities of one answer, by hand: one sequence, no padding, log-softmax of everything."""
    batch = tiny.collator()([tiny.item(place, {"a": text})])
    ids = torch.cat([batch.prefix_ids, batch.branch_ids[:, 0]], 1)
    pad = tiny.processor().tokenizer.convert_tokens_to_ids("<|image_pad|>")
    types = (ids == pad).int()
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), mm_token_type_ids=types, **batch.vision).logits[
        0
    ]
    start = batch.prefix_ids.shape[1]
    return torch.stack([logits[i - 1].log_softmax(-1)[ids[0, i]] for i in range(start, ids.shape[1])])


@torch.no_grad()
def test_scores_are_those_of_each_sequence_alone() -> None:
    model = tiny.student().model
    rows = [(0, TEXTS), (1, {"a": "Effusion is absent."}), (2, {"a": "No.", "b": "Severe right pneumothorax is seen."})]
    scores = score(model, tiny.collator()([tiny.item(place, texts) for place, texts in rows]))
    for b, (place, texts) in enumerate(rows):
        for u, text in enumerate(texts.values()):
            want = alone(model, place, text)
            torch.testing.assert_close(scores.token_logps[b, u, : len(want)], want, atol=2e-5, rtol=0)
            assert scores.token_logps[b, u, len(want) :].abs().sum() == 0
            assert scores.lengths[b, u] == len(want)
    assert scores.logps[1, 1:].tolist() == [0.0, 0.0]


@torch.no_grad()
def test_the_image_matters_and_reaches_its_own_study() -> None:
    model = tiny.student().model
    both = score(model, tiny.collator()([tiny.item(0, TEXTS), tiny.item(5, TEXTS)])).logps
    swapped = score(model, tiny.collator()([tiny.item(5, TEXTS), tiny.item(0, TEXTS)])).logps
    torch.testing.assert_close(both, swapped.flip(0), atol=2e-5, rtol=0)
    assert (both[0] - both[1]).abs().min() > 1e-4


@torch.no_grad()
def test_two_images_of_one_study_stay_together() -> None:
    model, collate = tiny.student().model, tiny.collator()
    (first, a), (second, b), (_, c) = (tiny.item(place, TEXTS) for place in (0, 1, 2))
    together = score(model, collate([(first, [*a, *c]), (second, b)])).logps
    apart = torch.cat([score(model, collate([(first, [*a, *c])])).logps, score(model, collate([(second, b)])).logps])
    torch.testing.assert_close(together, apart, atol=2e-5, rtol=0)


def test_gradients_flow_to_the_adapter_only() -> None:
    student = tiny.student().make_trainable(seed=0)
    student.score(tiny.collator()([tiny.item(0, TEXTS)])).logps.sum().backward()
    moved = {name for name, p in student.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved
    assert all("lora_" in name and "visual" not in name for name in moved)


@pytest.mark.parametrize("padding", [1, 7])
@torch.no_grad()
def test_more_padding_changes_nothing(padding: int) -> None:
    model = tiny.student().model
    batch = tiny.collator()([tiny.item(0, TEXTS)])
    plain = score(model, batch).logps
    batch.prefix_ids = torch.nn.functional.pad(batch.prefix_ids, (padding, 0))
    batch.prefix_mask = torch.nn.functional.pad(batch.prefix_mask, (padding, 0))
    batch.branch_ids = torch.nn.functional.pad(batch.branch_ids, (0, padding))
    batch.branch_mask = torch.nn.functional.pad(batch.branch_mask, (0, padding))
    torch.testing.assert_close(score(model, batch).logps, plain, atol=2e-5, rtol=0)
