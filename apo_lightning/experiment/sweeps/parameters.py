"""One parameter of a W&B sweep file: what W&B may draw for it, as Optuna draws it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from apo_lightning.errors import ConfigError, did_you_mean

TAKES = {
    "constant": ("value",),
    "categorical": ("values",),
    "uniform": ("min", "max"),
    "int_uniform": ("min", "max"),
    "log_uniform_values": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "q_log_uniform_values": ("min", "max", "q"),
}
"""What W&B calls a distribution, to the keys that it takes here. ``q`` may be left out: 1."""
NOT_DRAWN = ("distribution", "q", "mu", "sigma", "probabilities", "parameters")
KEYS = ("value", "values", "min", "max", *NOT_DRAWN)
"""Keys of a parameter that W&B knows."""


@dataclass(frozen=True)
class Parameter:
    """What may be tried of one setting.

    Attributes:
        key: its dotted name.
        values: those that are listed; a grid walks them. None where it is drawn from a range.
        distribution: what Optuna draws from; None where there is nothing to choose.
        q: what is drawn is rounded to multiples of it; None: not rounded.
    """

    key: str
    values: tuple[Any, ...] | None = None
    distribution: BaseDistribution | None = None
    q: float | None = None

    @property
    def choices(self) -> tuple[Any, ...]:
        """What Optuna calls the listed values, one each."""
        return self.distribution.choices if isinstance(self.distribution, CategoricalDistribution) else ()

    def value(self, drawn: Any) -> Any:
        """The setting behind what was drawn."""
        if self.values is not None:
            return self.values[self.choices.index(drawn)]
        return drawn if self.q is None else _whole(round(drawn / self.q) * self.q, self.q)

    def ends(self) -> tuple[Any, ...]:
        """Values by which its range, or its list, is tried before anything is run."""
        if self.values is not None:
            return self.values
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return self.value(self.distribution.low), self.value(self.distribution.high)


def same(one: Any, other: Any) -> bool:
    """Equal, and of one kind: true is not 1.

    >>> same(1, True), same(1, 1)
    (False, True)
    """
    return type(one) is type(other) and one == other


def parse(key: str, given: Any, where: str) -> Parameter:
    """
    Args:
        key: dotted name of the setting.
        given: what the file says of it.
        where: the file, for messages.

    Raises:
        ConfigError: it is none of what W&B takes, or of what is done here.
    """
    place = f"parameters.{key}"
    if not isinstance(given, Mapping):
        shape = "{values: [...]} or {min: 0, max: 1}"
        raise ConfigError(f"{place} must be a mapping such as {shape}, got {given!r} ({where}).")
    if unknown := [name for name in given if name not in KEYS]:
        raise ConfigError(f"{place} has no key '{unknown[0]}' ({where}). {did_you_mean(str(unknown[0]), KEYS)}")
    if "parameters" in given:
        raise ConfigError(f"{place}.parameters: nested parameters are written with dots here, {key}.<name> ({where}).")
    kind = given.get("distribution") or _kind(given)
    if kind is None:
        raise ConfigError(
            f"{place} must have a list of values, a value, or min and max, got {dict(given)!r} ({where})."
        )
    if kind not in TAKES:
        known = did_you_mean(str(kind), TAKES)
        raise ConfigError(f"{place}.distribution is not one that is drawn here, got '{kind}' ({where}). {known}")
    if odd := [name for name in given if name not in (*TAKES[kind], "distribution")]:
        raise ConfigError(f"{place}.{odd[0]} means nothing for {kind}, which takes {_listed(kind)} ({where}).")
    return _MADE[kind](key, given, kind, f"({where}).")


def _kind(given: Mapping[str, Any]) -> str | None:
    """As W&B guesses it: two integers are drawn as integers."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical"
    if "min" not in given or "max" not in given:
        return None
    if "q" in given:
        return "q_uniform"
    return "int_uniform" if all(isinstance(given[end], int) for end in ("min", "max")) else "uniform"


def _listed(kind: str) -> str:
    return " and ".join(TAKES[kind][:2]) + (", perhaps q" if "q" in TAKES[kind] else "")


def _constant(key: str, given: Mapping[str, Any], kind: str, where: str) -> Parameter:
    if "value" not in given:
        raise ConfigError(f"parameters.{key}.value must be given for {kind} {where}")
    return Parameter(key, (given["value"],))


def _categorical(key: str, given: Mapping[str, Any], kind: str, where: str) -> Parameter:
    values = given.get("values")
    if not isinstance(values, list) or not values:
        raise ConfigError(f"parameters.{key} must have a list of values, got {dict(given)!r} {where}")
    if twice := [value for place, value in enumerate(values) if any(same(value, v) for v in values[:place])]:
        raise ConfigError(f"parameters.{key}.values must list each value once, got {twice[0]!r} twice {where}")
    if len(values) == 1:
        return Parameter(key, tuple(values))
    plain = all(isinstance(v, bool | int | float | str) or v is None for v in values)
    choices = values if plain and len(set(values)) == len(values) else [_word(value) for value in values]
    return Parameter(key, tuple(values), CategoricalDistribution(choices))


def _range(key: str, given: Mapping[str, Any], kind: str, where: str) -> Parameter:
    low, high = (_number(key, given, end, kind, where) for end in ("min", "max"))
    if not low < high:
        raise ConfigError(f"parameters.{key}.min must be < max, got {low} and {high} {where}")
    if "log" in kind and not low > 0:
        raise ConfigError(f"parameters.{key}.min must be > 0 for {kind}, got {low} {where}")
    if kind == "int_uniform":
        if odd := [end for end in (low, high) if end != int(end)]:
            raise ConfigError(f"parameters.{key} must have integers as min and max for {kind}, got {odd[0]} {where}")
        return Parameter(key, None, IntDistribution(int(low), int(high)))
    if not kind.startswith("q_"):
        return Parameter(key, None, FloatDistribution(float(low), float(high), log="log" in kind))
    return _rounded(key, given, kind, where, low, high)


def _rounded(key: str, given: Mapping[str, Any], kind: str, where: str, low: float, high: float) -> Parameter:
    """Multiples of q from min to max; on a logarithmic scale what is drawn is rounded, as W&B does."""
    q = _number(key, {"q": 1} | dict(given), "q", kind, where)
    if not q > 0:
        raise ConfigError(f"parameters.{key}.q must be > 0, got {q} {where}")
    first, last = math.ceil(low / q - 1e-9), math.floor(high / q + 1e-9)
    if first >= last:
        raise ConfigError(f"parameters.{key}: fewer than two multiples of q={q} lie from {low} to {high} {where}")
    if "log" in kind:
        return Parameter(key, None, FloatDistribution(max(first * q, low), last * q, log=True), q)
    return Parameter(key, None, FloatDistribution(float(_whole(first * q, q)), float(_whole(last * q, q)), step=q), q)


def _number(key: str, given: Mapping[str, Any], end: str, kind: str, where: str) -> float:
    value = given.get(end)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ConfigError(f"parameters.{key}.{end} must be a number for {kind}, got {value!r} {where}")
    return value


_MADE = {kind: _range for kind in TAKES} | {"constant": _constant, "categorical": _categorical}


def _whole(value: float, q: float) -> float | int:
    """An integer where all multiples of q are; else without the digits that a product of floats adds."""
    return int(value) if float(q).is_integer() else float(f"{value:.12g}")


def _word(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
