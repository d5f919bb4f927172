"""Text templates, one ``.txt`` file each. ``$findings`` lists the finding names, ``$reports`` the teachers' texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from string import Template

from apo_lightning.errors import ConfigError, did_you_mean


def names() -> list[str]:
    """All templates of this folder."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    return {path.stem: path for folder in __path__ for path in Path(folder).glob("*.txt")}


PLACES = ("findings", "reports")


def load(name: str) -> Template:
    """The template called ``name``.

    Raises:
        ConfigError: there is no such file, it is empty or not UTF-8, or it has a ``$`` that is not one of the places.
    """
    if name not in (known := _files()):
        raise ConfigError(f"No prompt is named '{name}'. {did_you_mean(name, known)}")
    where = f"apo_lightning/prompts/{name}.txt"
    try:
        template = Template(known[name].read_text(encoding="utf-8").strip())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not a text file in UTF-8: {error.reason} at byte {error.start}.") from error
    if not template.template:
        raise ConfigError(f"{where} is empty. A prompt is what the student is asked.")
    for line, text in enumerate(template.template.splitlines(), 1):
        if (problem := _stray(text)) is not None:
            raise ConfigError(
                f"{where}, line {line}: '{problem}' is no place of a prompt. There are $findings and $reports; write "
                "$$ for a dollar sign."
            )
    return template


def _stray(line: str) -> str | None:
    """The first ``$`` of a line, with what it names, that `Template` could not fill; None if there is none."""
    for found in Template.pattern.finditer(line):
        name = found["named"] or found["braced"]
        if found["invalid"] is not None:
            return line[found.start() :].split()[0]
        if name is not None and name not in PLACES:
            return found[0]
    return None


def render(name: str, findings: Sequence[str] = (), reports: Sequence[str] = ()) -> str:
    """Fill a template. Reports are numbered readers, so that no teacher's name can sway the student.

    >>> print(render("reconcile", reports=["No edema.", "Edema."]).splitlines()[1])
    Reader 1: No edema.
    """
    spoken = ", ".join(name.replace("_", " ") for name in findings)
    lines = "\n".join(f"Reader {i}: {' '.join(text.split())}" for i, text in enumerate(reports, 1))
    return load(name).substitute(findings=spoken, reports=lines)
