"""What differs in the settings of two runs, key by key, for each arm that both have."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from apo_lightning.reports.compare import Run
from apo_lightning.reports.studies import mapping
from apo_lightning.settings import rounds

NAMES = ("name", "runs_dir", "only", "wandb", "arms")
"""Sections that name a run, say where it is written and followed, or list its arms, which are compared one by one."""
MACHINE = ("root",)
"""Last part of keys that say where on a machine something lies."""
ABSENT = "–"
"""Beside a value that the other run has not got."""


@dataclass(frozen=True)
class Change:
    """A key whose value is another one.

    Attributes:
        run: name of the run that is held against the first.
        key: dotted; ``stages_of_arm`` is the list of stages that the arm runs.
        arms: those that run with it, of the arms that both have; empty where it holds for all of them.
        before, after: JSON of the value in the first run and in this one, `ABSENT` where there is none.
    """

    run: str
    key: str
    arms: tuple[str, ...]
    before: str
    after: str


def changes(first: Run, run: Run) -> list[Change]:
    """Every difference once, with the arms that it holds for. Where no arm has a name in both, the experiments
    themselves are compared. A path counts by its last part where it is absolute: machines lay files elsewhere."""
    both = [arm for arm in _arms(first.settings) if arm in _arms(run.settings)]
    found: dict[tuple[str, str, str], list[str]] = {}
    for arm in both or [""]:
        for line in _differing(resolved(first.settings, arm), resolved(run.settings, arm)):
            found.setdefault(line, []).append(arm)
    return [
        Change(run.name, key, () if len(arms) == len(both or [""]) else tuple(arms), before, after)
        for (key, before, after), arms in sorted(found.items())
    ]


def notes(first: Run, run: Run) -> list[str]:
    """What the settings of two runs do not say, and arms that only one of them has."""
    lacking = [own.name for own in (first, run) if not own.settings]
    if lacking:
        return [f"The settings of {name} cannot be read (config.yaml), so they are not compared." for name in lacking]
    own, other = _arms(first.settings), _arms(run.settings)
    only = [
        f"only in {which.name}: {', '.join(names)}"
        for which, names in (
            (first, [arm for arm in own if arm not in other]),
            (run, [arm for arm in other if arm not in own]),
        )
        if names
    ]
    return [f"Arms of {first.name} and {run.name}: {'; '.join(only)}."] if only else []


def resolved(settings: Mapping[str, Any], arm: str) -> dict[str, Any]:
    """Dotted key to value as an arm runs: its ``set`` over the experiment, without stages that it does not run. ``""``
    is no arm: the experiment alone.

    >>> arms = {"a": {"stages": ["spd"], "set": {"data.train": 4}}}
    >>> resolved({"seeds": [0], "data": {"train": 8}, "arms": arms}, "a")
    {'seeds': [0], 'data.train': 4, 'stages_of_arm': ['spd']}
    """
    flat = dict(_flat({name: value for name, value in settings.items() if name not in NAMES}))
    section = mapping(mapping(settings.get("arms")).get(arm))
    for key, value in mapping(section.get("set")).items():
        flat = {name: own for name, own in flat.items() if name != key and not name.startswith(f"{key}.")}
        flat |= dict(_flat(value, str(key)))
    if not section:
        return flat
    stages = section.get("stages", [])
    return {**{key: own for key, own in flat.items() if _run_by(stages, key)}, "stages_of_arm": stages}


def _run_by(stages: Any, key: str) -> bool:
    """Whether a setting says something to an arm of these stages, in which ``apo_2`` reads what ``apo`` is not told."""
    parts = key.split(".")
    known = stages if isinstance(stages, list) else []
    return parts[0] != "stages" or any(rounds.first(str(name)) == rounds.first(parts[1]) for name in known)


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or not key):
        for name, own in value.items():
            yield from _flat(own, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _arms(settings: Mapping[str, Any]) -> Sequence[str]:
    """Those that were run: ``only`` leaves others out."""
    only = settings.get("only")
    chosen = [str(name) for name in only] if isinstance(only, list) and only else None
    return [name for name in map(str, mapping(settings.get("arms"))) if chosen is None or name in chosen]


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key in {**one, **other}:
        known = key in one and key in other
        if not all(_run_by(own["stages_of_arm"], key) for own in (one, other) if "stages_of_arm" in own):
            continue  # that one of them does not run the stage is told by its list of stages
        machine = key.rsplit(".", 1)[-1] in MACHINE
        if not machine and not (known and _same(one[key], other[key])):
            yield key, *(json.dumps(own[key], default=str) if key in own else ABSENT for own in (one, other))


def _same(one: Any, other: Any) -> bool:
    """Equal, but for the folders above a file that one of them names from the root."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, str) and isinstance(other, str) and any(text.startswith(("/", "~")) for text in (one, other)):
        return PurePath(one).name == PurePath(other).name
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
