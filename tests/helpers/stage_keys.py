"""Keys of all stages of an experiment, without running any."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from apo_lightning import config
from apo_lightning.experiment import caching, long_texts, pipeline
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps import base
from apo_lightning.hashing import inventory, sources
from apo_lightning.settings import ExperimentSettings
from data_modules.phantom import Phantom

ROOT = Path(__file__).resolve().parents[2]
ARM = "apo_listwise"


def stage_keys(manifest: Mapping[str, Any] | None = None, **changes: Any) -> dict[str, str]:
    """Stage to key, of an arm of the smoke experiment.

    Args:
        manifest: see `keys_of`.
        changes: settings of the arm.
    """
    cfg = copy.deepcopy(smoke())
    for name, value in changes.items():
        setattr(cfg, name, value)
    return keys_of(cfg, manifest)


@cache
def smoke() -> ExperimentSettings:
    """Resolved settings of that arm; to be copied before they are changed."""
    return config.resolve_arm(config.load(ROOT / "experiments" / "smoke.yaml"), ARM)


def keys_of(cfg: ExperimentSettings, manifest: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Stage to key, of the resolved settings of that arm.

    Args:
        cfg: settings.
        manifest: what lies in the store of every stage.
    """
    own = Context(cfg, ARM, cfg.seeds[0], Phantom(train=4, val=2, test=2), RunFolder(Path("runs"), "x"))
    with (
        mock.patch.object(base, "once", lambda folder, name, work: folder),
        mock.patch.object(StageFolder, "done", True),
        mock.patch.object(long_texts, "tell", lambda own: None),
        mock.patch.object(inventory, "read", lambda folder: dict(manifest or {})),
    ):
        return {name: folder.key for name, folder in pipeline.run(own).done.items()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Stages whose key is another one."""
    return {name for name in before if before[name] != after[name]}


def begin_anew(*, elsewhere: bool = False) -> None:
    """Forget what this process was loaded from, as another one would begin; ``elsewhere``: also where modules lie."""
    sources._held.clear()
    caching.base_digest.cache_clear()
    for known in (sources._file, sources._is_followed, sources._is_of_user, sources._is_installed) if elsewhere else ():
        known.cache_clear()
