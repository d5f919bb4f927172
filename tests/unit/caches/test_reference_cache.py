"""Keys of prompts, answers and weights, and reference log-probs that are computed once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from apo_lightning.caches.keys import branch_key, prompt_key
from apo_lightning.caches.reference import ReferenceCache
from apo_lightning.caches.tensor_store import TensorStore
from apo_lightning.errors import ArtifactError
from tests.helpers import tiny

NAN = float("nan")
KEYS = [[b"00", b"01"], [b"10"]]
LENGTHS = torch.tensor([[3, 1], [2, 0]])
LOGPS = torch.tensor([[[-1.0, -2, -3], [-4, 0, 0]], [[-5, -6, 0], [0, 0, 0]]])


def cache(path: Path) -> ReferenceCache:
    return ReferenceCache(TensorStore(path / "reference.db", {"weights": "aa"}))


def equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))


def test_what_was_written_comes_back_in_a_batch_of_another_width(tmp_path: Path) -> None:
    cache(tmp_path).write(KEYS, LOGPS, LENGTHS)
    own = cache(tmp_path)
    logps, found = own.read(KEYS[::-1], (2, 2, 5), LENGTHS.flip(0))
    want = torch.tensor([[[-5.0, -6, 0, 0, 0], [0, 0, 0, 0, 0]], [[-1, -2, -3, 0, 0], [-4, 0, 0, 0, 0]]])
    assert logps.dtype == torch.float32 and torch.equal(logps, want) and found.all()
    assert (own.store.hits, own.store.misses) == (3, 0)


def test_unknown_branches_are_nan_and_only_they_are_written_later(tmp_path: Path) -> None:
    own = cache(tmp_path)
    own.write([[], [b"10"]], LOGPS, LENGTHS)
    logps, found = own.read(KEYS, (2, 2, 3), LENGTHS)
    assert found.tolist() == [[False, False], [True, True]]
    assert equal(logps, torch.tensor([[[NAN] * 3, [NAN] * 3], [[-5.0, -6, 0], [0, 0, 0]]]))
    own.write(KEYS, LOGPS, LENGTHS)
    assert (own.store.hits, own.store.misses, own.store.written) == (1, 2, 3)
    assert torch.equal(own.read(KEYS, (2, 2, 3), LENGTHS)[0], LOGPS)


def test_padding_and_gradients_do_not_enter_the_file(tmp_path: Path) -> None:
    padded = torch.where(LOGPS == 0, torch.tensor(NAN), LOGPS).double().requires_grad_()
    cache(tmp_path).write(KEYS, padded, LENGTHS)
    logps, _ = cache(tmp_path).read(KEYS, (2, 2, 3), LENGTHS)
    assert torch.equal(logps, LOGPS) and not logps.requires_grad


def test_a_row_of_another_length_is_refused_by_study(tmp_path: Path) -> None:
    own = cache(tmp_path)
    own.write(KEYS, LOGPS, LENGTHS)
    with pytest.raises(ArtifactError, match=r"study 1, branch 0 \(row 3130\) must have 3 float32 .*\(2,\).*Delete"):
        own.read(KEYS, (2, 2, 3), torch.tensor([[3, 1], [3, 0]]))
    own.store.put_many([(b"other", {"features": torch.zeros(3)}), (b"half", {"token_logps": torch.zeros(3).half()})])
    for key in (b"other", b"half"):
        with pytest.raises(ArtifactError, match="study 0, branch 0"):
            own.read([[key]], (1, 1, 3), torch.tensor([[3]]))


def test_unknown_log_probs_are_not_written(tmp_path: Path) -> None:
    own = cache(tmp_path)
    with pytest.raises(ValueError, match="study 1, branch 0 are NaN"):
        own.write(KEYS, torch.where(LOGPS == -6, torch.tensor(NAN), LOGPS), LENGTHS)
    assert len(own.store) == 0


def test_prompt_and_branch_keys_see_every_token_and_every_image() -> None:
    images = [b"a" * 32, b"b" * 32]
    prompt = prompt_key(images, [1, 2, 3])
    assert prompt == prompt_key(tuple(images), torch.tensor([1, 2, 3]))
    prompts = [prompt_key(other, [1, 2, 3]) for other in (images[::-1], images[:1], [b"".join(images)])]
    prompts += [prompt_key(images, ids) for ids in ([1, 3, 2], [1, 2, 3, 0], [])]
    branches = [branch_key(prompt, ids) for ids in ([1, 2, 3], [1, 2], [])] + [branch_key(prompts[0], [1, 2, 3])]
    assert len({prompt, *prompts, *branches}) == 11
    assert {len(key) for key in prompts + branches} == {32}


def test_a_branch_key_is_the_hash_that_a_file_of_another_year_holds() -> None:
    framed = (2).to_bytes(8, "little") + b"pp" + (16).to_bytes(8, "little") + bytes([5, *[0] * 7, 0, 1, *[0] * 6])
    assert branch_key(b"pp", [5, 256]) == hashlib.sha256(b"branch" + framed).digest()


def unpadded_keys(places: list[int], texts: dict[int, dict[str, str]]) -> dict[int, list[bytes]]:
    batch = tiny.collator()([tiny.item(place, texts[place]) for place in places])
    keys = {}
    for b, place in enumerate(places):
        prompt = prompt_key([bytes([place])], batch.prefix_ids[b][batch.prefix_mask[b].bool()].tolist())
        ids = [batch.branch_ids[b, u][batch.branch_mask[b, u].bool()].tolist() for u in range(len(texts[place]))]
        keys[place] = [branch_key(prompt, row) for row in ids]
    return keys


def test_padding_and_order_of_a_batch_do_not_change_keys() -> None:
    texts = {0: {"a": "No edema."}, 1: {"a": "Edema. There is a small left pleural effusion.", "b": "No edema."}}
    together, turned = unpadded_keys([0, 1], texts), unpadded_keys([1, 0], texts)
    assert together == turned == unpadded_keys([0], texts) | unpadded_keys([1], texts)
    assert len({key for keys in together.values() for key in keys}) == 3


def test_the_file_holds_no_text_of_the_study(tmp_path: Path) -> None:
    """Neither the words nor their token ids."""
    collator = tiny.collator()
    text = "Small left pleural effusion in the patient."
    batch = collator([tiny.item(0, {"a": text})])
    ids = batch.branch_ids[0, 0].tolist()
    key = branch_key(prompt_key([b"image"], batch.prefix_ids[0].tolist()), ids)
    cache(tmp_path).write([[key]], torch.randn(1, 1, len(ids)), torch.tensor([[len(ids)]]))
    content = (tmp_path / "reference.db").read_bytes()
    assert key in content and b"token_logps" in content
    for word in ("Small", "left", "pleural", "effusion", "patient", batch.studies[0]):
        assert word.encode() not in content
    for dtype in (torch.int64, torch.int32, torch.int16):
        assert torch.tensor(ids[:4]).to(dtype).numpy().tobytes() not in content
