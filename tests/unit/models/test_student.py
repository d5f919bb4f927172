"""Load, train, save, load again; what the reference is; the 7B student on the meta device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.models.adapters import language_linears
from apo_lightning.models.sizes import count_on_meta
from apo_lightning.models.student import Student, read_record
from apo_lightning.settings import AdapterSettings, StudentSettings
from tests.helpers import tiny

ITEMS = [({"a": "No edema.", "b": "Mild left pneumonia."}), ({"a": "Effusion."})]


def batch():
    return tiny.collator()([tiny.item(i, texts) for i, texts in enumerate(ITEMS)])


def nudge(student: Student) -> None:
    """Big optimiser steps, so that adapters are not zero."""
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=5.0 if student.frozen is None else 0.05)
    for _ in range(2):
        student.score(batch()).logps.mean().neg().backward()
        optimizer.step()
        optimizer.zero_grad()


def test_all_linear_layers_of_the_language_part_and_no_others() -> None:
    names = language_linears(tiny.student().model)
    assert len(names) == 4 * 7  # q, k, v, o, gate, up, down of four layers
    assert all("language_model" in name for name in names)


@pytest.mark.parametrize("kind", ["lora", "full"])
@torch.no_grad()
def test_a_fresh_student_is_its_reference_to_the_last_bit(kind: str) -> None:
    student = tiny.student(kind=kind).make_trainable(seed=0)
    policy = student.score(batch()).logps
    with student.reference():
        assert torch.equal(student.score(batch()).logps, policy)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_the_reference_stands_still_while_the_student_moves(kind: str) -> None:
    student = tiny.student(kind=kind).make_trainable(seed=0)
    with torch.no_grad():
        before = student.score(batch()).logps
    nudge(student)
    with torch.no_grad(), student.reference():
        assert torch.equal(student.score(batch()).logps, before)
    with torch.no_grad():
        assert (student.score(batch()).logps - before).abs().max() > 0.1
    assert any(p.requires_grad for p in student.parameters())


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_two_stages_saved_and_loaded_are_the_same_student(kind: str, tmp_path: Path) -> None:
    model = str(tiny.folder(tmp_path / "base"))
    settings = StudentSettings(model=model, adapter=AdapterSettings(kind=kind), **tiny.LIMITS)
    first = Student.load(settings).make_trainable(seed=0)
    nudge(first)
    first.save(tmp_path / "one")
    second = Student.load(settings, tmp_path / "one").make_trainable(seed=1)
    with torch.no_grad():
        torch.testing.assert_close(second.score(batch()).logps, first.score(batch()).logps, atol=1e-4, rtol=0)
    nudge(second)
    second.save(tmp_path / "two")
    third = Student.load(settings, tmp_path / "two")
    with torch.no_grad():
        torch.testing.assert_close(third.score(batch()).logps, second.score(batch()).logps, atol=1e-4, rtol=0)
    assert not any(p.requires_grad for p in third.parameters())


def test_a_saved_adapter_names_its_layers_in_one_order(tmp_path: Path) -> None:
    """peft holds them as a set, whose order is another one in each process: equal students would be unequal files."""
    student = tiny.student().make_trainable(seed=0)
    student.save(tmp_path)
    names = json.loads((tmp_path / "adapters/0/adapter_config.json").read_text())["target_modules"]
    assert names == sorted(names) and len(names) > 7


def test_generation_stops_and_is_greedy(tmp_path: Path) -> None:
    student = tiny.student()
    prompts = tiny.collator()([tiny.item(i, {}) for i in range(2)])
    texts = student.generate(prompts, max_new_tokens=6)
    assert texts == student.generate(prompts, max_new_tokens=6)
    assert [len(written) for written in texts] == [1, 1]


def test_several_samples_are_seeded_and_differ() -> None:
    student = tiny.student()
    prompts, written = tiny.collator()([tiny.item(i, {}) for i in range(2)]), []
    for _ in range(2):
        torch.manual_seed(3)
        written.append(student.generate(prompts, max_new_tokens=6, sample=True, samples=3))
    assert written[0] == written[1]
    assert [len(set(texts)) for texts in written[0]] == [3, 3]


def test_an_answer_ends_at_any_of_the_stop_tokens() -> None:
    student = tiny.student()
    student.model.generation_config.eos_token_id = [7, 9]
    assert student.stop_tokens == sorted({7, 9, student.processor.tokenizer.eos_token_id})


def test_the_7b_student_and_its_adapter_have_the_published_sizes() -> None:
    sizes = {
        kind: count_on_meta(
            StudentSettings(
                model="Qwen/Qwen2.5-VL-7B-Instruct",
                adapter=AdapterSettings(kind=kind, r=8, alpha=32),
                **tiny.LIMITS,
            )
        )
        for kind in ("lora", "qlora")
    }
    # r x (inputs + outputs) of q, k, v, o, gate, up, down in 28 layers
    q = o = 3584 + 3584
    k = v = 3584 + 512
    mlp = 3584 + 18944
    assert sizes["lora"] == sizes["qlora"] == (8_292_166_656, 28 * 8 * (q + k + v + o + 3 * mlp))


def test_errors_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"student\.model 'nowhere/at-all'.*'nano'"):
        count_on_meta(StudentSettings(model="nowhere/at-all", **tiny.LIMITS))
    with pytest.raises(ArtifactError, match=r"student\.json is missing or unreadable.*run again"):
        read_record(tmp_path)
