"""Top-k log-probs on disk: what comes back, what a token costs, and what is refused."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import pytest
import torch

from apo_lightning.caches.bits import bits_of, pack, unpack
from apo_lightning.caches.log_probs import LogProbs, identity, key
from apo_lightning.caches.tensor_store import TensorStore
from apo_lightning.errors import ArtifactError, DataError
from apo_lightning.functional.teacher_logits import TopK, head_logits, top_k

VOCABULARY = 151_936
"""Of Qwen2.5-VL."""


def known(length: int, k: int, vocabulary: int = VOCABULARY, seed: int = 0, temperature: float = 1.0) -> TopK:
    """Of a head that is drawn at random, as spread out as a language model is."""
    torch.manual_seed(seed)
    teacher = head_logits(torch.randn(length, 16) * 0.8, torch.randn(vocabulary, 16))
    return top_k(teacher, length, k, vocabulary=vocabulary, temperature=temperature)


def tokens(length: int, vocabulary: int = VOCABULARY, seed: int = 0) -> torch.Tensor:
    return torch.randint(vocabulary, (length,), generator=torch.Generator().manual_seed(seed))


def file(folder: Path, k: int = 8, precision: str = "float32", vocabulary: int = VOCABULARY, **more: str) -> LogProbs:
    return LogProbs(folder / "x.sqlite", identity(k, 1.0, precision, vocabulary, **more))


@pytest.mark.parametrize("vocabulary", [2, 300, 49_152, 65_536, 65_537, 151_936, 262_208])
def test_ids_come_back_in_as_many_bits_as_they_need(vocabulary: int) -> None:
    ids, bits = torch.cat([tokens(37, vocabulary), torch.tensor([0, vocabulary - 1])]), bits_of(vocabulary)
    assert 2 ** (bits - 1) < vocabulary <= 2**bits
    assert len(pack(ids, bits)) == math.ceil(39 * bits / 8)
    assert torch.equal(unpack(pack(ids, bits), bits, 39), ids)


def test_what_does_not_fit_the_bits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ids must be in \[0, 8\), got 3 to 8"):
        pack(torch.tensor([3, 8]), 3)
    with pytest.raises(ValueError, match=r"got -1 to 2"):
        pack(torch.tensor([-1, 2]), 3)
    with pytest.raises(ValueError, match="5 ids of 3 bits must be 2 bytes, got 1"):
        unpack(torch.zeros(1, dtype=torch.uint8), 3, 5)
    assert unpack(pack(torch.zeros(0), 3), 3, 0).tolist() == []


def test_float32_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    """Of a text that was cut, its first tokens."""
    top, said = known(9, 8), tokens(9)
    file(tmp_path).write([("s1", said, top)])
    for count in (9, 4):
        found = LogProbs(tmp_path / "x.sqlite").top_k("s1", said[:count])
        assert torch.equal(found.ids, top.ids[:count]) and torch.equal(found.logps, top.logps[:count])
        assert torch.equal(found.tail, top.tail[:count]) and found.temperature == 1.0


def test_float16_is_close_and_has_a_mass_of_one(tmp_path: Path) -> None:
    top, said = known(9, 8), tokens(9)
    file(tmp_path, precision="float16").write([("s1", said, top)])
    found = LogProbs(tmp_path / "x.sqlite").top_k("s1", said)
    assert torch.equal(found.ids, top.ids)
    torch.testing.assert_close(found.logps, top.logps, atol=4e-3, rtol=1e-3)
    mass = torch.cat([found.logps, found.tail[:, None]], 1).double().exp().sum(-1)
    torch.testing.assert_close(mass, torch.ones(9).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("precision", "k", "most"), [("float32", 32, 222), ("float16", 32, 151), ("float16", 64, 297)])
def test_what_a_token_costs_on_the_disk(tmp_path: Path, precision: str, k: int, most: int) -> None:
    """Bytes of the whole file by tokens: 60 texts of 150 tokens. K (18 / 8 + 4) + 18 / 8 + 4 is 206 for 32 in float32;
    keys, checksums, headers and what pages leave empty come on top, below 8 %."""
    top = known(150, k)
    file(tmp_path, k, precision).write((f"s{i}", tokens(150, seed=i), top) for i in range(60))
    size = (tmp_path / "x.sqlite").stat().st_size / (60 * 150)
    plain = (k + 1) * (18 / 8 + (4 if precision == "float32" else 2))
    assert plain < size < most


def test_a_new_text_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    own = file(tmp_path)
    own.write([("s1", tokens(9), known(9, 8)), ("s2", tokens(3), known(3, 8))])
    own.write([("s1", tokens(5, seed=1), known(5, 8, seed=1))])
    assert own.difference("s1", tokens(5, seed=1).tolist()) is None and len(own.store) == 2
    assert torch.equal(own.tokens("s1"), tokens(5, seed=1)) and own.tokens("s3") is None


def test_another_text_is_named_with_its_first_difference(tmp_path: Path) -> None:
    own = file(tmp_path, vocabulary=100)
    own.write([("s1", torch.tensor([7, 8, 9]), known(3, 8, 100))])
    for said, says in (
        ([7, 5, 9], "of 3 tokens, the one at 1 is 8 there and 5 here"),
        ([7, 8, 9, 4], "of 3 tokens, the one at 3 is no more there and 4 here"),
    ):
        with pytest.raises(DataError, match=f"another text of study 's1': {says}"):
            own.top_k("s1", torch.tensor(said))
        assert says in own.difference("s1", said)
    with pytest.raises(DataError, match="has no log-probs of study 's2'"):
        own.top_k("s2", torch.tensor([7]))


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        LogProbs(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_another_model_are_not_mixed_in(tmp_path: Path) -> None:
    file(tmp_path, model="a", prompt="p")
    file(tmp_path, model="a", prompt="p").write([("s1", tokens(2), known(2, 8))])
    for how, says in (
        ({"model": "b", "prompt": "p"}, "model was 'a', is 'b'"),
        ({"model": "a", "prompt": "q"}, "prompt was 'p', is 'q'"),
        ({"model": "a", "prompt": "p", "k": 9}, "k was '8', is '9'"),
    ):
        with pytest.raises(ArtifactError, match=says):
            file(tmp_path, **how)


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"rows": "reference"}, "has no top-k log-probs of this form"),
        ({"k": "many"}, "says of itself what it cannot be"),
        ({"precision": "int4"}, "says of itself what it cannot be"),
    ],
)
def test_another_store_is_refused(tmp_path: Path, facts: dict[str, str], says: str) -> None:
    TensorStore(tmp_path / "x.sqlite", {**identity(8, 1.0, "float32", 100), **facts}).put_many([(b"k", {})])
    with pytest.raises(ArtifactError, match=says):
        LogProbs(tmp_path / "x.sqlite")


@pytest.mark.parametrize("name", ["tokens", "ids", "logps", "tail", "mass", "beyond"])
def test_a_row_that_does_not_fit_together_is_refused(tmp_path: Path, name: str) -> None:
    """One of its parts is short, missing, or says what no distribution is."""
    own, top = file(tmp_path, vocabulary=100), known(3, 8, 100)
    own.write([("s1", torch.tensor([1, 2, 3]), top)])
    row = own.store.get_many([key("s1")])[0]
    if name == "mass":
        row["logps"] = row["logps"] * 0
    elif name == "beyond":
        row["ids"] = torch.full_like(row["ids"], 255)
    else:
        row[name] = row[name][:-1]
    own.store.put_many([(key("s1"), row)], replace=True)
    with pytest.raises(ArtifactError, match=r"the row of study 's1' is damaged"):
        own.top_k("s1", torch.tensor([1, 2, 3]))


def test_a_damaged_byte_is_found(tmp_path: Path) -> None:
    own = file(tmp_path)
    own.write([("s1", tokens(9), known(9, 8))])
    own.store.close()
    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        connection.execute("UPDATE rows SET value = zeroblob(length(value))")
    with pytest.raises(ArtifactError, match="checksum differs"):
        LogProbs(tmp_path / "x.sqlite").top_k("s1", tokens(9))


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = file(tmp_path)
    monkeypatch.setattr(TensorStore, "put_many", lambda self, items, replace: None)
    with pytest.raises(ArtifactError, match=r"takes no more rows\. Make room on the disk"):
        own.write([("s1", tokens(9), known(9, 8))])
