"""A linear layer with its LoRA adapters as one operation, where the layer has 16 bits.

``y = x W^T + b + sum_k s_k (x A_k^T) B_k^T``, as peft computes it, in two ways less costly. Masters are rounded to the
layer's precision instead of the activations being copied to float32 and back, which autocast undoes to the same number.
And the products of a low rank are added by the matrix product itself: peft's four passes over a tensor of the layer's
width, forward, and as many backward, are none. Float32 layers, 4-bit ones and all that peft does besides (merging,
variants) stay peft's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from peft.tuners.lora import Linear
from torch import Tensor, nn


class LoraLinear(Linear):
    """peft's layer, which asks `lora_linear` under an autocast to the layer's own 16 bits."""

    _rounded: tuple[Tensor, Tensor] | None = None
    """Inside `rounded_once`: what `factors` gives."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``[..., in]`` to ``[..., out]``."""
        if self._rounded is not None and not args and not kwargs:
            down, up = self._rounded
            own = nn.functional.linear(x.to(down.dtype), self.base_layer.weight, self.base_layer.bias)
            return own + nn.functional.linear(nn.functional.linear(x.to(down.dtype), down), up)
        if args or kwargs or not self._is_plain(x):
            return super().forward(x, *args, **kwargs)
        active = [name for name in self.active_adapters if name in self.lora_A]
        scales = tuple(self.scaling[name] for name in active)
        parts = [
            (self.lora_A[name].weight, self.lora_B[name].weight, dropped(x) if self._drops(name) else None)
            for name in active
            for dropped in (self.lora_dropout[name],)
        ]
        return lora_linear(x, self.base_layer.weight, self.base_layer.bias, scales, parts)

    def _is_plain(self, x: Tensor) -> bool:
        weight, kind = self.base_layer.weight, x.device.type
        if not torch.is_autocast_enabled(kind) or not torch.get_autocast_dtype(kind) == weight.dtype == x.dtype:
            return False
        return self._adds_only() and not weight.requires_grad

    def _adds_only(self) -> bool:
        if self.disable_adapters or self.merged or self.lora_variant:
            return False
        return not any(self.lora_bias.get(name) for name in self.active_adapters)

    def _drops(self, name: str) -> bool:
        return self.training and not isinstance(self.lora_dropout[name], nn.Identity)

    def takes_rounded(self) -> bool:
        """Whether its adapters can be rounded beforehand."""
        if any(self._drops(name) for name in self.active_adapters if name in self.lora_A):
            return False
        return self._adds_only() and self.base_layer.weight.dtype in (torch.bfloat16, torch.float16)

    @torch.no_grad()
    def round(self) -> None:
        """Make all active adapters one, ``A [R, in]`` and ``s B [out, R]``, in the layer's precision."""
        active = [name for name in self.active_adapters if name in self.lora_A]
        masters = [f for name in active for f in (self.lora_A[name].weight, self.lora_B[name].weight)]
        known = [(name, self.scaling[name]) for name in active], [(m._version, m.data_ptr()) for m in masters]
        kept = self.__dict__.get("_kept")
        if kept is None or kept[0] != known:
            down = torch.cat(masters[::2])
            up = torch.cat([up * self.scaling[name] for name, up in zip(active, masters[1::2], strict=True)], 1)
            made = tuple(factor.to(self.base_layer.weight.dtype) for factor in (down, up))
            if kept is not None and [old.shape for old in kept[1]] == [new.shape for new in made]:
                made = tuple(old.copy_(new) for old, new in zip(kept[1], made, strict=True))
            self._kept = known, made
        self._rounded = self._kept[1]


def use_lora_linear(model: nn.Module) -> None:
    """Make every plain LoRA layer of a model a `LoraLinear`; parameters and their names stay."""
    for module in model.modules():
        if type(module) is Linear and type(module.base_layer) is nn.Linear:
            module.__class__ = LoraLinear


@contextmanager
def rounded_once(model: nn.Module) -> Iterator[None]:
    """Inside, adapters of 16-bit layers are rounded beforehand instead of in every pass: for writing, where a pass is
    one token. Without gradients, and only where nothing changes the adapters meanwhile. What was rounded is kept, at
    the same address, until an adapter has changed: compiled steps count on both."""
    layers = [layer for layer in model.modules() if type(layer) is LoraLinear and layer.takes_rounded()]
    for layer in layers:
        layer.round()
    try:
        yield
    finally:
        for layer in layers:
            layer._rounded = None


def lora_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    scales: tuple[float, ...],
    adapters: Sequence[tuple[Tensor, Tensor, Tensor | None]],
) -> Tensor:
    """``x W^T + b + sum_k s_k (x_k A_k^T) B_k^T`` in the precision of ``x``.

    Args:
        x: ``[..., in]``.
        weight: ``[out, in]``, frozen, of the dtype of ``x``.
        bias: ``[out]``, frozen.
        scales: ``s`` of each adapter.
        adapters: ``A [r, in]`` and ``B [out, r]`` of each, in any precision (gradients come in theirs), and what it
            reads, ``[..., in]``, where that is not ``x`` (dropout).

    Returns:
        ``[..., out]``.
    """
    return _LoraLinear.apply(x, weight, bias, scales, *chain.from_iterable(adapters))


class _LoraLinear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, scales: tuple[float, ...], *adapters: Tensor | None
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        out = rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)
        inner, own = [], []
        for scale, down, up, read in zip(scales, adapters[::3], adapters[1::3], adapters[2::3], strict=True):
            own.append(None if read is None else read.reshape(-1, read.shape[-1]))
            inner.append((rows if read is None else own[-1]) @ down.to(x.dtype).T)
            out.addmm_(inner[-1], up.to(x.dtype).T, alpha=scale)
        trained = any(ctx.needs_input_grad[4:])
        ctx.scales = scales
        ctx.save_for_backward(
            rows if trained else None,
            weight,
            *(adapters[::3] + adapters[1::3]),
            *(own + inner if trained else [None] * 2 * len(scales)),
        )
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, *rest = ctx.saved_tensors
        count = len(ctx.scales)
        downs, ups, own, inner = (rest[k * count : (k + 1) * count] for k in range(4))
        slope = grad.reshape(-1, grad.shape[-1])
        to_x = slope @ weight if ctx.needs_input_grad[0] else None
        found: list[Tensor | None] = []
        for k, (scale, down, up) in enumerate(zip(ctx.scales, downs, ups, strict=True)):
            for_down, for_up, for_read = ctx.needs_input_grad[4 + 3 * k : 7 + 3 * k]
            low, to_read, read = slope @ up.to(slope.dtype), None, rows if own[k] is None else own[k]
            if for_read:
                to_read = (low @ down.to(slope.dtype)).mul_(scale).view(*grad.shape[:-1], -1)
            elif to_x is not None:
                to_x.addmm_(low, down.to(slope.dtype), alpha=scale)
            found.append((low.T @ read).to(down.dtype).mul_(scale) if for_down else None)
            found.append((slope.T @ inner[k]).to(up.dtype).mul_(scale) if for_up else None)
            found.append(to_read)
        return (None if to_x is None else to_x.view(*grad.shape[:-1], -1)), None, None, None, *found
