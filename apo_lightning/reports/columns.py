"""Which columns a table can have, in the groups in which they are shown, and what each of them means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

MEASURES = ("accuracy", "progression_accuracy", "likelihood_accuracy")
"""What a table has a column for each finding of: the first that it has values for."""
BOTH_CLASSES = ("balanced_accuracy", "positive_f1", "progression_macro_accuracy")
"""Metrics that a finding with labels of one class only has no value in."""
KAPPA = "agreement"
"""Name here of what agreement.csv holds."""


@dataclass(frozen=True)
class Column:
    """One column of the table. ``best`` is which end is bold among arms; None where no end is better. ``names``: the
    metric whose largest value names whom a cell is about."""

    metric: str
    finding: str
    title: str
    meaning: str
    digits: int = 3
    best: str | None = "max"
    names: str = ""

    @property
    def key(self) -> str:
        return f"{self.metric}/{self.finding}"


@dataclass(frozen=True)
class Kind:
    """Columns that are shown in one table: its anchor, title, a sentence on how it came about, and its columns."""

    name: str
    title: str
    note: str
    columns: tuple[Column, ...] = field(default=())


def _scores(how: str) -> tuple[Column, ...]:
    return (
        Column(f"{how}_accuracy", "mean", "accuracy", "Top-1 accuracy at a threshold of .5, averaged over findings"),
        Column(f"{how}_balanced_accuracy", "mean", "balanced accuracy", "mean of sensitivity and specificity"),
        Column(f"{how}_positive_f1", "mean", "macro-F1", "F1 of the class present, averaged over the findings"),
        Column(f"{how}_auroc", "mean", "AUROC", "area under the ROC curve of the score: .5 is chance"),
        Column(f"{how}_average_precision", "mean", "AP", "average precision of the score: the prevalence is chance"),
        Column(f"{how}_ece", "mean", "ECE", "expected calibration error of the score; less is better", best="min"),
        Column(f"{how}_brier", "mean", "Brier", "mean squared error of the score; less is better", best="min"),
    )


KINDS = (
    Kind(
        "text",
        "Read from the text",
        "The student answers greedily, and rules read its text.",
        (
            Column("accuracy", "mean", "mean accuracy", "Top-1 accuracy, averaged over the findings"),
            Column(
                "balanced_accuracy", "mean", "balanced accuracy", "mean of sensitivity and specificity, over findings"
            ),
            Column("positive_f1", "mean", "macro-F1", "F1 of the class present, averaged over the findings"),
            Column("f1", "mean", "F1, both classes", "mean of the F1 of present and of absent (an earlier version)"),
            Column(
                KAPPA, "mean", "agreement of seeds", "Cohen's kappa of answers, mean over pairs of seeds", best=None
            ),
            Column("refusals", "mean", "refusals", "answers that refuse, or have no text; fewer is better", best="min"),
            Column(
                "states_nothing",
                "mean",
                "states nothing",
                "answers that state no finding and refuse nothing",
                best="min",
            ),
            Column(
                "normal", "mean", "normal", "answers that call the film normal, which denies every finding", best=None
            ),
            Column(
                "cut", "mean", "cut off", "answers that ran into the limit of new tokens; fewer is better", best="min"
            ),
        ),
    ),
    Kind(
        "faults",
        "Faults: made up, left out, taken over",
        "Of readable answers, and of the errors that a row has in common with the teachers; a teacher is beside the "
        "others, and constant answers show what comes of saying one thing too often.",
        (
            Column("invented", "mean", "invented", "absent findings that are stated as present", best="min"),
            Column("invented_per_study", "mean", "invented a study", "how many an answer has", 2, "min"),
            Column("missed", "mean", "missed", "present findings that are not stated as present", best="min"),
            Column("missed_per_study", "mean", "missed a study", "how many an answer has", 2, "min"),
            Column(
                "inherited",
                "mean",
                "inherited",
                "correlation of its errors with a teacher's, within findings, mean over the teachers",
                best=None,
            ),
            Column(
                "inherited_most",
                "mean",
                "most from",
                "the largest of these correlations, and whose",
                best=None,
                names="inherited",
            ),
            Column(
                "repeats",
                "mean",
                "repeats",
                "where the vote is right: how much more often it errs as a teacher does if that one is wrong, than it "
                "errs if that one is right, within findings and labels, mean over the teachers",
                best="min",
            ),
        ),
    ),
    Kind(
        "progression",
        "Progression",
        "Is a finding improving, stable or worsening since the earlier film?",
        (
            Column("progression_accuracy", "mean", "progression", "Top-1 accuracy of improving, stable, worsening"),
            Column(
                "progression_macro_accuracy", "mean", "progression, macro", "mean recall of the classes, over findings"
            ),
            Column(
                "progression_unstated",
                "mean",
                "course not told",
                "labelled courses left out; fewer is better",
                best="min",
            ),
            Column("flip_consistency", "mean", "flip consistency", "answers that turn when the two films are swapped"),
        ),
    ),
    Kind(
        "likelihood",
        "By likelihood: what the student knows before it writes",
        "The probability of beginning an answer with a statement that the finding is present, against absent.",
        _scores("likelihood"),
    ),
    Kind(
        "in_place",
        "By likelihood, in place: what the student knows where its answer decides",
        "The probability of its own sentences that say present, against those that say absent, behind what it wrote.",
        _scores("in_place"),
    ),
    Kind(
        "vote",
        "By vote over sampled answers",
        "The score is the share of sampled answers that say present.",
        _scores("vote"),
    ),
    Kind(
        "logp",
        "Log-probabilities",
        "Of texts under the student, on validation studies.",
        (
            Column(
                "logp_preferred", "mean", "log p (t+)", "mean log-probability (nats) of the preferred texts", 1, None
            ),
            Column(
                "logp_teachers",
                "mean",
                "log p (teachers)",
                "mean log-probability (nats) of the teachers' texts",
                1,
                None,
            ),
        ),
    ),
)
"""The report texts come between the last two, a table per backend, see `backends`."""
SUMMARY = tuple(column for kind in KINDS for column in kind.columns)

TEXTS = {
    "report_f1_micro_14": "F1 micro, 14 findings",
    "report_f1_macro_14": "F1 macro, 14 findings",
    "report_f1_micro_5": "F1 micro, 5 findings",
    "report_f1_macro_5": "F1 macro, 5 findings",
    "report_length_ratio": "length ratio",
    "report_repetition": "repetition",
    "report_hedging": "hedging",
    "report_style_distance": "style distance",
}
"""Metrics of report texts that need no backend."""
MEANINGS = {
    "report_length_ratio": "words of the text by words of the reference; 1 is alike",
    "report_repetition": "share of word sequences that the text had before",
    "report_hedging": "share of sentences that hedge",
    "report_style_distance": "distance of the wording from the references'; less is nearer",
}
ENDS = {"report_style_distance": "min", "report_length_ratio": None, "report_repetition": "min", "report_hedging": None}
BACKENDS = {
    "coco": "pycocoevalcap (Java)",
    "python": "pure Python: sacrebleu, rouge-score, nltk",
    "chexbert": "CheXbert",
    "radgraph": "RadGraph",
}
NAMES = {"bleu": "BLEU", "rouge_l": "ROUGE-L", "meteor": "METEOR", "cider": "CIDEr", "f1": "F1"}


def backends(frame: pd.DataFrame) -> list[Kind]:
    """The tables of report texts that the values ask for: one of what needs no backend, and one a backend, since the
    same metric of two backends is two metrics."""
    metrics = [str(name) for name in frame["metric"].unique()]
    found = [
        Column(
            name,
            "mean",
            TEXTS[name],
            MEANINGS.get(name, "of the findings that a rule reads"),
            best=ENDS.get(name, "max"),
        )
        for name in TEXTS
        if name in metrics
    ]
    kinds = [Kind("report-texts", "Report texts", "Read by rules, beside the reference report.", tuple(found))]
    for backend in dict.fromkeys(name.split(":")[0] for name in metrics if ":" in name):
        own = [name for name in metrics if name.startswith(f"{backend}:")]
        title = f"Report texts, computed by {BACKENDS.get(backend, backend)}"
        note = "The other backend computes these otherwise: its values are on another scale."
        columns = tuple(Column(name, "mean", _name(name), "") for name in own)
        kinds.append(Kind(f"report-texts-{backend}", title, note, columns))
    return [kind for kind in kinds if kind.columns]


def _name(metric: str) -> str:
    """
    >>> _name("coco:bleu_4"), _name("radgraph:f1_partial")
    ('BLEU-4', 'F1 partial')
    """
    words = metric.split(":", 1)[1]
    start = next((name for name in NAMES if words.startswith(name)), "")
    rest = words[len(start) :].strip("_")
    if not start:
        return words.replace("_", " ")
    return f"{NAMES[start]}-{rest}" if rest.isdigit() else f"{NAMES[start]} {rest.replace('_', ' ')}".strip()


def kinds(frame: pd.DataFrame) -> list[Kind]:
    """Groups of columns in the order in which they are shown; what is measured per finding comes second."""
    order = [*KINDS[:-1], *backends(frame), KINDS[-1]]
    if measure(frame) == "progression_accuracy":
        order.sort(key=lambda kind: kind.name != "progression")
    return order


def measure(frame: pd.DataFrame) -> str:
    """The metric that every finding has a column of."""
    return next((name for name in MEASURES if (frame["metric"] == name).any()), MEASURES[0])


def title(frame: pd.DataFrame) -> str:
    """How the mean of the measure is called."""
    name = next(column.title for column in SUMMARY if column.metric == measure(frame))
    return f"{name} by likelihood" if measure(frame).startswith("likelihood") else name


def findings(frame: pd.DataFrame, metric: str | None = None) -> list[str]:
    """Names of the findings that are measured, in order of appearance."""
    names = frame.loc[frame["metric"] == (metric or measure(frame)), "finding"].unique()
    return [str(name) for name in names if name != "mean"]


def each(frame: pd.DataFrame, metric: str, best: str | None = "max") -> list[Column]:
    """A column per finding."""
    word = {"accuracy": "accuracy", "progression_accuracy": "progression"}.get(metric, metric.replace("_", " "))
    names = findings(frame, metric)
    return [Column(metric, name, name.replace("_", " "), f"{word} on that finding", best=best) for name in names]


def columns(frame: pd.DataFrame) -> list[Column]:
    """The summary columns that the frame has values for, then the measure of each finding."""
    present = set(zip(frame["metric"], frame["finding"], strict=True))
    summary = [column for kind in kinds(frame) for column in kind.columns]
    shown = [column for column in summary if (column.metric, column.finding) in present]
    return shown + each(frame, measure(frame))


def short(names: Sequence[str], least: int = 5) -> list[str]:
    """The shortest beginnings, of at least five letters, that still tell the names apart.

    >>> short(["edema", "pneumonia", "pneumothorax"])
    ['edema', 'pneumon.', 'pneumot.']
    """
    beginnings = []
    for name in names:
        size = least
        while size < len(name) and any(other != name and other.startswith(name[:size]) for other in names):
            size += 1
        beginnings.append(name if len(name) <= size + 1 else f"{name[:size].strip()}.")
    return beginnings
