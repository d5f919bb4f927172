"""Adapters and norms of 16 bits as single operations: the same function as peft's and the library's own."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear
from torch import Tensor, nn

from apo_lightning.layers import LoraLinear, rounded_once, use_fused_norms, use_lora_linear
from apo_lightning.layers.lora_linear import lora_linear
from tests.helpers import tiny


class Two(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(24, 40), nn.Linear(40, 16, bias=False)
        self.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


def adapted(dtype: torch.dtype, *, dropout: float = 0.0, names: tuple[str, ...] = ("one", "two")) -> nn.Module:
    """Two adapters of different rank and scale on each layer, the last one trained."""
    model = Two(dtype)
    for rank, name in enumerate(names, start=2):
        config = LoraConfig(
            r=rank, lora_alpha=7, lora_dropout=dropout, target_modules=["first", "second"], init_lora_weights=False
        )
        model = get_peft_model(model, config, name) if rank == 2 else (model.add_adapter(name, config), model)[1]
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            parameter.data = parameter.data.float()
            parameter.requires_grad_(f".{names[-1]}." in key)
    model.base_model.set_adapter(list(names))
    for key, parameter in model.named_parameters():
        parameter.requires_grad_(f".{names[-1]}." in key)
    return model


def passed(model: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Output, gradient of the input, gradients of what is trained."""
    torch.manual_seed(1)
    x = torch.randn(3, 5, 24).to(dtype).requires_grad_()
    model.zero_grad()
    with torch.autocast("cpu", dtype=dtype, enabled=dtype != torch.float32):
        out = model(x)
    (out.float() * torch.linspace(-1, 1, 16)).sum().backward()
    return out.detach().float(), x.grad.float(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def test_by_hand() -> None:
    """x = (1, 2), W = identity, b = (1, 1), A = (1, 1), B = (1, 0)', s = 2: (1, 2) + (1, 1) + 2 * 3 * (1, 0)."""
    x = torch.tensor([[1.0, 2.0]], requires_grad=True)
    down, up = torch.ones(1, 2, requires_grad=True), torch.tensor([[1.0], [0.0]], requires_grad=True)
    found = lora_linear(x, torch.eye(2), torch.ones(2), (2.0,), [(down, up, None)])
    assert found.tolist() == [[8.0, 3.0]]
    found.sum().backward()
    assert x.grad.tolist() == [[3.0, 3.0]]  # W' 1 + s A' B' 1
    assert down.grad.tolist() == [[2.0, 4.0]]  # s (B' 1) x
    assert up.grad.tolist() == [[6.0], [6.0]]  # s (A x)


def test_gradients_by_differences() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    shapes = [(2, 5, 3), (2, 3), (4, 2), (1, 3), (4, 1), (2, 5, 3)]
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def function(x: Tensor, a1: Tensor, b1: Tensor, a2: Tensor, b2: Tensor, read: Tensor) -> Tensor:
        return lora_linear(x, weight, bias, (0.5, 3.0), [(a1, b1, None), (a2, b2, read)])

    assert torch.autograd.gradcheck(function, inputs)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_no_further_from_float32_than_pefts_own(dtype: torch.dtype, dropout: float) -> None:
    """With dropout too: the same draws, since a mask depends on the shape and not on the precision."""
    low = adapted(dtype, dropout=dropout)
    high = copy.deepcopy(low).float()
    wanted, theirs = passed(high, torch.float32), passed(low, dtype)
    use_lora_linear(low)
    assert {type(m) for m in low.modules() if isinstance(m, Linear)} == {LoraLinear}
    ours = passed(low, dtype)
    assert ours[2].keys() == theirs[2].keys() == wanted[2].keys()
    for one, other, true in zip(flat(ours), flat(theirs), flat(wanted), strict=True):
        assert one.dtype == torch.float32
        assert (one - true).norm() <= 1.5 * (other - true).norm() + 1e-3 * true.norm()


def flat(found: tuple[Tensor, Tensor, dict[str, Tensor]]) -> list[Tensor]:
    return [found[0], found[1], *found[2].values()]


@pytest.mark.parametrize("what", ["float32", "off", "merged"])
def test_whatever_else_peft_does_stays_pefts(what: str) -> None:
    dtype = torch.float32 if what == "float32" else torch.bfloat16
    model = adapted(dtype)
    if what == "merged":
        model.merge_adapter()
    found = []
    for ours in (False, True):
        if ours:
            use_lora_linear(model)
        torch.manual_seed(3)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype != torch.float32):
            x = torch.randn(4, 24).to(dtype)
            if what == "off":
                with model.disable_adapter():
                    found.append(model(x))
            else:
                found.append(model(x))
    assert torch.equal(*found)


@torch.no_grad()
def test_rounded_adapters_follow_their_masters() -> None:
    model = adapted(torch.bfloat16).eval()
    use_lora_linear(model)
    x = torch.randn(4, 24).bfloat16()

    def both() -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            plain = model(x)
            with rounded_once(model):
                return plain.float(), model(x).float()

    plain, rounded = both()
    torch.testing.assert_close(rounded, plain, atol=0.05, rtol=0.02)
    layer = next(m for m in model.modules() if isinstance(m, LoraLinear))
    place = layer._kept[1][0].data_ptr()
    for name, parameter in model.named_parameters():
        if ".two." in name:
            parameter.mul_(3)
    after, again = both()
    assert (again - after).norm() < 0.02 * after.norm() < 0.2 * (after - plain).norm()
    assert layer._kept[1][0].data_ptr() == place, "a compiled step reads the address that it was compiled with"
    model.base_model.set_adapter(["one"])
    alone, once = both()
    torch.testing.assert_close(once, alone, atol=0.05, rtol=0.02)
    assert layer._rounded is None


class PlusOneRMSNorm(nn.Module):
    """Gemma's: scales by one plus the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(8, dtype=torch.bfloat16)), 1e-6

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x.float(), (8,), 1 + self.weight.float(), 1e-6).to(x.dtype)


def test_norms_are_told_by_their_numbers_and_lose_nothing() -> None:
    high = tiny.student().model
    low = copy.deepcopy(high).bfloat16()
    theirs = copy.deepcopy(low)
    assert use_fused_norms(high) == 0, "float32 stays as it was, bit for bit"
    count = sum(type(m).__name__.endswith("RMSNorm") for m in low.modules())
    assert use_fused_norms(low) == count > 4
    ids = torch.randint(0, 300, (2, 12), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        true, before, now = (model(input_ids=ids).logits.float() for model in (high, theirs, low))
    assert (now - true).norm() <= 1.2 * (before - true).norm()
    odd = nn.ModuleList([PlusOneRMSNorm()])
    assert use_fused_norms(odd) == 0
    assert type(odd[0]) is PlusOneRMSNorm
