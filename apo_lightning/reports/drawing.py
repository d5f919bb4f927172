"""The figures of a run: which can be drawn, and the question that each of them answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from apo_lightning.reports import curves, figures, figures_arms, figures_scores, figures_training, teacher_drift
from apo_lightning.reports.columns import findings
from apo_lightning.reports.folder import PAPER, read_metrics, stage_names
from apo_lightning.reports.measured import Results
from apo_lightning.reports.page import FigureFile
from apo_lightning.reports.table import arm_labels, reference_arm

FIGURES = {
    "accuracy.png": (
        "Accuracy per finding",
        "Which arm is right on which finding? Bars: arms, with the 95 % interval over patients and seeds. Black line: "
        "the majority vote of the teachers. Dashed: the teacher with the best mean accuracy on this split.",
    ),
    "forest.png": (
        "Differences from the reference arm",
        "Is any arm apart from {against}? Each difference with its 95 % interval; grey where that holds 0 or the "
        "corrected test, where one was made, does not tell the two apart. Hollow: too small to compare.",
    ),
    "knows.png": (
        "What the student knows and what it says",
        "What does the student know that greedy decoding hides? One line an arm: the same findings asked of the text "
        "that it writes, of sampled answers, and of the probability that it gives to present. A wide gap is knowledge "
        "that the text does not show.",
    ),
    "calibration.png": (
        "Calibration",
        "Can its probabilities be believed? On the dashed line they can: of what it calls 80 % likely, 80 % is there. "
        "All findings and seeds of an arm; the area of a mark is its number of statements.",
    ),
    "rewards.png": (
        "Reward curves",
        "Does the preference stage raise t+, or only push the teachers down? Left: reward, beta times the log-ratio to "
        "the reference. Right: log-probability under the student. Bold: mean over seeds; pale: single seeds; thin "
        "orange on the right: single teachers. All arms share their scales.",
    ),
    "spd_loss.png": (
        "SPD loss",
        "Had learning from the teachers settled when it stopped? Arms that share the stored stage share a line.",
    ),
    "validation_spd.png": ("Validation while learning", "Does SPD get better on studies it is not trained on?"),
    "validation_apo.png": ("Validation in the preference stage", "Does it get better on studies it is not trained on?"),
    "drift.png": (
        "Teachers along stream and report",
        "Do teachers get worse along the stream, or along their reports? Share that is right on the studies of the "
        "evaluation split; along the report only what a sentence states.",
    ),
}
"""File name to title and caption, in the order of the report; curves over an axis come behind ``knows``."""
OWN = ("curve_*.png", "stage_*.png")
"""Figures whose names are made of those of a run's own axes and stages."""
OBSOLETE = ("radar.png",)
"""What an earlier version drew."""


def names(folder: Path) -> set[str]:
    """What may lie in ``figures/`` from an earlier report."""
    return {*FIGURES, *OBSOLETE, *(path.name for own in OWN for path in folder.glob(own))}


def draw(run_folder: Path, found: Results, settings: Mapping[str, Any]) -> list[FigureFile]:
    """Every figure that the run has the numbers of.

    Raises:
        ArtifactError: a file of a stage is corrupt.
    """
    makers = dict(_makers(run_folder, found))
    over = list(_curves(found, settings))
    made = []
    for name, (title, caption) in FIGURES.items():
        if name in makers:
            against = arm_labels(found.values).get(reference_arm(found.values) or "", "")
            alt = f"{title}: {'over training steps' if name in STEPS else 'the numbers are in the tables'}."
            made.append(FigureFile(name, title, caption.format(against=against), alt, figures.png(makers[name]())))
        if name == "knows.png":
            made += over
        if name == "validation_apo.png":
            made += _further_stages(run_folder, found)
    return made


def _further_stages(run_folder: Path, found: Results) -> Iterator[FigureFile]:
    """The same of stages beyond the paper's, later runs of those among them."""
    labels, styles = arm_labels(found.values), figures.arm_styles(found.values)
    for stage in (name for name in stage_names(run_folder) if name not in PAPER):
        metrics = read_metrics(run_folder, stage, labels)
        if figures_training.preference_arms(metrics):
            yield _of_stage(stage, "rewards", FIGURES["rewards.png"][1], figures_training.reward_curves(metrics))
        elif "train/loss" in metrics and metrics["train/loss"].notna().any():
            drawn = figures_training.spd_curve(metrics, styles, stage)
            yield _of_stage(stage, "loss", f"Had {stage} settled when it stopped?", drawn)
        if figures_training.validation_metrics(metrics):
            drawn = figures_training.validation_curves(metrics, styles)
            yield _of_stage(stage, "validation", FIGURES["validation_apo.png"][1], drawn)


def _of_stage(stage: str, kind: str, caption: str, drawn: Figure) -> FigureFile:
    title = f"{kind.capitalize()} of {stage}"
    return FigureFile(f"stage_{stage}_{kind}.png", title, caption, f"{title}: over training steps.", figures.png(drawn))


STEPS = ("rewards.png", "spd_loss.png", "validation_spd.png", "validation_apo.png")


def _makers(run_folder: Path, found: Results) -> Iterator[tuple[str, Callable[[], Figure]]]:
    labels, styles = arm_labels(found.values), figures.arm_styles(found.values)
    if not labels:
        return
    if findings(found.values):
        yield "accuracy.png", lambda: figures.accuracy_bars(found)
    if figures_arms.forest_panels(found):
        yield "forest.png", lambda: figures_arms.forest(found)
    if figures_arms.knows_metrics(found):
        yield "knows.png", lambda: figures_arms.knows(found)
    if reliable := figures_scores.reliability(run_folder, labels):
        yield "calibration.png", lambda: figures_scores.calibration(reliable, labels)
    apo, spd = (read_metrics(run_folder, stage, labels) for stage in ("apo", "spd"))
    if figures_training.preference_arms(apo):
        yield "rewards.png", lambda: figures_training.reward_curves(apo)
    if "train/loss" in spd and spd["train/loss"].notna().any():
        yield "spd_loss.png", lambda: figures_training.spd_curve(spd, styles)
    for stage, metrics in (("spd", spd), ("apo", apo)):
        if figures_training.validation_metrics(metrics):
            yield (
                f"validation_{stage}.png",
                lambda metrics=metrics: figures_training.validation_curves(metrics, styles),
            )
    drifting = teacher_drift.measure(run_folder)
    if len(drifting) and drifting.groupby("along")["part"].nunique().max() > 1:
        yield "drift.png", lambda: figures_scores.drift(drifting)


def _curves(found: Results, settings: Mapping[str, Any]) -> Iterator[FigureFile]:
    shown = curves.metrics(found)
    for axis, points in curves.points(settings, found).items() if shown else []:
        title = f"Over {axis}"
        caption = (
            f"What changes with {axis}? Each mark is an arm, with its 95 % interval; the numbers are in the tables."
        )
        drawn = figures.png(figures_arms.curve(found, points, shown))
        yield FigureFile(curves.file_name(axis), title, caption, f"{title}: the numbers are in the tables.", drawn)
