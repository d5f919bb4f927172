"""Which student of which run is meant: RUN[/ARM], and a seed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from apo_lightning import config
from apo_lightning.errors import ApoError, ArtifactError, ConfigError, did_you_mean
from apo_lightning.experiment import checks
from apo_lightning.experiment.scored import scored_findings
from apo_lightning.experiment.stage_files import read_rows
from apo_lightning.models.network import Networks
from apo_lightning.models.student import Student
from apo_lightning.reports.folder import FinishedStage, require_stage
from apo_lightning.settings import ExperimentSettings
from apo_lightning.stages import STAGES

BASE = "base"
"""What the student before any training is called."""


@dataclass(frozen=True)
class Chosen:
    """One arm and seed of a run.

    Attributes:
        run: its folder.
        cfg: settings of the arm as it ran.
        arm, seed: which.
        stage: the stage whose student is meant; None: the model before any training.
    """

    run: Path
    cfg: ExperimentSettings
    arm: str
    seed: int
    stage: str | None

    @property
    def title(self) -> str:
        """How a reader is told of it, as ``apo_listwise seed 0 (apo)``."""
        return f"{self.arm} seed {self.seed} ({self.stage or 'nothing trained'})"

    @property
    def saved(self) -> Path | None:
        """Folder of the saved student; None: the base model.

        Raises:
            ArtifactError: the stage is not finished, or is not what it wrote.
        """
        if self.stage is None:
            return None
        place = self.run / self.arm / f"seed{self.seed}" / self.stage
        if not (place / "student").is_dir():
            lost = " (its link leads nowhere: a run folder that was copied needs its store beside it)"
            raise ArtifactError(
                f"{self.run} has no student of arm '{self.arm}', seed {self.seed}, stage '{self.stage}'"
                f"{lost if os.path.lexists(place) else ''}. Run the experiment '{self.cfg.name}' again, which goes on "
                "where it stopped."
            )
        return require_stage(FinishedStage(self.arm, self.seed, place), self.run).path / "student"

    def load(self, networks: Networks | None = None) -> Student:
        """
        Args:
            networks: where several students share the pre-trained network.

        Raises:
            ConfigError, ArtifactError: see `saved` and `Student.load`.
        """
        return Student.load(self.cfg.student, self.saved, networks)

    def line(self) -> list[Chosen]:
        """The model before any training, the student before the critique, and this one; each once."""
        stages = self.cfg.arms[self.arm].stages
        before = [name for name in _writers(stages) if "preferred" not in STAGES.lookup(name).reads]
        return [replace(self, stage=name) for name in dict.fromkeys([None, *before[-1:], self.stage])]

    @cached_property
    def findings(self) -> tuple[str, ...]:
        """Findings that the run's prompt lists: those of its data set, or where that is not at hand, those that its
        answers were scored on.

        Raises:
            ConfigError: neither is there.
        """
        try:
            return tuple(checks.build_data(self.cfg).findings)
        except (ApoError, OSError) as error:
            path = self.run / self.arm / f"seed{self.seed}" / "evaluate" / "predictions.jsonl"
            rows = read_rows(path)[:1] if path.is_file() else []
            if not rows:
                raise ConfigError(
                    f"The findings that {self.run} was trained on are not known: its data set cannot be read "
                    f"({error}), and there is no {path}."
                ) from error
            return tuple(rows[0]["truth"])

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """Findings on which the run's answers are scored, as far as its data set is at hand."""
        try:
            return scored_findings(self.cfg.evaluate, checks.build_data(self.cfg))
        except (ApoError, OSError):
            return self.findings


def choose(
    run: str | Path, arm: str | None = None, seed: int | None = None, *, runs_dir: Path = Path("runs")
) -> Chosen:
    """The newest student of an arm.

    Args:
        run: a run's folder or its name under ``runs_dir``; with ``/ARM`` behind it where ``arm`` is None.
        arm: its name; may be left out where the run has one.
        seed: None: the run's first.

    Raises:
        ArtifactError: there is no such run.
        ConfigError: there is no such arm or seed, or which arm is meant is left open.
    """
    folder, named = _folder(Path(run), runs_dir, alone=arm is not None)
    arms = config.load(folder / "config.yaml").resolved
    arm = arm if arm is not None else named
    if arm is None and len(arms) > 1:
        raise ConfigError(f"{folder} has several arms: {', '.join(arms)}. Name one: {folder}/{list(arms)[-1]}.")
    arm = next(iter(arms)) if arm is None else arm
    if arm not in arms:
        raise ConfigError(f"{folder} has no arm '{arm}'. {did_you_mean(arm, arms)}")
    cfg = arms[arm]
    if seed is not None and seed not in cfg.seeds:
        raise ConfigError(f"{folder} has no seed {seed}. It has: {', '.join(map(str, cfg.seeds))}.")
    stages = _writers(cfg.arms[arm].stages)
    return Chosen(folder, cfg, arm, cfg.seeds[0] if seed is None else seed, stages[-1] if stages else None)


def _writers(stages: Iterable[str]) -> list[str]:
    return [name for name in stages if "student" in STAGES.lookup(name).writes]


def _folder(run: Path, runs_dir: Path, *, alone: bool) -> tuple[Path, str | None]:
    """The run's folder, and the arm that is named behind it."""
    for path in (run, runs_dir / run):
        if (path / "config.yaml").is_file():
            return path, None
        if not alone and (path.parent / "config.yaml").is_file() and path.parent != path:
            return path.parent, path.name
    known = sorted(path.parent.name for path in runs_dir.glob("*/config.yaml"))
    hint = did_you_mean(run.parts[0] if run.parts else "", known) if known else f"There are no runs in {runs_dir}/."
    raise ArtifactError(f"'{run}' is no run folder (with its config.yaml), and none is named so in {runs_dir}/. {hint}")
