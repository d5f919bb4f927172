"""What a study has come to so far, read from the run folders of its parts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from apo_lightning.errors import ArtifactError
from apo_lightning.experiment.run_folder import RunFolder
from apo_lightning.experiment.study import parts, rule
from apo_lightning.experiment.study.file import Loaded
from apo_lightning.experiment.study.plan import Study
from apo_lightning.files.formats import read_json, write_json
from apo_lightning.hashing import inventory
from apo_lightning.metrics.outcomes import MEAN
from apo_lightning.reports.measured import values
from apo_lightning.settings import ExperimentSettings

FIRST = ("accuracy", "balanced_accuracy", "positive_f1")
"""Metrics whose columns come first."""
WHOLE = "*"
"""In place of an arm: what kept the whole part from being run."""
HOME = "own"
"""What finals.csv calls the set of the experiment itself, beside ``evaluate.sets``."""


@dataclass
class Failures:
    """What failed in one part, by arm of its run and seed, in a file beside its run folder."""

    path: Path
    found: dict[tuple[str, int | None], str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Study, world: str, part: str) -> Failures:
        path = plan.folder / world / f"{part}.failed.json"
        rows = read_json(path) if path.exists() else []
        return cls(path, {(row["arm"], row["seed"]): row["error"] for row in rows})

    def add(self, arm: str, seed: int | None, error: str) -> None:
        self.found[arm, seed] = error
        self.write()

    def write(self) -> None:
        rows = [{"arm": arm, "seed": seed, "error": error} for (arm, seed), error in self.found.items()]
        if rows or self.path.exists():
            write_json(self.path, rows)

    def get(self, arm: str, seed: int) -> str:
        return self.found.get((arm, seed)) or self.found.get((WHOLE, None), "")


class Record:
    """All parts of a study. Folders are read when they are asked for, and once."""

    def __init__(self, loaded: Loaded) -> None:
        self.plan, self.searches = loaded.plan, loaded.searches
        self.spec = self.plan.spec

    def require(self, cfg: ExperimentSettings) -> None:
        """See that a part's run folder is not another configuration's.

        Raises:
            ArtifactError: it is.
        """
        try:
            RunFolder(Path(cfg.runs_dir), cfg.name).require(parts.settled(cfg))
        except ArtifactError as error:  # it would have the part named otherwise
            raise ArtifactError(str(error).replace(f"name={cfg.name}_2", f"name={self.plan.name}_2")) from error

    @cached_property
    def trials(self) -> pd.DataFrame:
        """trials.csv: a row for each trial and seed that came to its end, or failed."""
        rows = [row for world, cfg in self.searches.items() for row in self._searched(world, cfg)]
        frame = pd.DataFrame(rows)
        head = ["world", "arm", "label", "trial", "settings", "seed", "split"]
        metrics = [name for name in frame.columns if name not in (*head, "seconds", "error")]
        first = [name for name in FIRST if name in metrics]
        rest = [name for name in metrics if name not in first]
        return frame.reindex(columns=[*head, *first, *rest, "seconds", "error"])

    def _searched(self, world: str, cfg: ExperimentSettings) -> Iterator[dict[str, Any]]:
        self.require(cfg)
        folder, failed = self.plan.place(world, parts.SEARCH), Failures.of(self.plan, world, parts.SEARCH)
        means = _means(values(folder)) if (folder / "results.csv").exists() else {}
        for arm, number, settings in parts.trials(self.plan):
            name = parts.trial_name(arm, number)
            for seed in self.spec.search.seeds:
                row = {"world": world, "arm": arm, "label": self.plan.label(arm), "trial": number}
                row |= {"settings": json.dumps(settings), "seed": seed, "split": self.spec.search.split}
                if (name, seed) in means:
                    yield row | means[name, seed] | {"seconds": seconds(folder / name / f"seed{seed}"), "error": ""}
                elif error := failed.get(name, seed):
                    yield row | {"seconds": math.nan, "error": error}

    def scores(self, world: str) -> dict[str, list[float]]:
        """Arm to the score of each of its trials: the mean over seeds, NaN where one is not there."""
        own, metric = self.trials[self.trials["world"] == world], self.spec.search.metric
        found: dict[str, list[float]] = {}
        for arm, number, _ in parts.trials(self.plan):
            rows = own[(own["arm"] == arm) & (own["trial"] == number)]
            measured = rows[metric].astype(float).tolist() if metric in rows else []
            whole = len(measured) == len(self.spec.search.seeds)
            found.setdefault(arm, []).append(math.fsum(measured) / len(measured) if whole else math.nan)
        return found

    def chosen(self, world: str) -> dict[str, int]:
        """Arm to its trial, where the search of the world is over.

        Raises:
            ArtifactError: no trial has a value of the metric that they are compared by.
        """
        found = rule.choose(self.scores(world))
        own = self.trials[self.trials["world"] == world]
        if not found and (own["error"] == "").any():
            known = [name for name in own.columns[7:-2] if own[name].notna().any()]
            raise ArtifactError(
                f"No trial has a value of search.metric '{self.spec.search.metric}' in "
                f"{self.plan.place(world, parts.SEARCH)}. There are: {', '.join(known)}."
            )
        return found

    def searched(self, world: str) -> tuple[int, int]:
        """How many trials x seeds of a world came to an end, good or bad, and how many there are."""
        whole = len(list(parts.trials(self.plan))) * len(self.spec.search.seeds)
        return int((self.trials["world"] == world).sum()), whole

    @property
    def unsearched(self) -> list[str]:
        return [world for world in self.plan.worlds if len(set(self.searched(world))) > 1]

    def waits_for(self, world: str) -> list[str]:
        """Worlds whose search must be over before it is known which arms go on in ``world``."""
        return [name for name in self.unsearched if rule.BEST in self.plan.going or name == world]

    def going(self) -> list[str]:
        """The arms that go on in every world."""
        return rule.going(self.plan, [self.scores(world) for world in self.plan.worlds])

    def final(self, world: str) -> ExperimentSettings:
        """The final of a world whose search is over, with the arms that go on and have a trial to go on with."""
        chosen = self.chosen(world)
        only = [arm for arm in self.going() if arm in chosen or not self.plan.trains(arm)]
        return parts.named(self.plan, world, parts.FINAL, parts.load(self.plan, world, parts.FINAL, chosen, only))

    @cached_property
    def finals(self) -> pd.DataFrame:
        """finals.csv: every mean over findings of every arm and seed, on the experiment's own set and further ones."""
        rows = [row for world in self.finished for row in self._final_rows(world)]
        return pd.DataFrame(rows, columns=["world", "arm", "label", "trial", "seed", "split", "set", "metric", "value"])

    @cached_property
    def finished(self) -> dict[str, ExperimentSettings]:
        """World to its final, where that has results."""
        found = {}
        for world in self.plan.worlds:
            if (self.plan.place(world, parts.FINAL) / "results.csv").exists() and not self.waits_for(world):
                found[world] = self.final(world)
                self.require(found[world])
        return found

    def sets(self, world: str) -> Mapping[str, Path]:
        """Name of each set to the folder of its tables, the experiment's own first."""
        folder = self.plan.place(world, parts.FINAL)
        further = {path.parent.name: path.parent for path in sorted(folder.glob("sets/*/results.csv"))}
        return {HOME: folder, **further}

    def _final_rows(self, world: str) -> Iterator[dict[str, Any]]:
        chosen, folder = self.chosen(world), self.plan.place(world, parts.FINAL)
        for name, place in self.sets(world).items():
            frame = values(folder, place)
            for own in frame[(frame["kind"] == "arm") & (frame["finding"] == MEAN)].to_dict("records"):
                split = self.spec.final.split if name == HOME else "test"
                row = {"world": world, "trial": chosen.get(own["arm"], "") if self.plan.trains(own["arm"]) else ""}
                row |= {key: own[key] for key in ("arm", "label", "seed", "metric", "value")}
                yield row | {"split": split, "set": name}

    def missing(self) -> list[str]:
        """What is not done, one sentence each."""
        found = []
        for world in self.plan.worlds:
            done, whole = self.searched(world)
            if done < whole:
                found.append(f"The search of {world} has {done} of {whole} results.")
            if world not in self.finished:
                found.append(f"The final of {world} has no results.")
                continue
            own = self.finals[self.finals["world"] == world]
            have = set(zip(own["arm"], own["seed"], strict=True))
            wanted = [(arm, seed) for arm in self.going() for seed in self.spec.final.seeds]
            if lacking := [f"{arm} seed {seed}" for arm, seed in wanted if (arm, seed) not in have]:
                found.append(f"The final of {world} lacks {', '.join(lacking)}.")
        return found

    def failed(self) -> list[str]:
        """What failed, one sentence each."""
        return [
            f"{world} {part}: {'all of it' if arm == WHOLE else f'{arm} seed {seed}'}: {error}"
            for world in self.plan.worlds
            for part in parts.PARTS
            for (arm, seed), error in Failures.of(self.plan, world, part).found.items()
        ]


def _means(frame: pd.DataFrame) -> dict[tuple[str, int], dict[str, float]]:
    """Arm and seed to every mean over findings."""
    own, found = frame[(frame["kind"] == "arm") & (frame["finding"] == MEAN)], {}
    for arm, seed, metric, value in own[["arm", "seed", "metric", "value"]].itertuples(index=False):
        found.setdefault((arm, seed), {})[metric] = value
    return found


def seconds(folder: Path) -> float:
    """What the stages of an arm and seed took, those that it shares with others too."""
    made: Sequence[Path] = [path for path in sorted(folder.iterdir()) if (path / inventory.MANIFEST).is_file()]
    told = [inventory.read(path).get("seconds") for path in made]
    return round(sum(float(one) for one in told if isinstance(one, int | float)), 1)
