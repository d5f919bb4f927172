"""The part of a report that speaks of drift between teachers: from the record `drift.json` to sentences, tables and
figures, for the page, the terminal and Markdown alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from apo_lightning.console import Console
from apo_lightning.drift.run import VERSION
from apo_lightning.errors import ArtifactError
from apo_lightning.files.atomic import removal, write_bytes, write_text
from apo_lightning.reports import drift_terminal, figures, figures_drift, shown
from apo_lightning.reports.drift_tables import tables
from apo_lightning.reports.drift_words import sentences
from apo_lightning.reports.folder import as_written, is_there, read_manifest
from apo_lightning.reports.markdown import drift_parts, md
from apo_lightning.reports.page import Drift, FigureFile

NAME = "drift.json"
FIGURES = {
    "drift_agreement.png": (
        "Who agrees with whom",
        "Do two teachers say the same of a finding that both speak of? Kappa is 0 for chance and 1 for always; where "
        "chance cannot be told, the share of statements without a contradiction is shown.",
    ),
    "drift_steps.png": (
        "Drift along the texts",
        "Do teachers come apart as they go on? Bands: 95 % intervals over patients. What is stated knows sides and "
        "denials; embeddings hardly do.",
    ),
    "drift_stream.png": (
        "Drift along the stream",
        "Do teachers change from the first study to the last? Grey: means of windows; blue: means between changes; "
        "dashed: a change that no random order of the studies explains, over all streams at once. Shares "
        "are adjusted for what is true of the cases, so that a window of hard ones is no change; one of easy cases may "
        "so come to lie below 0.",
    ),
    "drift_conflict.png": (
        "Studies in conflict",
        "On how many studies do the teachers contradict each other, and how much? The dashed line is the threshold.",
    ),
}


def read(run_folder: Path) -> Drift | None:
    """Of a run that has a record of this version; None where it has none. Studies of a set under a data use agreement
    are named only where that is acknowledged.

    Raises:
        ArtifactError: it is damaged.
    """
    path = run_folder / NAME
    if not is_there(path, run_folder):
        return None
    record, manifest = load(path), read_manifest(run_folder)
    if record is None:
        return None
    with as_written(path, run_folder):
        if shown.withheld(run_folder, manifest).startswith(shown.WITHHELD):
            record["conflict"]["worst"] = []
        return section(record)


def load(path: Path) -> dict[str, Any] | None:
    """The record of a file; None of another version.

    Raises:
        ArtifactError: it cannot be read.
    """
    try:
        record = json.loads(path.read_bytes())
        version = record["version"]
    except (OSError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise ArtifactError(f"{path} is no record of drift ({error}). Remove it: {removal(path)}") from error
    return record if version == VERSION else None


def section(record: Mapping[str, Any], *, figures_too: bool = True) -> Drift:
    """Sentences, tables and figures of a record."""
    return Drift(list(sentences(record)), tables(record), draw(record) if figures_too else [])


def draw(record: Mapping[str, Any]) -> list[FigureFile]:
    """Every figure that the record has the numbers of."""
    made = []
    for name, (title, caption) in FIGURES.items():
        maker = MAKERS[name]
        if maker is not None and (figure := maker(record)) is not None:
            alt = f"{title}: the numbers are in the tables and in {NAME}."
            made.append(FigureFile(name, title, caption, alt, figures.png(figure)))
    return made


def _if(there: Callable[[Mapping[str, Any]], Any], make: Callable[[Mapping[str, Any]], Any]) -> Callable[..., Any]:
    return lambda record: make(record) if there(record) else None


def _has_streams(record: Mapping[str, Any]) -> bool:
    streams = (record["stream"] or {"streams": {}})["streams"]
    return any(sum(value is not None for value in one["values"]) > 1 for one in streams.values())


MAKERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "drift_agreement.png": _if(lambda record: record["pairs"], figures_drift.agreement),
    "drift_steps.png": _if(lambda record: record["pairs"], figures_drift.steps),
    "drift_stream.png": _if(_has_streams, figures_drift.stream),
    "drift_conflict.png": _if(lambda record: record["conflict"]["scored"] > 1, figures_drift.conflict),
}


def show(record: Mapping[str, Any], console: Console) -> None:
    """Print sentences and tables."""
    found = section(record, figures_too=False)
    drift_terminal.show(found.sentences, found.tables, console)


def write_page(record: Mapping[str, Any], folder: Path) -> Path:
    """``drift.md`` with its figures in a folder; what is no longer drawn goes. Returns its path."""
    found = section(record)
    drawn = {figure.name: figure.data for figure in found.figures}
    for name in FIGURES:
        if name in drawn:
            write_bytes(folder / "figures" / name, drawn[name])
        else:
            (folder / "figures" / name).unlink(missing_ok=True)
    title = f"# Drift of the teachers: {md(str(record.get('source', '')))}"
    return write_text(folder / "drift.md", "\n\n".join([title, *drift_parts(found, level=2)]) + "\n")
