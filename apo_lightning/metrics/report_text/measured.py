"""All text metrics of one row of a table: the one function that evaluation calls, and what is asked before a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from apo_lightning.errors import DataError
from apo_lightning.metrics.outcomes import Outcomes
from apo_lightning.metrics.report_text import TEXT_METRICS
from apo_lightning.metrics.report_text.base import Pairs, TextMetric, joined
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.types import Study

ALWAYS = ("findings", "style")
"""Measured whatever the backend."""


def chosen(settings: ReportTextSettings) -> list[TextMetric]:
    """The metrics of resolved settings; none where the backend is off.

    Raises:
        ConfigError: ``also`` names one that there is not.
    """
    if settings.backend in (None, "off"):
        return []
    names = dict.fromkeys((settings.backend, *ALWAYS, *settings.also))
    return [TEXT_METRICS.lookup(name)(settings) for name in names]


def lacking(settings: ReportTextSettings) -> list[str]:
    """What the chosen metrics need and this machine has not, one sentence each."""
    return [sentence for metric in chosen(settings) if (sentence := metric.lacking())]


def words(settings: ReportTextSettings) -> str:
    """How the texts of a table were measured, for its header."""
    return " ".join(sentence for metric in chosen(settings) if (sentence := metric.words()))


def require_reports(asked: ReportTextSettings, studies: Sequence[Study], split: str) -> None:
    """Refuse a backend that is named where no study has a report to compare with.

    Args:
        asked: as the experiment has it, not resolved.

    Raises:
        DataError: none has.
    """
    if asked.backend not in (None, "off") and not any(study.report for study in studies):
        raise DataError(
            f"evaluate.report_text.backend is {asked.backend}, and none of the {len(studies):,} studies of the {split} "
            "split has a report. Take a set with reports (docs/data.md), or evaluate.report_text.backend=off."
        )


def report_outcomes(texts: Mapping[str, str], studies: Sequence[Study], settings: ReportTextSettings) -> list[Outcomes]:
    """What is measured of one text per study beside the study's own report.

    Args:
        texts: study to text, as it is read (without thinking, where that is not judged). A study without one counts
            as an empty text, as it counts as a refusal elsewhere.
        studies: those without a report are passed over.
        settings: resolved.

    Returns:
        one entry, or none where the backend is off or no study has a report.

    Raises:
        ConfigError: what a metric runs on failed.
    """
    metrics, told = chosen(settings), [study for study in studies if (study.report or "").strip()]
    if not metrics or not told:
        return []
    pairs = Pairs([texts.get(study.id, "") for study in told], [study.report or "" for study in told])
    tallies = [tally for metric in metrics for tally in metric.measure(pairs)]
    return [joined(tallies, [study.patient for study in told])]
