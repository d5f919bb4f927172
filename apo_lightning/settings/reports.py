"""How report texts are measured: a part of an experiment's ``evaluate`` section."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from apo_lightning.settings.checks import check_choices

Backend = Literal["auto", "python", "coco", "off"]
BACKENDS = get_args(Backend)
REPORT_PROMPT = "report"
"""The prompt that asks for a radiology report and for nothing else."""


@dataclass
class ReportTextSettings:
    """Answers beside the radiologist's report of their study, where it has one. Measured on stored texts: to change it
    trains nothing and asks nothing again."""

    backend: Backend | None = None
    """Who computes BLEU, ROUGE-L and METEOR: ``python`` (sacrebleu, rouge-score, nltk), ``coco`` (pycocoevalcap, with
    Java: what R2Gen and its followers print), ``auto`` (python), ``off``. Null: python where the prompt is ``report``,
    else off. The two never stand in one table."""
    tokenizer: Literal["r2gen", "ptb"] = "r2gen"
    """What ``coco`` reads: reports cleaned as by ``r2gen``, or the words of the Penn Treebank tokenizer (``ptb``)."""
    also: list[str] = field(default_factory=list)
    """Further text metrics by name, such as ``chexbert``: their packages and weights must be on disk."""

    def __post_init__(self) -> None:
        check_choices(self)
        if len(set(self.also)) < len(self.also):
            raise ValueError(f"also must name each metric once, got {self.also}")

    def resolved(self, prompt: str) -> ReportTextSettings:
        """The same with ``backend`` one of python, coco, off, for answers to ``prompt``."""
        asked = self.backend or ("auto" if prompt == REPORT_PROMPT else "off")
        return replace(self, backend="python" if asked == "auto" else asked)
