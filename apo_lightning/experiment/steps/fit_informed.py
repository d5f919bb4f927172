"""Train the student in a stage that reads the teachers' texts in a second prompt."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from apo_lightning.batching.informed import InformedCollator
from apo_lightning.experiment import cache_keys
from apo_lightning.experiment.context import Context
from apo_lightning.experiment.steps.fit import Fit
from apo_lightning.models.student import Student
from apo_lightning.types import Example


class FitInformed(Fit):
    """As `Fit`; every study of a batch has the prompt of self-distillation with all its teachers' texts beside the
    plain one."""

    def __init__(self, own: Context, name: str) -> None:
        seen = copy.copy(own)
        seen.collator = self._paired
        super().__init__(seen, name)
        self.plain, self.reads = own, own.cfg.stages.self_distill.prompt

    def inputs(self) -> dict[str, Any]:
        return {**super().inputs(), "reads": cache_keys.template(self.reads)}

    def _paired(self, student: Student, prompt: str, findings: Sequence[str] = ()) -> InformedCollator:
        plain, reading = (self.plain.collator(student, name, findings) for name in (prompt, self.reads))
        return InformedCollator(plain, reading)

    def _examples(self, split: str, counts: Counter[str]) -> list[Example]:
        heard = self.own.heard
        shown = super()._examples(split, counts)
        return [replace(each, context=tuple(heard.get(each.study.id, {}).values())) for each in shown]
