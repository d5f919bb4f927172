"""Which findings answers are scored on, and teachers judged by."""

from __future__ import annotations

from collections.abc import Sequence

from apo_lightning.errors import DataError, did_you_mean
from apo_lightning.settings import EvaluateSettings
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


def judging_findings(plan: EvaluateSettings, data: CXRDataModule) -> Sequence[str]:
    """Findings that teachers are judged by on the validation split: the scored ones that are the training set's, which
    another evaluation set does not replace; all of them where it has none of these."""
    known = data.findings
    return [name for name in plan.findings if name in known] or known
