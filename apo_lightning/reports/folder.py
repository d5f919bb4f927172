"""Reading a run folder and writing into it. Nothing here knows how a stage works, only what its files are called."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from apo_lightning.errors import ArtifactError
from apo_lightning.files import yaml_files
from apo_lightning.files.atomic import removal, write_bytes, write_text
from apo_lightning.files.jsonlines import loads, read_grown
from apo_lightning.hashing import inventory
from apo_lightning.settings import rounds

PAPER = ("spd", "self_distill", "apo")
"""The paper's stages, in their order."""
SETS = "sets"
"""In a run folder, the tables of the further evaluation sets, a folder each."""
SEED = re.compile(r"seed(0|[1-9][0-9]*)")
"""A seed's folder; what else lies beside it is not ours."""
STAGE = re.compile(r"[A-Za-z0-9]\w*")
"""Name of a stage: settings may come from anywhere, and are no pattern for files."""


@dataclass(frozen=True)
class FinishedStage:
    """One finished stage of one arm and seed. ``path`` is the link under the arm."""

    arm: str
    seed: int
    path: Path


def advice(path: Path, run_folder: Path) -> str:
    """What to do about a broken file: it can be made again, in a stage only with the whole stage."""
    stored, own = path.parent.resolve() / path.name, run_folder.resolve()
    broken = stored if _of_run(stored, own) else stored.parent
    return (
        f"Delete {broken}, then run the experiment '{run_folder.name}' again: finished stages are not repeated "
        f"({removal(broken)})."
    )


def _of_run(path: Path, run_folder: Path) -> bool:
    """Whether the run wrote it beside its stages."""
    return path.parent in (run_folder, run_folder / "samples") or run_folder / SETS in path.parents


def own(path: Path, run_folder: Path) -> Path:
    """``path``, if it lies in the run folder, or in the store beside it, once links are followed: a folder from
    elsewhere may hold links to anything that its reader may read, and a report would show it.

    Raises:
        ArtifactError: it leads elsewhere.
    """
    run = Path(os.path.realpath(run_folder))
    store = next((above / "store" for above in run.parents if (above / "store").is_dir()), run)
    roots = (run, Path(os.path.realpath(store)))
    inside = [part for part in (*reversed(path.parents), path) if part.is_relative_to(run_folder)]
    for part in inside:
        real = Path(os.path.realpath(part))
        if not any(real.is_relative_to(root) for root in roots):
            raise ArtifactError(
                f"{path} leads out of the run folder and its store, to {real}, so it is not read. A run folder that "
                f"was copied needs its store beside it. Remove the link: {removal(part)}"
            )
    return path


def require_whole(path: Path, run_folder: Path) -> None:
    """
    Raises:
        ArtifactError: the file is not what the run, or its stage, wrote.
    """
    home = run_folder if _of_run(path, run_folder) else path.parent
    if what := inventory.difference(path, home):
        raise ArtifactError(f"{path} {what}. {advice(path, run_folder)}")


def is_there(path: Path, run_folder: Path) -> bool:
    """Whether the run folder has a file that not every run writes.

    Raises:
        ArtifactError: it had one, or something that is no file is in its place.
    """
    require_whole(own(path, run_folder), run_folder)
    if path.exists() and not path.is_file():
        raise ArtifactError(f"{path} is no file. {advice(path, run_folder)}")
    return path.is_file()


def read_manifest(run_folder: Path) -> dict[str, Any]:
    """manifest.json as a mapping, empty where the file is missing. Raises ArtifactError when it is corrupt."""
    path = run_folder / "manifest.json"
    if not os.path.lexists(path):
        return {}
    content = _json(path, run_folder)
    if isinstance(content, dict):
        inventory.read(run_folder)
    else:
        raise ArtifactError(f"{path} must hold a JSON object, got {type(content).__name__}. {advice(path, run_folder)}")
    return content


def read_settings(run_folder: Path) -> dict[str, Any] | None:
    """config.yaml as a mapping, empty where it is damaged; None where there is none.

    Raises:
        ArtifactError: it leads out of the run folder.
    """
    path = own(run_folder / "config.yaml", run_folder)
    if not os.path.lexists(path):
        return None
    try:
        content = yaml_files.load(path)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def read_json_list(path: Path, run_folder: Path) -> list[dict[str, Any]]:
    """A JSON file that holds a list of objects. Raises ArtifactError when it is anything else."""
    content = _json(path, run_folder)
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise ArtifactError(f"{path} must hold a list of JSON objects. {advice(path, run_folder)}")
    return content


def read_jsonl(path: Path, run_folder: Path) -> list[dict[str, Any]]:
    """One object per line; a last line without its end (the writer was killed) is left out.

    Raises:
        ArtifactError: any other line is not a JSON object; names file and line.
    """
    found = _ask(lambda: read_grown(path), path, run_folder)
    if found.damaged:
        raise ArtifactError(
            f"{path} line {found.damaged[0]} must be a JSON object and cannot be read. {advice(path, run_folder)}"
        )
    return found.rows


@contextmanager
def as_written(path: Path, run_folder: Path) -> Iterator[None]:
    """Inside, content of another shape than a run writes is a fault of the file. A manifest from elsewhere may vouch
    for anything, and the readers of a record of many parts are all that says how it looks.

    Raises:
        ArtifactError: the content was of another shape.
    """
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ArtifactError(
            f"{path} does not hold what a run writes there ({what}). {advice(path, run_folder)}"
        ) from error


def _json(path: Path, run_folder: Path) -> Any:
    return _ask(lambda: loads(path.read_bytes()), path, run_folder)


def _ask(read: Callable[[], Any], path: Path, run_folder: Path) -> Any:
    require_whole(own(path, run_folder), run_folder)
    try:
        return read()
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise ArtifactError(f"{path} is not readable as JSON ({what}). {advice(path, run_folder)}") from error


def require_stage(folder: FinishedStage, run_folder: Path) -> FinishedStage:
    """
    Raises:
        ArtifactError: something of a finished stage is missing, was changed, or was added.
    """
    inventory.check(own(folder.path, run_folder))
    return folder


def gone(run_folder: Path) -> list[str]:
    """Stages that a run had and that are not in the store any more, as ``arm seed 0: spd``."""
    links = sorted(path for path in run_folder.glob("*/seed*/*") if path.is_symlink() and not path.exists())
    found = {path: SEED.fullmatch(path.parent.name) for path in links}
    return [f"{path.parent.parent.name} seed {number[1]}: {path.name}" for path, number in found.items() if number]


def _require_same(path: Path, run_folder: Path) -> None:
    if what := inventory.turned(path, run_folder):
        raise ArtifactError(
            f"{path} {what}, so nothing is read from it. Run the experiment '{run_folder.name}' again, which sets it "
            f"right, or remove it: {removal(path)}"
        )


def stage_folders(run_folder: Path, stage: str) -> list[FinishedStage]:
    """The folders of one stage over all arms and seeds, sorted; links that lead nowhere are left out.

    Raises:
        ArtifactError: a link leads out of the run folder and its store, or to another stage than the table was made of.
    """
    found = []
    for path in run_folder.glob(f"*/seed*/{stage}"):
        number = SEED.fullmatch(path.parent.name)
        if number and path.is_dir() and own(path, run_folder):
            _require_same(path, run_folder)
            found.append(FinishedStage(path.parent.parent.name, int(number[1]), path))
    return sorted(found, key=lambda item: (item.arm, item.seed))


def stage_names(run_folder: Path) -> list[str]:
    """The paper's stages, and what else arms list, each behind what stands before it in its arm."""
    arms = (read_settings(run_folder) or {}).get("arms")
    found = list(PAPER)
    for arm in arms.values() if isinstance(arms, Mapping) else ():
        listed = arm.get("stages") if isinstance(arm, Mapping) else None
        before = -1
        for name in listed if isinstance(listed, list) else ():
            if isinstance(name, str) and STAGE.fullmatch(name):
                if name not in found:
                    found.insert(before + 1, name)
                before = found.index(name)
    return found


def newest_runs(run_folder: Path, stage: str) -> list[FinishedStage]:
    """As `stage_folders`; where an arm has run the stage again, its last run."""
    found: dict[tuple[str, int], FinishedStage] = {}
    for name in rounds.runs(stage, stage_names(run_folder)) or [stage]:
        found |= {(own.arm, own.seed): own for own in stage_folders(run_folder, name)}
    return [found[key] for key in sorted(found)]


def read_metrics(run_folder: Path, stage: str, labels: Mapping[str, str]) -> pd.DataFrame:
    """metrics.jsonl of one stage, one row per step: arm, label, seed, run, step, and a column per metric.

    ``labels`` maps arm to label and gives the order; other arms are left out. ``run`` is the name of the stored
    folder, the same for arms that share it. A step that was written twice (a resumed run) keeps its last values.
    """
    tables = []
    for folder in stage_folders(run_folder, stage):
        path = folder.path / "metrics.jsonl"
        if folder.arm not in labels or inventory.gone(path) or not is_there(path, run_folder):
            continue  # `checked.notes` says of one that is gone
        rows = [row for row in read_jsonl(path, run_folder) if "step" in row]
        if not all(_is_step(row) for row in rows):
            raise ArtifactError(f"{path} must hold a whole step and numbers in each line. {advice(path, run_folder)}")
        if rows:
            steps = pd.DataFrame(rows).groupby("step", as_index=False).last()
            steps.insert(0, "run", folder.path.resolve().name)
            steps.insert(0, "seed", folder.seed)
            steps.insert(0, "label", labels[folder.arm])
            steps.insert(0, "arm", folder.arm)
            tables.append(steps)
    order = list(labels)
    tables.sort(key=lambda table: (order.index(table["arm"].iat[0]), table["seed"].iat[0]))
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=["arm", "label", "seed", "run", "step"])
    )


def _is_step(row: Mapping[str, Any]) -> bool:
    return isinstance(row["step"], int) and all(isinstance(value, int | float | None) for value in row.values())


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write under a temporary name and rename, so that a reader sees the old file or the new one, never a part."""
    write_text(path, content) if isinstance(content, str) else write_bytes(path, content)
