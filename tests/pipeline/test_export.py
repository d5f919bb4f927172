"""A student that leaves its run: merged or as one adapter, it answers the same where this project is not installed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from peft import LoraConfig
from safetensors.torch import load_file
from transformers import AutoProcessor

from apo_lightning import config
from apo_lightning.cli import main
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.experiment.run import run
from apo_lightning.hashing import inventory
from apo_lightning.models import whole_adapter
from apo_lightning.models.processor import NANO
from apo_lightning.models.student import Student
from apo_lightning.settings import AdapterSettings, DecodingSettings, StudentSettings
from apo_lightning.using import Chosen, TrainedStudent, card_use, choose, export, exporting, networks, processor_files
from data_modules.phantom import Phantom
from tests.helpers import tiny
from tests.pipeline.conftest import ROOT

STUDIES = 4
SMALL = ("data.train=8", "data.val=4", f"data.test={STUDIES}", "wandb.mode=disabled", "evaluate.likelihood.form=off")
LOUD = ("stages.apo.optim.lr=1e-2", "stages.apo.steps=6", "stages.spd.optim.lr=1e-2", "stages.spd.steps=6")
"""So large that the two adapters say something of their own."""

ELSEWHERE = """
import json, sys
from importlib.abc import MetaPathFinder

class Nowhere(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("apo_lightning", "data_modules", "callbacks"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Nowhere())
folder, question, *images = sys.argv[1:]
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer, GenerationConfig
import pathlib

if (pathlib.Path(folder) / "adapter_config.json").exists():
    from peft import PeftModel
    model = AutoModelForImageTextToText.from_pretrained(f"{folder}/base")
    model = PeftModel.from_pretrained(model, folder)
    model.generation_config = GenerationConfig.from_pretrained(folder)
else:
    model = AutoModelForImageTextToText.from_pretrained(folder)
words, pixels = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
told = []
for path in images:
    seen = pixels(images=[Image.open(path).convert("L").convert("RGB")], return_tensors="pt")
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}
    text = words.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    pads = int(seen["image_grid_thw"].prod()) // pixels.merge_size**2
    asked = words(text.replace("<|image_pad|>", "<|image_pad|>" * pads), return_tensors="pt")
    asked["mm_token_type_ids"] = (asked["input_ids"] == words.convert_tokens_to_ids("<|image_pad|>")).long()
    asked.pop("token_type_ids", None)
    written = model.generate(**asked, **seen)
    told.append(words.decode(written[0, asked["input_ids"].shape[1]:], skip_special_tokens=True).strip())
assert "apo_lightning" not in sys.modules
print("TOLD" + json.dumps(told))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the embedded student."""
    given = [*SMALL, *LOUD, f"runs_dir={tmp_path_factory.mktemp('runs')}"]
    return run(config.load(ROOT / "experiments" / "smoke.yaml", given))


@pytest.fixture(scope="module")
def chosen(folder: Path) -> Chosen:
    return choose(folder, "apo_listwise")


@pytest.fixture(scope="module")
def merged(chosen: Chosen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(chosen, tmp_path_factory.mktemp("out") / "merged", studies=2).folder


@pytest.fixture(scope="module")
def adapter(chosen: Chosen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(chosen, tmp_path_factory.mktemp("out") / "adapter", adapter=True, studies=2).folder


def predicted(folder: Path, arm: str) -> list[str]:
    lines = (folder / arm / "seed0" / "evaluate" / "predictions.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def elsewhere(folder: Path, question: str, images: list[Path], place: Path) -> list[str]:
    """What a fresh process says that cannot import this project."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [sys.executable, "-I", "-c", ELSEWHERE, str(folder), question, *map(str, images)]
    done = subprocess.run(words, cwd=place, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("TOLD")[2])


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_it_answers_the_same_without_this_project(
    folder: Path, chosen: Chosen, form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place, data = request.getfixturevalue(form), Phantom(train=8, val=4, test=STUDIES)
    paths = [tmp_path / f"{study.id}.png" for study in data.studies("test")]
    for study, path in zip(data.studies("test"), paths, strict=True):
        data.images(study)[0].save(path)
    said = elsewhere(place, TrainedStudent(chosen).prompt, paths, tmp_path)
    assert said == predicted(folder, "apo_listwise")
    assert said != predicted(folder, "spd_mt") != predicted(folder, "base")  # both adapters say something


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_the_lines_of_the_card_answer_as_the_run_does(
    folder: Path, form: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The first are run where the card lies, as they stand; those that need torchvision compile alone here."""
    place = shutil.copytree(request.getfixturevalue(form), tmp_path / "card")
    by_hand, processor = re.findall(r"```python\n(.*?)```", (place / "README.md").read_text("utf-8"), re.DOTALL)
    assert "AutoProcessor" in processor and compile(processor, "card", "exec") and "AutoProcessor" not in by_hand
    assert all('assert "pixel_values" in inputs, "the model would answer' in each for each in (by_hand, processor))
    data = Phantom(train=8, val=4, test=STUDIES)
    data.images(data.studies("test")[0])[0].save(place / "image.png")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", by_hand], cwd=place, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == predicted(folder, "apo_listwise")[0]


@pytest.mark.parametrize("form", ["merged", "adapter"])
def test_no_processor_of_the_folder_leaves_the_image_out(form: str, request: pytest.FixtureRequest) -> None:
    """`AutoProcessor` reads images, or says what it lacks; a bare tokenizer takes a prompt without them in silence."""
    try:
        made = AutoProcessor.from_pretrained(request.getfixturevalue(form))
    except ImportError as error:
        assert "orchvision" in str(error)
    else:
        assert made.image_processor is not None


def test_lines_that_do_not_see_the_image_stop_the_export(
    chosen: Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = card_use.BY_HAND.replace("{{**inputs, **seen}}", "inputs")
    assert blind != card_use.BY_HAND
    monkeypatch.setattr(card_use, "BY_HAND", blind)
    with pytest.raises(ArtifactError, match=r"do not run .* would answer without having seen the image"):
        export(chosen, tmp_path / "out", studies=1)
    assert not (tmp_path / "out").exists()


def test_the_export_runs_what_its_card_prints(
    chosen: Chosen, merged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "lines of this card were run on the first and wrote the same." in (merged / "README.md").read_text()
    monkeypatch.setattr(card_use, "BY_HAND", card_use.BY_HAND.replace("question}}]", 'question + " Edema?"}}]'))
    done = export(chosen, tmp_path / "out", studies=1)
    assert not done.fidelity.printed and done.fidelity.sentence().endswith("wrote other words")


def test_merged_weights_have_the_base_s_form(merged: Path) -> None:
    own, base = load_file(merged / "model.safetensors"), load_file(NANO / "model.safetensors")
    assert {name: (value.shape, value.dtype) for name, value in own.items()} == {
        name: (value.shape, value.dtype) for name, value in base.items()
    }
    changed = {name for name in own if not torch.equal(own[name], base[name])}
    assert changed and all(re.search(r"layers\.\d\.(self_attn|mlp)\.\w+_proj\.weight$", name) for name in changed)
    assert not any("visual" in name for name in changed)
    assert json.loads((merged / "config.json").read_text()) == json.loads((NANO / "config.json").read_text())


def test_generation_is_as_the_run_s(merged: Path, chosen: Chosen) -> None:
    own = json.loads((merged / "generation_config.json").read_text())
    plan = chosen.cfg.evaluate
    assert own["max_new_tokens"] == plan.max_new_tokens and own["do_sample"] is False
    assert own["repetition_penalty"] == 1.0 and own["eos_token_id"] == [2] and own["pad_token_id"] == 0


def test_one_adapter_carries_the_chain(adapter: Path, chosen: Chosen) -> None:
    own = json.loads((adapter / "adapter_config.json").read_text())
    assert (own["r"], own["lora_alpha"], own["base_model_name_or_path"]) == (16, 16, "base")
    state = load_file(adapter / "adapter_model.safetensors")
    parts = [load_file(chosen.saved / "adapters" / str(k) / "adapter_model.safetensors") for k in (0, 1)]
    for a in [name for name in state if ".lora_A." in name][:3]:
        b = a.replace("lora_A", "lora_B")
        wanted = sum(32 / 8 * part[b] @ part[a] for part in parts)  # alpha 32, r 8
        torch.testing.assert_close(state[b] @ state[a], wanted)


def test_nothing_names_this_machine(merged: Path, adapter: Path, folder: Path) -> None:
    for place in (merged, adapter):
        for path in place.rglob("*"):
            if path.is_file() and path.suffix != ".safetensors":
                text = path.read_text()
                assert str(folder.parent) not in text and str(ROOT) not in text, path


def test_the_card_says_what_it_is_and_what_it_is_not_for(
    chosen: Chosen, merged: Path, folder: Path, adapter: Path
) -> None:
    card = (merged / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["library_name"] == "transformers" and "base_model" not in head
    assert "Not for clinical use" in card and "| eager | simulated | 1 |" in card
    assert (ROOT / "apo_lightning/prompts/reconcile.txt").read_text().strip() in card
    assert '"name": "apo_listwise", "beta": 0.1' in card and "drawn by apo-lightning" in card
    rows = (folder / "intervals.csv").read_text().splitlines()
    *_, value, low, high, _, _, _ = next(row for row in rows if row.startswith("arm,apo_listwise,accuracy,mean")).split(
        ","
    )
    interval = f"[{float(low):.3f}, {float(high):.3f}]" if low else "–"
    labels = [chosen.cfg.arms[name].label for name in ("base", "spd_mt") if name in chosen.cfg.arms]
    beside = ["Majority vote of the teachers", "Always no"]
    assert f"| metric | value | 95 % interval | {' | '.join([*labels, *beside])} |" in card
    always = next(row for row in rows if row.startswith("baseline,always_no,accuracy,mean")).split(",")[4]
    line = next(row for row in card.splitlines() if row.startswith("| accuracy |"))
    assert line.startswith(f"| accuracy | {float(value):.3f} | {interval} |")
    assert line.endswith(f"| {float(always):.3f} |")
    assert "| macro-F1 |" in card and "positive f1" not in card
    assert "2 of 2 answers are the same word for word" in card
    assert (
        "rank 16" in (adapter / "README.md").read_text() and "--max-lora-rank 16" in (adapter / "README.md").read_text()
    )


def test_a_folder_in_use_is_left_alone(chosen: Chosen, merged: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not empty\. Name another folder, or add --overwrite"):
        export(chosen, merged)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("my notes")
    with pytest.raises(ConfigError, match="holds no export"):
        export(chosen, mine, overwrite=True)
    assert (mine / "README.md").read_text() == "my notes"
    before = (merged / "README.md").read_bytes()
    (merged / "left").touch()
    export(chosen, merged, overwrite=True, studies=2)
    assert not (merged / "left").exists() and (merged / "README.md").read_bytes() == before


def test_a_failure_leaves_nothing(chosen: Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise ArtifactError("no card")

    monkeypatch.setattr(exporting.card, "text", broken)
    with pytest.raises(ArtifactError, match="no card"):
        export(chosen, tmp_path / "out", studies=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["base", "{out}", "--adapter"], "trains nothing, so it has no adapter"),
        (["apo_listwise", "{out}", "--studies", "0"], "--studies must be 1 or more, got 0"),
        (["apo_listwise", "spd_mt", "{out}"], "export takes RUN ARM FOLDER"),
        (["{out}"], "has several arms"),
    ],
)
def test_what_cannot_be_exported_is_said(
    folder: Path, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(folder), *(word.format(out=tmp_path / "out") for word in words)]) == 2
    assert says in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_the_command_says_what_rounding_did(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"{folder}/spd_mt", str(tmp_path / "out"), "--studies", "1"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"log-probabilities of 1 answers .* 1 of 1 answers are the same word for word", said)


def test_the_difference_is_that_of_the_weights_that_were_written(
    chosen: Chosen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without what the last stage learned, the comparison says so."""
    monkeypatch.setattr(
        networks, "chain", lambda saved: whole_adapter.join([whole_adapter.learned(whole_adapter.adapters(saved)[:1])])
    )
    found = export(chosen, tmp_path / "out", studies=2).fidelity
    assert found.largest > 0.1 and found.tokens > 10


def test_merging_rounds_once() -> None:
    """1 + 2^-9 + 2^-9 in bfloat16, whose step above 1 is 2^-7: rounded after each it stays 1 (each is a quarter step);
    summed first it is half a step, to even: 1. With three of them it is 1 + 2^-7."""
    layer = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False)).to(torch.bfloat16)
    layer[0].weight.data.fill_(1.0)
    a, b = torch.full((3, 1), 2.0**-9), torch.ones(1, 3)
    networks.add(layer, {"base_model.model.0.lora_A.weight": a, "base_model.model.0.lora_B.weight": b})
    assert layer[0].weight.item() == 1 + 2.0**-7
    with pytest.raises(ArtifactError, match="'1', which the base model does not have"):
        networks.add(layer, {"base_model.model.1.lora_A.weight": a, "base_model.model.1.lora_B.weight": b})


@pytest.mark.parametrize("kind", ["lora", "qlora", "full"])
def test_every_kind_of_training_is_merged(kind: str, tmp_path: Path) -> None:
    """In the dtype of the student: the exported one scores as the saved one does, up to rounding."""
    if kind == "qlora":
        pytest.importorskip("bitsandbytes")
    model = str(tiny.folder(tmp_path / "nano"))
    settings = StudentSettings(model=model, adapter=AdapterSettings(kind=kind), **tiny.LIMITS)
    student = Student.load(settings).make_trainable(0)
    with torch.no_grad():
        for parameter in (p for p in student.parameters() if p.requires_grad):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)), alpha=0.05)
    student.save(tmp_path / "stage" / "student")
    networks.write_merged(settings, tmp_path / "stage" / "student", tmp_path / "out")
    processor_files.copy(settings, tmp_path / "out")
    processor_files.write_generation(student, DecodingSettings(max_new_tokens=4), tmp_path / "out")
    assert "quantization_config" not in json.loads((tmp_path / "out" / "config.json").read_text())
    batch = tiny.collator()([tiny.item(0, {"a": "No edema.", "b": "Edema."})])
    saved = Student.load(settings, tmp_path / "stage" / "student")
    plain = Student.load(replace(settings, model=str(tmp_path / "out"), adapter=AdapterSettings()))
    base = Student.load(settings)
    with torch.no_grad():
        wanted, own, before = (each.eval().score(batch).logps for each in (saved, plain, base))
    torch.testing.assert_close(own, wanted, atol=2e-2 if kind == "qlora" else 1e-4, rtol=0)
    assert (wanted - before).abs().max() > 0.1


def test_a_run_s_pixel_limits_go_along(tmp_path: Path) -> None:
    settings = StudentSettings(model="nano", min_pixels=784, max_pixels=3136, **tiny.LIMITS)
    processor_files.copy(settings, tmp_path)
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["size"] == {
        "longest_edge": 3136,
        "shortest_edge": 784,
    }


def test_a_hub_name_is_what_an_adapter_lies_over(chosen: Chosen, tmp_path: Path) -> None:
    done = export(chosen, tmp_path / "out", adapter=True, base="Qwen/Qwen2.5-VL-7B-Instruct", studies=1)
    assert not (done.folder / "base").exists()
    own = LoraConfig.from_pretrained(str(done.folder))
    assert own.base_model_name_or_path == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert yaml.safe_load((done.folder / "README.md").read_text().split("---\n")[1])["base_model"] == done.base


def test_a_stage_says_how_its_student_is_used(chosen: Chosen, folder: Path) -> None:
    stage = chosen.saved.parent
    assert "apo export RUN ARM FOLDER" in (stage / "student" / "README.txt").read_text()
    assert "student/README.txt" in json.loads((stage / "manifest.json").read_text())["files"]
    held = (stage / "student" / "README.txt").read_bytes()
    (stage / "student" / "README.txt").unlink()
    inventory.check(stage)  # words for people are no part of the result
    (stage / "student" / "README.txt").write_bytes(held)
    assert not (folder / "base" / "seed0" / "evaluate" / "student").exists()
