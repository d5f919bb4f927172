"""Divergence over reasoning steps: worked out by hand, beside scipy, and under a student."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from torch.utils._python_dispatch import TorchDispatchMode

from apo_lightning.drift import steps
from apo_lightning.drift.curves import Curve, intervals
from apo_lightning.drift.segments import at_positions, sentence_spans, token_sentences
from tests.helpers import tiny

ZERO = -1e4
"""A log-prob whose probability is 0."""


def logs(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor([[np.log(p) if p else ZERO for p in row] for row in rows], dtype=torch.float32)


def test_distances_worked_out_by_hand() -> None:
    """Step 0: means (1/2, 1/2, 0) and (0, 1/2, 1/2), m = (1/4, 1/2, 1/4), JS = 1/2 (1/2 log 2) twice = 1/2 bit.
    Step 1: one teacher alone. The third teacher says nothing."""
    hidden = logs((1, 0, 0), (0, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 0))
    found = steps.distances(hidden, torch.eye(3), torch.tensor([0, 0, 1, 1, 1]), torch.tensor([0, 0, 0, 0, 1]), (3, 2))
    nan = np.nan
    np.testing.assert_allclose(found[0], [[0, 0.5, nan], [0.5, 0, nan], [nan, nan, nan]], atol=1e-6)
    assert np.isnan(found[1]).sum() == 8 and found[1, 1, 1] == 0


def test_a_bias_counts_and_tokens_of_no_step_do_not() -> None:
    """softmax(log(1/2, 1/2) + (log 3, 0)) = (3/4, 1/4) beside (1/4, 3/4)."""
    hidden = logs((0.5, 0.5), (0.1, 0.9), (0.9, 0.1))
    bias = torch.tensor([np.log(3.0), 0.0], dtype=torch.float32)
    found = steps.distances(hidden, torch.eye(2), torch.tensor([0, 1, 1]), torch.tensor([0, 0, -1]), (2, 1), bias=bias)
    want = jensenshannon([0.75, 0.25], [0.25, 0.75], base=2) ** 2  # (.3, .9) / 1.2
    assert found[0, 0, 1] == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize("chunk_bytes", [64, 4096, 1 << 25])
def test_distances_are_scipys_whatever_the_chunks(chunk_bytes: int) -> None:
    hidden, weight = torch.randn(60, 8), torch.randn(97, 8)
    owner, step = torch.arange(60) // 20, (torch.arange(60) % 20) // 7
    found = steps.distances(hidden, weight, owner, step, (3, 3), chunk_bytes=chunk_bytes)
    probs = (hidden @ weight.T).softmax(-1)
    means = [[probs[(owner == u) & (step == k)].mean(0) for k in range(3)] for u in range(3)]
    for k, u, v in np.ndindex(3, 3, 3):
        assert found[k, u, v] == pytest.approx(jensenshannon(means[u][k], means[v][k], base=2) ** 2, abs=2e-6)


class Largest(TorchDispatchMode):
    """The most numbers that one tensor has held."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


def test_nobody_holds_tokens_times_vocabulary() -> None:
    tokens, vocabulary, chunk = 600, 20_000, 1 << 18
    hidden, weight = torch.randn(tokens, 4), torch.randn(vocabulary, 4)
    with Largest() as seen:
        steps.distances(hidden, weight, torch.arange(tokens) // 300, torch.zeros(tokens, dtype=int), (2, 1),
                        chunk_bytes=chunk)  # fmt: skip
    assert seen.numbers <= max(chunk // 4, weight.numel()) < tokens * vocabulary / 100


@torch.no_grad()
def test_a_teacher_beside_itself_on_the_study_before() -> None:
    """The same text on the same image is 0 apart from itself, another one is not; the first study has none before."""
    texts = {"a": "No edema. Left pneumonia.", "b": "Severe right pneumothorax."}
    asked = [tiny.item(0, texts), tiny.item(0, texts), tiny.item(0, texts | {"b": "No edema."})]
    found, _ = steps.measure(tiny.student(), asked, tiny.collator(), ["a", "b"], steps=2)
    assert np.isnan(found.own[0]).all() and found.own[1] == pytest.approx([0, 0], abs=1e-6)
    alone, _ = steps.measure(tiny.student(), [asked[2]], tiny.collator(), ["a", "b"], steps=2)
    np.testing.assert_allclose(found.curve.studies[2], alone.curve.studies[0], atol=1e-6)
    assert (found.own[2] > 1e-4).all()


@torch.no_grad()
def test_a_student_is_the_scorer() -> None:
    """Against the logits of every sequence alone; equal beginnings are equal, whatever comes behind."""
    student, collate = tiny.student(seed=4), tiny.collator()
    same = "No edema. "
    texts = {"b": same + "Mild left pneumonia.", "a": same + "Severe right pneumothorax.", "c": ""}
    example, images = tiny.item(0, texts)
    position, sentence = steps.measure(student, [(example, images)], collate, ["a", "b", "c"], steps=2)
    assert (position.by, sentence.by, position.studies) == ("position", "sentence", [example.study.id])
    assert sentence.curve.pairs[0, 0, 1] == pytest.approx(0, abs=1e-6) and sentence.curve.pairs[1, 0, 1] > 1e-3

    batch = collate([(example, images)])
    logits = torch.zeros(3, batch.branch_ids.shape[2], len(student.head[0]))
    hidden, place = student.states(batch)
    logits[place[:, 1], place[:, 2]] = hidden @ student.head[0].T
    b, a = (logits[u, : int(batch.branch_mask[0, u].sum())].softmax(-1) for u in (0, 1))
    half_b, half_a = len(b) // 2, len(a) // 2
    want = jensenshannon(b[half_b:].mean(0), a[half_a:].mean(0), base=2) ** 2
    assert position.curve.pairs[1, 0, 1] == pytest.approx(want, abs=1e-5)


def test_studies_with_one_text_are_passed_over() -> None:
    found = steps.measure(tiny.student(), [tiny.item(0, {"a": "No edema."})], tiny.collator(), ["a", "b"], steps=3)
    assert [one.studies for one in found] == [[], []] and found[0].curve.studies.shape == (0, 3)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("No edema. Left effusion.", ["No edema.", "Left effusion."]),
        ("1. **Volume loss** - small\n2. Opacity", ["Volume loss** - small", "Opacity"]),
        ("...\n\n", []),
        ("", []),
        ("<think>Edema?</think> No edema.", ["No edema."]),
    ],
)
def test_sentences_of_a_text(text: str, parts: list[str]) -> None:
    assert [text[a:b].strip() for a, b in sentence_spans(text)] == parts


def test_tokens_belong_to_the_sentence_in_which_they_begin() -> None:
    offsets, spans = [(0, 1), (2, 4), (5, 9), (9, 9)], [(1, 4), (5, 9)]
    assert token_sentences(offsets, spans, 2).tolist() == [0, 0, 1, 1]
    assert token_sentences(offsets, spans, 1).tolist() == [0, 0, -1, -1]
    assert token_sentences(offsets, [], 2).tolist() == [0, 0, 0, 0]
    assert at_positions(0, 3) == [] and at_positions(3, 3) == [0, 1, 2]


def test_a_curve_is_means_with_intervals_over_patients() -> None:
    nan = np.nan
    one = np.array([[[0, 0.2, nan], [0.2, 0, nan], [nan, nan, nan]], [[0, 0.4, 0.6], [0.4, 0, 0.8], [0.6, 0.8, 0]]])
    curve = Curve.of([one, one + 0.1], 2, 3)
    np.testing.assert_allclose(curve.studies, [[0.2, 0.6], [0.3, 0.7]])
    np.testing.assert_allclose(curve.pairs[1, 0], [nan, 0.45, 0.65])
    told = curve.summary(["p", "q"])
    np.testing.assert_allclose(told["mean"], [0.25, 0.65])
    assert told["studies"] == [2, 2] and told["rise"]["value"] == pytest.approx(0.4)
    assert (told["low"][0], told["high"][0]) == pytest.approx((0.2, 0.3))
    assert np.isnan(curve.summary(["p", "p"])["low"]).all()  # one patient has no spread


def test_an_interval_goes_by_patients_not_by_studies() -> None:
    """Ten studies of one patient are one draw, so that the interval is as wide as with one of them."""
    values, patients = np.r_[np.zeros(10), 1.0, 0.5], ["p"] * 10 + ["q", "r"]
    few = intervals(np.array([[0.0], [1.0], [0.5]]), ["p", "q", "r"])
    many = intervals(values[:, None], patients)
    assert few[0][0] == 0 == many[0][0] and many[0][1] == few[0][1] == 1


@torch.no_grad()
def test_a_model_that_reads_text_only_is_a_scorer_too() -> None:
    """Hidden states through the shared prefix are those of each sequence alone."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from apo_lightning import scoring

    sizes = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, vocab_size=900)
    model = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
    batch = tiny.collator()([(tiny.item(0, {"a": "No edema.", "b": "Mild left pneumonia."})[0], [])])
    hidden, place = scoring.states(model, batch)
    for u in (0, 1):
        length = int(batch.branch_mask[0, u].sum())
        ids = torch.cat([batch.prefix_ids, batch.branch_ids[:1, u, :length]], 1)
        alone = model.model(input_ids=ids).last_hidden_state[0, batch.prefix_ids.shape[1] - 1 : -1]
        torch.testing.assert_close(hidden[place[:, 1] == u], alone, atol=1e-5, rtol=0)
