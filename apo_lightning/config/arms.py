"""What the arms of an experiment become under the command line: their settings, and what their rows are called.

An arm's ``set`` lies over the experiment, and the command line over both. A row is therefore named for what ran, and a
command line that makes arms alike which the experiment tells apart is refused.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from apo_lightning.config import loss_stages
from apo_lightning.config.check import settings_of
from apo_lightning.config.layers import COMMAND_LINE, Layers, Word
from apo_lightning.config.registered import TEACHERS, Path, enclosing, get, section_at
from apo_lightning.settings import ArmSettings, ExperimentSettings, rounds

PAPER = "(paper)"
"""What a label says of an arm whose preference loss is the paper's equation; other labels promise nothing."""
OTHER_LOSS = "stages.apo.loss.name"
"""A word that ends so puts another loss in the place of the one that the arm's label speaks of."""
PAPER_LOSS = {"name": "apo_listwise", "nll_weight": 0, "label_smoothing": 0, "length_alpha": 1}
"""arXiv 2510.04142; beta and the reduction are not given there."""


def override(layers: Layers, words: Iterable[Word]) -> list[str]:
    return [problem for word in _names_first(words) if (problem := _put(layers, word))]


def _names_first(words: Iterable[Word]) -> list[Word]:
    return sorted(words, key=lambda word: word.path[-1] not in ("name", "kind"))


def _put(layers: Layers, word: Word) -> str | None:
    """Set a key from the command line. A section that is given another class (``data.name=open_i``) keeps the settings
    of its files that the new class has too, and loses those that mean nothing to it."""
    kind, place = enclosing(word.path) or (None, ())
    before = get(layers.tree, word.path)
    problem = layers.put(word.path, word.value, word.source)
    if kind and word.path == kind.named_by(place) and before not in (None, word.value):
        registry = kind.registry()
        if str(word.value) in registry:
            keep = {*settings_of(registry[str(word.value)]), *kind.own, kind.discriminator}
            layers.drop(place, lambda key: key not in keep)
    return problem


def lay(layers: Layers, name: str, changes: Mapping[str, Any], words: Sequence[Word]) -> list[str]:
    """Lay an arm's ``set`` over ``layers``, then the command line, but for settings that the arm's class lacks."""
    before, source = layers.copy(), f"{layers.origin(('arms', name, 'set'))}, arms.{name}.set"
    problems = [layers.put(tuple(key.split(".")), value, source, whole=True) for key, value in changes.items()]
    for word in _names_first(words):
        if _applies(word, layers, before):
            problems.append(_put(layers, word))
    return [problem for problem in problems if problem]


def _applies(word: Word, layers: Layers, before: Layers) -> bool:
    """False if the arm put another class there, which has no such setting: ``beta`` says nothing to an arm with SFT."""
    kind, place = enclosing(word.path) or (None, ())
    if kind is None or not isinstance(section := get(layers.tree, place), Mapping):
        return True
    old, new = kind.member(place, get(before.tree, place) or {}), kind.member(place, section)
    setting = word.path[len(place)]
    if old == new or str(new) not in kind.registry() or setting in (*kind.own, kind.discriminator):
        return True
    return setting in settings_of(kind.registry()[str(new)])


def label(plain: Layers, layers: Layers, name: str, arm: ArmSettings, words: Sequence[Word]) -> str:
    """What the arm's row is called: its label, and in brackets what the command line changed of what makes the arm.

    Args:
        plain: the experiment without the command line.
        layers: the experiment under it.
    """
    _, after = _before_and_after(plain, layers, name, arm, words)
    changed = _changed(plain, layers, name, arm, words)
    text = arm.label
    loss = get(after.tree, ("stages", "apo", "loss")) or {}
    other = {key: loss[key] for key, value in PAPER_LOSS.items() if key in loss and loss[key] != value}
    if PAPER in text and "apo" in arm.stages and other:
        said = {word.path[-1].split(".")[-1] for word in changed}
        silent = [f"{key}={_said(value)}" for key, value in other.items() if key not in said and "loss" not in said]
        text = text.replace(PAPER, f"(not the paper's: {', '.join(silent)})" if silent else "")
    marks = [_mark(word).removeprefix(f"arms.{name}.").removeprefix("set.").removeprefix("stages.") for word in changed]
    text = " ".join(text.split())
    if any(".".join(word.path).endswith(OTHER_LOSS) for word in changed) and loss.get("name"):
        text = f"{loss['name']} in place of {text}"
    return text + (f" [{', '.join(marks)}]" if marks else "")


def as_typed(changes: Mapping[str, Any], words: Iterable[Word]) -> dict[str, Any]:
    """An arm's ``set`` with the values that the command line gives its keys, or keys within them."""
    found = copy.deepcopy(dict(changes))
    for word in words:
        for key in found:
            path = tuple(key.split("."))
            inner = get(found[key], word.path[len(path) : -1]) if word.path[: len(path)] == path else None
            if word.path == path:
                found[key] = word.value
            elif isinstance(inner, dict) and word.path[-1] in inner:
                inner[word.path[-1]] = word.value
    return found


def misnamed(cfg: ExperimentSettings, words: Sequence[Word]) -> list[str]:
    """Sentences about words that give several arms of this run the class which some of them name in their ``set``."""
    run, problems = _run(cfg), []
    for word in words:
        shared = [name for name, arm in run.items() if _concerns(word, arm)]
        own = [name for name in shared if _names_class(word, run[name])]
        if own and len(shared) > 1:
            sets = " and ".join(f"arms.{name}.set" for name in own)
            problems.append(
                f"{_key(word)} would replace what {sets} says, and the rows of {', '.join(shared)} would bear names of "
                f"what did not run ({COMMAND_LINE}). Run one arm, as only=[{own[-1]}], whose row is then named for "
                "what ran, or write an arm for it."
            )
    return problems


def alike(plain: Layers, layers: Layers, cfg: ExperimentSettings, words: Sequence[Word]) -> list[str]:
    """Sentences about arms of this run that differ in the experiment and, under the command line, no longer do."""
    run, problems = _run(cfg), []
    laid = {name: _before_and_after(plain, layers, name, arm, words) for name, arm in run.items()}
    for one, other in combinations(run, 2):
        before, after = ([_settings(laid[name][k], run[name]) for name in (one, other)] for k in (0, 1))
        if after[0] == after[1] and before[0] != before[1]:
            which = [word for word in words if _collide(word, run[one]) or _collide(word, run[other])]
            problems.append(
                f"The arms {one} and {other} would be the same run under two names, because of "
                f"{', '.join(map(_key, which))} ({', '.join(dict.fromkeys(word.source for word in which))}). Leave one "
                "out with only=[...]."
            )
    return problems


def idle(layers: Layers, cfg: ExperimentSettings, words: Sequence[Word]) -> list[str]:
    """Sentences about words on a loss that no arm of this run has."""
    laid = {}
    for name, arm in _run(cfg).items():
        laid[name] = layers.copy()
        lay(laid[name], name, arm.set, [word for word in words if word.path[-1] == "name"])
    return loss_stages.unused(laid, _run(cfg), words)


def unheard(cfg: ExperimentSettings, words: Sequence[Word]) -> list[str]:
    """A sentence about the words of the command line on stages that no arm of this run has; they change nothing."""
    run = {rounds.first(stage) for arm in _run(cfg).values() for stage in arm.stages}
    given = [word for word in words if word.source == COMMAND_LINE and len(word.path) > 1 and word.path[0] == "stages"]
    idle = [word.path for word in given if rounds.first(word.path[1]) not in run]
    if not idle:
        return []
    stages = " or ".join(f"'{stage}'" for stage in dict.fromkeys(path[1] for path in idle))
    keys, verb = ", ".join(map(".".join, idle)), "changes" if len(idle) == 1 else "change"
    return [f"No arm that is run has the stage {stages}: {keys} {verb} nothing."]


def _run(cfg: ExperimentSettings) -> dict[str, ArmSettings]:
    return {name: arm for name, arm in cfg.arms.items() if not cfg.only or name in cfg.only}


def _settings(layers: Layers, arm: ArmSettings) -> tuple[Any, ...]:
    """All that an arm's run depends on."""
    stages = {name: own for name, own in (get(layers.tree, ("stages",)) or {}).items() if name in arm.stages}
    rest = {key: value for key, value in layers.tree.items() if key not in ("arms", "stages", "only")}
    return arm.stages, stages, rest


def _before_and_after(
    plain: Layers, layers: Layers, name: str, arm: ArmSettings, words: Sequence[Word]
) -> list[Layers]:
    found = []
    own = get(plain.tree, ("arms", name, "set")) or {}
    for base, changes, over in ((plain, own, ()), (layers, arm.set, words)):
        laid = base.copy()
        lay(laid, name, changes, over)
        found.append(laid)
    return found[0], found[1]


def _changed(plain: Layers, layers: Layers, name: str, arm: ArmSettings, words: Sequence[Word]) -> list[Word]:
    """The words that change the arm's method, or what its ``set`` says; those on the arm itself too."""
    if any(word.path == ("arms", name, "label") for word in words):
        return []  # whoever gives the label says what it is
    before, after = _before_and_after(plain, layers, name, arm, words)
    telling = [word for word in words if _concerns(word, arm) and (_is_method(word) or _collide(word, arm))]
    itself = [word for word in words if word.path[:2] == ("arms", name) and word.path[2:3] != ("curve",)]
    return [word for word in telling + itself if get(before.tree, word.path) != get(after.tree, word.path)]


def _concerns(word: Word, arm: ArmSettings) -> bool:
    if word.path[0] in ("pool", "teachers", "cast"):
        return bool(arm.stages)  # the base student hears nobody
    return word.path[0] != "stages" or len(word.path) < 2 or word.path[1] in arm.stages


def _is_method(word: Word) -> bool:
    """Losses, where t+ comes from, what it is compared with, who is heard, and how loud: what a label speaks of."""
    path = word.path
    return (
        (path[0] == "stages" and path[2:3] in (("loss",), ("positive",), ("negatives",)))
        or path[0] in ("pool", "cast")
        or (path[0] == "teachers" and path[-1] in TEACHERS.own)
    )


def _collide(word: Word, arm: ArmSettings) -> bool:
    """Whether the word is a key of the arm's ``set``, above one or below one."""
    keys = [tuple(key.split(".")) for key in arm.set]
    return any(all(a == b for a, b in zip(word.path, key, strict=False)) for key in keys)


def _names_class(word: Word, arm: ArmSettings) -> bool:
    """Whether both the word and the arm's ``set`` say which class a section is of (a known one)."""
    named = _class_key(word.path, word.value)
    own = (_class_key(tuple(key.split(".")), value) for key, value in arm.set.items())
    return named is not None and named in own


def _class_key(path: Path, value: Any) -> Path | None:
    """Key of the class that a setting names, as ``stages.apo.loss.name``; None where it names none."""
    kind, place = enclosing(path) or enclosing((*path, "name")) or (None, ())
    if kind is None or not kind.discriminator:
        return None
    whole = path == place and isinstance(value, Mapping)
    name = value.get(kind.discriminator) if whole else value if path == kind.named_by(place) else None
    return kind.named_by(place) if str(name) in kind.registry() else None


def _key(word: Word) -> str:
    return f"{'.'.join(word.path)}={_said(word.value)}"


def _mark(word: Word) -> str:
    """A word as a label has it: of a section its class, or that it is set. The report's facts hold the whole."""
    if not isinstance(word.value, Mapping):
        return _key(word)
    kind = section_at(word.path)
    named = kind.member(word.path, word.value) if kind and kind.discriminator else None
    return ".".join(word.path) + (f"={named}" if named else "")


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
