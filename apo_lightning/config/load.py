"""Experiment files to typed settings: ``extends`` files in order, then the experiment, then ``key=value``.

This file and the three beside it (sections, overrides, typed) are the only ones that know OmegaConf. Whatever is wrong
with an experiment is said at once, in one ConfigError, with the full key and the file of each value.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from apo_lightning.config import again, arms, cast, loss_stages, own_texts, presets, rules
from apo_lightning.config.check import Checker, with_defaults
from apo_lightning.config.layers import Layers, read_layers, read_words
from apo_lightning.config.places import EXPERIMENTS, candidates, places, said
from apo_lightning.config.registered import TEACHERS, found, get
from apo_lightning.config.shape import settings_for
from apo_lightning.errors import ConfigError, did_you_mean
from apo_lightning.registry import Registry
from apo_lightning.settings import REQUIRED, ExperimentSettings

PARTS = ("base", "presets", "slurm", "study", "sweeps", "worlds")
"""Folders below ``experiments`` that hold something else than ready experiments."""


def find(name: str, folder: Path = EXPERIMENTS) -> Path:
    """The file of an experiment, from its path or its name: of ``folder``, else of the same folder of the package.

    Raises:
        ConfigError: there is none; the message says where was looked, and names the nearest and all known experiments.
    """
    for path in candidates(name, folder):
        if path.suffix in (".yaml", ".yml") and path.is_file():
            return path
    known = [name for name, _ in (*list_experiments(folder), *list_ready(folder))]
    raise ConfigError(f"There is no experiment '{name}' in {said(folder)}. {did_you_mean(Path(name).stem, known)}")


def load(
    path: Path, overrides: Sequence[str] = (), lay: Callable[[Layers], list[str]] | None = None
) -> ExperimentSettings:
    """Read, merge and check an experiment, each of its arms included, which are in ``resolved`` as they run. Labels of
    arms say what the command line changed.

    Args:
        path: the experiment's file.
        overrides: ``key=value`` words of the command line.
        lay: changes what the files say before the command line does, as a study does; returns what is wrong.

    Raises:
        ConfigError: everything that is wrong, one sentence a line.
    """
    path = find(str(path), path.parent)
    layers = read_layers(path)
    problems = lay(layers) if lay else []
    named, words = own_texts.split(presets.unfold(read_words(overrides), layers, path))
    own_texts.lay(layers, named)
    plain = layers.copy()
    problems += arms.override(layers, words)
    for each in (layers, plain):
        each.resolve()
    cfg, found_now = _check(layers)
    problems += found_now
    elsewhere, resolved = loss_stages.misplaced(layers), {}
    for name, arm in cfg.arms.items() if isinstance(cfg.arms, Mapping) else ():
        laid = layers.copy()
        own = arms.lay(laid, name, arm.set, words if not cfg.only or name in cfg.only else [])
        resolved[name], more = _check(laid)
        problems += [f"arm '{name}': {text}" for text in own + more if text not in problems]
        elsewhere = {**loss_stages.misplaced(laid), **elsewhere}
    problems = _causes(problems, elsewhere)
    if isinstance(cfg.arms, Mapping):
        raise_all(arms.misnamed(cfg, words), layers.home)  # what it breaks besides is not the user's first mistake
    raise_all(problems or arms.idle(layers, cfg, words) or arms.alike(plain, layers, cfg, words), layers.home)
    for name, arm in cfg.arms.items():
        arm.label = arms.label(plain, layers, name, arm, words)
    for arm in (cfg.arms[name] for name in cfg.only or cfg.arms):
        arm.set = arms.as_typed(arm.set, words)  # what a run records of an arm is what ran
    cfg.unheard = tuple(arms.unheard(cfg, words))
    cfg.resolved = {name: _complete(replace(resolved[name], arms=cfg.arms)) for name in cfg.only or cfg.arms}
    return cfg


def check_base(path: Path) -> None:
    """Check a file that others extend: all but what it leaves for them to give.

    Raises:
        ConfigError: everything that is wrong with what it does say.
    """
    layers = read_layers(path)
    with suppress(ConfigError):  # the file may come from whoever extends it
        own_texts.lay(layers)
    layers.tree = _without_references(layers.tree)
    checker = Checker(layers)
    checker.read(settings_for(layers.tree), layers.tree)
    for kind, place in found(layers.tree):
        checker.registered(kind, place)
    raise_all(checker.problems, layers.home)


def resolve_arm(cfg: ExperimentSettings, arm: str) -> ExperimentSettings:
    """The experiment as ``arm`` runs it: its ``set`` laid over ``cfg``, then the command line once more.

    The registered sections of the result hold all settings of their classes, defaults included.

    Raises:
        ConfigError: no such arm, or it is none of those that run.
    """
    if arm not in cfg.resolved:
        raise ConfigError(f"No arm that runs is named '{arm}'. {did_you_mean(arm, cfg.resolved)}")
    return copy.deepcopy(cfg.resolved[arm])


def build(
    registry: Registry, section: Mapping[str, Any], key: str, discriminator: str | None = "name", **extra: Any
) -> Any:
    """Make the object that a registered section describes.

    Args:
        registry: where its class is filed.
        section: the section; ``weight`` of a teacher is not passed on.
        key: its dotted key, for messages, and where ``discriminator`` is None the class's name is its last word.
        discriminator: ``name``, ``kind`` for teachers, None for callbacks.
        extra: what the program offers, such as ``name`` or ``seed``; a class gets those that its arguments name.

    Raises:
        ConfigError: the class is unknown or refuses its settings.
    """
    path = tuple(key.split("."))
    cls = registry.lookup(section[discriminator] if discriminator else path[-1])
    own = (discriminator, *(TEACHERS.own if discriminator == TEACHERS.discriminator else ()))
    accepted = {name: value for name, value in extra.items() if name in inspect.signature(cls).parameters}
    checker = Checker(Layers(key))
    values = checker.values(cls, {k: v for k, v in section.items() if k not in own}, path, accepted)
    checker.problems += [f"{'.'.join(place)} must be given." for place in checker.missing]
    raise_all(checker.problems, key)
    try:
        return cls(**values, **accepted)
    except ValueError as error:
        raise ConfigError(f"{key}.{error}") from error


def to_dict(cfg: ExperimentSettings) -> dict[str, Any]:
    """Plain containers, the defaults of registered classes filled in."""
    return OmegaConf.to_container(OmegaConf.create(dataclasses.asdict(_complete(cfg))))


def dump(cfg: ExperimentSettings) -> str:
    """YAML of ``to_dict``; loading it gives the same settings."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(cfg)))


def list_experiments(folder: Path = EXPERIMENTS) -> list[tuple[str, str]]:
    """Name and first comment line of every experiment file of ``folder`` and of the same folder of the package, in
    order of their names; one that both have is that of ``folder``."""
    files = {path.stem: path for place in reversed(places(folder)) for path in place.glob("*.yaml")}
    return [(name, _comment(files[name])) for name in sorted(files)]


def list_ready(folder: Path = EXPERIMENTS) -> list[tuple[str, str]]:
    """As `list_experiments`, of the folders below that are neither parts of experiments nor something else: ready
    experiments for one student, a file for each kind of machine, named ``<folder>/<name>``."""
    below = {inner.name for place in places(folder) for inner in place.glob("*/")} - set(PARTS)
    return [(f"{name}/{own}", said) for name in sorted(below) for own, said in list_experiments(folder / name)]


def _check(layers: Layers) -> tuple[ExperimentSettings, list[str]]:
    """Types, ranges, registered sections and rules. Sections get their values in the right types."""
    callbacks = layers.tree.get("callbacks")
    if isinstance(callbacks, Mapping):  # "frozen_guard:" with nothing behind it is a callback without settings
        layers.tree["callbacks"] = {name: {} if section is None else section for name, section in callbacks.items()}
    layers = again.filled(layers)
    checker = Checker(layers)
    checker.problems += cast.lay(layers)
    cfg = checker.read(settings_for(layers.tree), layers.tree)
    for kind, place in found(layers.tree):
        typed = checker.registered(kind, place)
        if typed is not None:
            _assign(cfg, place, typed | _weight(typed, kind is TEACHERS))
    for place, text, *hint in rules.broken(cfg):
        checker.say(place, text, *hint)
    for place in checker.missing:
        if place[0] != "stages" or len(place) < 2 or rules.runs_stage(cfg, place[1]):
            checker.say(place, f"{'.'.join(place)} must be given")
    return cfg, again.told_once(checker.problems, layers.tree)


def _weight(section: Mapping[str, Any], teacher: bool) -> dict[str, Any]:
    weight = section.get("weight", 1.0)
    return {"weight": weight if rules.weight_problem(weight) else float(weight)} if teacher else {}


def _assign(cfg: ExperimentSettings, place: tuple[str, ...], value: Any) -> None:
    """Set the registered section ``place`` of ``cfg`` (attributes down to a mapping of sections)."""
    at: Any = cfg
    for key in place[:-1]:
        at = at.get(key) if isinstance(at, dict) else getattr(at, key, None)
    if isinstance(at, dict):
        at[place[-1]] = value
    elif hasattr(at, place[-1]):
        setattr(at, place[-1], value)


def _causes(problems: list[str], elsewhere: Mapping[str, str]) -> list[str]:
    """``problems``, without those of the settings of a loss that is in the wrong stage."""
    kept = [text for text in problems if not any(f"stages.{stage}.loss" in text for stage in elsewhere)]
    return [*elsewhere.values(), *kept]


def _complete(cfg: ExperimentSettings) -> ExperimentSettings:
    """A copy of ``cfg`` whose registered sections hold the defaults of their classes too."""
    tree, full = dataclasses.asdict(cfg), copy.deepcopy(cfg)
    for kind, place in found(tree):
        section = get(tree, place)
        name = kind.member(place, section)
        if str(name) in kind.registry():
            _assign(full, place, with_defaults(kind.registry()[name], section, kind.given))
    return full


def _without_references(tree: Any) -> Any:
    """``${other.key}`` as a value that is still to be given: what it points at may come from another file."""
    if isinstance(tree, Mapping):
        return {key: _without_references(value) for key, value in tree.items()}
    return REQUIRED if isinstance(tree, str) and "${" in tree else tree


def _comment(path: Path) -> str:
    first = path.read_text("utf-8").splitlines()[:1]
    return first[0].lstrip("# ").strip() if first and first[0].startswith("#") else ""


def raise_all(problems: Sequence[str], where: str) -> None:
    """
    Raises:
        ConfigError: there are problems; each once, one a line.
    """
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        raise ConfigError(unique[0])
    if unique:
        raise ConfigError("\n".join([f"{len(unique)} problems in {where}:", *(f"  - {text}" for text in unique)]))
