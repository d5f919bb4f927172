"""A working folder that is a project of its own: its ``losses/``, ``data_modules/`` and the like are found beside those
of the library, without being installed.

Importing a file runs it. So a folder is looked at only where the working folder has an ``apo.yaml`` that names it, and
only there: never above the working folder, and never in a run, a data set, a store or a model, wherever these lie.
"""

from __future__ import annotations

import os
import reprlib
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from apo_lightning.errors import ConfigError, did_you_mean
from apo_lightning.files import yaml_files

FILE = Path("apo.yaml")
KEY = "code"
FOLDERS = (
    "callbacks", "data_modules", "labelers", "losses", "negatives", "positives", "prompts", "report_text", "stages",
    "teachers", "weighting",
)  # fmt: skip
"""What a project may have of its own. Each is called as the package of ours whose kind of files it holds."""


def folder(kind: str) -> Path | None:
    """The working folder's own files of one of `FOLDERS`; None where ``apo.yaml`` names none.

    Raises:
        ConfigError: ``apo.yaml`` is not what it should be, a folder that it names is missing, or all may write there.
    """
    if kind not in FOLDERS or not FILE.is_file() or kind not in _named():
        return None
    found = Path.cwd() / kind
    if not found.is_dir():
        raise ConfigError(f"{FILE}: {KEY} names '{kind}', and there is no folder {found}. Make it, or drop the name.")
    _refuse_open((Path.cwd(), FILE, found, *sorted(found.glob("*.py"))))
    return found


def extended(paths: Iterable[str], kind: str, suffix: str = ".py") -> list[str]:
    """``paths`` of a package of ours, and behind them the project's own folder of that kind, once.

    Raises:
        ConfigError: see `folder`; or a file bears the name of one of ours, so that only one of them would count.
    """
    known, own = list(paths), folder(kind)
    if own is None or str(own) in known:
        return known
    ours = {file.name: file for path in known for file in Path(path).glob(f"*{suffix}")}
    for file in sorted(own.glob(f"*{suffix}")):
        if file.name in ours and file.name != "__init__.py":
            raise ConfigError(f"{kind}/{file.name} has the name of {ours[file.name]}. Give it another name.")
    return [*known, str(own)]


def _named() -> list[str]:
    """Folders that ``apo.yaml`` names."""
    try:
        held: Any = yaml_files.load(FILE)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE} is not valid YAML: {str(error).splitlines()[0]}.") from error
    held = {} if held is None else held
    if not isinstance(held, dict) or set(held) - {KEY}:
        raise ConfigError(f"{FILE} must hold '{KEY}: [losses, ...]' and nothing else, got {_short(held)}.")
    named = held.get(KEY) or []
    if not isinstance(named, list):
        raise ConfigError(f"{FILE}: {KEY} must be a list of folders, got {_short(named)}.")
    for each in named:
        if each not in FOLDERS:
            raise ConfigError(f"{FILE}: {KEY} names {_short(each)}. {did_you_mean(str(each), FOLDERS)}")
    return named


def _short(value: object) -> str:
    """For a message: a file may hold anything."""
    text = reprlib.repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _refuse_open(paths: Iterable[Path]) -> None:
    """Whoever may write what is imported decides what it does."""
    for path in _open(paths) if os.name == "posix" else ():
        raise ConfigError(
            f"{path} may be written by every user of this machine, and {FILE} lets code of this folder run. "
            f"See who wrote it, then: chmod o-w '{path}'"
        )


def _open(paths: Iterable[Path]) -> Iterator[Path]:
    return (path for path in paths if path.stat().st_mode & stat.S_IWOTH)
