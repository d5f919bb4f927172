"""Which precision each part has in each setting, inside Lightning's autocast and outside of it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from apo_lightning import config, scoring
from apo_lightning.errors import ConfigError
from apo_lightning.models.student import Student
from apo_lightning.settings import AdapterSettings, StudentSettings
from tests.helpers import tiny

HALVES = ("bfloat16", "float16")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.folder(tmp_path_factory.mktemp("base")))


def student(base: str, dtype: str, kind: str = "lora") -> Student:
    own = StudentSettings(model=base, adapter=AdapterSettings(kind=kind), dtype=dtype, **tiny.LIMITS)
    return Student.load(own).make_trainable(0)


def batch():
    return tiny.collator()([tiny.item(0, {"a": "No edema.", "b": "Mild left pneumonia."})])


def autocast(dtype: str | None):
    return torch.autocast("cpu", dtype=getattr(torch, dtype)) if dtype else nullcontext()


class Products(TorchDispatchMode):
    """Notes in which precision matrices are multiplied."""

    NAMES = ("mm", "addmm", "addmm_", "bmm")

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in self.NAMES:
            self.seen |= {str(t.dtype).removeprefix("torch.") for t in args if isinstance(t, Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("dtype", ["float32", *HALVES])
@pytest.mark.parametrize("mixed", [None, "bfloat16"])
def test_products_of_layers_and_adapters_have_one_precision_and_masters_are_float32(
    dtype: str, mixed: str | None, base: str
) -> None:
    own = student(base, dtype)
    compute = mixed or dtype
    with autocast(mixed), Products() as products:
        scores = own.score(batch())
        scores.logps.sum().backward()
    assert products.seen == {compute}
    assert scores.token_logps.dtype == torch.float32
    trained = [p for p in own.parameters() if p.requires_grad]
    assert {p.dtype for p in trained} == {p.grad.dtype for p in trained} == {torch.float32}
    frozen = {p.dtype for name, p in own.named_parameters() if not p.requires_grad}
    assert frozen == {getattr(torch, dtype)}


@pytest.mark.parametrize("dtype", HALVES)
@torch.no_grad()
def test_a_score_is_the_same_number_inside_autocast_and_outside(dtype: str, base: str) -> None:
    own = student(base, dtype)
    outside = own.score(batch()).logps
    with autocast(dtype):
        assert torch.equal(own.score(batch()).logps, outside)


def test_full_fine_tuning_over_16_bits_learns_as_over_32(base: str) -> None:
    """Steps of 1e-5 are far under half a step of a bfloat16 weight, so bfloat16 masters would hardly move."""
    gained = {}
    for dtype in ("float32", "bfloat16"):
        own = student(base, dtype, kind="full")
        optimizer = torch.optim.AdamW([p for p in own.parameters() if p.requires_grad], lr=1e-5)
        scores = []
        for _ in range(12):
            logps = own.score(batch()).logps.sum()
            logps.neg().backward()
            optimizer.step()
            optimizer.zero_grad()
            scores.append(float(logps.detach()))
        gained[dtype] = scores[-1] - scores[0]
    assert gained["float32"] > 3
    assert gained["bfloat16"] == pytest.approx(gained["float32"], rel=0.1)


@pytest.mark.parametrize("dtype", HALVES)
@torch.no_grad()
def test_full_fine_tuning_starts_as_its_reference_and_loads_as_it_was(dtype: str, base: str, tmp_path: Path) -> None:
    own = student(base, dtype, kind="full")
    with own.reference():
        start = own.score(batch()).logps
    assert torch.equal(own.score(batch()).logps, start)
    for parameter in own.parameters():
        if parameter.requires_grad:
            parameter += 0.3 * parameter.std() * torch.randn_like(parameter)
    own.save(tmp_path / "0")
    live = own.score(batch()).logps
    loaded = Student.load(own.settings, tmp_path / "0").score(batch()).logps
    assert (live - start).abs().max() > 0.2
    torch.testing.assert_close(loaded, live, atol=0.01 if dtype == "bfloat16" else 0.002, rtol=0)


@pytest.mark.parametrize("scale", [4096.0, 65536.0, 2.0**20])
def test_a_loss_scaler_changes_no_gradient_in_float16(scale: float, base: str) -> None:
    """A linear loss backed up branch by branch, as SPD is, against the same loss scored jointly and unscaled in
    float32."""
    grads = {}
    for dtype, mode in (("float32", "joint"), ("float16", "joint"), ("float16", "branchwise")):
        own, asked = student(base, dtype), batch()
        grad_wrt_logps = torch.full((1, 2), -1e-5)
        factor = scale if dtype == "float16" else 1.0
        scores = (
            scoring.score(own.model, asked, mode=mode, grad_wrt_logps=grad_wrt_logps) if dtype == "float32" else None
        )
        if scores is None:
            own.settings.scorer.mode = mode
            scores = own.score(asked, grad_wrt_logps)
        ((scores.logps * grad_wrt_logps).sum() * factor).backward()
        found = [p.grad / factor for p in own.parameters() if p.requires_grad]
        grads[dtype, mode] = torch.cat([g.flatten() for g in found])
        assert grads[dtype, mode].isfinite().all()

    def error(one: Tensor, other: Tensor) -> float:
        return float((one - other).norm() / other.norm())

    assert error(grads["float16", "branchwise"], grads["float16", "joint"]) < 1e-3
    assert error(grads["float16", "branchwise"], grads["float32", "joint"]) < 2e-2


@pytest.mark.parametrize(
    ("dtype", "precision", "said"),
    [
        *[
            ("bfloat16", name, rf"must be one of 32-true, .*what is trained stays float32\), got '{name}'")
            for name in ("bf16-true", "16-true", "64-true", "transformer-engine", "bf17")
        ],
        ("float16", "32-true", "must be 16-mixed where student.dtype is float16"),
        ("float16", "bf16-mixed", "must be 16-mixed where student.dtype is float16"),
        ("bfloat16", "16-mixed", "must be bf16-mixed or 32-true"),
    ],
)
def test_precisions_in_which_updates_or_gradients_vanish_are_refused(dtype: str, precision: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.load(ROOT / "experiments" / "smoke.yaml", [f"student.dtype={dtype}", f"trainer.precision={precision}"])


@pytest.mark.parametrize(
    ("dtype", "precision"),
    [
        ("float32", "32-true"),
        ("float32", "bf16-mixed"),
        ("float32", "16-mixed"),
        ("bfloat16", "32-true"),
        ("bfloat16", "bf16-mixed"),
        ("float16", "16-mixed"),
    ],
)
def test_all_other_precisions_are_not(dtype: str, precision: str) -> None:
    cfg = config.load(ROOT / "experiments" / "smoke.yaml", [f"student.dtype={dtype}", f"trainer.precision={precision}"])
    assert (cfg.student.dtype, cfg.trainer.precision) == (dtype, precision)
