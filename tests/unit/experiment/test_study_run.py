"""A study over a run that only writes results: the choice, the finals, what fails, and what is missing."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import yaml
from test_study_file import SPEC, written

from apo_lightning import config
from apo_lightning.errors import ApoError, ArtifactError, ConfigError
from apo_lightning.experiment import processes
from apo_lightning.experiment.study import rule, tables
from apo_lightning.experiment.study.file import read
from apo_lightning.experiment.study.record import Record
from apo_lightning.experiment.study.run import study
from apo_lightning.files.formats import write_csv
from tests.helpers.fakes import fake_registries, write_experiment

COLUMNS = ("arm", "label", "kind", "seed", "metric", "finding", "value")
BOUNDS = ("value", "low", "high", "seeds", "studies", "patients")
VAL = {"sft.t1": 0.6, "sft.t2": 0.7, "apo.t1": 0.8, "apo.t2": 0.8}
"""Planted: the second trial of sft is better, those of apo are equal."""
TEST = {"sft": 0.9, "apo": 0.5, "base": 0.4}
"""The other way round, so that a choice by it would show."""


class Fake:
    """Stands for `experiment.run`: calls its guard for each arm and seed, and writes tables."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, int]] = []
        self.val, self.broken, self.error = dict(VAL), set[tuple[str, str]](), RuntimeError("diverged")

    def value(self, world: str, part: str, arm: str, metric: str) -> float:
        value = self.val[arm] if part == "search" else TEST[arm]
        return value - (0.3 if metric == "accuracy" and arm == "sft.t2" else 0.0)

    def run(self, cfg: Any, guard: Callable) -> None:
        _, _, world, part = cfg.name.split("/")
        if (world, part) in self.broken:
            raise self.error
        folder = Path(cfg.runs_dir) / cfg.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(config.dump(cfg))
        rows, bounds, apart = [], [], []
        for arm, own in cfg.resolved.items():
            for seed in cfg.seeds:
                if guard(arm, seed, lambda arm=arm, seed=seed: self.make(cfg.name, arm, seed)) is None:
                    continue
                (folder / arm / f"seed{seed}").mkdir(parents=True, exist_ok=True)
                for metric in ("accuracy", "balanced_accuracy"):
                    value = self.value(world, part, arm, metric) + seed / 100
                    rows += [(arm, own.arms[arm].label, "arm", seed, metric, name, value) for name in ("mean", "edema")]
        write_csv(folder / "results.csv", COLUMNS, rows)
        if part == "final":
            self.tables(folder, cfg, bounds, apart)
            self.tables(folder / "sets" / "far", cfg, bounds, apart)
            write_csv(folder / "sets/far/results.csv", COLUMNS, [(*row[:-1], row[-1] / 2) for row in rows])

    def tables(self, folder: Path, cfg: Any, bounds: list, apart: list) -> None:
        for arm in cfg.resolved:
            bounds.append(
                ("arm", arm, "balanced_accuracy", "mean", TEST[arm], TEST[arm] - 0.1, TEST[arm] + 0.1, 2, 9, 9)
            )
        apart.append(("apo", "sft", "balanced_accuracy", "mean", -0.4, -0.5, -0.3, 2, 9, 9))
        write_csv(folder / "intervals.csv", ("kind", "arm", "metric", "finding", *BOUNDS), bounds[-len(cfg.resolved) :])
        write_csv(folder / "differences.csv", ("arm", "against", "metric", "finding", *BOUNDS), apart[-1:])

    def make(self, name: str, arm: str, seed: int) -> object:
        self.calls.append((name, arm, seed))
        if (name, arm) in self.broken:
            raise self.error
        return object()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    fake_registries(monkeypatch)
    write_experiment(tmp_path)
    made, module = Fake(), ModuleType("apo_lightning.experiment.run")
    module.run = made.run
    monkeypatch.setitem(sys.modules, "apo_lightning.experiment.run", module)
    monkeypatch.setattr("apo_lightning.experiment.run", module, raising=False)
    yield made


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(Path("runs/study/own") / name, keep_default_na=False)


def told() -> dict[str, Any]:
    return json.loads(Path("runs/study/own/study.json").read_text())


class TestRule:
    def test_the_validation_split_decides_and_of_equals_the_first(self, fake: Fake) -> None:
        study(written())
        chosen = {arm: own["trial"] for arm, own in told()["chosen"]["home"].items()}
        assert chosen == {"sft": 2, "apo": 1}  # by accuracy sft's first would be; by the test split nothing is
        trials = table("trials.csv")
        assert trials.loc[trials["chosen"] == "yes", ["world", "arm", "trial"]].values.tolist() == [
            [world, arm, number] for world in ("home", "long") for arm, number in (("sft", 2), ("apo", 1))
        ]

    @pytest.mark.parametrize(
        ("scores", "number"),
        [([0.5, 0.7, 0.7], 2), ([0.1 + 0.2, 0.3], 1), ([0.3, 0.1 + 0.2], 1), ([math.nan, 0.1], 2), ([math.nan], None)],
    )
    def test_first_best(self, scores: list[float], number: int | None) -> None:
        assert rule.first_best(scores) == number

    def test_the_metric_of_the_file_decides(self, fake: Fake) -> None:
        study(written(search={"metric": "accuracy"}))
        assert told()["chosen"]["home"]["sft"]["trial"] == 1

    def test_the_best_go_on_by_their_mean_over_worlds(self, fake: Fake) -> None:
        study(written(final={"seeds": [1], "arms": {"best": 1, "also": ["base"]}}))
        assert told()["going_on"] == ["base", "apo"]
        assert {arm for name, arm, _ in fake.calls if name.endswith("final")} == {"base", "apo"}

    def test_a_mean_over_seeds(self, fake: Fake) -> None:
        study(written(search={"seeds": [0, 4]}))
        assert told()["chosen"]["home"]["sft"]["score"] == pytest.approx(0.72)

    def test_a_metric_that_nothing_has(self, fake: Fake) -> None:
        with pytest.raises(
            ArtifactError, match=r"search.metric 'f1' in .*search. There are: accuracy, balanced_accuracy"
        ):
            study(written(search={"metric": "f1"}))


class TestTables:
    def test_trials(self, fake: Fake) -> None:
        study(written())
        trials = table("trials.csv")
        assert len(trials) == 8 and trials["split"].unique().tolist() == ["val"]
        assert list(trials.columns[:9]) == [
            *("world", "arm", "label", "trial", "settings", "seed", "split", "accuracy", "balanced_accuracy")
        ]
        assert json.loads(trials["settings"][1]) == {"stages.apo.optim.lr": 0.01}
        assert trials["balanced_accuracy"].tolist()[:4] == [0.6, 0.7, 0.8, 0.8]

    def test_finals_hold_further_sets_and_all_seeds(self, fake: Fake) -> None:
        study(written())
        finals = table("finals.csv")
        own = finals[(finals["world"] == "home") & (finals["metric"] == "accuracy") & (finals["arm"] == "sft")]
        assert own[["seed", "split", "set", "value"]].values.tolist() == [
            [1, "test", "own", 0.91], [2, "test", "own", 0.92], [1, "test", "far", 0.455], [2, "test", "far", 0.46]
        ]  # fmt: skip
        assert own["trial"].unique().tolist() == ["2"]
        assert finals.loc[finals["arm"] == "base", "trial"].unique().tolist() == [""]

    def test_the_table_has_intervals_and_paired_differences_from_the_control(self, fake: Fake) -> None:
        record = study(written())
        lines = {(one.world, one.set, one.arm, one.metric): one for one in tables.lines(record)}
        apo = lines["home", "own", "apo", "balanced_accuracy"]
        assert (apo.measured, apo.apart) == ("0.515 [0.400, 0.600]", "-0.400 [-0.500, -0.300]")
        assert lines["home", "own", "sft", "balanced_accuracy"].apart == "control"
        text = Path("runs/study/own/table.md").read_text()
        assert "## home: as it is\n" in text and "## long: more steps, set far" in text
        assert "| SFT | t2: apo.optim.lr=0.01 | 2 |" in text and "## Missing" not in text
        assert Path("runs/study/own/map.png").read_bytes().startswith(b"\x89PNG")


class TestParts:
    def test_worlds_side_by_side(self, fake: Fake) -> None:
        """Who comes first waits for the other's search, and says so; the tables hold what is done."""
        path = written()
        with pytest.raises(
            ApoError, match="final of home waits for the search of long: run it, then this command again"
        ):
            study(path, worlds=["home"])
        assert table("trials.csv")["world"].unique().tolist() == ["home"]
        assert "The search of long has 0 of 4 results." in told()["missing"]
        study(path, worlds=["long"])
        assert "The final of home has no results." in told()["missing"]
        study(path, worlds=["home"])
        assert told()["missing"] == [] and table("finals.csv")["world"].unique().tolist() == ["home", "long"]

    def test_all_arms_wait_for_no_other_world(self, fake: Fake) -> None:
        study(written(final={"seeds": [1], "arms": "all"}), worlds=["home"])
        assert table("finals.csv")["arm"].unique().tolist() == ["sft", "apo"]

    def test_only(self, fake: Fake) -> None:
        path = written()
        study(path, only="search")
        assert {name.split("/")[-1] for name, *_ in fake.calls} == {"search"}
        study(path, only="final")
        assert [name.split("/")[-1] for name, *_ in fake.calls].count("search") == 8
        before, count = table("finals.csv"), len(fake.calls)
        study(path, only="table")
        assert len(fake.calls) == count and before.equals(table("finals.csv"))

    def test_an_unknown_world(self, fake: Fake) -> None:
        with pytest.raises(ConfigError, match=r"No world is named 'hom'\. Did you mean 'home'"):
            study(written(), worlds=["hom"])
        assert fake.calls == []

    def test_another_studys_folder_is_refused_before_anything_runs(self, fake: Fake) -> None:
        study(written())
        count, other = len(fake.calls), SPEC["trials"] | {"sft": [{"stages.apo.optim.lr": 0.5}, {}]}
        with pytest.raises(
            ArtifactError, match=r"home/search was made by another configuration: .* adding name=own_2, "
        ):
            study(written(trials=other))
        assert len(fake.calls) == count
        study(written(trials=other), ["name=own_2"])
        assert (Path("runs/study/own_2") / "trials.csv").exists()

    def test_more_final_seeds_and_arms_are_added_to_the_same_folder(self, fake: Fake) -> None:
        study(written(final={"seeds": [1], "arms": {"best": 1}}))
        study(written(final={"seeds": [1, 2], "arms": {"best": 2, "also": ["base"]}}))
        assert set(table("finals.csv")["arm"]) == {"base", "sft", "apo"}

    def test_several_processes_get_a_file_of_their_own(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = []

        def launch(words: list[str], settings: Any) -> processes.Outcome:
            seen.append((words[0], yaml.safe_load(Path(words[1]).read_text())["name"], config.load(Path(words[1]))))
            return processes.Outcome(1, "ValueError: torn", "Traceback: torn")

        monkeypatch.setattr(processes, "launch", launch)
        with pytest.raises(ApoError, match="all of it: ApoError: ValueError: torn"):
            study(written(), ["trainer.devices=2"], only="search")
        assert [one[:2] for one in seen] == [("run", "study/own/home/search"), ("run", "study/own/long/search")]
        assert config.to_dict(seen[0][2]) == config.to_dict(read(written(), ["trainer.devices=2"]).searches["home"])
        assert table("trials.csv")["error"].tolist() == ["ApoError: ValueError: torn"] * 8


class TestFailures:
    def test_a_failed_trial_is_a_row_and_the_others_go_on(self, fake: Fake) -> None:
        fake.broken = {("study/own/home/search", "sft.t2")}
        with pytest.raises(ApoError, match=r"1 failed: home search: sft.t2 seed 0: RuntimeError: diverged"):
            study(written())
        trials = table("trials.csv")
        assert trials["error"].tolist() == ["", "RuntimeError: diverged", *[""] * 6]
        assert trials["accuracy"].tolist()[1] == ""
        assert {w: own["sft"]["trial"] for w, own in told()["chosen"].items()} == {"home": 1, "long": 2}
        assert "diverged" in Path("runs/study/own/home/search.failed.sft.t2.seed0.txt").read_text()
        assert told()["failed"] and told()["missing"] == []

    def test_an_arm_without_any_trial_is_not_measured(self, fake: Fake) -> None:
        fake.broken = {("study/own/home/search", arm) for arm in ("sft.t1", "sft.t2")}
        with pytest.raises(ApoError, match="2 failed"):
            study(written())
        finals = table("finals.csv")
        assert set(finals.loc[finals["world"] == "home", "arm"]) == {"apo", "base"}
        assert "The final of home lacks sft seed 1, sft seed 2." in told()["missing"]

    def test_a_world_that_fails_does_not_stop_the_others(self, fake: Fake) -> None:
        fake.broken = {("home", "search")}
        with pytest.raises(ApoError, match="home search: all of it: RuntimeError: diverged"):
            study(written(final={"seeds": [1], "arms": "all"}))
        assert set(table("finals.csv")["world"]) == {"long"}

    def test_what_is_mended_is_run_and_no_failure_any_more(self, fake: Fake) -> None:
        path = written()
        fake.broken = {("study/own/home/search", "sft.t1")}
        with pytest.raises(ApoError):
            study(path)
        fake.broken = set()
        study(path)
        assert told()["failed"] == [] and table("trials.csv")["error"].tolist() == [""] * 8

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device", "x")])
    def test_a_signal_or_a_full_disk_stops(self, fake: Fake, error: BaseException) -> None:
        fake.broken, fake.error = {("study/own/home/search", "sft.t1")}, error
        with pytest.raises(type(error)):
            study(written())
        assert len(fake.calls) == 1


def test_a_record_of_nothing(fake: Fake) -> None:
    record = Record(read(written()))
    assert record.unsearched == ["home", "long"] and record.finals.empty and record.trials.empty
