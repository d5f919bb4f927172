"""What a strategy may look at, and what it returns.

A stage that compares t+ with negatives asks twice. `Negatives.proposed` says which answers there are; refusals, empty
texts and copies of t+ are then left out as the stage's own settings say (`batching.examples`), and `Negatives.kept`
says which of the others count. No label is there to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from apo_lightning.settings import DecodingSettings
from apo_lightning.types import Answer, Branch, Study

__all__ = ["Branch", "Negatives", "Round", "Seen", "at_least_one"]

Texts = Mapping[str, Mapping[str, str]]
"""Study id to name to text."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """All that a strategy sees of one split.

    Attributes:
        studies: those that have a t+ to be taught.
        preferred: study id to t+ as it is taught, of ``studies`` alone.
        texts: study id to teacher to text as it is taught, in the order of the experiment, refusals among them. A
            teacher that did not speak of a study is not there.
        weights: study id to teacher to what its text weighs as one that t+ is preferred to.
        findings: all that the data set labels.
        seed: of the arm.
        as_read: makes of a text what findings are read from, each character where it stood.
        written: study id to name to what the student wrote, for a strategy that ``writes``.
    """

    studies: Sequence[Study]
    preferred: Mapping[str, str]
    texts: Texts
    weights: Mapping[str, Mapping[str, float]]
    findings: Sequence[str]
    seed: int
    as_read: Callable[[str], str] = str
    written: Mapping[str, Mapping[str, Answer]]


@dataclass(frozen=True)
class Round:
    """One time that the student is asked.

    Attributes:
        studies: ids of those that it is asked about.
        names: of its answers; as many are drawn of each study.
        shown: study id to teacher to the texts that it reads beside the image, under the prompt by which it writes t+;
            None: it answers from the image alone, under the plain prompt.
    """

    studies: Sequence[str]
    names: tuple[str, ...]
    shown: Texts | None = None


@dataclass(frozen=True, kw_only=True)
class Negatives:
    """A way to negatives. A subclass is registered under its name; its fields are what an experiment can set.

    Attributes:
        writes: it lets the student write, in a step before the stage (``rounds``).
        shows: what the student then reads are teachers' texts.
        chooses: settings that only choose among what was written, so that the step does not depend on them.
        of_teachers: a negative belongs to a teacher, bears its name and has its weight; others weigh 1 each.
        uses_labels: none does, see above.
        courses: it works where studies are labelled with the course of their findings (MS-CXR-T) too.
        leaves_out: how answers that ``kept`` leaves out are counted.
        same_text: its answers are t+ behind other images, so that what is said of refusals and copies is not of them.
    """

    writes: ClassVar[bool] = False
    shows: ClassVar[bool] = False
    chooses: ClassVar[tuple[str, ...]] = ()
    of_teachers: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = False
    courses: ClassVar[bool] = False
    leaves_out: ClassVar[str] = "not_chosen"
    same_text: ClassVar[bool] = False

    @property
    def reads_findings(self) -> bool:
        """Whether it goes by which findings texts state."""
        return not self.courses

    def proposed(self, seen: Seen) -> Mapping[str, Sequence[Branch]]:
        """The answers that may stand against t+, by study; the teachers' texts unless a strategy has others. Names are
        different within a study."""
        return {
            study.id: [Branch(name, text, seen.weights[study.id][name]) for name, text in seen.texts[study.id].items()]
            for study in seen.studies
        }

    def kept(self, seen: Seen, study: str, answers: Sequence[Branch]) -> Sequence[Branch]:
        """Those of ``answers``, which the filters of the stage have left of a study, that count; all unless a strategy
        chooses."""
        return answers

    def rounds(self, texts: Texts) -> Sequence[Round]:
        """What the student is asked, of a strategy that ``writes``.

        Args:
            texts: study id to teacher to text, of all training and validation studies; of the texts those that the
                filters of the stage let through.
        """
        return ()

    def decoding(self, preferred: DecodingSettings) -> DecodingSettings:
        """How the student writes; ``preferred``: how it writes t+."""
        return preferred


def at_least_one(**values: int) -> None:
    """
    Raises:
        ValueError: one of the numbers is less than 1.
    """
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
