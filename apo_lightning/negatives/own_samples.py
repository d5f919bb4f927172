"""What the student says of the image by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.negatives import NEGATIVES
from apo_lightning.negatives.base import Branch, Negatives, Round, Seen, Texts, at_least_one
from apo_lightning.negatives.contradicting import against_preferred
from apo_lightning.settings import DecodingSettings


@NEGATIVES.register("own_samples")
@dataclass(frozen=True, kw_only=True)
class OwnSamples(Negatives):
    """Texts that the student itself writes before the stage begins.

    `y_1 .. y_count ~ q(. | image, question)` of the student that the stage starts from: on-policy when the stage
    begins, and no longer once it has learned.

    Drawn from the student's whole distribution, cut to ``stages.self_distill.max_new_tokens`` tokens. They are named
    ``own_1`` and on, and weigh 1 each; a sample that is drawn twice counts twice.

    Attributes:
        count: samples of a study.
        temperature: that they are drawn at; 1 is the student's own.
        only_wrong: those alone that contradict t+ in a finding (`text.conflict`).
    """

    writes: ClassVar[bool] = True
    chooses: ClassVar[tuple[str, ...]] = ("only_wrong",)
    of_teachers: ClassVar[bool] = False
    leaves_out: ClassVar[str] = "not_wrong"

    count: int = 4
    temperature: float = 1.0
    only_wrong: bool = True

    def __post_init__(self) -> None:
        at_least_one(count=self.count)
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be > 0, got {self.temperature}")

    @property
    def reads_findings(self) -> bool:
        return self.only_wrong

    def proposed(self, seen: Seen) -> Mapping[str, Sequence[Branch]]:
        return {
            study.id: [Branch(name, said.text, cut=said.cut) for name, said in seen.written.get(study.id, {}).items()]
            for study in seen.studies
        }

    def kept(self, seen: Seen, study: str, answers: Sequence[Branch]) -> Sequence[Branch]:
        return [answer for answer in answers if not self.only_wrong or against_preferred(seen, study, answer.text)]

    def rounds(self, texts: Texts) -> Sequence[Round]:
        return [Round(list(texts), tuple(f"own_{place}" for place in range(1, self.count + 1)))]

    def decoding(self, preferred: DecodingSettings) -> DecodingSettings:
        return DecodingSettings(preferred.max_new_tokens, sample=True, temperature=self.temperature)
