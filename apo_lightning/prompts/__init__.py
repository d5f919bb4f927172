"""Text templates, one ``.txt`` file each. ``$findings`` lists the finding names, ``$reports`` the teachers' texts."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from string import Template

from apo_lightning.errors import ConfigError, did_you_mean


def names() -> list[str]:
    """All templates of this folder."""
    return sorted(item.name[:-4] for item in files(__package__).iterdir() if item.name.endswith(".txt"))


def load(name: str) -> Template:
    """The template called ``name``.

    Raises:
        ConfigError: there is no such file.
    """
    if name not in names():
        raise ConfigError(f"No prompt is named '{name}'. {did_you_mean(name, names())}")
    return Template(files(__package__).joinpath(f"{name}.txt").read_text(encoding="utf-8").strip())


def render(name: str, findings: Sequence[str] = (), reports: Sequence[str] = ()) -> str:
    """Fill a template. Reports are numbered readers, so that no teacher's name can sway the student.

    >>> print(render("reconcile", reports=["No edema.", "Edema."]).splitlines()[1])
    Reader 1: No edema.
    """
    spoken = ", ".join(name.replace("_", " ") for name in findings)
    lines = "\n".join(f"Reader {i}: {' '.join(text.split())}" for i, text in enumerate(reports, 1))
    return load(name).substitute(findings=spoken, reports=lines)
