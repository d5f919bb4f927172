"""Text templates, one ``.txt`` file each. ``$findings`` lists the finding names, ``$reports`` the teachers' texts, and
``$labels`` tells which findings an image was labelled with: to a teacher, who is then asked for the basis of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from apo_lightning import project
from apo_lightning.errors import ConfigError, did_you_mean


def names() -> list[str]:
    """All templates of this folder, and of the working folder's own ``prompts`` (`project`)."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    folders = project.extended(__path__, "prompts", ".txt")
    return {path.stem: path for folder in folders for path in Path(folder).glob("*.txt")}


PLACES = ("findings", "reports", "labels")
LABELS = ("labels", "findings")
"""Places that name labels: those of the image, or the list of those that there are."""


def load(name: str) -> Template:
    """The template called ``name``.

    Raises:
        ConfigError: there is no such file, it is empty or not UTF-8, or it has a ``$`` that is not one of the places.
    """
    if name not in (known := _files()):
        raise ConfigError(f"No prompt is named '{name}'. {did_you_mean(name, known)}")
    where = known[name] if known[name].parent != Path(__path__[0]) else f"apo_lightning/prompts/{name}.txt"
    try:
        template = Template(known[name].read_text(encoding="utf-8").strip())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where} is not a text file in UTF-8: {error.reason} at byte {error.start}.") from error
    if not template.template:
        raise ConfigError(f"{where} is empty. A prompt is what the student is asked.")
    for line, text in enumerate(template.template.splitlines(), 1):
        if (problem := _stray(text)) is not None:
            raise ConfigError(
                f"{where}, line {line}: '{problem}' is no place of a prompt. There are $findings and $reports, "
                "and for teachers $labels; write $$ for a dollar sign."
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


def tells_labels(name: str) -> bool | None:
    """Whether whoever is asked by a prompt is told the labels of the image; None where no prompt has that name here."""
    return "labels" in load(name).get_identifiers() if name in _files() else None


def tells_answer(name: str) -> bool | None:
    """Whether a teacher that is asked by a prompt is told what the image shows: the labels, or the study's own report,
    which takes the place of ``$reports`` in what a teacher is asked. None where no prompt has that name here."""
    return bool({"labels", "reports"} & set(load(name).get_identifiers())) if name in _files() else None


def names_labels(name: str) -> bool:
    """Whether a prompt names labels at all."""
    return any(place in load(name).get_identifiers() for place in LABELS)


def render(
    name: str,
    findings: Sequence[str] = (),
    reports: Sequence[str] = (),
    labels: Mapping[str, float] | None = None,
) -> str:
    """Fill a template. Reports are numbered readers, so that no teacher's name can sway the student.

    Args:
        labels: of the study, 1.0 present, 0.0 absent, NaN unknown, which is not told; None: whoever is asked may not
            be told any.

    Raises:
        ConfigError: see `load`; or the prompt tells labels, and there are none to tell.

    >>> print(render("reconcile", reports=["No edema.", "Edema."]).splitlines()[1])
    Reader 1: No edema.
    """
    template = load(name)
    if labels is None and tells_labels(name):
        raise ConfigError(f"Prompt '{name}' tells labels ($labels), and there are none to tell here. Take diagnose.")
    lines = "\n".join(f"Reader {i}: {' '.join(text.split())}" for i, text in enumerate(reports, 1))
    return template.substitute(findings=_listed(findings), reports=lines, labels=_told(labels or {}))


def _listed(findings: Sequence[str]) -> str:
    return ", ".join(name.replace("_", " ") for name in findings)


def _told(labels: Mapping[str, float]) -> str:
    """
    >>> _told({"edema": 1.0, "pneumothorax": 0.0, "lung_lesion": 0.0, "fracture": float("nan")})
    'present: edema; absent: pneumothorax, lung lesion'
    """
    said = {
        word: [name for name, label in labels.items() if label == value]
        for word, value in (("present", 1), ("absent", 0))
    }
    return "; ".join(f"{word}: {_listed(names) or 'none'}" for word, names in said.items())
