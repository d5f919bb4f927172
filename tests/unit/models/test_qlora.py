"""LoRA over 4-bit weights: adapters are stacked instead of merged, and the reference is still the student before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from apo_lightning.models.adapters import NEWEST
from apo_lightning.models.student import Student
from apo_lightning.settings import AdapterSettings, StudentSettings
from tests.helpers import tiny

pytest.importorskip("bitsandbytes")


def batch():
    return tiny.collator()([tiny.item(0, {"a": "No edema.", "b": "Edema."})])


def trained(student: Student, seed: int) -> Student:
    student.make_trainable(seed).train()
    optimizer = torch.optim.SGD([p for p in student.parameters() if p.requires_grad], lr=5.0)
    for _ in range(2):
        student.score(batch()).logps.mean().neg().backward()
        optimizer.step()
        optimizer.zero_grad()
    return student


@torch.no_grad()
def logps(student: Student) -> torch.Tensor:
    return student.score(batch()).logps


def test_the_second_stage_lies_over_the_frozen_first(tmp_path: Path) -> None:
    model = str(tiny.folder(tmp_path / "base"))
    settings = StudentSettings(model=model, adapter=AdapterSettings(kind="qlora", dropout=0.0), **tiny.LIMITS)
    assert any(type(m).__name__ == "Linear4bit" for m in Student.load(settings).modules())
    first = trained(Student.load(settings), 0)
    first.save(tmp_path / "one")
    second = Student.load(settings, tmp_path / "one").make_trainable(1).train()
    torch.testing.assert_close(logps(second), logps(first), atol=5e-3, rtol=0)
    with second.reference():
        assert torch.equal(second.score(batch()).logps, logps(second))
    assert {n.split(".")[-2] for n, p in second.named_parameters() if p.requires_grad} == {NEWEST}
    second = trained(Student.load(settings, tmp_path / "one"), 1)
    with second.reference():
        torch.testing.assert_close(second.score(batch()).logps, logps(first), atol=5e-3, rtol=0)
    assert (logps(second) - logps(first)).abs().max() > 0.1
    second.save(tmp_path / "two")
    assert [path.name for path in sorted((tmp_path / "two" / "adapters").iterdir())] == ["0", "1"]
    torch.testing.assert_close(
        logps(Student.load(settings, tmp_path / "two").train()), logps(second), atol=5e-3, rtol=0
    )


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_after_an_evaluation_are_those_before_it(tmp_path: Path, checkpointing: bool) -> None:
    """On processors with AVX512-BF16 the library packs 4-bit layers in evaluation, in a form that has no gradient; a
    validation, or answers that were written before, would leave the layers below untrained, or end in an error."""
    settings = StudentSettings(
        model=str(tiny.folder(tmp_path / "base")),
        adapter=AdapterSettings(kind="qlora"),
        gradient_checkpointing=checkpointing,
        **tiny.LIMITS,
    )
    student = Student.load(settings).make_trainable(0).train()

    def gradients() -> dict[str, torch.Tensor]:
        student.zero_grad()
        student.score(batch()).logps.mean().backward()
        return {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}

    before, seen = gradients(), logps(student)
    assert max(float(value.abs().max()) for value in before.values()) > 0
    assert torch.equal(logps(student.eval()), seen)
    after = gradients() if student.train() else {}
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
