"""Which stored log-probs and image features belong to a student: the identities under which stages share them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from apo_lightning.caches.features import FeatureCache
from apo_lightning.caches.reference import ReferenceCache
from apo_lightning.caches.tensor_store import TensorStore
from apo_lightning.experiment.stage_folder import NUMERIC, StageFolder
from apo_lightning.hashing.contents import digest, file_digest, remembered_digest
from apo_lightning.hashing.sources import sources_of
from apo_lightning.models.processor import locate
from apo_lightning.models.student import Student
from apo_lightning.settings import ExperimentSettings


@cache
def base_digest(model: str, store: Path) -> str:
    """Content of a model folder; of a hub name the name itself. ``store`` remembers it between processes."""
    base = Path(locate(model))
    return remembered_digest(base, store / "digests.json") if base.is_dir() else model


def revision(model: str) -> dict[str, str]:
    """The commit of a hub name's files on this disk, which counts as source does: the name stays where weights are
    replaced."""
    if Path(locate(model)).is_dir():
        return {}
    with suppress(ValueError):  # no name that a hub could have
        found = try_to_load_from_cache(model, "config.json")
        return {f"{model} (hub)": Path(found).parent.name} if isinstance(found, str) else {}
    return {}


def feature_cache(cfg: ExperimentSettings, student: Student, store: Path) -> FeatureCache | None:
    """Features of every image that a run has looked at; the tower is never trained, so all stages share them."""
    if not cfg.cache.features:
        return None
    return FeatureCache(_open(store, "features", _tower(cfg, student, store)))


def reference_cache(
    cfg: ExperimentSettings, student: Student, made_by: StageFolder | None, template: str, store: Path
) -> ReferenceCache | None:
    """Log-probs under the student that APO starts from. Beta, teacher weights and the loss are not in the identity."""
    if not cfg.cache.reference:
        return None
    adapter = file_digest(made_by.path / "student") if made_by else "none"
    return ReferenceCache(
        _open(store, "reference", {**_tower(cfg, student, store), "adapter": adapter, "template": template})
    )


def _tower(cfg: ExperimentSettings, student: Student, store: Path) -> dict[str, str]:
    own, commit = cfg.student, getattr(student.model.config, "_commit_hash", None)
    return {
        "sources": digest(sources_of(Student)),
        "weights": base_digest(own.model, store) + (f"@{commit}" if commit else ""),
        "processor": f"{own.model}, pixels {own.min_pixels} to {own.max_pixels}",
        "libraries": ", ".join(f"{name} {'.'.join(version(name).split('.')[:2])}" for name in NUMERIC),
        "precision": f"{own.dtype}, {cfg.trainer.precision}, {'4 bits' if own.adapter.kind == 'qlora' else 'whole'}",
    }


def _open(store: Path, kind: str, identity: Mapping[str, str]) -> TensorStore:
    return TensorStore(store / f"{kind}-{digest(identity)[:12]}.sqlite", identity)


def facts(student: Student, reference: ReferenceCache | None) -> dict[str, int]:
    """What was computed and what was read, in this process, for the manifest of a stage."""
    stores = {"reference": reference, "feature": student.feature_cache}
    read = {
        f"{name} rows {what}": getattr(known.store, count)
        for name, known in stores.items()
        if known
        for what, count in (("read", "hits"), ("written", "written"))
    }
    return {**student.counts, **read}
