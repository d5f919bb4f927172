"""Ready experiments for one student on one kind of machine: they learn alike, with the authors' settings, and fit."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from torch import nn
from transformers import AutoModelForImageTextToText

from apo_lightning import config, planning
from apo_lightning.cli.commands import main
from apo_lightning.models.adapters import language_linears
from apo_lightning.models.blocks import blocks
from apo_lightning.models.sizes import architecture, count_on_meta, count_parts
from apo_lightning.planning.lengths import of_limits
from apo_lightning.settings import AdapterSettings, ExperimentSettings, StudentSettings, rounds

EXPERIMENTS = ROOT / "experiments"
READY = sorted(EXPERIMENTS.glob("*_vl_*/*.yaml"))
LIKE_THEM = [*READY, *sorted(EXPERIMENTS.glob("*_7b*.yaml"))]
CARDS = {"12gb": "rtx4070", "24gb": "rtx4090", "80gb": "a100"}
"""For the cards that a file's name tells, the slowest of that size that plans know."""
HEAD_ROOM = 0.82
"""Of a card's memory: the desktop, and pieces between blocks, need some of the rest."""
SEVEN, THREE, EIGHT = "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen/Qwen3-VL-8B-Instruct"

each_ready = pytest.mark.parametrize("path", READY, ids=lambda path: f"{path.parent.name}/{path.stem}")
each = pytest.mark.parametrize("path", LIKE_THEM, ids=lambda path: f"{path.parent.name}/{path.stem}")


@cache
def arms(path: Path) -> dict[str, ExperimentSettings]:
    return config.load(path).resolved


def devices(cfg: ExperimentSettings) -> int:
    return cfg.trainer.devices * cfg.trainer.num_nodes


def test_there_is_one_for_each_machine() -> None:
    assert {f"{path.parent.name}/{path.stem}" for path in READY} == {
        *(f"qwen2_5_vl_7b/{cards}" for cards in ("1x12gb", "1x24gb", "1x80gb", "4x24gb", "8x80gb")),
        *(f"qwen2_5_vl_3b/{cards}" for cards in ("1x12gb", "1x24gb")),
        *(f"qwen3_vl_8b/{cards}" for cards in ("1x24gb", "1x80gb")),
    }


@each
def test_a_step_learns_from_32_studies_on_any_machine(path: Path) -> None:
    """And a stage from one epoch of the 24,426."""
    for arm, cfg in arms(path).items():
        for stage in cfg.arms[arm].stages:
            if rounds.first(stage) != "self_distill":
                own = getattr(cfg.stages, stage)
                assert own.batch_studies * own.accumulate * devices(cfg) == 32, (arm, stage)
                assert own.steps == 24426 // 32, (arm, stage)


@each
def test_settings_are_the_authors(path: Path) -> None:
    for arm, cfg in arms(path).items():
        own, stages = cfg.student, cfg.stages
        assert (own.adapter.r, own.adapter.alpha) == (8, 32)
        assert own.max_prompt_tokens + own.max_branch_tokens == 2304
        assert own.max_branch_tokens >= stages.self_distill.max_new_tokens  # t+ is never cut as an answer
        assert (stages.spd.optim.lr, stages.spd.optim.warmup, stages.apo.optim.warmup) == (1e-4, 0.05, 0.05)
        assert stages.apo.optim.lr == (1e-4 if arm.startswith("ours") else 5e-7)
        assert (own.dtype, cfg.trainer.precision) == ("bfloat16", "bf16-mixed")


@each_ready
def test_it_fits_its_cards_with_head_room(path: Path) -> None:
    """At the most that its limits let through, in every arm."""
    count, _, size = path.stem.partition("x")
    card = planning.CARDS[CARDS[size]]
    for arm, cfg in arms(path).items():
        assert devices(cfg) == int(count)
        assert (cfg.trainer.strategy == "fsdp2") == (int(count) > 1)
        for stage in planning.plan(cfg, arm, of_limits(cfg, 1 + len(cfg.teachers)), card):
            assert stage.need is None or stage.need.total < HEAD_ROOM * card.gb * 1e9, (arm, stage)


def test_the_smallest_does_not_fit_without_what_it_sets(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "qwen2_5_vl_7b/1x12gb", "--card", "rtx4070"]
    assert main(words) == 0
    assert "It fits." in capsys.readouterr().out
    assert main([*words, "student.adapter.kind=lora"]) == 2


@each_ready
def test_a_name_is_found_and_listed_with_what_it_is(path: Path) -> None:
    name = f"{path.parent.name}/{path.stem}"
    assert config.find(name) == path
    said = dict(config.list_ready())[name]
    assert path.stem.partition("x")[2].replace("gb", " GB") in said
    assert arms(path) and config.load(path).name == name.replace("/", "_")


def on_meta(model: str) -> nn.Module:
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(architecture(model))


@pytest.mark.parametrize(
    ("model", "total", "layers", "tower"),
    [(SEVEN, 8292166656, 28, 32), (THREE, 3754622976, 36, 32), (EIGHT, 8767123696, 36, 27)],
)
def test_architectures_without_memory(model: str, total: int, layers: int, tower: int) -> None:
    """Parameters as published; adapters on seven matrices of every decoder layer and on nothing else; FSDP2 takes
    decoder layers and the tower's blocks one by one."""
    whole = on_meta(model)
    assert sum(p.numel() for p in whole.parameters()) == total
    found = language_linears(whole)
    assert len(found) == 7 * layers == len(set(found))
    assert all(name.startswith("model.language_model.layers.") for name in found)
    names = list(blocks(whole))
    wanted = [f"model.visual.blocks.{i}" for i in range(tower)]
    wanted += [f"model.language_model.layers.{i}" for i in range(layers)]
    assert sorted(names) == sorted(wanted)
    assert list(blocks(whole, tower=False)) == [name for name in names if "visual" not in name]


def test_trained_parameters_by_hand() -> None:
    """Rank 8 times the inputs and outputs of q, k, v, o, gate, up and down, in every layer; for 4 bits the same."""
    for model, width, kv, inner, layers, queries in (
        (SEVEN, 3584, 512, 18944, 28, 3584),
        (THREE, 2048, 256, 11008, 36, 2048),
        (EIGHT, 4096, 1024, 12288, 36, 4096),
    ):
        ends = 2 * (width + queries) + 2 * (width + kv) + 3 * (width + inner)
        for kind in ("lora", "qlora"):
            limits = dict(max_prompt_tokens=1, max_branch_tokens=1, max_context_tokens=1)
            own = StudentSettings(model=model, dtype="bfloat16", adapter=AdapterSettings(kind=kind), **limits)
            assert count_on_meta(own)[1] == 8 * ends * layers


def test_what_fsdp2_gathers_by_hand() -> None:
    """Of 7B: a decoder layer (q, k, v with biases, o, three of the MLP, two norms); embedding, head, last norm, the
    tower's first layer and its merger."""
    layer = 3584 * (2 * 3584 + 2 * 512) + 3584 + 2 * 512 + 3 * 3584 * 18944 + 2 * 3584
    merger = 1280 + 5120 * 5120 + 5120 + 5120 * 3584 + 3584
    assert count_parts(SEVEN) == (layer, 2 * 152064 * 3584 + 3584 + 3 * 2 * 14 * 14 * 1280 + merger)
