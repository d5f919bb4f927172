"""How a stage is spread over devices is no part of its key, and a checkpoint of one layout is read by another."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributed import checkpoint as sharded
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

from apo_lightning import config
from apo_lightning.errors import ConfigError
from apo_lightning.experiment import layouts, machine, trainer
from apo_lightning.experiment.checkpoints import WholeFiles
from apo_lightning.settings import FitSettings, OptimSettings, TrainerSettings
from apo_lightning.stages import base, optimizers
from tests.helpers import layouts as fits
from tests.helpers.stage_keys import changed, keys_of

SMOKE = Path(__file__).resolve().parents[3] / "experiments/smoke.yaml"
STEP = {"devices": 2, "num_nodes": 3, "strategy": "ddp"}


def keys(*words: str) -> dict[str, str]:
    return keys_of(config.resolve_arm(config.load(SMOKE, ["only=[apo_listwise]", *words]), "apo_listwise"))


def test_as_many_studies_a_step_are_one_stage() -> None:
    plain = keys("stages.spd.batch_studies=8", "stages.apo.batch_studies=8")
    for strategy in ("ddp", "fsdp2"):
        two = ("trainer.devices=2", f"trainer.strategy={strategy}", "stages.spd.batch_studies=4")
        assert keys(*two, "stages.apo.batch_studies=2", "stages.apo.accumulate=2") == plain
    offloaded = ("trainer.devices=8", "trainer.strategy=fsdp2", "trainer.cpu_offload=true")
    assert keys(*offloaded, "stages.spd.batch_studies=1", "stages.apo.batch_studies=1") == plain
    more = keys("trainer.devices=2", "trainer.strategy=ddp", "stages.spd.batch_studies=8", "stages.apo.batch_studies=4")
    assert {"spd", "apo"} <= changed(plain, more) and more["collect"] == plain["collect"]


@pytest.mark.parametrize(
    ("words", "decided", "as_one"),
    [
        ({}, True, True),
        ({"val_check_interval": 4}, False, True),
        ({"val_check_interval": 4}, True, False),
        ({"limit_train_batches": 4}, False, False),
    ],
)
def test_where_batches_are_counted_the_layout_is_part_of_the_key(words: dict, decided: bool, as_one: bool) -> None:
    plan = FitSettings(loss={}, optim=OptimSettings(lr=1.0), steps=1, batch_studies=4, accumulate=2)
    own = layouts.of_plan(plan, TrainerSettings(**STEP, **words), decided=decided)
    spread = {name: own.get(name) for name in ("batch_studies", "accumulate", "processes")}
    one, six = {"batch_studies": 48, "accumulate": 1}, {"batch_studies": 4, "accumulate": 2}
    assert spread == {**(one if as_one else six), "processes": None if as_one else 6}


def test_the_optimiser_is_part_of_the_key_where_it_is_another_one() -> None:
    plan = FitSettings(loss={}, optim=OptimSettings(lr=1.0), steps=1, batch_studies=4)
    assert "name" not in layouts.of_plan(plan, TrainerSettings(), decided=False)["optim"]
    plan.optim.name = "adamw_8bit"
    assert layouts.of_plan(plan, TrainerSettings(), decided=False)["optim"]["name"] == "adamw_8bit"


def loops(batches: int, steps: int, accumulate: int) -> dict[str, Any]:
    counts = {"ready": batches, "started": batches, "processed": batches, "completed": batches}
    return {
        "global_step": steps,
        "loops": {
            "fit_loop": {
                "state_dict": {"combined_loader": [{"accumulate": accumulate}]},
                "epoch_loop.batch_progress": {"total": dict(counts), "current": dict(counts), "is_last_batch": False},
                "epoch_loop.state_dict": {"_batches_that_stepped": steps + (batches > steps * accumulate)},
            }
        },
    }


def test_batches_are_counted_anew_and_those_of_a_step_that_was_cut_off_forgotten() -> None:
    """Three steps of four batches, and one batch of the fourth: with two batches a step these are six."""
    state = loops(13, 3, 4)
    layouts.count_anew(state, 2)
    assert state == loops(6, 3, 2)
    same = loops(13, 3, 4)
    layouts.count_anew(same, 4)
    assert same == loops(13, 3, 4)


def test_shards_are_put_together_as_a_single_file_would_be(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].bias.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1, betas=(0.5, 0.6))
    for _ in range(2):
        model(torch.ones(1, 2)).square().sum().backward()
        optimizer.step()
    state = {"state_dict": model.state_dict(), "optimizer_0": get_optimizer_state_dict(model, optimizer)}
    place = tmp_path / "step=2.ckpt"
    sharded.save(state, checkpoint_id=place, no_dist=True)
    torch.save({"global_step": 2}, place / "meta.pt")
    found = WholeFiles().load_checkpoint(place)
    assert found["global_step"] == 2
    assert {name: value.tolist() for name, value in found["state_dict"].items()} == {
        name: value.tolist() for name, value in model.state_dict().items()
    }
    want, (own,) = optimizer.state_dict(), found["optimizer_states"]
    assert own["state"].keys() == want["state"].keys() == {0, 1, 2}
    assert all(torch.equal(own["state"][k][n], want["state"][k][n]) for k in range(3) for n in want["state"][k])
    assert own["param_groups"][0]["params"] == [0, 1, 2] and own["param_groups"][0]["betas"] == (0.5, 0.6)
    other = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1.0)
    other.load_state_dict(own)
    assert other.param_groups[0]["lr"] == 0.1


def complaint(*words: str) -> str:
    with pytest.raises(ConfigError) as error:
        machine.check_here(config.load(SMOKE, ["trainer.accelerator=cpu", *words]))
    return " ".join(str(error.value).split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainer.cpu_offload=true"], "trainer.cpu_offload must be false where trainer.strategy is 'single'"),
        (["trainer.cpu_offload=true", "trainer.strategy=ddp"], "Only fsdp2 keeps weights elsewhere"),
        (
            ["trainer.strategy=fsdp2", "stages.apo.optim.name=adamw_8bit"],
            "stages.apo.optim.name must be adamw where trainer.strategy is fsdp2, got 'adamw_8bit'",
        ),
        (["stages.spd.optim.name=paged_adamw_8bit"], "there is none. Take adamw_8bit."),
        (["stages.spd.optim.name=lion"], "stages.spd.optim.name must be one of adamw, adamw_8bit, paged_adamw, "),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_reason(words: list[str], said: str) -> None:
    assert said in complaint(*words)


def test_deepspeed_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError, match="would store wrong weights without a word"):
        machine.check_names(TrainerSettings(strategy="deepspeed_stage_2"), config.load(SMOKE).student)


@pytest.mark.parametrize("offload", [False, True])
def test_pieces_are_kept_in_the_hosts_memory_where_asked(offload: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, Any]] = []
    monkeypatch.setattr(
        "torch.distributed.fsdp.fully_shard",
        lambda module, **how: given.append((type(module).__name__, how.get("offload_policy"))),
    )
    monkeypatch.setattr("torch.distributed.fsdp.register_fsdp_forward_method", lambda *_: None)
    made = trainer.strategy(TrainerSettings(strategy="fsdp2", devices=2, cpu_offload=offload), fit=True)
    base._shard(fits.tiny.student(), None, offload=made.cpu_offload)
    assert {name for name, _ in given[:-1]} == {"Qwen2_5_VLVisionBlock", "Qwen2_5_VLDecoderLayer"}
    assert given[-1][0] == "Student"
    assert {type(policy).__name__ for _, policy in given} == {"CPUOffloadPolicy" if offload else "NoneType"}


def test_moments_in_8_bits_take_nearly_the_same_steps_and_go_on_from_a_checkpoint(tmp_path: Path) -> None:
    """Of 4,096 parameters and more; the rest stay in float32."""
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    start, x = torch.randn(64, 128), torch.randn(8, 64)

    def stepped(name: str, *, cut: bool = False) -> tuple[torch.Tensor, Any]:
        weight = nn.Parameter(start.clone())
        optimizer = optimizers.build(OptimSettings(name=name, lr=1e-2), [weight])
        for step in range(6):
            if cut and step == 3:
                torch.save(optimizer.state_dict(), tmp_path / "state.pt")
                optimizer = optimizers.build(OptimSettings(name=name, lr=1e-2), [weight])
                optimizer.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
            optimizer.zero_grad()
            (x @ weight).square().mean().backward()
            optimizer.step()
        return weight.detach(), optimizer.state[weight]

    whole, _ = stepped("adamw")
    small, state = stepped("adamw_8bit")
    assert state["state1"].dtype == state["state2"].dtype == torch.uint8
    assert 0 < (small - whole).abs().mean() < 0.05 * (whole - start).abs().mean()
    assert torch.equal(stepped("adamw_8bit", cut=True)[0], small)


def test_without_the_package_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(ConfigError, match=r"optim\.name adamw_8bit needs the package bitsandbytes"):
        optimizers.build(OptimSettings(name="adamw_8bit", lr=1.0), SimpleNamespace())
