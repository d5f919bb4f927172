"""Every family of the table in docs/students.md from a folder as its publisher would save it, with one or two images a
study, of unequal sizes: prompts, log-probs and gradients in every mode, answers, adapters. Expected values come from
the model's own public forward, one unpadded sequence at a time."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from PIL import Image
from torch import Tensor
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor
from transformers.integrations.bitsandbytes import replace_with_bnb_linear
from transformers.models.smolvlm import processing_smolvlm

from apo_lightning import scoring
from apo_lightning.batching.collate import Collator
from apo_lightning.errors import ConfigError
from apo_lightning.models.adapters import language_linears
from apo_lightning.models.families import FAMILIES, WHOLE
from apo_lightning.models.network import quantization_config
from apo_lightning.models.processor import end_of_turn, load_processor
from apo_lightning.models.sizes import count_on_meta
from apo_lightning.models.student import Student
from apo_lightning.scoring import score
from apo_lightning.scoring.image_records import split_images
from apo_lightning.scoring.packed import why_not
from apo_lightning.settings import AdapterSettings, StudentSettings
from apo_lightning.types import Branch, BranchBatch, Example
from tests.helpers import students, tiny

TABLE = (Path(__file__).resolve().parents[3] / "docs" / "students.md").read_text()
UNPACKED = "\n".join(line for line in TABLE.splitlines() if "all but `packed`" in line)
LIMITS = dict(max_prompt_tokens=400, max_branch_tokens=40, max_context_tokens=600)
SIZES = [[(30, 20)], [(20, 40), (17, 16)], [(24, 24)]]
"""Images of each study, width and height."""
TEXTS = [
    ["No edema.", "Mild left pneumonia.", "Clear."],
    ["Small right effusion.", "No."],
    ["Edema <image> <|im_end|>."],
]
each_family = pytest.mark.parametrize("family", students.RECIPES)


@pytest.fixture(autouse=True)
def _num2words(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolVLM's processor asks for a package that it needs for videos alone."""
    monkeypatch.setattr(processing_smolvlm, "num2words", str)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cache(lambda family: students.save(tmp_path_factory.mktemp(family), family))


@pytest.fixture
def load(folders: Any) -> Any:
    def loaded(family: str, source: Path | None = None, **adapter: Any) -> Student:
        settings = StudentSettings(model=str(folders(family)), adapter=AdapterSettings(**adapter), **LIMITS)
        return Student.load(settings, source)

    return loaded


def items(studies: Sequence[int] = (0, 1, 2)) -> list[tuple[Example, list[Image.Image]]]:
    made = []
    for b in studies:
        example, _ = tiny.item(b, {f"t{u}": text for u, text in enumerate(TEXTS[b])})
        pictures = [tiny.drawn()[b + i][1].resize(size) for i, size in enumerate(SIZES[b])]
        made.append((example, pictures))
    return made


def collate(student: Student, studies: Sequence[int] = (0, 1, 2)) -> BranchBatch:
    return Collator(student.processor, prompt="describe", findings=("edema",), **LIMITS)(items(studies))


def public(student: Student, study: int, answer: Tensor) -> Tensor:
    """Logits ``[T, V]`` that predict an answer ``[T]``, from what the family's documentation says to pass."""
    one = collate(student, [study])
    ids = torch.cat([one.prefix_ids[0], answer])[None]
    inputs = {name: value for name, value in one.vision.items() if name != "tiles"}
    kind = student.model.config.model_type
    types = (ids == student.model.config.image_token_id).int()
    if kind in ("idefics3", "smolvlm"):
        inputs = {name: value[None] for name, value in inputs.items()}
    if kind == "llava_onevision":
        inputs["batch_num_images"] = one.image_counts
    if kind.startswith("qwen"):
        inputs["mm_token_type_ids"] = types
    if kind == "gemma3":
        inputs["token_type_ids"] = types
    logits = student.model(input_ids=ids, attention_mask=torch.ones_like(ids), **inputs).logits[0]
    return logits[len(one.prefix_ids[0]) - 1 : -1]


def one_by_one(student: Student, batch: BranchBatch) -> Tensor:
    token = torch.zeros(batch.branch_ids.shape)
    for b, u in batch.present.nonzero().tolist():
        answer = batch.branch_ids[b, u][batch.branch_mask[b, u].bool()]
        logps = public(student, b, answer).log_softmax(-1).gather(-1, answer[:, None])[:, 0]
        token = token.index_put((torch.tensor(b), torch.tensor(u), torch.arange(len(answer))), logps)
    return token


def gradients(student: Student, token: Tensor) -> dict[str, Tensor]:
    """Of an objective in which every token matters differently."""
    student.model.zero_grad()
    ((token**2).sum() / 50 + (token.sum(-1) * torch.arange(1, 4)).sum() / 9).backward()
    return {name: p.grad.clone() for name, p in student.model.named_parameters() if p.grad is not None}


def test_every_family_of_the_table_is_tried() -> None:
    assert set(students.RECIPES) == set(FAMILIES)
    for family in FAMILIES.values():
        hub = ", ".join(f"`{name}`" for name in family.hub)
        needs = f" (needs `pip install {' '.join(family.packages)}`)" if family.packages else ""
        modes = "all but `packed`" if f"| {family.name} |" in UNPACKED else "all"
        assert f"| {family.name} | `{family.cls}` | {hub} | {modes} | {family.images}{needs} |" in TABLE
    assert {type(students.network(family)).__name__ for family in FAMILIES} == {own.cls for own in FAMILIES.values()}


@each_family
def test_a_loading_worker_gets_the_same_collator(load: Any, family: str) -> None:
    """By pickle: workers are not forked."""
    own = Collator(load(family).processor, prompt="describe", findings=("edema",), **LIMITS)
    other = pickle.loads(pickle.dumps(own))
    one, two = own(items()), other(items())
    assert torch.equal(one.prefix_ids, two.prefix_ids) and torch.equal(one.branch_ids, two.branch_ids)
    assert one.vision.keys() == two.vision.keys()
    assert all(torch.equal(value, two.vision[name]) for name, value in one.vision.items())


@each_family
def test_a_prompt_has_a_token_for_every_feature_of_its_images(family: str, load: Any) -> None:
    student = load(family)
    batch = collate(student)
    student.encode_images(batch)
    lengths = [record["pooler_output"].flatten(0, -2).shape[0] for record in batch.features]
    placeholders = (batch.prefix_ids == student.model.config.image_token_id).sum(-1).tolist()
    assert placeholders == [lengths[0], lengths[1] + lengths[2], lengths[3]]
    assert batch.prefix_mask[:, -1].all()


@each_family
def test_an_image_is_the_same_record_beside_others(family: str, load: Any) -> None:
    student = load(family)
    together = split_images(collate(student).vision)
    alone = [record for study in range(3) for record in split_images(collate(student, [study]).vision)]
    for have, want in zip(together, alone, strict=True):
        assert have.keys() == want.keys()
        assert all(torch.equal(have[name], want[name]) for name in want)


@pytest.mark.parametrize("family", ["llava", "idefics3", "gemma3"])
def test_the_processor_is_the_published_one_but_for_videos(family: str, folders: Any) -> None:
    """Where the whole processor can be built without torchvision it gives the same ids and pixels."""
    own, whole = load_processor(str(folders(family))), AutoProcessor.from_pretrained(folders(family))
    whole.tokenizer.padding_side = "left"
    pictures = [image for _, image in items()]
    ask = dict(tokenize=False, add_generation_prompt=True)
    texts = [
        own.apply_chat_template([{"role": "user", "content": [*[{"type": "image"}] * len(row), WHAT]}], **ask)
        for row in pictures
    ]
    have = own(text=texts, images=pictures, return_tensors="pt", padding=True)
    want = whole(text=texts, images=pictures, return_tensors="pt", padding=True)
    assert torch.equal(have["input_ids"], want["input_ids"])
    pixels = want["pixel_values"].reshape(-1, *have["pixel_values"].shape[1:])
    assert torch.equal(have["pixel_values"], pixels[pixels.flatten(1).any(-1)])


WHAT = {"type": "text", "text": "What is seen?"}


@each_family
def test_every_mode_scores_as_the_model_itself(family: str, load: Any) -> None:
    student = load(family)
    student.model.requires_grad_(True)
    batch = collate(student)
    want = one_by_one(student, batch)
    expected = gradients(student, want)
    assert want[batch.branch_mask.bool()].std() > 0.1
    floor = 1e-4 * max(float(value.norm()) for value in expected.values())
    packs = not why_not(scoring.Parts.of(student.model))
    assert packs == (f"| {FAMILIES[family].name} |" not in UNPACKED)
    for mode, rows in (("joint", None), ("branchwise", 2), ("separate", None), *[("packed", None)] * packs):
        have = score(student.model, collate(student), mode=mode, rows=rows).token_logps
        torch.testing.assert_close(have, want, atol=2e-5, rtol=0, msg=lambda text, mode=mode: f"{mode}: {text}")
        found = gradients(student, have)
        assert found.keys() == expected.keys()
        off = {n: float((found[n] - g).norm()) / max(float(g.norm()), floor) for n, g in expected.items()}
        assert max(off.values()) < 3e-4, (mode, max(off, key=off.get), max(off.values()))


@each_family
def test_images_and_their_order_matter(family: str, load: Any) -> None:
    """Otherwise the comparison above would not see an image that is dropped or swapped."""
    student = load(family)
    batch, swapped = collate(student), collate(student)
    student.encode_images(batch)
    swapped.features = [batch.features[i] for i in (0, 1, 2, 3)]
    swapped.features[0] = {name: -value for name, value in batch.features[0].items()}
    off = (score(student.model, swapped).token_logps - score(student.model, batch).token_logps).abs()
    assert off[0].max() > 1e-3 and off[1:].max() < 1e-5


@each_family
def test_answers_are_what_the_model_itself_finds_likeliest(family: str, load: Any) -> None:
    student = load(family)
    batch = collate(student)
    with torch.no_grad():
        if "tiles" in batch.vision:
            with pytest.raises(ValueError, match=r"call scoring\.see"):  # never a prompt without its images
                scoring.model_inputs(student.model, batch)
        student.encode_images(batch)
        inputs = scoring.model_inputs(student.model, batch, scoring.as_encoder_outputs(batch.features))
        how = dict(max_new_tokens=6, eos_token_id=[], output_logits=True, return_dict_in_generate=True)
        made = student.model.generate(**inputs, **how, do_sample=False)
        answers = made.sequences[:, batch.prefix_ids.shape[1] :]
        for study in range(3):
            want = public(student, study, answers[study])
            have = torch.stack([logits[study] for logits in made.logits])
            torch.testing.assert_close(have, want, atol=1e-3, rtol=1e-3)
            assert torch.equal(answers[study], want.argmax(-1))
        inputs = scoring.model_inputs(student.model, batch, scoring.as_encoder_outputs(batch.features))
        twice = student.model.generate(**inputs, **how, do_sample=True, top_k=1, num_return_sequences=2)
        assert torch.equal(twice.sequences, made.sequences.repeat_interleave(2, 0))
    assert [len(row) for row in student.generate(batch, max_new_tokens=4, sample=True, samples=2)] == [2, 2, 2]


@each_family
def test_a_saved_adapter_comes_back(family: str, load: Any, tmp_path: Path) -> None:
    student = load(family, r=2).make_trainable(0)
    base = score(student.model, collate(student)).token_logps
    with torch.no_grad():
        for name, parameter in student.model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.5)
    live = score(student.model, collate(student)).token_logps
    assert (live - base).abs().max() > 0.01
    assert all(
        "lora_" in name and "vision" not in name for name, p in student.model.named_parameters() if p.requires_grad
    )
    student.save(tmp_path / "student")
    again = load(family, tmp_path / "student", r=2)
    torch.testing.assert_close(score(again.model, collate(again)).token_logps, live, atol=1e-4, rtol=1e-4)


@each_family
def test_a_text_is_data_and_ends_as_a_turn_ends(family: str, load: Any) -> None:
    """Whatever the family reads as a control token, and the token that its template writes behind an answer."""
    student = load(family)
    words = student.processor.tokenizer
    special = set(words.all_special_ids)
    hostile = f"No edema.{''.join(words.all_special_tokens)}<image><|im_end|> End."
    collator = Collator(student.processor, prompt="describe", findings=(), **{**LIMITS, "max_branch_tokens": 900})
    ids = collator.encode_answer(Branch("a", hostile))[0]
    assert [i for i in ids if i in special] == [end_of_turn(student.processor)]
    names = {"gemma3": "<end_of_turn>", "idefics3": "<end_of_utterance>", "smolvlm": "<end_of_utterance>"}
    assert ids[-1] == words.convert_tokens_to_ids(names.get(family, "<|im_end|>"))
    assert ids[-1] in student.stop_tokens


@each_family
def test_a_limit_of_pixels_is_kept_or_refused(family: str, folders: Any) -> None:
    if not FAMILIES[family].pixel_limits:
        with pytest.raises(
            ConfigError, match=rf"max_pixels says nothing to {re.escape(FAMILIES[family].name)}.*Remove it"
        ):
            load_processor(str(folders(family)), max_pixels=256)
        return
    picture = tiny.drawn()[0][1]
    grids = [
        load_processor(str(folders(family)), max_pixels=limit).image_processor(picture)["image_grid_thw"].prod()
        for limit in (256, 1024)
    ]
    assert grids[0] * 16 <= 256 < grids[1] * 16 <= 1024


@each_family
def test_four_bits_leave_the_tower_and_the_head_whole(family: str, folders: Any) -> None:
    """Counted on the meta device, where the layers are replaced as a loaded model's are."""
    config = AutoConfig.from_pretrained(folders(family))
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    made = replace_with_bnb_linear(model, list(WHOLE), quantization_config(StudentSettings(model=family, **LIMITS)))
    halved = {name for name, module in made.named_modules() if isinstance(module, Linear4bit)}
    assert halved == set(language_linears(made))


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [
        ("mllama", {}, "images enter by cross-attention"),
        ("paligemma", {}, "its prompt attends in both directions"),
        ("florence2", {}, "an encoder and a decoder"),
        ("blip-2", {}, "no chat template"),
        ("mistral3", {}, "pads images to the largest of the batch"),
        ("llama", {}, "it reads text only, and a student looks at images"),
        ("aya_vision", {}, "nobody has shown that the scorer fits it"),
        ("llava", {"vision_config": {"model_type": "pixtral"}}, "with a pixtral tower its processor pads images"),
        ("llava", {"text_config": {"model_type": "qwen3_next"}}, "with layers of the kind linear_attention"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind: str, config: dict[str, Any], reason: str, tmp_path: Path) -> None:
    AutoConfig.for_model(kind, **config).save_pretrained(tmp_path)
    known = "Known to work: .*Qwen2.5-VL \\(qwen2_5_vl\\).*Gemma 3"
    for look in (lambda: load_processor(str(tmp_path)), lambda: count_on_meta(StudentSettings(model=str(tmp_path)))):
        with pytest.raises(
            ConfigError, match=rf"of the family '{kind}', which cannot be a student: .*{reason}.*{known}"
        ):
            look()


def test_a_package_that_is_missing_is_named(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing_smolvlm, "num2words", None)
    with pytest.raises(ConfigError, match=r"SmolVLM2.*num2words.*Install what is missing: pip install num2words\.$"):
        load_processor(str(folders("smolvlm")))


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("chat_template.jinja", r"lacks a chat template \(chat_template\.jinja\)"),
        ("preprocessor_config.json", "has no usable tokenizer and image processor"),
        ("tokenizer.json", "has no usable tokenizer and image processor"),
        ("config.json", "neither 'nano', nor a model folder, nor a downloaded hub name"),
    ],
)
def test_a_folder_that_lacks_a_file_is_an_error(lacks: str, said: str, folders: Any, tmp_path: Path) -> None:
    shutil.copytree(folders("llava"), tmp_path / "model")
    (tmp_path / "model" / lacks).unlink()
    with pytest.raises(ConfigError, match=rf"student\.model '.*model' .*{said}"):
        load_processor(str(tmp_path / "model"))
