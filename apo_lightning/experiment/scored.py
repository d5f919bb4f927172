"""Which findings answers are scored on, and teachers judged by."""

from __future__ import annotations

from collections.abc import Sequence

from apo_lightning.errors import ConfigError, DataError, did_you_mean
from apo_lightning.registry import Registry
from apo_lightning.settings import EvaluateSettings, ExperimentSettings
from apo_lightning.text.progression import judges_progression
from apo_lightning.types import Study
from data_modules.base import CXRDataModule


def scored_findings(plan: EvaluateSettings, data: CXRDataModule) -> tuple[str, ...]:
    """Findings that answers are scored on: those that are named, else all of the set that the split belongs to.

    Raises:
        DataError: a name is none of the set's.
    """
    known = data.scored_findings if plan.split == "test" else tuple(data.findings)
    for name in plan.findings:
        if name not in known:
            hint = did_you_mean(name, known)
            raise DataError(f"evaluate.findings names '{name}', for which there are no labels. {hint}")
    return tuple(plan.findings) or known


def require_labels(key: str, name: str, registry: Registry, cfg: ExperimentSettings, data: CXRDataModule) -> None:
    """See that the data have what a strategy goes by, before anything is trained.

    Args:
        key: of the setting that names it.
        name: of the strategy.
        registry: where it is filed; its classes say ``courses`` and ``uses_labels``.
        cfg: the arm's resolved settings.
        data: checked.

    Raises:
        ConfigError: studies are labelled with what it does not know, or it needs labels and there are none.
    """
    own, studies = registry.lookup(name), data.studies("val")
    courses = judges_progression([*data.studies("train"), *studies])
    if courses and not own.courses:
        fitting = ", ".join(sorted(each for each, kind in registry.items() if kind.courses))
        raise ConfigError(
            f"{key} '{name}' goes by which findings are present, and '{cfg.data['name']}' is labelled with their "
            f"course (improving, stable, worsening). Strategies that know courses: {fitting}."
        )
    judged = judging_findings(cfg.evaluate, data)
    if own.uses_labels and not any(_labelled(study, judged, courses) for study in studies):
        free = ", ".join(sorted(each for each, kind in registry.items() if not kind.uses_labels))
        raise ConfigError(
            f"{key} '{name}' compares teachers with the labels of validation studies, and none of the {len(studies)} "
            f"of '{cfg.data['name']}' has a label. Give the split labelled studies (data.val_fraction, "
            f"data.split_file), or take a strategy that needs none: {free}."
        )


def _labelled(study: Study, findings: Sequence[str], courses: bool) -> bool:
    return bool(study.progression) if courses else any(study.findings.get(name) in (0, 1) for name in findings)


def judging_findings(plan: EvaluateSettings, data: CXRDataModule) -> Sequence[str]:
    """Findings that teachers are judged by on the validation split: the scored ones that are the training set's, which
    another evaluation set does not replace; all of them where it has none of these."""
    known = data.findings
    return [name for name in plan.findings if name in known] or known
