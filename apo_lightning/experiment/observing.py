"""The callbacks of a stage: built, told from those that change what is trained, and missed where it was stored."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from apo_lightning import config, leader
from apo_lightning.config.registered import CALLBACKS as SECTION
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.files.characters import visible
from apo_lightning.hashing import inventory
from apo_lightning.settings import ExperimentSettings
from apo_lightning.types import BranchBatch
from callbacks import CALLBACKS
from callbacks.of_lightning import OBSERVERS
from data_modules.base import CXRDataModule

Sections = Mapping[str, Mapping[str, Any]]
"""Callback to its settings."""
GIVEN = SECTION.given


def build(sections: Sections, folder: StageFolder, *, upload: bool = False) -> list[Any]:
    """Configured callbacks; they write into the stage's folder.

    Args:
        upload: whether texts and images of the data may be shown elsewhere.
    """
    chosen = {name: {k: v for k, v in own.items() if k not in GIVEN} for name, own in sections.items()}
    offered = {"folder": str(folder.path), "upload": upload, "batch_size_fn": len, "length_fn": scored_tokens}
    return [config.build(CALLBACKS, own, f"callbacks.{name}", None, **offered) for name, own in chosen.items()]


def scored_tokens(batch: BranchBatch) -> int:
    """What Lightning's ThroughputMonitor counts beside studies."""
    return int(batch.branch_mask.sum())


def guarded(cfg: ExperimentSettings, data: CXRDataModule) -> set[str]:
    """Names of an arm's data sets that are shown only with ``acknowledge``."""
    sections = zip([cfg.data, cfg.evaluate.data], data.sets, strict=False)
    return {section["name"] for section, part in sections if part.credentialed}


def interfering(sections: Sections) -> dict[str, Any]:
    """Those that may change what is trained: all that do not declare that they observe, or are set to do more."""
    return {name: own for name, own in sections.items() if not observes(CALLBACKS.lookup(name), own)}


def observes(kind: type, own: Mapping[str, Any]) -> bool:
    """Whether a callback with these settings changes nothing: it declares that it observes, or is one of Lightning's
    that does, and none of the settings with which it would interfere (``interferes_with``) is on."""
    looks = getattr(kind, "observes", False) or kind in OBSERVERS
    return looks and not any(own.get(name) for name in getattr(kind, "interferes_with", ()))


def tell_unseen(sections: Sections, folder: StageFolder) -> None:
    """Say which callbacks of this run did not see a stored stage train, and so have nothing written there."""
    seen = inventory.read(folder.path).get("callbacks", sections)
    unseen = [name for name, own in sections.items() if name not in seen or seen[name] != own]
    if unseen:
        leader.say(
            f"    [yellow]{escape(visible(', '.join(unseen)))} did not see this stage train, so its files are not there"
            f"[/yellow] (to train it again: rm -r {escape(visible(shlex.quote(str(folder.path))))})"
        )
