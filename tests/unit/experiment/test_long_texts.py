"""Texts that are too long for a budget: cut until they fit, between characters, all alike; refused is only what no cut
can help, and that before training."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from transformers.models.smolvlm import processing_smolvlm

from apo_lightning import config
from apo_lightning.batching.collate import Collator
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.experiment import checks, rehearsal, run
from apo_lightning.files.characters import boundary
from apo_lightning.models.processor import JoinedProcessor, load_processor
from apo_lightning.nano import parts
from apo_lightning.settings import ExperimentSettings
from apo_lightning.types import Branch, Prior, Study
from data_modules.phantom import Phantom
from tests.helpers import special_tokens, students, tiny

ROOT = Path(__file__).resolve().parents[3]
WIDE = "肺水腫 \U0001fac1 x\u0301ray \U0001f468\u200d\u2695\ufe0f "
"""Characters of two to four bytes, an accent and an emoji of several parts: the nano's tokenizer has a token a byte."""


@pytest.mark.parametrize("budget", range(150, 200, 3))
def test_reports_are_cut_between_characters_and_then_fit(budget: int) -> None:
    """Cut inside one, the rest decodes to U+FFFD, which takes more tokens than it replaces."""
    report = WIDE * 12
    collate = tiny.collator("reconcile", max_context_tokens=budget)
    batch = collate([tiny.item(0, {}, (report, "No edema.", report))])
    text = tiny.processor().tokenizer.decode(batch.prefix_ids[0])
    assert batch.prefix_ids.shape[1] <= budget and collate.cut == {"reports": 2}
    line = next(line for line in text.split("\n") if line.startswith("Reader 1: ")).removeprefix("Reader 1: ")
    assert line and report.startswith(line) and "\ufffd" not in text
    assert report[len(line)] not in "\u0301\u200d\ufe0f" and not line.endswith("\u200d")


@pytest.mark.parametrize("limit", range(4, 24))
def test_an_answer_is_cut_between_characters(limit: int) -> None:
    ids, inside = tiny.collator(max_branch_tokens=limit).encode_answer(Branch("a", WIDE))
    text = tiny.processor().tokenizer.decode(ids)
    assert WIDE.startswith(text) and len(ids) == len(inside) <= limit


ENGLISH = "Small left pleural effusion with atelectasis; no pneumothorax. Tube tip 4.2 cm above the carina, worse. "
CHINESE = (
    "\u5de6\u4fa7\u80f8\u8154\u5c11\u91cf\u79ef\u6db2\uff0c\u5fc3\u5f71\u589e\u5927\uff1b\u672a\u89c1\u6c14\u80f8\u3002"
)
LANGUAGES = {"English": ENGLISH * 6, "Chinese": CHINESE * 20, "both": f"{ENGLISH}{CHINESE}</s> <|im_end|>{WIDE}" * 5}


@cache
def vocabulary(name: str) -> Any:
    """A processor by what its tokenizer is like; ``learned`` is of Qwen's kind and knows English and Chinese."""
    if name == "nano":
        return tiny.processor()
    if name == "learned":
        draw = random.Random(0)
        texts = ["".join(draw.sample(text, 60)) + text for text in LANGUAGES.values() for _ in range(20)]
        return JoinedProcessor(parts.build_image_processor(), parts.build_tokenizer(texts, 900))
    words = special_tokens.vocabularies()[name]
    words.chat_template = parts.CHAT
    return JoinedProcessor(parts.build_image_processor(), words)


def collator(name: str, budget: int = 10**6) -> Collator:
    limits = dict(max_prompt_tokens=1, max_branch_tokens=1, max_context_tokens=budget)
    return Collator(vocabulary(name), prompt="reconcile", findings=(), **limits)


def frame(name: str, teachers: int) -> int:
    """Tokens of a prompt without a word of its teachers."""
    return collator(name)([tiny.item(0, {}, ("",) * teachers)]).prefix_ids.shape[1]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["nano", "learned", "prepended", "metaspace", "metaspace, each", "gemma"])
def test_every_text_is_cut_until_the_prompt_fits(name: str, language: str) -> None:
    text = LANGUAGES[language]
    reports = (text, text[:40], text[7:], text, "")
    tight, cuts = frame(name, 5), []
    for room in (0, 1, 4, 5, 6, 11, 23, 60, 150, 400):
        collate = collator(name, tight + room)
        batch = collate([tiny.item(0, {}, reports), tiny.item(1, {}, reports[:2])])
        assert batch.prefix_ids.shape[1] <= tight + room
        said = collate.tokenizer.decode(batch.prefix_ids[0]).split("Reader ")[1:]
        kept = [line.split("\n")[0].partition(":")[2].removeprefix(" ") for line in said]
        whole = [" ".join(report.split()) for report in reports]
        assert all(report.startswith(short) for short, report in zip(kept, whole, strict=True))
        assert all(boundary(report, len(short)) == len(short) for short, report in zip(kept, whole, strict=True))
        assert "\ufffd" not in "".join(kept) and kept[0] == kept[3]
        assert len(kept[1]) >= min(len(whole[1]), len(kept[0])) - 9, "a word in pieces may be cut between them"
        cuts.append(collate.cut["reports"])
    assert kept[0] and cuts[0] >= 4 and sorted(cuts, reverse=True) == cuts


@pytest.mark.parametrize("family", students.RECIPES)
def test_of_every_family_a_prompt_fits(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands for an image in the template, one image or two."""
    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    processor = load_processor(str(students.save_processor(tmp_path, family)))
    example, images = tiny.item(0, {}, (LANGUAGES["both"], ENGLISH, LANGUAGES["Chinese"]))
    empty = replace(example, context=tuple(replace(said, text="") for said in example.context))
    for shown in (images, [image.resize((40, 20)) for image in images * 2]):
        limits = dict(prompt="reconcile", findings=(), max_prompt_tokens=1, max_branch_tokens=1)
        ask = Collator(processor, **limits, max_context_tokens=10**6)
        tight = ask([(empty, shown)]).prefix_ids.shape[1]
        for room in (0, 2, 3, 17, 90):
            ask = Collator(processor, **limits, max_context_tokens=tight + room)
            assert ask([(example, shown)]).prefix_ids.shape[1] <= tight + room and ask.cut["reports"] >= 2
        with pytest.raises(DataError, match=rf"{tight} tokens, more than {tight - 1}: "):
            Collator(processor, **limits, max_context_tokens=tight - 1)([(example, shown)])


@pytest.mark.parametrize(("name", "lost"), [("nano", 1), ("learned", 0), ("gemma", 2)])
def test_only_what_no_cut_can_help_is_refused(name: str, lost: int) -> None:
    """A word may take the place of the space before it, and then fits where nothing does."""
    tight = frame(name, 3)
    item = tiny.item(0, {}, (ENGLISH, CHINESE, ""))
    collate = collator(name, tight)
    collate([item])
    assert (collate.cut["reports"], collate.cut["reports to nothing"]) == (2, lost)
    with pytest.raises(
        DataError, match=rf"{tight} tokens, more than {tight - 1}: 16 of images, .* 3 reports without a"
    ):
        collator(name, tight - 1)([item])


def test_half_a_character_is_no_cut() -> None:
    text = ENGLISH * 9
    collate = collator("nano", frame("nano", 2) + 40)
    collate([tiny.item(0, {}, (text, "No edema \ud83d"))])
    assert collate.cut == {"reports": 1}


CLUSTERS = (
    "x\u0323\u0301",
    "\U0001f1e9\U0001f1ea",
    "\U0001f468\u200d\u2695\ufe0f",
    "\u0928\u093f",
    "1\ufe0f\u20e3",
    "\u1112\u1161\u11ab",
    "\u0e33",
    "\U0001f44b\U0001f3fd",
    "\r\n",
    "\U0001f3f4\U000e0067\U000e0062\U000e007f",
)
"""An accented letter, a flag, a job, a vowel sign, a keycap, syllables, a skin colour, a line end, a flag of tags."""


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_character_of_several_code_points_is_not_parted(cluster: str) -> None:
    text = f"ab {cluster}{cluster}x"
    first, second = 3 + len(cluster), 3 + 2 * len(cluster)
    for end in range(len(text) + 2):
        want = 3 if 3 <= end < first else first if first <= end < second else min(end, len(text))
        if cluster != "\u0e33":  # a vowel that joins what stands before it
            assert boundary(text, end) == want
    ids, limits = tiny.collator(max_branch_tokens=900).encode_answer(Branch("a", text))[0], range(4, 60)
    for limit in limits[: len(ids)]:
        kept = tiny.collator(max_branch_tokens=limit).encode_answer(Branch("a", text))[0]
        said = tiny.processor().tokenizer.decode(kept, skip_special_tokens=True)
        if len(kept) >= 3 + 4 * len(cluster):
            assert text.startswith(said) and boundary(text, len(said)) == len(said)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.folder(tmp_path_factory.mktemp("student") / "nano"))


def smoke(*words: str) -> ExperimentSettings:
    return config.resolve_arm(config.load(ROOT / "experiments/smoke.yaml", words), "apo_listwise")


def test_the_data_s_own_images_are_tried_before_training(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each split, as each prompt shows them: a second image of 16 tokens is one too many for 48."""
    own = smoke(f"student.model={model}", "student.max_prompt_tokens=48", "evaluate.prompt=describe")
    rehearsal.rehearse(own, ("edema",))
    data = checks.build_data(own)
    rehearsal.rehearse_on(own, data)
    for split, key in (("train", "prompt"), ("test", r"evaluate\.prompt")):
        shown = monkeypatch.context()
        with shown as patch:
            patch.setattr(Phantom, "open_images", lambda self, study, split=split: _pictures(study, split))
            with pytest.raises(
                ConfigError, match=rf"^{key} 'describe' .*of study 'p\d+s\d' has \d+ tokens, more than 48: 32 of images"
            ):
                rehearsal.rehearse_on(own, checks.build_data(own))


def _pictures(study: Study, split: str) -> list[Image.Image]:
    return [Image.new("L", (112, 112))] * (2 if study.split == split else 1)


def test_images_that_need_most_room_are_among_those_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the study with a prior examination, and of these the largest, the widest and the tallest."""
    sizes = [(10, 10), (40, 40), (30, 10), (10, 30), (20, 20), (20, 20)]
    studies = [
        Study(str(i), str(i), "train", ("a",), {}, prior=None if i == 4 else Prior("before", ("b",)))
        for i in range(len(sizes))
    ]
    data = SimpleNamespace(
        studies=lambda split: studies, images=lambda study: [Image.new("L", sizes[int(study.id)])] * 2
    )
    assert [study.id for study, _ in rehearsal._roomiest(data, "train")] == ["1", "2", "3"]


@pytest.mark.parametrize(("select", "teachers"), [("all", 7), ("best_on_val", 1), ("[eager, terse]", 2)])
def test_as_many_teachers_are_rehearsed_as_an_arm_hears(model: str, select: str, teachers: int) -> None:
    words = (f"student.model={model}", f"pool.select={select}", "student.max_context_tokens=70")
    own = smoke(*words)
    assert len(rehearsal._said(own, "x")) == teachers
    if teachers < 7:
        rehearsal.rehearse(own, ("edema",))
        return
    with pytest.raises(ConfigError, match=r"70: 16 of images, \d+ of the question, \d+ of 7 reports without a word"):
        rehearsal.rehearse(own, ("edema",))


def test_a_run_stops_before_it_makes_anything(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Phantom, "open_images", lambda self, study: _pictures(study, "train"))
    words = (f"student.model={model}", "student.max_prompt_tokens=48", f"runs_dir={tmp_path}")
    with pytest.raises(ConfigError, match=r"prompt 'describe' cannot be asked of a study.*32 of images"):
        run.run(config.load(ROOT / "experiments/smoke.yaml", words))
    assert not list(tmp_path.glob("store/*/*"))
