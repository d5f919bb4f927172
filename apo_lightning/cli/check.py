"""apo check: load and build experiments without training, and whether one would run here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from apo_lightning.collecting.secrets import masked
from apo_lightning.console import Console, show_error
from apo_lightning.errors import ApoError, ConfigError

if TYPE_CHECKING:
    from apo_lightning.settings import ExperimentSettings


def check(options: argparse.Namespace) -> int:
    """``apo check [PATH ...]``: every file is looked at, however many are wrong; by default those of ``experiments``,
    or of the package where the working folder has none. ``apo check NAME [key=value ...]``: one experiment with its
    settings, and whether it would run on this machine."""
    overrides = [word for word in options.words if "=" in word]
    names = [word for word in options.words if "=" not in word]
    if len(names) == 1 and (overrides or not Path(names[0]).exists()):
        return check_one(names[0], overrides)
    if overrides:
        raise ConfigError(f"key=value belongs to one experiment, got {', '.join(names) or 'none'}.")
    files = yaml_files([Path(name) for name in names] or [_experiments()])
    wrong = 0
    for path in files:
        try:
            said, notes = check_file(path)
            _print_checked(path, said, notes)
        except ApoError as error:
            wrong += 1
            show_error(f"{path}\n{masked(str(error))}")
    if wrong:
        show_error(f"{wrong} of {len(files)} files are not valid.")
    return 2 if wrong else 0


def _experiments() -> Path:
    from apo_lightning.config.places import places

    return next((folder for folder in places() if folder.is_dir()), places()[0])


def check_one(name: str, overrides: Sequence[str]) -> int:
    """One experiment with its settings, as it would run here. Status 2 where it is valid and something is missing: the
    student's weights, the data.

    Raises:
        ConfigError: it is not valid, or this machine cannot run it.
        DataError: its recorded texts are there, and they or its data cannot be read, or none of them names a study.
    """
    from apo_lightning import config

    cfg = config.load(config.find(name), overrides)
    from apo_lightning.experiment import checks, matched_texts

    missing = [*checks.check_arms(cfg.resolved), *checks.absent_data(cfg.resolved)]
    if missing:
        said = f"{_arms(cfg)}, but would not run on this machine as it is"
        _print_checked(name, said, [*missing, *cfg.unheard], word="valid")
        return 2
    notes = matched_texts.look(cfg.resolved)
    _print_checked(name, f"{_arms(cfg)}, would run on this machine", [*cfg.unheard, *notes])
    return 0


def check_file(path: Path) -> tuple[str, list[str]]:
    """Check one file of ``experiments/``: an experiment, a base that others extend, a preset, a sweep, or a study.
    Returns what it was, what could not be looked at, and how recorded texts match the studies."""
    from apo_lightning import config

    if path.parent.name in ("base", "presets"):
        config.check_base(path)
        return path.parent.name.removesuffix("s"), []
    if path.parent.name == "sweeps":
        from apo_lightning.experiment import sweeps

        plan = sweeps.read(path)
        sweeps.check(plan)
        return f"sweep of {plan.count or 'any number of'} trials", []
    if path.parent.name == "study":
        return _check_study(path)
    cfg = config.load(path)
    from apo_lightning.experiment import checks, matched_texts

    notes = checks.check_arms(cfg.resolved, here=False)
    return f"experiment with {_arms(cfg)}", notes + matched_texts.look(cfg.resolved)


def _check_study(path: Path) -> tuple[str, list[str]]:
    """Every trial in every world, without training."""
    from apo_lightning.experiment import checks
    from apo_lightning.experiment.study import file

    found = file.read(path)
    notes = [note for cfg in found.searches.values() for note in checks.check_arms(cfg.resolved, here=False)]
    budget, arms, worlds = found.plan.spec.budget, len(found.plan.tuned), len(found.plan.worlds)
    return f"study of {worlds} worlds x {arms} arms x {budget} trials", list(dict.fromkeys(notes))


def _arms(cfg: ExperimentSettings) -> str:
    count = len(cfg.only or cfg.arms)
    return f"{count} arm{'s' if count != 1 else ''}"


def _print_checked(what: str | Path, said: str, notes: Sequence[str], *, word: str = "ok") -> None:
    Console().print(f"{word:<6} {what}: {said}", markup=False, soft_wrap=True)
    for note in notes:
        Console().print(f"       {note}", style="dim", markup=False, soft_wrap=True)


def yaml_files(paths: Sequence[Path]) -> list[Path]:
    """The files among ``paths``, and all YAML files below its folders, in order.

    Raises:
        ConfigError: a path that does not exist, or nothing to check.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"There is no file or folder {path}.")
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.yaml")))]
    if not files:
        raise ConfigError(f"No YAML file in {', '.join(map(str, paths))}.")
    return files
