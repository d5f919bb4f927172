"""A W&B workspace that says what it shows: the tables first, then how the arms learned, what went wrong, what it cost.

Needs the extra ``[dashboard]`` (wandb-workspaces) and an account; `build` needs neither network nor account.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apo_lightning.errors import ConfigError

NAME = "apo-lightning"
ARM = "arm"
"""Key of a run's config."""
READ_ME = """**How to read this project.** One run is one stage of one arm and seed, with the arm's settings as
its config. The group is the experiment, the job type is the stage: `spd` (learn), `apo` (critique), `evaluate`, and
`report`, which holds the tables of the whole experiment. Panels draw one line an arm; filter by group where a project
holds several experiments.

1. *Results*: the report's table, with 95 % intervals over patients and seeds, and paired differences between arms.
2. *Learn*: the loss of SPD. Arms that share a stage share its run.
3. *Critique*: how often t+ is ranked first among all answers, beside chance; rewards; and the log-probabilities
   themselves, since margins may grow while both fall.
4. *Warnings*: 1 where a failure signature was seen.

Not for clinical use."""

Panel = tuple[str, tuple[str, ...]]
"""Title, and the logged keys that it shows."""
RESULTS = ("tables/results", "tables/differences", "tables/tests", "studies")
LEARN: tuple[Panel, ...] = (("Loss of SPD", ("train/loss",)),)
CRITIQUE: tuple[Panel, ...] = (
    ("Is t+ ranked first?", ("train/rank1_accuracy", "train/rank1_chance")),
    ("Margin over the teachers", ("train/margin",)),
    ("log p of t+ and of the teachers", ("train/logp_chosen", "train/logp_rejected")),
    ("Likelihood of t+", ("train/nll",)),
)
SUMMARY: tuple[Panel, ...] = (
    ("Accuracy on the test split", ("test/accuracy",)),
    ("Balanced accuracy", ("test/balanced_accuracy",)),
    ("What is known: AUROC by likelihood", ("test/likelihood_auroc",)),
)


def build(entity: str, project: str) -> Any:
    """The workspace, not yet saved.

    Raises:
        ConfigError: wandb-workspaces is not installed.
    """
    try:
        import wandb_workspaces.reports.v2 as panels
        import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        raise ConfigError(
            "A dashboard needs the package wandb-workspaces, which is not installed: "
            "pip install 'apo-lightning[dashboard]'."
        ) from error

    def lines(which: Sequence[Panel]) -> list[Any]:
        return [
            panels.LinePlot(title=title, x="Step", y=list(keys), groupby=panels.Config(ARM)) for title, keys in which
        ]

    def bars(which: Sequence[Panel]) -> list[Any]:
        return [panels.BarPlot(title=title, metrics=list(keys), groupby=panels.Config(ARM)) for title, keys in which]

    def section(name: str, own: list[Any], columns: int = 2) -> Any:
        layout = workspaces.SectionLayoutSettings(columns=columns, rows=2)
        return workspaces.Section(name=name, panels=own, is_open=True, layout_settings=layout)

    tables = [panels.WeavePanelSummaryTable(table_name=name) for name in RESULTS]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=[
            section("Read me", [panels.MarkdownPanel(markdown=READ_ME)], columns=1),
            section("Results", [*bars(SUMMARY), *tables], columns=3),
            section("Learn (SPD)", lines(LEARN)),
            section("Critique (APO)", lines(CRITIQUE)),
            section("Warnings", [panels.LinePlot(title="Failure signatures", metric_regex="train/failure/.*")]),
            section("Figures", [panels.MediaBrowser(media_keys=["figures"], num_columns=2)], columns=1),
        ],
    )


def save(entity: str, project: str) -> str:
    """Save the workspace as a new view of the project. Returns its address.

    Raises:
        ConfigError: wandb-workspaces is not installed, or W&B refuses (no account, no such project).
    """
    made = build(entity, project)
    try:
        made.save()
    except Exception as error:  # its client raises many kinds, none of them its own
        raise ConfigError(
            f"W&B did not take the dashboard of {entity}/{project}: {error}. Log in (wandb login) and run an "
            "experiment with wandb.mode=online first, so that the project exists."
        ) from error
    return str(made.url)
