"""Study files: what they say, what they refuse, and all of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from apo_lightning.errors import ConfigError
from apo_lightning.experiment.study import parts
from apo_lightning.experiment.study.file import read
from apo_lightning.settings import ExperimentSettings
from apo_lightning.settings.study import StudySettings
from tests.helpers.fakes import fake_registries, write_experiment

WHERE = "experiments/study/own.yaml"
SPEC: dict[str, Any] = {
    "experiment": "../small.yaml",
    "worlds": {
        "home": {"title": "as it is"},
        "long": {"title": "more steps", "set": {"stages.spd.steps": 9}},
    },
    "arms": ["sft", "apo"],
    "trials": {
        "sft": [{"stages.apo.optim.lr": 1e-3}, {"stages.apo.optim.lr": 1e-2}],
        "apo": [{"stages.apo.loss.beta": 0.1}, {"stages.apo.loss.beta": 1.0}],
    },
    "budget": 2,
    "search": {"seeds": [0], "metric": "balanced_accuracy", "set": {"evaluate.likelihood.form": False}},
    "final": {"seeds": [1, 2], "arms": {"best": 1, "also": ["sft", "base"]}},
}


@pytest.fixture(autouse=True)
def _experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_registries(monkeypatch)
    write_experiment(tmp_path)


def written(**changes: Any) -> Path:
    path = Path(WHERE)
    path.parent.mkdir(exist_ok=True)
    spec = {key: value for key, value in (SPEC | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return path


def refused(*overrides: str, **changes: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(written(**changes), overrides)
    return str(caught.value).splitlines()


def lr(cfg: ExperimentSettings, arm: str) -> float:
    return cfg.resolved[arm].stages.apo.optim.lr


class TestParts:
    def test_a_search_is_one_run_of_arms_times_trials(self) -> None:
        cfg = read(written()).searches["home"]
        assert list(cfg.resolved) == ["sft.t1", "sft.t2", "apo.t1", "apo.t2"]
        assert [lr(cfg, arm) for arm in ("sft.t1", "sft.t2")] == [1e-3, 1e-2]
        assert [cfg.resolved[arm].stages.apo.loss["beta"] for arm in ("apo.t1", "apo.t2")] == [0.1, 1.0]
        assert cfg.resolved["sft.t2"].stages.apo.loss == {"name": "likelihood"}  # what the arm sets stays
        assert (cfg.name, cfg.seeds, cfg.evaluate.split) == ("study/own/home/search", [0], "val")
        assert cfg.arms["sft.t2"].label == "SFT [t2: apo.optim.lr=0.01]"

    def test_worlds_and_parts_lie_under_arms(self) -> None:
        searches = read(written(set={"stages.spd.steps": 5, "stages.apo.loss.beta": 7.0})).searches
        assert [searches[world].resolved["apo.t1"].stages.spd.steps for world in ("home", "long")] == [5, 9]
        assert searches["home"].resolved["apo.t1"].stages.apo.loss["beta"] == 0.1
        assert searches["home"].resolved["apo.t1"].evaluate.likelihood.form == "off"

    def test_the_command_line_lies_over_all(self) -> None:
        cfg = read(written(), ["stages.spd.batch_studies=1", "name=other", "runs_dir=there"]).searches["long"]
        assert cfg.resolved["apo.t1"].stages.spd.batch_studies == 1
        assert (cfg.name, cfg.runs_dir) == ("study/other/long/search", "there")

    def test_a_final_has_the_chosen_trials_under_the_arms_own_names(self) -> None:
        plan = read(written()).plan
        cfg = parts.load(plan, "home", parts.FINAL, {"sft": 2}, ["sft", "base"])
        assert list(cfg.resolved) == ["sft", "base"] and sorted(cfg.arms) == ["apo", "base", "sft"]
        assert lr(cfg, "sft") == 1e-2 and cfg.arms["sft"].label == "SFT"
        assert (cfg.seeds, cfg.evaluate.split, cfg.evaluate.likelihood.form) == ([1, 2], "test", "statements")

    def test_default_trials_are_for_arms_without_their_own(self) -> None:
        trials = {"default": [{"stages.spd.steps": 7}, {"stages.spd.steps": 8}], "apo": SPEC["trials"]["apo"]}
        cfg = read(written(trials=trials)).searches["home"]
        assert [cfg.resolved[arm].stages.spd.steps for arm in ("sft.t1", "sft.t2", "apo.t1")] == [7, 8, 3]

    def test_arms_that_train_nothing_need_no_trials(self) -> None:
        found = read(written(arms=["base", "sft", "apo"], final={"seeds": [1], "arms": "all"}))
        assert not [arm for arm in found.searches["home"].resolved if arm.startswith("base")]
        assert found.plan.tuned == ["sft", "apo"]

    def test_a_search_reads_nothing_of_the_test_split(self) -> None:
        other = {"evaluate.data": {"name": "drawn", "studies": 3}, "stages.self_distill.splits": ["train", "test"]}
        for cfg in read(written(set=other)).searches.values():
            for own in (cfg, *cfg.resolved.values()):
                assert (own.evaluate.split, own.evaluate.data, own.evaluate.sets) == ("val", None, {})
                assert own.stages.self_distill.splits == ["train"]

    def test_an_experiment_by_name(self) -> None:
        assert read(written(experiment="small")).plan.experiment == Path("experiments/small.yaml")


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"budgte": 2}, f"Unknown key 'budgte' ({WHERE}). Did you mean 'budget'? Known: arms, budget"),
            ({"budget": "many"}, f"budget must be an integer, got 'many' ({WHERE})."),
            ({"budget": 0}, f"budget must be >= 1, got 0 ({WHERE})."),
            ({"budget": None}, f"budget must be given ({WHERE})."),
            ({"arms": ["sft", "apoo"]}, f"arms names no arm 'apoo' of the experiment ({WHERE}). Did you mean 'apo'?"),
            ({"arms": ["sft", "sft", "apo"]}, "arms must name each arm once, got 'sft' 2 times"),
            ({"arms": ["base"], "trials": {}}, "arms must name at least one arm that trains, got ['base']"),
            ({"worlds": {}}, "worlds must name at least one world"),
            ({"worlds": {"a b": {"title": "x"}}}, "worlds.a b must be usable as a folder"),
            ({"worlds": {"home": {"set": {}}}}, "worlds.home.title must be given"),
            ({"worlds": {"home": {"title": "x", "sets": {}}}}, "Unknown key 'worlds.home.sets'"),
            ({"worlds": {"a": {"title": "x"}, "b": {"title": "y"}}}, "The worlds a and b are the same under two names"),
            (
                {"experiment": "smal"},
                "experiment: There is no experiment 'smal' in experiments/ or ",
            ),
            ({"search": {"split": "test"}}, "search.split must be one of val, got 'test'"),
            (
                {"search": {"metric": "balanced"}},
                "search.metric must be a metric of results.csv that is better",
            ),
            (
                {"search": {"metric": "refusals"}},
                "search.metric must be a metric of results.csv that is better",
            ),
            (
                {"search": {"seeds": []}},
                f"seeds must be one or more different integers >= 0, got [] ({WHERE}, s",
            ),
            (
                {"search": {"set": {"evaluate.split": "test"}}},
                "search.set must not hold 'evaluate.split', which the",
            ),
            ({"search": {"set": {"evaluate": {"split": "test"}}}}, "search.set must not hold 'evaluate.split'"),
            ({"set": {"seeds": [4]}}, "set must not hold 'seeds', which the study says itself"),
            ({"set": {"stages.spd.stepz": 4}}, f"Unknown key 'stages.spd.stepz' ({WHERE}, set). Did you mean 'steps'?"),
            ({"final": {"arms": "all"}}, "final.seeds must be given"),
            ({"final": {"seeds": [1], "arms": "some"}}, "final.arms must be all, or {best: k, also: [names of arms]}"),
            (
                {"final": {"seeds": [1], "arms": {"best": 3}}},
                "final.arms.best must be an integer from 1 to 2, the",
            ),
            (
                {"final": {"seeds": [1], "arms": {"also": ["bsae"]}}},
                "final.arms.also names no arm 'bsae' of the",
            ),
            (
                {"final": {"seeds": [1], "arms": {"also": ["dpo"]}}},
                "final.arms.also names 'dpo', which trains",
            ),
        ],
    )
    def test_files(self, changes: dict, said: str) -> None:
        lines = refused(**changes)
        assert any(line.removeprefix("  - ").startswith(said) for line in lines), lines

    @pytest.mark.parametrize(
        ("sft", "said"),
        [
            ([{"stages.apo.optim.lr": 1e-3}], "trials.sft has 1 trials, and budget is 2 (experiments/study/own.yaml)."),
            ([{}, {"stages.apo.optim.lr": 1e-3}, {"stages.spd.steps": 1}], "trials.sft has 3 trials, and budget is 2"),
            ([{}, "lr"], "trials.sft, trial 2 must be a mapping of dotted settings, got 'lr'"),
            ("lr", "trials.sft must be a list of mappings of dotted settings, got 'lr'"),
            (
                [{}, {"evaluate.split": "test"}],
                "trials.sft, trial 2 must not hold 'evaluate.split', which all tr",
            ),
            ([{}, {"evaluate": {"split": "test"}}], "trials.sft, trial 2 must not hold 'evaluate.split', which all tr"),
            ([{}, {"data.studies": 99}], "trials.sft, trial 2 must not hold 'data.studies', which all trials share"),
            ([{}, {"seeds": [3]}], "trials.sft, trial 2 must not hold 'seeds', which all trials share"),
            ([{}, {"stages.apo.optim.lr": -1}], "arm 'sft.t2': stages.apo.optim.lr must be > 0, got -1"),
            (
                [{}, {"stages.apo.optim.lrr": 1}],
                "arm 'sft.t2': Unknown key 'stages.apo.optim.lrr' (experim",
            ),
            ([{}, {}], "Trials 1 and 2 of sft are the same run, so that its budget is not that of the others"),
            (
                [{}, {"stages.spd.steps": 3}],
                "Trials 1 and 2 of sft are the same run, so that its budget is not",
            ),
        ],
    )
    def test_trials(self, sft: Any, said: str) -> None:
        lines = refused(trials=SPEC["trials"] | {"sft": sft})
        assert any(line.removeprefix("  - ").startswith(said) for line in lines), lines

    def test_an_arm_without_trials_and_a_list_without_an_arm(self) -> None:
        trials = {"sfft": SPEC["trials"]["sft"], "apo": SPEC["trials"]["apo"]}
        lines = refused(trials=trials)
        assert any("trials.sfft: 'sfft' is none of the arms of the study" in line for line in lines)
        assert any("Did you mean 'sft'?" in line for line in lines)
        assert any("trials.sft must be given: an arm that trains has as many trials as the others" in x for x in lines)

    def test_an_arm_that_trains_nothing_has_no_trials(self) -> None:
        lines = refused(arms=["base", "sft", "apo"], trials=SPEC["trials"] | {"base": [{}, {}]})
        assert lines == [f"trials.base: 'base' trains nothing, so it has no trials ({WHERE})."]

    def test_an_arm_that_answers_the_test_split_itself(self) -> None:
        file, own = Path("experiments/small.yaml"), "apo: {label: APO, stages: [spd, self_distill, apo]"
        file.write_text(file.read_text().replace(own, f"{own}, set: {{evaluate.split: test}}"))
        assert any("The search of apo.t1 in world 'home' would read the test split" in line for line in refused())

    @pytest.mark.parametrize("word", ["seeds=[3]", "only=[sft]", "evaluate.split=test", "arms.sft.label=x"])
    def test_the_command_line_says_nothing_that_the_file_says(self, word: str) -> None:
        key = word.split("=")[0]
        assert refused(word) == [f"{key} is said by the study file (search and final), not by the command line."]

    def test_a_command_line_that_makes_trials_alike(self) -> None:
        lines = refused("stages.apo.optim.lr=0.5", "stages.apo.loss.beta=2")
        assert any("The arms sft.t1 and sft.t2 would be the same run under two names" in line for line in lines)

    def test_a_command_line_that_makes_worlds_alike(self) -> None:
        assert refused("stages.spd.steps=4") == [f"The worlds home and long are the same under two names ({WHERE})."]

    def test_all_problems_come_at_once(self) -> None:
        lines = refused(
            budgte=2,
            arms=["sft", "apoo"],
            trials={"sft": [{"stages.apo.optim.lr": -1}]},
            final={"seeds": "many", "arms": {"best": 9}},
            worlds={"home": {"title": "x", "set": {"stages.spd.stepz": 1}}},
        )
        assert lines[0] == f"9 problems in {WHERE}:"
        for said in (
            "'budgte'",
            "'apoo'",
            "has 1 trials",
            "lr must be > 0",
            "final.seeds must be",
            "best must be",
            "stepz",
        ):
            assert any(said in line for line in lines), said

    @pytest.mark.parametrize("key", list(StudySettings.__dataclass_fields__))
    def test_a_value_of_another_shape_is_no_traceback(self, key: str) -> None:
        for value in ("text", [{"a": None}], {"a": {"b": 1}}):
            assert refused(**{key: value}), value


@pytest.mark.parametrize("path", sorted((ROOT / "experiments/study").glob("*.yaml")), ids=lambda path: path.stem)
def test_our_study_files(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the fake registries
    monkeypatch.chdir(ROOT)
    assert read(path).searches
