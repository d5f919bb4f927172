"""Plans beside what was measured on a GPU, by hand where nothing was, and what a plan says does not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT

from apo_lightning import config, planning
from apo_lightning.cli import plan as plan_command
from apo_lightning.cli.commands import main
from apo_lightning.models.sizes import architecture
from apo_lightning.planning.cards import USE
from apo_lightning.planning.memory import CONTEXT, linears, needs, writing
from apo_lightning.planning.stages import flops
from apo_lightning.settings import AdapterSettings, StudentSettings

MODEL = "Qwen/Qwen2.5-VL-7B-Instruct"
CARD = planning.CARDS["h100"]
EXPERIMENTS = ROOT / "experiments"
PROOF = json.loads((ROOT / "docs" / "results" / "gpu_proof" / "gpu_proof.json").read_text())["sections"]
ROWS = {
    (row["contender"], row["prompt"]): row for key in PROOF if key.startswith("table_") for row in PROOF[key]["rows"]
}


def student(**own: object) -> StudentSettings:
    limits = dict(max_prompt_tokens=2048, max_branch_tokens=1024, max_context_tokens=8192)
    return StudentSettings(model=MODEL, dtype="bfloat16", **{**limits, **own})


@pytest.mark.parametrize("prompt", [1400, 450])
@pytest.mark.parametrize("way", ["packed", "joint", "branchwise_4", "branchwise_1", "packed_checkpointed"])
def test_a_pass_takes_what_was_measured(way: str, prompt: int) -> None:
    """Within 15 %; checkpointed joint, whose two passes are never whole at once, is left out."""
    mode, *rows = way.removesuffix("_checkpointed").split("_")
    own = student(gradient_checkpointing=way.endswith("checkpointed"))
    need = needs(own, [prompt], [[300] * 8], mode=mode, rows=int(rows[0]) if rows else 1)
    assert need.activations / 1e9 == pytest.approx(ROWS[way, prompt]["peak_gb"], rel=0.15)


@pytest.mark.parametrize(
    ("section", "way"),
    [
        ("generation", "student.write, with an adapter"),
        ("generation", "student.write, with an adapter, libraries' layers"),
        ("compiled_generation", "student.write, with an adapter, compiled"),
    ],
)
def test_writing_takes_what_was_measured(section: str, way: str) -> None:
    """Within 15 %: the proof writes behind its shorter prompt."""
    row = next(row for row in PROOF[section]["rows"] if row["way"] == way)
    need = writing(student(), row["rows"], 450, row["new_tokens"])
    assert need.activations / 1e9 == pytest.approx(row["peak_gb"], rel=0.15)


def test_writing_by_hand() -> None:
    """Of two answers of 10 tokens behind 100 each: keys and values of 28 layers x 512; in 16 bits four hidden states
    and four of the MLP's width of each token of a prompt; and who sees whom. Nothing is sharded."""
    need = writing(student(), 2, 100, 10)
    assert need.activations == 2 * 28 * 512 * 2 * 220 + (4 * 3584 + 4 * 18944) * 2 * 200 + 2 * 100**2
    assert need.weights == 2 * 8292166656 and need.trained == 4 * 20185088
    full = writing(student(adapter=AdapterSettings(kind="full")), 2, 100, 10)
    assert full.activations == need.activations - 18944 * 2 * 200 and full.trained == 0
    assert full.weights == 2 * 8292166656


def test_whole_models_write_where_training_is_sharded() -> None:
    cfg = config.load(EXPERIMENTS / "qwen2_5_vl_7b/8x80gb.yaml", ["only=[apo_listwise]"])
    lengths = planning.Lengths(300, 200, 150, 8, {"train": 80, "val": 8, "test": 8}, "made up")
    found = {stage.name: stage for stage in planning.plan(cfg.resolved["apo_listwise"], "apo_listwise", lengths, CARD)}
    assert found["apo"].need.weights < found["evaluate"].need.weights == 2 * 8292166656
    rows, new = cfg.stages.self_distill.batch_studies, cfg.stages.self_distill.max_new_tokens
    assert found["self_distill"].need == writing(cfg.student, rows, 300 + 7 * 200, new)
    small = replace(lengths, answer=20_000)
    most = planning.plan(cfg.resolved["apo_listwise"], "apo_listwise", small, CARD)
    assert next(stage.need for stage in most if stage.name == "self_distill") == writing(
        cfg.student, rows, cfg.student.max_context_tokens, new
    )


def test_states_of_training_are_what_the_trainer_held() -> None:
    """A pass with masters, gradients and moments; weights as the network was counted on the card."""
    need = needs(student(), [1400], [[300] * 8], mode="packed")
    fit = next(row for row in PROOF["trainer"]["rows"] if row["stage"] == "apo" and not row["checkpointed"])
    assert (need.trained + need.activations) / 1e9 == pytest.approx(fit["peak_gb"], rel=0.15)
    assert need.weights / 1e9 == pytest.approx(16.6, rel=0.01)
    four = needs(student(adapter=AdapterSettings(kind="qlora")), [1400], [[300] * 8], mode="packed")
    assert four.weights / 1e9 == pytest.approx(PROOF["qlora"]["rows"][0]["model_gb"], rel=0.03)


@pytest.mark.parametrize(
    ("way", "mode"),
    [("packed", "packed"), ("joint", "joint"), ("branchwise_4", "branchwise"), ("separate", "separate")],
)
def test_seconds_are_those_of_the_measured_step(way: str, mode: str) -> None:
    found = flops(student(), [1400], [[300] * 8]) / (USE[mode] * 989e12)
    assert found == pytest.approx(ROWS[way, 1400]["median_s"], rel=0.15)


def test_the_decoders_matrices_by_hand() -> None:
    """28 layers of 3584 x (2 x 3584 + 2 x 512 + 3 x 18944)."""
    assert linears(architecture(MODEL).get_text_config()) == 28 * 3584 * 65024


def test_full_fine_tuning_and_shards_by_hand() -> None:
    """Float32 twice (masters, and what is compared with), the frozen rest twice in 16 bits; gradients and moments. Of
    eight devices each holds two decoder layers whole, and what lies in no layer and no block of the tower."""
    whole = needs(student(adapter=AdapterSettings(kind="full")), [100], [[10]], mode="joint")
    from apo_lightning.models.sizes import count_on_meta

    total, trained = count_on_meta(student(adapter=AdapterSettings(kind="full")))
    assert whole.weights == 2 * (4 * trained + 2 * (total - trained))
    assert whole.trained == 12 * trained
    eight = needs(student(adapter=AdapterSettings(kind="full")), [100], [[10]], mode="joint", shards=8)
    block, root = 233057792, 8292166656 - 28 * 233057792 - 32 * 19702200
    assert eight.weights == pytest.approx(whole.weights / 8 + 4 * (2 * block + 2 * root))
    assert eight.trained == whole.trained / 8
    assert whole.total == whole.weights + whole.trained + whole.activations + CONTEXT


def test_shards_of_adapters_by_hand() -> None:
    """Two bytes a weight; per device a quarter, two whole layers and what lies in no block."""
    four = needs(student(), [100], [[10]], mode="joint", shards=4)
    block, root = 233057792, 8292166656 - 28 * 233057792 - 32 * 19702200
    assert four.weights == pytest.approx(2 * (8292166656 / 4 + 2 * block + root))
    assert four.trained == 16 * 20185088 / 4


def test_an_earlier_adapter_lies_below() -> None:
    one, two = (needs(student(), [100], [[10]], mode="joint", earlier=earlier) for earlier in (False, True))
    assert two.trained - one.trained == pytest.approx(one.trained / 4)


def test_what_does_not_fit_is_said_with_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "plan",
        str(EXPERIMENTS / "paper_7b.yaml"),
        "--card",
        "rtx4070",
        "--prompt",
        "1400",
        "--answer",
        "300",
        "only=[apo_listwise]",
    ]
    assert main([*words, "student.gradient_checkpointing=false"]) == 2
    said = capsys.readouterr().out
    assert "needs" in said and "more than fits" in said
    smaller = ["stages.self_distill.batch_studies=4", "evaluate.batch_studies=8"]
    own = "it would fit with student.adapter.kind=qlora student.gradient_checkpointing=true"
    assert f"{own} {' '.join(smaller)} (" in " ".join(said.split())
    assert main([*words, "student.adapter.kind=qlora"]) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert f"it would fit with {' '.join(smaller)} (" in said
    assert main([*words, "student.adapter.kind=qlora", *smaller]) == 0
    assert "It fits." in capsys.readouterr().out


def test_lengths_are_those_of_the_experiments_own_texts() -> None:
    """The drawn world: 16 image tokens and a short prompt, seven teachers."""
    cfg = next(iter(config.load(EXPERIMENTS / "smoke.yaml").resolved.values()))
    found, reason = planning.known(cfg)
    assert reason == ""
    assert found.answers == 8
    assert 0 < found.usual <= found.answer <= cfg.student.max_branch_tokens
    assert 16 < found.prompt <= cfg.student.max_prompt_tokens
    assert found.studies["train"] == cfg.data["train"]


def test_without_the_data_the_limits_are_taken_and_the_reason_is_said(tmp_path: Path) -> None:
    cfg = next(iter(config.load(EXPERIMENTS / "paper_7b.yaml", [f"data.root={tmp_path / 'none'}"]).resolved.values()))
    found, reason = planning.known(cfg)
    assert (found.prompt, found.answer) == (cfg.student.max_prompt_tokens, cfg.student.max_branch_tokens)
    assert "none" in reason


def test_an_unknown_card_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(EXPERIMENTS / "smoke.yaml"), "--card", "h10"]) == 2
    assert "Did you mean" in capsys.readouterr().err


def test_an_experiment_of_the_small_student_says_whose_times_these_are(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["plan", str(EXPERIMENTS / "smoke.yaml"), "--prompt", "40", "--answer", "60"]
    assert main(given) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "those of one h100 (no --card was given), not of this machine" in said
    assert "0.00" not in said and "< 0.01" in said and "< 1 min" in said
    assert main([*given, "--card", "l4"]) == 0
    assert "not of this machine" not in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one line."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.mark.usefixtures("wide")
def test_arms_that_hear_other_teachers_have_their_own_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """paper_7b pre-distils one teacher and all of them; plain fine-tuning on t+ scores no teacher."""
    words = ["plan", str(EXPERIMENTS / "paper_7b.yaml"), "--card", "h100", "--prompt", "450", "--answer", "150"]
    assert main([*words, "--train", "4000", "--val", "0", "--test", "320"]) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.count("│") > 3]
    seconds = {row[1].strip(): float(row[6]) for row in rows if row[6].strip()}
    prompt, answer = 450, 150
    one, seven, eight = (prompt + n * answer for n in (1, 7, 8))
    assert seconds["spd (spd_mt)"] / seconds["spd (spd_one)"] == pytest.approx(seven / one, rel=0.1)
    assert seconds["apo (apo_listwise)"] / seconds["apo (sft)"] == pytest.approx(eight / one, rel=0.1)


def test_the_whole_is_the_sum_of_all_stages_and_of_every_arms_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """Two arms answer 320 studies in batches of 16 of 150 tokens, .046 s a token: 2 x 20 x 6.9 s, and one step."""
    words = ["plan", str(EXPERIMENTS / "paper_7b.yaml"), "--card", "h100", "--prompt", "450", "--answer", "150"]
    words += ["only=[base, spd_one]", "evaluate.batch_studies=16", "stages.spd.steps=1"]
    assert main([*words, "--test", "320"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "All of it, one seed, one after another: 5 min." in said
    assert main(words) == 0
    assert "and each (?): give --train, --val and --test." in " ".join(capsys.readouterr().out.split())


def test_what_gains_nothing_is_not_offered(capsys: pytest.CaptureFixture[str]) -> None:
    """Answers are branchwise and layers recomputed already; only the batch that is written is too large."""
    words = ["plan", "qwen2_5_vl_7b/1x24gb", "--card", "rtx4090", "student.adapter.kind=lora"]
    assert main(words) == 2
    offered = [line for line in capsys.readouterr().out.splitlines() if "it would fit with" in line]
    assert len(offered) == 2
    assert "with stages.self_distill.batch_studies=2 (21.6 GB)" in offered[0]
    assert "student.adapter.kind=qlora (16.0 GB)" in offered[1]
    assert main([*words, "stages.self_distill.batch_studies=2"]) == 0  # as the file says


@pytest.mark.usefixtures("wide")
def test_the_parts_of_a_row_are_its_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "qwen2_5_vl_7b/1x24gb", "--card", "rtx4090"]) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.count("│") > 3]
    for row in rows:
        parts = [float(part) for part in row[3].split("+")]
        assert len(parts) == 4 and sum(parts) == pytest.approx(float(row[4]), abs=0.21)


def test_all_cards_are_named_by_help_and_docs() -> None:
    assert ", ".join(planning.CARDS) == plan_command.CARDS
    assert plan_command.CARDS in (EXPERIMENTS.parent / "docs" / "scale.md").read_text()
