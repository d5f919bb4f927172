"""Settings and answers to try every registered loss with, known or not.

A setting unknown here is tried at its default, or, where it has none, at what the loss's own ``example()`` says of it.
A quantity that no stage gave before needs one line in `quantities`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from torch import Tensor

from apo_lightning.functional.preference_variants import agreeing_share
from apo_lightning.losses import LOSSES
from apo_lightning.losses.base import needs
from apo_lightning.losses.preference import PreferenceLoss
from apo_lightning.stages import STAGES
from apo_lightning.types import LossOutput

NUMBERS = {
    "beta": [0.3],
    "nll_weight": [0.5],
    "label_smoothing": [0.0, 0.1],
    "length_alpha": [1.0, 0.4],
    "temperature": [2.0],
    "mix": [0.5, 0.3],
    "temperature_squared": [False, True],
    "factor": [0.75],
    "votes": [2],
    "both": [False, True],
}
"""Values to test a setting of ours with; a closed choice (Literal) is read from the class."""

WITH_PREFERRED = (STAGES["apo"].provides | STAGES["context_distill"].provides) - STAGES["spd"].provides
"""Quantities that tell a loss which compares with t+ from one over teachers alone."""

Batch = dict[str, Tensor]


def choices(kind: type, field: str) -> tuple[str, ...]:
    """What a setting with a closed choice may be; empty for the others."""
    hint = get_type_hints(kind)[field]
    return get_args(hint) if get_origin(hint) is Literal else ()


def tried(kind: type) -> dict[str, list[Any]]:
    """The values that each setting of a loss is tested with; none for one that says nothing of itself."""
    example = kind.example() if hasattr(kind, "example") else {}
    found = {}
    for field in dataclasses.fields(kind):
        own = [example[field.name]] if field.name in example else list(choices(kind, field.name))
        own = own or NUMBERS.get(field.name, [])
        found[field.name] = own or ([] if field.default is dataclasses.MISSING else [field.default])
    return found


def settings(name: str) -> Iterator[dict[str, Any]]:
    """Every combination of the tested values of a loss's settings that the loss accepts."""
    values = tried(LOSSES[name])
    for combination in itertools.product(*values.values()):
        given = dict(zip(values, combination, strict=True))
        with contextlib.suppress(ValueError):
            LOSSES[name](**given)
            yield given


def counts(name: str, given: Batch) -> list[Tensor]:
    """Which studies ``[B]`` a loss may take its mean over: those with t+, or of them those with a teacher to compare
    with it; without t+ (SPD) those with any answer."""
    some = (given["present"] & (given["weight"] > 0)).any(-1)
    if not needs(LOSSES[name]) & WITH_PREFERRED:
        return [some]
    preferred = given["present"][:, 0]
    return [preferred, preferred & (given["present"] & (given["weight"] > 0))[:, 1:].any(-1)]


def preferences(prefix: str = "") -> list[str]:
    return [name for name, kind in LOSSES.items() if name.startswith(prefix) and issubclass(kind, PreferenceLoss)]


CASES = [
    pytest.param(name, given, id="-".join([name, *map(str, given.values())]))
    for name in LOSSES
    for given in settings(name)
]
each_case = pytest.mark.parametrize(("name", "given"), CASES)
each_loss = pytest.mark.parametrize("name", LOSSES)
each_reducing = pytest.mark.parametrize(
    ("name", "given"), [c for c in CASES if getattr(LOSSES[c.values[0]], "reduces_to_dpo", False)]
)
each_preference = pytest.mark.parametrize(("name", "given"), [c for c in CASES if c.values[0] in preferences()])


def batch(studies: int = 5, teachers: int = 5, dtype: torch.dtype = torch.float64, tokens: int = 6) -> Batch:
    """Random answers ``[B, 1+N, T]``, slot 0 preferred: N varies, study 1 has no preferred answer, study 2 no teacher;
    1 to T tokens each, of which some conflict, and everything does in the first teacher of study 0."""
    draw = torch.Generator().manual_seed(0)
    shape = (studies, 1 + teachers)
    lengths = torch.randint(1, tokens + 1, shape, generator=draw)
    out = {
        "policy": -3 * torch.rand(*shape, tokens, generator=draw, dtype=dtype),
        "reference": -3 * torch.rand(*shape, tokens, generator=draw, dtype=dtype),
        "mask": torch.arange(tokens) < lengths[..., None],
        "weight": torch.rand(shape, generator=draw, dtype=dtype) + 0.1,
        "present": torch.rand(shape, generator=draw) > 0.25,
        "agreement": torch.rand(shape, generator=draw, dtype=dtype),
        "conflict": torch.rand(*shape, tokens, generator=draw) > 0.5,
        "contradicted": torch.randint(0, 4, (*shape, tokens), generator=draw),
        "judged": torch.randint(3, 6, (*shape, tokens), generator=draw),
    }
    out["present"][:, 0] = out["present"][0] = out["conflict"][0, 1] = True
    out["contradicted"][0, 1] = 3
    out["present"][1:2, 0] = out["present"][2:3, 1:] = False
    return out


def quantities(given: Batch, policy: Tensor, seed: int) -> dict[str, Any]:
    """Everything that a stage may provide, by the name a loss asks for it. A divergence falls as log-probs rise."""
    logps, reference = (torch.where(given["mask"], tokens, 0).sum(-1) for tokens in (policy, given["reference"]))
    lengths = given["mask"].sum(-1)
    return {
        "policy_token_logps": policy,
        "reference_token_logps": given["reference"],
        "mask": given["mask"],
        "policy_logps": logps,
        "reference_logps": reference,
        "logps": logps,
        "lengths": lengths,
        "weight": given["weight"],
        "present": given["present"],
        "agreement": given["agreement"],
        "conflict": given["conflict"],
        "contradicted": given["contradicted"],
        "generator": torch.Generator().manual_seed(seed),
        "log_norm_ratio": torch.tensor(0.5),
        "divergence": -policy,
        "mixture_divergence": -policy,
        "context_divergence": -policy,
        "chosen_logps": logps[:, 0],
        "chosen_lengths": lengths[:, 0],
        "chosen_present": given["present"][:, 0],
        "chosen_token_logps": policy[:, 0],
        "chosen_mask": given["mask"][:, 0],
        "chosen_agreement": agreeing_share(given["contradicted"], given["judged"])[:, 0],
    }


def run(loss: Any, given: Batch, seed: int = 0) -> tuple[LossOutput, Tensor]:
    """Output and gradient with respect to the policy's token log-probs ``[B, 1+N, T]``."""
    policy = given["policy"].clone().requires_grad_()
    have = quantities(given, policy, seed)
    out = loss(**{name: have[name] for name in needs(loss)})
    out.loss.backward()
    return out, policy.grad


def columns(given: Batch, index: list[int]) -> Batch:
    return {name: value[:, index] for name, value in given.items()}


def rows(given: Batch, index: list[int]) -> Batch:
    return {name: value[index] for name, value in given.items()}


def close(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def same(a: tuple[LossOutput, Tensor], b: tuple[LossOutput, Tensor]) -> None:
    """Two results of ``run`` agree in everything."""
    (out, grad), (expected, expected_grad) = a, b
    close((out.loss, out.per_study, out.metrics), (expected.loss, expected.per_study, expected.metrics))
    close(grad, expected_grad)
