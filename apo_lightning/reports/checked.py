"""What of a run folder cannot be checked, or is not what the run wrote, and spoils no number of the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apo_lightning.files.atomic import removal
from apo_lightning.hashing import inventory
from apo_lightning.hashing.contents import content_digest, file_digest
from apo_lightning.hashing.inventory import MANIFEST, settings_digest
from apo_lightning.reports.folder import own, read_settings, stage_folders, stage_names

CHANGED = "is not what the run wrote"


def notes(run_folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """A sentence for each.

    Raises:
        ArtifactError: a file leads out of the run folder.
    """
    found = [
        f"{folder.path / name} is gone, and its curve is left out: restore it. No number of the table depends on it."
        for stage in stage_names(run_folder)
        for folder in stage_folders(run_folder, stage)
        for name in inventory.LOOSE
        if inventory.gone(folder.path / name)
    ]
    again = f"Run the experiment '{run_folder.name}' again: finished stages are not repeated"
    if not manifest:
        found.append(
            f"Not checked: {run_folder / MANIFEST} is missing, so that it is unknown whether tables, texts and curves "
            f"are whole and are what the run wrote. {again}, and it is written."
        )
        return found
    if what := _splits(run_folder, manifest):
        path = run_folder / "splits.csv"
        found.append(
            f"{path} {what}, so do not take it for the studies behind this table. {again}, and it is written anew."
        )
    if what := _settings(run_folder, manifest):
        path = run_folder / "config.yaml"
        found.append(
            f"{path} {what}, so do not take it for the settings behind this table. Restore it, or remove it "
            f"({removal(path)}). {again}, and it is written anew."
        )
    return found


def _splits(run_folder: Path, manifest: Mapping[str, Any]) -> str:
    data = manifest.get("data")
    wanted = data.get("splits_sha256") if isinstance(data, Mapping) else None
    path = own(run_folder / "splits.csv", run_folder)
    try:
        if wanted is None:
            return ""
        if not path.is_file():
            return "is no file" if path.exists() else "is missing"
        return "" if wanted in (file_digest(path), content_digest(path)) else CHANGED
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def _settings(run_folder: Path, manifest: Mapping[str, Any]) -> str:
    """Those that a later run may set otherwise in the same folder are not compared."""
    wanted, held = manifest.get("settings_sha256"), read_settings(run_folder)
    if wanted is None:
        return ""
    if held is None:
        return "is missing"
    return "" if settings_digest(held) == wanted else CHANGED
