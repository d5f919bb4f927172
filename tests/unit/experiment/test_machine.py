"""What no machine has, what this one lacks, and prompts and limits that a study would stumble over: one sentence each,
before training, with what is allowed and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from apo_lightning import config, prompts
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import checks, machine, rehearsal, run
from apo_lightning.settings import ExperimentSettings
from tests.helpers import tiny

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.folder(tmp_path_factory.mktemp("student") / "nano"))


def smoke(*words: str) -> ExperimentSettings:
    return config.resolve_arm(config.load(ROOT / "experiments/smoke.yaml", words), "apo_listwise")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.accelerator=gup"], r"trainer\.accelerator 'gup' does not exist\. Did you mean 'gpu'\? .*tpu"),
        (["trainer.strategy=ddpp"], r"strategy 'ddpp' .*Did you mean 'ddp'\? Known: auto, ddp, fsdp2, single\."),
        (
            ["trainer.strategy=fsdp"],
            r"must be one of auto, single, ddp, fsdp2, got 'fsdp': .*store wrong weights",
        ),
        (["student.attention=flash_attention_2"], r"student\.dtype is float32.*student\.dtype=bfloat16"),
    ],
)
def test_what_no_machine_has(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checks.check(smoke(*words), here=False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.accelerator=gpu"], r"trainer\.accelerator is 'gpu', and this machine has none\. It has: cpu\."),
        (["trainer.accelerator=cuda"], "'cuda', and this machine has none"),
        (["trainer.accelerator=mps"], "'mps', and this machine has none"),
        (["trainer.accelerator=tpu"], "'tpu', and this machine has none"),
        (
            ["trainer.devices=5", "trainer.strategy=ddp"],
            r"trainer\.devices must be at most 4 on this machine .*got 5\.",
        ),
        (["trainer.devices=2"], r"trainer\.strategy 'single' uses one device.*is 2\. Set trainer\.strategy=ddp"),
        (["trainer.precision=16-mixed"], r"trainer\.precision 16-mixed needs a GPU\..*bf16-mixed"),
        (
            ["student.attention=flash_attention_2", "student.dtype=bfloat16"],
            r"2 needs a CUDA GPU.*sdpa",
        ),
        (["data.num_workers=99"], r"data\.num_workers x .* at most 16 on this machine \(4 cores\), got 99 x 1"),
    ],
)
def test_what_this_machine_lacks(words: list[str], said: str) -> None:
    cfg = smoke(*words)
    checks.check(cfg, here=False)  # the file itself is whole
    with pytest.raises(ConfigError, match=said):
        checks.check(cfg)


@pytest.mark.parametrize("package", ["bitsandbytes"])
def test_a_package_that_is_not_here(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(ConfigError, match=rf"kind qlora needs the package {package} \(pip install {package}\)"):
        machine.check_here(smoke("student.adapter.kind=qlora"))


def test_cuda_cards_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"at most 1 on this machine \(devices\), got 8"):
        machine.check_here(smoke("trainer.devices=8", "trainer.strategy=fsdp2", "trainer.precision=bf16-mixed"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "One\nthat costs $5",
            r"mine\.txt, line 2: '\$5' is no place of a prompt\..*\$findings and \$reports.*\$\$",
        ),
        ("Ask $finding", r"'\$finding' is no place"),
        ("Ask ${reprots}", r"'\$\{reprots\}' is no place"),
        ("Ends in $", r"'\$' is no place"),
        ("", r"mine\.txt is empty"),
    ],
)
def test_a_prompt_that_cannot_be_filled(text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.txt").write_text(text)
    monkeypatch.setattr(prompts, "__path__", [str(tmp_path)])
    with pytest.raises(ConfigError, match=said):
        prompts.load("mine")
    (tmp_path / "mine.txt").write_text("It costs $$5: ${findings}, $reports")
    assert prompts.render("mine", ["edema"], ["No."]) == "It costs $5: edema, Reader 1: No."
    (tmp_path / "mine.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match=r"not a text file in UTF-8: .* at byte 3"):
        prompts.load("mine")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prompt=reconcile"], r"prompt 'reconcile' has \$reports"),
        (["evaluate.prompt=reconcile"], r"evaluate\.prompt 'reconcile' has \$reports"),
        (["stages.self_distill.prompt=report"], r"self_distill\.prompt 'report' has no \$reports.*take reconcile"),
        (
            ["stages.self_distill.splits=[test]"],
            r"must hold train, since apo learns from its texts, got \['test'\]",
        ),
        (["stages.self_distill.splits=[trian]"], r"splits names no split 'trian'.*Did you mean 'train'\?"),
        (["student.adapter.r=129"], r"adapter\.r must be at most the width of student\.model 'nano', 128, got 129"),
        (["student.min_pixels=-1"], r"student\.min_pixels must be > 0, got -1"),
        (["student.min_pixels=9", "student.max_pixels=4"], r"min_pixels must be at most max_pixels \(4\), got 9"),
        (["stages.spd.optim.weight_decay=.nan"], r"spd\.optim\.weight_decay must be >= 0, got nan"),
        (["stages.spd.optim.betas=[0.9]"], r"spd\.optim\.betas must be two numbers in \[0, 1\), got \[0\.9\]"),
        (["evaluate.likelihood_studies=-1"], r"evaluate\.likelihood_studies must be >= 0, got -1"),
        (["data.findings={}"], r"data\.findings must be a list of text, got \{\}"),
    ],
)
def test_settings_that_do_not_fit_together(words: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        checks.check(smoke(*words), here=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["student.max_prompt_tokens=20"],
            r"prompt 'describe' cannot be asked of a study: .*than 20: .*max_prompt_tok",
        ),
        (
            ["evaluate.likelihood.form=yes_no", "student.max_prompt_tokens=48"],
            r"evaluate\.likelihood\.form 'yes_no' cannot be asked of a study: .*than 48: .*max_prompt_tok",
        ),
        (
            ["student.max_context_tokens=50"],
            r"self_distill\.prompt 'reconcile' .*more than 50: .*max_context_tokens",
        ),
        (
            ["student.max_context_tokens=4090"],
            r"max_context_tokens \+ .*max_new_tokens is 4186, .* 4096 positions",
        ),
        (
            ["student.max_branch_tokens=4096"],
            r"\+ student\.max_branch_tokens is 4192, .* 4096 positions",
        ),
    ],
)
def test_a_made_up_study_stumbles_first(words: list[str], said: str, model: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rehearsal.rehearse(smoke(f"student.model={model}", *words), ("edema",))


def test_a_made_up_study_is_collated_with_all_teachers(model: str) -> None:
    cfg = smoke(f"student.model={model}")
    batch = rehearsal.rehearse(cfg, ("edema",))
    assert batch.sources == [["preferred", *cfg.teachers]]
    assert batch.image_counts == [1] and batch.present.all()


def test_whatever_a_processor_raises_is_an_error_that_names_it(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, items: Any) -> None:
        raise IndexError("list index out of range\nsomewhere")

    monkeypatch.setattr(rehearsal.Collator, "__call__", broken)
    said = r"prompt 'describe' cannot be made into tokens by the processor of .*Qwen2_5_VL.*IndexError: list index out"
    with pytest.raises(ConfigError, match=said):
        rehearsal.rehearse(smoke(f"student.model={model}"), ("edema",))


def test_a_published_name_that_is_not_here_is_a_note_and_no_run() -> None:
    words = ("student.model=Qwen/Qwen2.5-VL-7B-Instruct",)
    notes = checks.check_arms({"apo_listwise": smoke(*words)})
    assert len(notes) == 1 and "is not on this disk: its processor, prompts and token limits were not tried" in notes[0]
    with pytest.raises(ConfigError, match=r"is not on this disk.*Download it first"):
        run.run(config.load(ROOT / "experiments/smoke.yaml", words))


def test_an_arm_that_sets_something_is_named() -> None:
    words = ("arms.base.set.trainer.strategy=ddpp",)
    cfg = config.load(ROOT / "experiments/smoke.yaml", words)
    with pytest.raises(ConfigError, match=r"'ddpp' does not exist.*\(Arm 'base' sets trainer\.strategy\.\)"):
        checks.check_arms({"base": config.resolve_arm(cfg, "base")}, here=False)
