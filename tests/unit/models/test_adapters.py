"""What a student has learned is there after saving and loading, in every precision; what does not fit is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor

from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.models.adapters import join, read_adapter
from apo_lightning.models.network import Networks
from apo_lightning.models.student import Student
from apo_lightning.settings import AdapterSettings, StudentSettings
from tests.helpers import tiny

DTYPES = ("float32", "bfloat16", "float16")
ROUNDING = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.005}
"""Nats over a short text between two orders of adding the same numbers up."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.folder(tmp_path_factory.mktemp("base"), seed=0))


def settings(base: str, dtype: str = "float32", **adapter) -> StudentSettings:
    return StudentSettings(model=base, adapter=AdapterSettings(**adapter), dtype=dtype, **tiny.LIMITS)


def batch():
    return tiny.collator()([tiny.item(0, {"a": "No edema.", "b": "Mild left pneumonia."})])


@torch.no_grad()
def nudge(student: Student, lr: float) -> Student:
    """As a step of AdamW moves an adapter: by ``lr`` in every element."""
    torch.manual_seed(7)
    for parameter in student.parameters():
        if parameter.requires_grad:
            parameter += lr * torch.randn_like(parameter).sign()
    return student


@torch.no_grad()
def logps(student: Student) -> Tensor:
    return student.score(batch()).logps


@torch.no_grad()
def change(student: Student) -> dict[str, Tensor]:
    """What all active adapters add to each layer's weight."""
    return {
        name: sum(
            layer.lora_B[k].weight.double() @ layer.lora_A[k].weight.double() * layer.scaling[k]
            for k in layer.active_adapters
        )
        for name, layer in student.model.named_modules()
        if isinstance(layer, LoraLayer)
    }


def kept(made: dict[str, Tensor], left: dict[str, Tensor]) -> float:
    """<left, made> / <made, made> over all layers."""
    return float(sum((left[k] * v).sum() for k, v in made.items()) / sum((v * v).sum() for v in made.values()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_chain_of_small_updates_is_loaded_whole_in_every_precision(dtype: str, base: str, tmp_path: Path) -> None:
    """At 5e-7 a step the change is far under half a step of a 16-bit weight, so a merged adapter would be gone."""
    own = settings(base, dtype, r=3, alpha=5)
    nudge(Student.load(own).make_trainable(0), 5e-2).save(tmp_path / "0")
    second = nudge(Student.load(own, tmp_path / "0").make_trainable(1), 5e-7)
    second.save(tmp_path / "1")
    third = nudge(Student.load(own, tmp_path / "1").make_trainable(2), 5e-7)
    third.save(tmp_path / "2")
    loaded = Student.load(own, tmp_path / "2")
    made, left = change(third), change(loaded)
    assert len(made) == 28 and kept(made, left) == pytest.approx(1, abs=1e-6)
    torch.testing.assert_close(logps(loaded), logps(third), atol=ROUNDING[dtype], rtol=0)
    assert (logps(Student.load(own)) - logps(third)).abs().max() > 5 * ROUNDING[dtype]
    before, after = change(Student.load(own, tmp_path / "0")), change(Student.load(own, tmp_path / "1"))
    step = {k: change(second)[k] - before[k] for k in before}
    assert kept(step, {k: after[k] - before[k] for k in before}) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_reference_is_the_student_that_training_started_from_to_the_last_bit(
    dtype: str, base: str, tmp_path: Path
) -> None:
    own = settings(base, dtype)
    nudge(Student.load(own).make_trainable(0), 1e-2).save(tmp_path / "0")
    start = logps(Student.load(own, tmp_path / "0"))
    student = Student.load(own, tmp_path / "0").make_trainable(1)
    assert torch.equal(logps(student), start)
    nudge(student, 1e-2)
    with student.reference():
        assert torch.equal(logps(student), start)
    assert not torch.equal(logps(student), start)


def test_a_chain_weighs_what_one_adapter_of_the_summed_rank_weighs(base: str, tmp_path: Path) -> None:
    own = settings(base, r=4)
    for stage in range(3):
        before = tmp_path / f"{stage - 1}" if stage else None
        Student.load(own, before).make_trainable(stage).save(tmp_path / f"{stage}")
    loaded = Student.load(own, tmp_path / "2")
    layers = [m for m in loaded.modules() if isinstance(m, LoraLayer)]
    assert {(tuple(layer.lora_A), next(iter(layer.lora_A.values())).out_features) for layer in layers} == {
        (("learned",), 12)
    }


def test_joined_ranks_add_what_their_parts_add() -> None:
    """(8/2) [1, 2]' [1, 0] + (3/3) B A, by hand: 4 * [[1, 0], [2, 0]] + identity."""
    one = LoraConfig(r=1, lora_alpha=4, target_modules=["x"])
    two = LoraConfig(r=2, lora_alpha=2, target_modules=["x"], lora_dropout=0.5)
    first = {"x.lora_A.weight": torch.tensor([[1.0, 0.0]]), "x.lora_B.weight": torch.tensor([[1.0], [2.0]])}
    second = {"x.lora_A.weight": torch.eye(2), "x.lora_B.weight": torch.eye(2)}
    config, state = join([(one, first), (two, second)])
    assert (config.r, config.lora_alpha, config.lora_dropout) == (3, 3, 0.0)
    torch.testing.assert_close(
        state["x.lora_B.weight"] @ state["x.lora_A.weight"], torch.tensor([[5.0, 0.0], [8.0, 1.0]])
    )


def test_stabilised_ranks_are_scaled_by_the_root(base: str) -> None:
    config = LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=["x"])
    state = {"x.lora_A.weight": torch.ones(4, 1), "x.lora_B.weight": torch.ones(1, 4)}
    joined, values = join([(config, state), (config, state)])
    assert not joined.use_rslora
    assert float(values["x.lora_B.weight"] @ values["x.lora_A.weight"]) == 2 * 4 * 6 / 2


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.replace("language_model", "text_model"): value for key, value in state.items()}


def only_a(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if "lora_A" in key}


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if ".layers.0." in key or ".layers.1." in key}


def nothing(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {}


def wider(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.cat([value, value], 1) if "lora_A" in key else value for key, value in state.items()}


def infinite(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value * float("nan") if ".layers.2." in key else value for key, value in state.items()}


DAMAGE = [
    (renamed, r"56 keys are missing .*language_model.* and 56 keys are unexpected .*text_model"),
    (only_a, r"28 keys are missing .*lora_B"),
    (half, r"28 keys are missing .*layers\.2\."),
    (nothing, r"holds no tensor"),
    (wider, r"size mismatch"),
    (infinite, r"NaN or infinity in .*layers\.2\."),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGE, ids=[damage.__name__ for damage, _ in DAMAGE])
def test_an_adapter_file_that_does_not_fit_is_named_not_passed_over(
    damage: Callable[[dict[str, Tensor]], dict[str, Tensor]], said: str, base: str, tmp_path: Path
) -> None:
    own = settings(base)
    Student.load(own).make_trainable(0).save(tmp_path / "0")
    file = tmp_path / "0" / "adapters" / "0" / "adapter_model.safetensors"
    save_file(damage(load_file(file)), file)
    with pytest.raises(ArtifactError, match=said) as caught:
        Student.load(own, tmp_path / "0")
    assert str(tmp_path / "0") in str(caught.value)


@pytest.mark.parametrize("damage", [renamed, only_a, half, nothing])
def test_a_chain_of_adapters_that_do_not_belong_together_is_refused(
    damage: Callable[[dict[str, Tensor]], dict[str, Tensor]],
) -> None:
    config = LoraConfig(r=1, target_modules=["x"])
    names = [f"language_model.layers.{i}.x.lora_{half}.weight" for i in range(4) for half in "AB"]
    state = {name: torch.ones(1, 1) for name in names}
    with pytest.raises(ValueError, match=r"number \d lacks .*which another one has"):
        join([(config, state), (config, damage(state))])


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
@pytest.mark.parametrize("content", [None, b"", b"\0" * 64, b"{}"])
def test_an_adapter_file_that_cannot_be_read_is_named(
    name: str, content: bytes | None, base: str, tmp_path: Path
) -> None:
    own = settings(base)
    Student.load(own).make_trainable(0).save(tmp_path / "0")
    file = tmp_path / "0" / "adapters" / "0" / name
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(
        ArtifactError, match=r"cannot be read|no plain LoRA|missing or unreadable|has no file of tensors"
    ):
        Student.load(own, tmp_path / "0")


def test_a_student_without_an_adapter_folder_is_not_the_base_model(base: str, tmp_path: Path) -> None:
    own = settings(base)
    Student.load(own).make_trainable(0).save(tmp_path / "0")
    (tmp_path / "0" / "adapters" / "0").rename(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match=r"must have the adapters 0, 1, \.\.\. and has none"):
        Student.load(own, tmp_path / "0")


def test_other_kinds_of_adapter_are_refused(base: str, tmp_path: Path) -> None:
    own = settings(base)
    Student.load(own).make_trainable(0).save(tmp_path / "0")
    file = tmp_path / "0" / "adapters" / "0" / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "use_dora": True}))
    with pytest.raises(ArtifactError, match="no plain LoRA adapter"):
        read_adapter(file.parent)


def lose_a_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    state = load_file(file)
    lost = next(key for key in state if "layers.1.mlp" in key)
    save_file({key: value for key, value in state.items() if key != lost}, file, {"format": "pt"})


def test_weights_that_a_file_lacks_are_not_left_at_random(base: str, tmp_path: Path) -> None:
    own = settings(base, kind="full")
    Student.load(own).make_trainable(0).save(tmp_path / "0")
    lose_a_weight(tmp_path / "0" / "weights")
    with pytest.raises(ArtifactError, match=r"lacks 1 weights of the model.*layers\.1\.mlp"):
        Student.load(own, tmp_path / "0")
    lose_a_weight(tiny.folder(tmp_path / "base"))
    with pytest.raises(ConfigError, match=r"student\.model '.*base' lacks 1 weights"):
        Student.load(settings(str(tmp_path / "base")))


def test_students_of_one_run_share_the_network_and_nothing_else(base: str) -> None:
    networks = Networks()
    first = Student.load(settings(base), networks=networks)
    second = Student.load(settings(base), networks=networks).make_trainable(0)
    places = {name: p.data_ptr() for name, p in first.model.named_parameters()}
    shared = [
        p.data_ptr() == places[name.removeprefix("base_model.model.").replace(".base_layer", "")]
        for name, p in second.model.named_parameters()
        if not p.requires_grad
    ]
    assert len(shared) == len(places) and all(shared)
    start = logps(first)
    nudge(second, 1e-2)
    assert torch.equal(logps(first), start) and not torch.equal(logps(second), start)
    assert not any(isinstance(module, LoraLayer) for module in first.modules())


def test_full_fine_tuning_has_a_network_of_its_own(base: str) -> None:
    networks = Networks()
    first = Student.load(settings(base), networks=networks)
    second = Student.load(settings(base, kind="full"), networks=networks).make_trainable(0)
    start = logps(first)
    nudge(second, 1e-3)
    assert torch.equal(logps(first), start) and not torch.equal(logps(second), start)
