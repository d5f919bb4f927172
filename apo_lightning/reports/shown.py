"""Whether studies, their images and texts may be shown: what the run that made them says, and the last one begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from apo_lightning.reports.folder import read_settings

BEGIN = "No example studies: the data set comes under a data use agreement"
"""By which a report is known to show no study, also one of an earlier version."""
WITHHELD = (
    f"{BEGIN}, or nobody has said that it does not (credentialed), so its images and texts stay out of the report."
)
UNKNOWN = "No example studies: without manifest.json it is unknown whether the images and texts may be shown."
HOW = (
    "acknowledge=[{names}] in the run shows them to readers who have signed the agreement too; for images of your own, "
    "which no agreement binds, say data.credentialed=false. Nothing is trained again for it."
)
NAME = "NAME"
"""In place of the data set's, where an earlier version kept none."""


def withheld(run_folder: Path, manifest: Mapping[str, Any]) -> str:
    """Why no study may be shown, beginning with `WITHHELD` where one that is could be, and what to do; empty where they
    may. The stricter of two counts: of the run that made the samples, and of the last one that was begun, whose
    config.yaml may say otherwise."""
    settings = read_settings(run_folder)
    stated = manifest.get("credentialed", False) and not _acknowledged(settings, manifest)
    if stated or (manifest and _stricter(settings, run_folder)):
        return f"{WITHHELD} {HOW.format(names=', '.join(names(run_folder, manifest)))}"
    return "" if manifest else UNKNOWN


def names(run_folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The data sets that ``acknowledge`` has to name."""
    kept = manifest.get("guarded")
    found = [str(each) for each in kept] if isinstance(kept, list) else []
    found += _credentialed(read_settings(run_folder), run_folder)
    return list(dict.fromkeys(found)) or [NAME]


def _acknowledged(settings: Mapping[str, Any] | None, manifest: Mapping[str, Any]) -> bool:
    """Whether the run that made the samples might show them, and the last one that was begun might, too."""
    if manifest.get("acknowledged", False) is not True or settings is None:
        return manifest.get("acknowledged", False) is True
    given = settings.get("acknowledge")
    guarded = manifest.get("guarded", given)  # an earlier version kept no names
    lists = all(isinstance(each, list) for each in (given, guarded))
    return bool(given) and lists and all(name in given for name in guarded)


def _stricter(settings: Mapping[str, Any] | None, run_folder: Path) -> bool:
    """Whether the last run that was begun counts a set as credentialed that it does not acknowledge."""
    given = settings.get("acknowledge") if settings else None
    given = given if isinstance(given, list) else []
    return any(name not in given for name in _credentialed(settings, run_folder))


def _credentialed(settings: Mapping[str, Any] | None, run_folder: Path) -> Iterator[str]:
    """Names of the sets of which config.yaml says that they are; of further sets those that were measured."""
    own = settings or {}
    evaluate = own.get("evaluate") if isinstance(own.get("evaluate"), Mapping) else {}
    sets = evaluate.get("sets") if isinstance(evaluate.get("sets"), Mapping) else {}
    there = [one for name, one in sets.items() if isinstance(one, Mapping) and _is_measured(name, run_folder)]
    for section in (own.get("data"), evaluate.get("data"), *(one.get("data") for one in there)):
        if isinstance(section, Mapping) and section.get("credentialed") is True:
            yield str(section.get("name"))


def _is_measured(name: Any, run_folder: Path) -> bool:
    return (run_folder / "sets" / str(name)).is_dir()
