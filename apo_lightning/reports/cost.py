"""What a run cost: time a stage, what teachers were asked, and the words of the prompts, from its stages' manifests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from apo_lightning.files import yaml_files
from apo_lightning.files.formats import read_json
from apo_lightning.hashing import inventory
from apo_lightning.reports.folder import FinishedStage, is_there, read_jsonl, stage_folders, stage_names
from apo_lightning.settings import rounds

PRUNING = "pruning.json"
COUNTED = {"calls": "calls", "requests": "calls", "tokens": "tokens", "scored_tokens": "scored tokens"}
"""Keys of a stage's manifest, where it has them."""


def told(run_folder: Path) -> list[tuple[str, str]]:
    """Title and text; stages that arms and seeds share are counted once.

    Raises:
        ArtifactError: a stage's manifest or its texts are damaged.
    """
    stages = {stage: _distinct(stage_folders(run_folder, stage)) for stage in costing(run_folder)}
    asked = ("spd", "evaluate", *rounds.runs("self_distill", list(stages)))
    records = {stage: [_record(path) for path in paths] for stage, paths in stages.items()}
    return [
        ("Time", _time(records) or "not recorded"),
        ("Teacher answers", _answers(stages["collect"], records["collect"], run_folder)),
        *_left_out(run_folder),
        *_prompts(path for name in asked for path in stages[name][:1]),
    ]


def costing(run_folder: Path) -> list[str]:
    """Stages that cost something, in order; of further sets those that the folder has a table of."""
    further = (f"evaluate_{place.name}" for place in sorted((run_folder / "sets").glob("*/")))
    return ["collect", "weigh", *stage_names(run_folder), "evaluate", *further]


def _left_out(run_folder: Path) -> list[tuple[str, str]]:
    """What arms saved that heard the cheapest teachers alone; nothing where none did."""
    path = run_folder / PRUNING
    if not is_there(path, run_folder):
        return []
    return [("Teachers left out", " ".join(str(row.get("told", "")) for row in read_json(path)))]


def _distinct(folders: Iterable[FinishedStage]) -> list[Path]:
    """One path to each stored stage."""
    return list({folder.path.resolve(): folder.path for folder in folders}.values())


def _record(path: Path) -> Mapping[str, Any]:
    return inventory.read(path) if (path / inventory.MANIFEST).is_file() else {}


def _time(records: Mapping[str, list[Mapping[str, Any]]]) -> str:
    spent = {
        stage: [float(one["seconds"]) for one in own if isinstance(one.get("seconds"), int | float)]
        for stage, own in records.items()
    }
    parts = [f"{stage} {duration(sum(own))} ({len(own)}×)" for stage, own in spent.items() if own]
    whole = sum(sum(own) for own in spent.values())
    counted: dict[str, float] = {}
    for one in (one for own in records.values() for one in own):
        for key, title in COUNTED.items():
            if isinstance(one.get(key), int | float):
                counted[title] = counted.get(title, 0) + one[key]
    more = "".join(f"; {value:,.0f} {title}" for title, value in counted.items())
    return f"{duration(whole)} in all: {', '.join(parts)}{more}" if parts else ""


def duration(seconds: float) -> str:
    """
    >>> duration(4.25), duration(95), duration(7300)
    ('4.2 s', '1 min 35 s', '2 h 1 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def _answers(paths: Iterable[Path], records: Iterable[Mapping[str, Any]], run_folder: Path) -> str:
    """How many texts of how many teachers; calls are known where a manifest of the stage has them."""
    rows = [
        row
        for path in paths
        if is_there(path / "trajectories.jsonl", run_folder)
        for row in read_jsonl(path / "trajectories.jsonl", run_folder)
    ]
    if not rows:
        return "not recorded"
    teachers = {str(row.get("teacher")) for row in rows}
    studies = {str(row.get("study")) for row in rows}
    calls = sum(int(one.get("calls") or 0) for one in records if isinstance(one.get("calls"), int))
    asked = f"; {calls:,} calls" if calls else ""
    return f"{len(rows):,} texts of {len(teachers)} teachers on {len(studies):,} studies{asked}"


def _prompts(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """The words of each prompt that stages were asked with."""
    found: dict[str, str] = {}
    for path in paths:
        prompt = _settings(path).get("prompt")
        if isinstance(prompt, Mapping) and isinstance(prompt.get("text"), str):
            found.setdefault(str(prompt.get("name")), " ".join(prompt["text"].split()))
    return [(f"Prompt '{name}'", text) for name, text in found.items()]


def _settings(path: Path) -> Mapping[str, Any]:
    """config.yaml of a stage: shown to people only, so that one which cannot be read is left out."""
    try:
        content = yaml_files.load(path / "config.yaml")
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
