"""Experiment files: how they merge, and what each mistake is told. The texts are the interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apo_lightning import config
from apo_lightning.errors import ConfigError
from tests.helpers.fakes import BASE, CALLBACKS, DATA, EXPERIMENT, LOSSES, TEACHERS, fake_registries, write_experiment

FILE, COMMON = "experiments/small.yaml", "experiments/base/common.yaml"


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_registries(monkeypatch)
    return write_experiment(tmp_path)


def complaint(path: Path, *words: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.load(path, words)
    return str(caught.value)


class TestMerging:
    def test_experiment_lies_over_what_it_extends(self, path: Path) -> None:
        path.write_text(EXPERIMENT + "student: {max_prompt_tokens: 99}\n")
        student = config.load(path).student
        assert (student.max_prompt_tokens, student.max_branch_tokens) == (99, 64)

    def test_extends_go_in_order(self, path: Path) -> None:
        (path.parent / "base/late.yaml").write_text("extends: [common]\nevaluate: {max_new_tokens: 7}\n")
        path.write_text(EXPERIMENT.replace("[base/common]", "[base/late.yaml]"))
        cfg = config.load(path)
        assert (cfg.evaluate.max_new_tokens, cfg.evaluate.batch_studies) == (7, 4)

    def test_a_file_elsewhere_extends_what_the_project_has(
        self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What lies beside it comes first."""
        elsewhere = tmp_path / "mine"
        elsewhere.mkdir()
        monkeypatch.chdir(path.parent.parent)
        own = elsewhere / "own.yaml"
        own.write_text(EXPERIMENT + "student: {max_prompt_tokens: 99}\n")
        assert config.load(own).evaluate.batch_studies == config.load(path).evaluate.batch_studies
        with pytest.raises(ConfigError, match=r"in a folder above it, or in .*/experiments or .*/experiments\.$"):
            own.write_text("extends: [nope]\nname: x\n")
            config.load(own)

    def test_command_line_wins_and_is_read_as_yaml(self, path: Path) -> None:
        cfg = config.load(path, ["seeds=[3, 4]", "stages.apo.optim.lr=2e-4", "wandb.entity=a=b"])
        assert (cfg.seeds, cfg.stages.apo.optim.lr, cfg.wandb.entity) == ([3, 4], 2e-4, "a=b")

    def test_reference_to_another_key(self, path: Path) -> None:
        assert config.load(path, ["stages.spd.optim.lr=0.5"]).stages.apo.optim.lr == 0.5

    def test_section_of_another_class_replaces(self, path: Path) -> None:
        path.write_text(EXPERIMENT + "stages: {apo: {loss: {name: dpo, beta: 2}}}\n")
        assert config.load(path).stages.apo.loss == {"name": "dpo", "beta": 2.0}

    def test_section_of_the_same_class_merges(self, path: Path) -> None:
        path.write_text(EXPERIMENT + "stages: {apo: {loss: {name: listwise, beta: 2}}}\n")
        assert config.load(path).stages.apo.loss == {"name": "listwise", "beta": 2.0, "smoothing": 0.0}

    def test_name_on_the_command_line_keeps_the_siblings_that_mean_something_to_it(self, path: Path) -> None:
        assert config.load(path, ["stages.apo.loss.name=dpo", "only=[apo]"]).stages.apo.loss["beta"] == 0.1
        words = ["stages.apo.loss.name=likelihood", "only=[apo]"]
        assert config.load(path, words).stages.apo.loss == {"name": "likelihood"}
        said = complaint(path, "stages.apo.loss.beta=2", "stages.apo.loss.name=likelihood", "only=[apo]")
        assert "Unknown key 'stages.apo.loss.beta' (command line). Known: none." in said

    def test_mapping_on_the_command_line_replaces(self, path: Path) -> None:
        words = ["stages.apo.loss={name: likelihood}", "only=[apo]"]
        assert config.load(path, words).stages.apo.loss == {"name": "likelihood"}

    def test_experiments_of_other_names_still_merge(self, path: Path) -> None:
        (path.parent / "base/common.yaml").write_text(BASE + "name: other\nwandb: {project: p}\n")
        cfg = config.load(path)
        assert (cfg.name, cfg.wandb.project) == ("small", "p")

    def test_weight_is_filled_in(self, path: Path) -> None:
        assert config.load(path).teachers["gpt5"] == {"kind": "simulated", "accuracy": 0.8, "weight": 1.0}

    def test_stage_that_no_arm_runs_may_be_left_out(self, path: Path) -> None:
        path.write_text(EXPERIMENT[: EXPERIMENT.index("  sft:")])
        (path.parent / "base/common.yaml").write_text(BASE[: BASE.index("stages")] + BASE[BASE.index("evaluate") :])
        assert list(config.load(path).arms) == ["base"]


MISTAKES = {
    "teachers.gtp5.weight=.2": "Unknown key 'teachers.gtp5' (command line). Did you mean 'gpt5'? Known: eager, gpt5.",
    "teachers.new={kind: simulated}": "Unknown key 'teachers.new' (command line). Known: eager, gpt5.",
    "stages.apo.loss.betta=1": "Unknown key 'stages.apo.loss.betta' (command line). Did you mean 'beta'? "
    "Known: beta, reduction, smoothing.",
    "stages.apoo.steps=1": "Unknown key 'stages.apoo' (command line). Did you mean 'apo'? "
    "Known: apo, context_distill, self_distill, sft, spd.",
    "student.adapter.r=eight": "student.adapter.r must be an integer, got 'eight' (command line).",
    "student.adapter.r=1.5": "student.adapter.r must be an integer, got 1.5 (command line).",
    "seeds=[0, x]": "seeds must be a list of integers, got [0, 'x'] (command line).",
    "seeds=0": "seeds must be a list of integers, got 0 (command line).",
    "stages.apo.optim.lr=null": "stages.apo.optim.lr must be a number, got None (command line).",
    "stages.apo.optim.lr=-1": "stages.apo.optim.lr must be > 0, got -1.0 (command line).",
    "stages.apo.optim.lr=.inf": "stages.apo.optim.lr must be > 0, got inf (command line).",
    "stages.apo.loss.beta=0": "stages.apo.loss.beta must be > 0, got 0.0 (command line).",
    "stages.apo.loss.reduction=max": "stages.apo.loss.reduction must be one of sum, mean, got 'max' (command line).",
    "student.adapter.kind=lorra": "student.adapter.kind must be one of lora, qlora, full, got 'lorra' (command line). "
    "Did you mean 'lora'?",
    "student.scorer.mode=brachwise": "student.scorer.mode must be one of auto, joint, packed, branchwise, separate, "
    "got 'brachwise' (command line). Did you mean 'branchwise'?",
    "student.dtype=fp8": "student.dtype must be one of float32, bfloat16, float16, got 'fp8' (command line).",
    "evaluate.split=train": "evaluate.split must be one of val, test, got 'train' (command line).",
    "evaluate.likelihood.form=3": "evaluate.likelihood.form must be one of statements, yes_no, off, got 3 "
    "(command line).",
    "evaluate.report_text.backend=x": "evaluate.report_text.backend must be one of auto, python, coco, off or null, "
    "got 'x' (command line).",
    "stages.apo.loss.name=dop": "No loss is named 'dop' (command line). Did you mean 'dpo'? "
    "Known: dpo, likelihood, listwise.",
    "stages.apo.loss=dpo": "stages.apo.loss must be a mapping (key: value), got 'dpo' (command line). Write "
    "stages.apo.loss={name: dpo}.",
    "pool.weights=router": "pool.weights must be a mapping (key: value), got 'router' (command line). Write "
    "pool.weights={name: router}.",
    "teachers.eager.drift=-2": "teachers.eager.drift must be >= 0, got -2.0 (command line).",
    "teachers.eager.name=x": "Unknown key 'teachers.eager.name' (command line). Known: accuracy, drift, words.",
    "teachers.eager.weight=-1": "teachers.eager.weight must be >= 0, got -1 (command line).",
    "teachers.eager.weight=1e39": "teachers.eager.weight must be at most 1e+30, got 1e+39 (command line).",
    "teachers.eager.weight=.nan": "teachers.eager.weight must be >= 0, got nan (command line).",
    "teachers.eager.weight=much": "teachers.eager.weight must be a number, got 'much' (command line).",
    "teachers.eager=3": "teachers.eager must be a mapping (key: value), got 3 (command line).",
    "data.studies=0": "data.studies must be > 0, got 0 (command line).",
    "callbacks.wirter.every=2": "No callback is named 'wirter' (command line). Did you mean 'writer'? Known: writer.",
    "callbacks.writer.folder=x": "Unknown key 'callbacks.writer.folder' (command line). Known: every.",
    "callbacks.writer.place=x": "Unknown key 'callbacks.writer.place' (command line). Known: every.",
    "only=[apoo]": "only names no arm 'apoo' (command line). Did you mean 'apo'? Known: apo, base, dpo, sft.",
    "seeds=[]": "seeds must be one or more different integers >= 0, got [] (command line).",
    "pool.select=[eager, gtp5]": "pool.select names no teacher 'gtp5' (command line). Did you mean 'gpt5'? "
    "Known: eager, gpt5.",
    "pool.select=best": "pool.select must be all, best_on_val, cheapest, or a list of teachers, got 'best' "
    "(command line).",
    "pool.prune.prices.gtp5={}": "pool.prune.prices names no teacher 'gtp5' (command line). Did you mean 'gpt5'? "
    "Known: eager, gpt5.",
    "pool={select: cheapest, prune: {by: money, prices: {eager: {}}}}": "pool.prune.by is money, and "
    "pool.prune.prices has no price for gpt5 (command line). Give each teacher one, made up for simulated ones, or "
    "save requests or tokens.",
    "pool.prune.loss=2": "pool.prune.loss must be in [0, 1), got 2.0 (command line).",
    "pool.weights.name=router_": "No strategy for weights is named 'router_' (command line). Did you mean 'router'? "
    "Known: agreement, router, uniform, user, val_accuracy, val_likelihood.",
    "pool.weights={name: router, power: -1}": "pool.weights.power must be >= 0, got -1.0 (command line).",
    "pool.weights={name: user, power: 2}": "Unknown key 'pool.weights.power' (command line). Known: rejected.",
    "arms.apo.stages=[spd, apo]": "arms.apo.stages: 'apo' reads preferred.jsonl, which no stage before it writes "
    "(command line). Add 'self_distill' before it.",
    "arms.apo.stages=[self_distill, spd]": "arms.apo.stages must be in the order spd, self_distill, apo, each once, "
    "got ['self_distill', 'spd'] (command line).",
    "arms.apo.stages=[sdp]": "arms.apo.stages names no stage 'sdp' (command line). Did you mean 'spd'? "
    "Known: apo, context_distill, self_distill, sft, spd.",
    "arms.apo.set.seeds=[1]": "arms.apo.set must not hold 'seeds', which all arms share (command line).",
    "arms.apo.set.stages.apo.optim.lr=-2": "arm 'apo': stages.apo.optim.lr must be > 0, got -2.0 "
    "(command line, arms.apo.set).",
    "arms.apo.set.teachers.gtp5.weight=1": "arm 'apo': Unknown key 'teachers.gtp5' (command line, arms.apo.set). "
    "Did you mean 'gpt5'? Known: eager, gpt5.",
    "name.first=x": "name must be text, got {'first': 'x'} (command line).",
    "name=on": "name must be text, got True (command line). Unquoted, YAML takes on, yes and 1e3 for something else: "
    "write '\"on\"'.",
    "name=1e3": "name must be text, got 1000.0 (command line). Unquoted, YAML takes on, yes and 1e3 for something "
    "else: write '\"on\"'.",
    "name=../up": "name must be usable as a folder (letters, digits, '.', '_', '-'), got '../up' (command line).",
    "name=Store": "name must not be 'Store', where all runs keep their stages (command line).",
    "student.model=???": "student.model must be given (command line).",
    "beta": "'beta' is not of the form key=value (command line).",
    "seeds=[0": "The value of 'seeds=[0' is not valid YAML (command line). Quote it: key='\"value\"'.",
    "wandb.entity=x${oc.env:HF_TOKEN}": "wandb.entity must not hold the variable HF_TOKEN (command line): "
    "a setting stands in every copy of the run. Where a setting asks for a key, it wants the variable's name.",
    "data.studies=${no.such}": f"data.studies cannot be resolved: Interpolation key 'no.such' not found ({FILE}).",
}


@pytest.mark.parametrize("key", ["evaluate.likelihood.form", "evaluate.report_text.backend"])
def test_off_is_a_word_and_not_false(path: Path, key: str) -> None:
    settings: Any = config.load(path, [f"{key}=off"])
    for part in key.split("."):
        settings = getattr(settings, part)
    assert settings == "off"


class TestMistakes:
    @pytest.mark.parametrize("word", MISTAKES)
    def test_one_mistake_is_one_sentence(self, path: Path, word: str) -> None:
        assert complaint(path, word) == MISTAKES[word]

    def test_all_mistakes_are_told_at_once_each_with_its_file(self, path: Path) -> None:
        (path.parent / "base/common.yaml").write_text(BASE.replace("lr: 1e-3", "lr: -3").replace("beta: 0.1, ", ""))
        path.write_text(EXPERIMENT.replace("studies: 10", "studies: many"))
        assert complaint(path, "trainer.device=2").splitlines() == [
            f"5 problems in {FILE}:",
            f"  - stages.spd.optim.lr must be > 0, got -3.0 ({COMMON}).",
            f"  - stages.apo.optim.lr must be > 0, got -3.0 ({COMMON}).",
            "  - Unknown key 'trainer.device' (command line). Did you mean 'devices'? "
            "Known: accelerator, benchmark, cpu_offload, detect_anomaly, deterministic, devices, "
            "enable_autolog_hparams, enable_model_summary, enable_progress_bar, fast_dev_run, "
            "gradient_clip_algorithm, inference_mode, "
            "limit_train_batches, limit_val_batches, log_every_n_steps, num_nodes, num_sanity_val_steps, precision, "
            "profiler, strategy, sync_batchnorm, val_check_interval.",
            f"  - data.studies must be an integer, got 'many' ({FILE}).",
            f"  - stages.apo.loss.beta must be given ({FILE}).",
        ]

    @pytest.mark.parametrize(
        ("arm", "said"),
        [
            ("Samples", "arms.Samples must have another name: a run folder has its samples there"),
            ("DPO", "arms.dpo and arms.DPO are one folder where upper and lower case are the same"),
        ],
    )
    def test_arms_whose_folders_are_taken(self, path: Path, arm: str, said: str) -> None:
        path.write_text(EXPERIMENT.replace("arms:\n", f"arms:\n  {arm}: {{label: x, stages: [spd]}}\n"))
        assert said in complaint(path)

    def test_two_ranges_of_one_section(self, path: Path) -> None:
        said = complaint(path, "student.max_prompt_tokens=-1", "student.max_branch_tokens=-2")
        assert "max_prompt_tokens must be > 0, got -1" in said
        assert "max_branch_tokens must be > 0, got -2" in said

    def test_no_weight_above_zero(self, path: Path) -> None:
        assert complaint(path, "teachers.eager.weight=0", "teachers.gpt5.weight=0").startswith("No teacher that is")
        assert complaint(path, "teachers.eager.weight=0", "pool.select=[eager]").startswith("No teacher that is")

    def test_files_are_looked_at_later(self, path: Path) -> None:
        path.write_text(EXPERIMENT.replace("{name: drawn, studies: 10}", "{name: on_disk, root: nowhere}"))
        assert config.load(path).data == {"name": "on_disk", "root": Path("nowhere")}

    def test_everything_missing(self, path: Path) -> None:
        path.write_text("name: bare\n")
        said = complaint(path)
        for key in ("data", "teachers", "arms", "student.model", "evaluate.batch_studies"):
            assert f"  - {key} must be given ({FILE})." in said


class TestFiles:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", f"{FILE} is empty."),
            ("# only words\n", f"{FILE} is empty."),
            ("- a\n- b\n", f"{FILE} must hold a mapping (key: value) at its top level, not list."),
            ("3\n", f"{FILE} must hold a mapping (key: value) at its top level"),
            ("name: x\ndata: {name: [\n", f"{FILE}, line 3: not valid YAML"),
            ("name: x\nname: y\n", f"{FILE}, line 2: not valid YAML: found duplicate key name"),
            ("extends: [small]\nname: x\n", f"Files extend each other in a circle: {FILE} -> {FILE}."),
            ("extends: [nope]\nname: x\n", "extends names 'nope.yaml', but there is no such file"),
            ("extends: 3\nname: x\n", f"extends must be a list of file names, got 3 ({FILE})."),
        ],
    )
    def test_files_that_cannot_be_read(self, path: Path, text: str, said: str) -> None:
        path.write_text(text)
        assert complaint(path).startswith(said)

    def test_not_text(self, path: Path) -> None:
        path.write_bytes(b"name: \xff\xfe")
        assert complaint(path) == f"{FILE} is not a text file in UTF-8: invalid start byte at byte 6."

    def test_no_such_experiment(self, path: Path) -> None:
        assert complaint(path.with_name("smal.yaml")).endswith("Did you mean 'small'? Known: small.")

    def test_find_takes_a_name_or_a_path(self, path: Path) -> None:
        assert config.find("small") == Path(FILE) == config.find(FILE)

    def test_list(self, path: Path) -> None:
        assert config.list_experiments(path.parent) == [("small", "All of it, small.")]

    def test_a_base_is_checked_for_what_it_says(self, path: Path) -> None:
        base = path.parent / "base/common.yaml"
        config.check_base(base)
        base.write_text(BASE.replace("max_new_tokens", "max_tokens"))
        with pytest.raises(ConfigError, match=r"Unknown key 'evaluate\.max_tokens'"):
            config.check_base(base)


class TestArms:
    def test_set_replaces_a_whole_section(self, path: Path) -> None:
        assert config.resolve_arm(config.load(path), "sft").stages.apo.loss == {"name": "likelihood"}

    def test_set_replaces_a_section_of_the_same_class_too(self, path: Path) -> None:
        path.write_text(EXPERIMENT.replace("{name: likelihood}}", "{name: listwise, beta: 2}}"))
        (path.parent / "base/common.yaml").write_text(BASE.replace("smoothing: 0}", "smoothing: 0.3}"))
        assert config.resolve_arm(config.load(path), "apo").stages.apo.loss["smoothing"] == 0.3
        assert config.resolve_arm(config.load(path), "sft").stages.apo.loss["smoothing"] == 0.0

    def test_each_value_of_set_replaces_that_of_the_base(self, path: Path) -> None:
        base = "arms: {sft: {set: {stages.apo.loss: {name: dpo, beta: 1}, prompt: other}}}\n"
        (path.parent / "base/common.yaml").write_text(BASE + base)
        assert config.load(path).arms["sft"].set == {"stages.apo.loss": {"name": "likelihood"}, "prompt": "other"}

    def test_set_of_one_value_keeps_the_others_and_defaults_are_filled(self, path: Path) -> None:
        loss = config.resolve_arm(config.load(path), "dpo").stages.apo.loss
        assert loss == {"name": "dpo", "beta": 0.5, "smoothing": 0.0, "reduction": "sum"}

    def test_arms_do_not_touch_the_experiment_or_each_other(self, path: Path) -> None:
        cfg = config.load(path)
        before = config.dump(cfg)
        config.resolve_arm(cfg, "sft")
        assert config.dump(cfg) == before
        assert config.resolve_arm(cfg, "apo").stages.apo.loss["name"] == "listwise"

    def test_command_line_beats_set(self, path: Path) -> None:
        words = ["stages.apo.loss.beta=0.3"]
        cfg = config.load(path, words)
        assert config.resolve_arm(cfg, "dpo").stages.apo.loss["beta"] == 0.3

    def test_setting_that_the_arms_own_loss_lacks_is_passed_over(self, path: Path) -> None:
        """SFT has no beta: a sweep of beta over the whole table leaves it as it is."""
        words = ["stages.apo.loss.beta=0.3"]
        assert config.resolve_arm(config.load(path, words), "sft").stages.apo.loss == {"name": "likelihood"}

    def test_only_spares_the_other_arms_the_command_line(self, path: Path) -> None:
        """listwise to dpo for arm apo alone; arms sft and dpo say for themselves which loss they have."""
        words = ["stages.apo.loss.name=dpo"]
        assert "would replace what arms.sft.set and arms.dpo.set says" in complaint(path, *words)
        assert config.load(path, [*words, "only=[apo]"]).only == ["apo"]

    def test_unknown_arm(self, path: Path) -> None:
        with pytest.raises(ConfigError, match=r"No arm that runs is named 'dop'\. Did you mean 'dpo'"):
            config.resolve_arm(config.load(path), "dop")


class TestDump:
    def test_round_trip(self, path: Path) -> None:
        cfg = config.load(path, ["wandb.project='1e3'"])
        again = path.with_name("again.yaml")
        again.write_text(config.dump(cfg))
        assert config.to_dict(config.load(again)) == config.to_dict(cfg)
        assert config.load(again).wandb.project == "1e3"

    def test_defaults_of_registered_classes_are_written(self, path: Path) -> None:
        tree = config.to_dict(config.load(path))
        assert tree["stages"]["apo"]["loss"]["reduction"] == "sum"
        assert tree["data"] == {"name": "drawn", "studies": 10, "size": 112}
        assert tree["callbacks"] == {"writer": {"every": 1}}
        assert "name" not in tree["teachers"]["eager"]


class TestBuild:
    def test_each_kind(self, path: Path) -> None:
        cfg = config.load(path)
        assert config.build(DATA, cfg.data, "data").studies == 10
        teacher = config.build(TEACHERS, cfg.teachers["gpt5"], "teachers.gpt5", "kind", name="gpt5", seed=3)
        assert (teacher.name, teacher.accuracy, teacher.words) == ("gpt5", 0.8, ("yes", "no"))
        assert config.build(LOSSES, cfg.stages.apo.loss, "stages.apo.loss").beta == 0.1
        writer = config.build(CALLBACKS, cfg.callbacks["writer"], "callbacks.writer", None, folder="x", place=Path.cwd)
        assert (writer.folder, writer.place, writer.every) == ("x", Path.cwd, 1)

    def test_mistakes_name_the_key(self) -> None:
        with pytest.raises(ConfigError, match=r"^stages\.apo\.loss\.beta must be > 0, got -1\.0"):
            config.build(LOSSES, {"name": "dpo", "beta": -1}, "stages.apo.loss")
        with pytest.raises(ConfigError, match=r"stages\.apo\.loss\.beta must be given"):
            config.build(LOSSES, {"name": "dpo"}, "stages.apo.loss")
        with pytest.raises(ConfigError, match=r"No loss is named 'dop'\. Did you mean 'dpo'"):
            config.build(LOSSES, {"name": "dop"}, "stages.apo.loss")
