"""Everything that the written forms of a report show, gathered in one place."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from apo_lightning.metrics.bootstrap import RESAMPLES, SEED
from apo_lightning.reports import constant, sentences
from apo_lightning.reports import groups as tables
from apo_lightning.reports.changed_answers import Changed
from apo_lightning.reports.columns import title
from apo_lightning.reports.drift_tables import DriftTable
from apo_lightning.reports.failures import Failure, Kind, grouped
from apo_lightning.reports.measured import Results
from apo_lightning.reports.published import Published
from apo_lightning.reports.samples import Sample
from apo_lightning.reports.sentences import Differences
from apo_lightning.reports.zero_shot import ZeroShot

CSP = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What the page may do: show what it holds. A part with a script of its own widens it by that script's hash."""


@dataclass(frozen=True)
class FigureFile:
    """A rendered figure: file name under figures/, title, the question that it answers and how, alternative text."""

    name: str
    title: str
    caption: str
    alt: str
    data: bytes

    @property
    def anchor(self) -> str:
        return f"figure-{self.name.removesuffix('.png').replace('_', '-').replace('/', '-')}"

    @property
    def uri(self) -> str:
        return f"data:image/png;base64,{base64.b64encode(self.data).decode()}"


@dataclass(frozen=True)
class Drift:
    """What is shown of drift between teachers, see `reports.drift`."""

    sentences: Sequence[str]
    tables: Sequence[DriftTable]
    figures: Sequence[FigureFile]


@dataclass(frozen=True)
class Beside:
    """What runs that are compared have that a run alone has not, see `reports.compared`.

    Attributes:
        settings: what differs in them, None where nothing does.
        paired: differences between runs.
        fixed: how many answers became right and wrong, by finding.
        changed: the most changed answers, of ``total``.
        withheld: why no text is shown; empty where they may be.
    """

    settings: DriftTable | None
    paired: Sequence[DriftTable]
    fixed: Sequence[DriftTable]
    changed: Sequence[Changed]
    total: int
    withheld: str = ""


@dataclass(frozen=True)
class Told:
    """What was run, in words: of one run, or of each that is compared."""

    name: str
    banner: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Report:
    """Everything that is shown.

    Attributes:
        told: of one run, or of several side by side.
        explorer: HTML that takes the place of the example studies, with scripts that ``csp`` allows.
    """

    name: str
    told: Sequence[Told]
    notes: Sequence[str]
    results: Results
    figures: Sequence[FigureFile]
    samples: Sequence[Sample] = ()
    samples_note: str = ""
    failures: Sequence[Failure] = ()
    published: Published | None = None
    zero_shot: ZeroShot | None = None
    drift: Drift | None = None
    explorer: str = ""
    csp: str = CSP
    beside: Beside | None = None

    @cached_property
    def groups(self) -> list[tables.Group]:
        return tables.groups(self.results)

    @property
    def main(self) -> list[tables.Group]:
        return [group for group in self.groups if not group.folded]

    @property
    def folded(self) -> list[tables.Group]:
        return [group for group in self.groups if group.folded]

    @cached_property
    def verdict(self) -> str:
        """What a reader wants to know first."""
        size = "" if self.several else " ".join(sentences.measured_on(self.results))
        same = " ".join(constant.sentences(self.results.values))
        told = (sentences.verdict(self.results), same, sentences.blind(self.results), size)
        return " ".join(filter(None, told))

    @cached_property
    def warnings(self) -> list[Kind]:
        return grouped(self.failures)

    @property
    def drawn(self) -> list[FigureFile]:
        """Every figure, those of a part of its own too."""
        return [*self.figures, *(self.drift.figures if self.drift else ())]

    @property
    def several(self) -> bool:
        return len(self.told) > 1

    @property
    def measure(self) -> str:
        """Title of what arms are compared in."""
        return title(self.results.values)

    @cached_property
    def differences(self) -> list[Differences]:
        return sentences.differences(self.results)

    @property
    def counting(self) -> list[str]:
        """How to read the tables; how much they are measured on, and what is left out of them, come first."""
        return [
            *([] if self.several else sentences.measured_on(self.results)),
            *sentences.left_out(self.results.values),
            *(own for own in sentences.counting(self.results, RESAMPLES, SEED) if own not in self._told_below),
        ]

    @property
    def _told_below(self) -> tuple[str, ...]:
        """Sentences that do not hold where differences between runs are shown."""
        return (sentences.ACROSS, sentences.WITHIN) if self.beside else ()

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Anchor and title of every part of the page."""
        parts = [("run", "What was run")]
        parts += [("failures", "Warnings")] if self.failures else []
        parts += [("settings", "Settings"), ("paired", "Paired"), ("changed", "Changed answers")] if self.beside else []
        parts += [("results", "Results"), ("reading", "How to read them")]
        parts += [("differences", "Differences")] if self.differences else []
        parts += [("zero-shot", "Other data sets")] if self.zero_shot else []
        parts += [("figures", "Figures")] if self.figures else []
        parts += [("drift", "Drift of the teachers")] if self.drift else []
        parts += [("published", "Published numbers")] if self.published else []
        return [*parts, ("studies", "Studies")] if not self.several else parts
