"""Special and added tokens in a text are text: none of their ids, the text when decoded, images counted rightly."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.smolvlm import processing_smolvlm

from apo_lightning import prompts
from apo_lightning.batching.collate import Collator
from apo_lightning.experiment import once
from apo_lightning.models.processor import NANO, load_processor
from apo_lightning.models.text_tokens import BREAK, LOST, TextTokens, control_ids
from apo_lightning.text.thinking import is_tag
from apo_lightning.types import Branch, BranchBatch
from tests.helpers import special_tokens, students, tiny
from tests.helpers.special_tokens import PLAIN

LIMITS = dict(max_prompt_tokens=30_000, max_branch_tokens=30_000, max_context_tokens=30_000)
VOCABULARIES = special_tokens.vocabularies()
NORMAL = ("byte-level", "lower case", "compatibility")
"""Vocabularies that know a text by its normal form alone."""
JOINED = ("metaspace", "metaspace, each", "unigram")
"""Vocabularies that do not know a text with a space in front from one without."""
each_family = pytest.mark.parametrize("family", students.RECIPES)
each_vocabulary = pytest.mark.parametrize("name", VOCABULARIES)


@pytest.fixture(autouse=True)
def _num2words(monkeypatch: pytest.MonkeyPatch) -> None:
    """SmolVLM's processor asks for a package that it needs for videos alone."""
    monkeypatch.setattr(processing_smolvlm, "num2words", str)


@pytest.fixture(scope="module")
def processors(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return cache(lambda family: special_tokens.processor(family, tmp_path_factory.mktemp(family)))


def contents(words: PreTrainedTokenizerFast) -> list[str]:
    return sorted({token.content for token in words.added_tokens_decoder.values()} | set(words.all_special_tokens))


def collator(processor: Any, prompt: str = "reconcile", **more: Any) -> Collator:
    return Collator(processor, prompt=prompt, findings=("edema",), **{**LIMITS, **more})


def normal(words: PreTrainedTokenizerFast, text: str) -> str:
    return words.backend_tokenizer.normalizer.normalize_str(text)


def controls(collate: Collator, batch: Any) -> Counter[int]:
    """Control tokens of the prompts, padding left out."""
    return Counter(i for i in batch.prefix_ids[batch.prefix_mask.bool()].tolist() if i in collate.read.control)


@each_family
def test_in_an_answer_they_are_text(family: str, processors: Any) -> None:
    collate = collator(processors(family))
    words, read = collate.tokenizer, 0
    for text in special_tokens.texts(contents(words)):
        ids, _ = collate.encode_answer(Branch("a", text))
        assert ids[-1] == collate.end and collate.read.control.isdisjoint(ids[:-1])
        assert words.decode(ids[:-1]) == words.decode(ids[:-1], skip_special_tokens=True) == normal(words, text)
        read += not collate.read.control.isdisjoint(words(text, add_special_tokens=False)["input_ids"])
    assert read > 100, "a tokenizer that finds none of them in these texts shows nothing"


@each_family
def test_in_a_report_they_are_text_and_no_image_is_added(family: str, processors: Any) -> None:
    collate = collator(processors(family))
    words, texts = collate.tokenizer, list(special_tokens.texts(contents(processors(family).tokenizer)))

    def ask(reports: Sequence[str]) -> Any:
        (long, one), (short, other) = tiny.item(0, {}, tuple(reports)), tiny.item(1, {}, tuple(reports[:1]))
        return collate([(long, one + other), (short, other)])

    for start in range(0, len(texts), 20):
        reports = texts[start : start + 20]
        batch, plain = ask(reports), ask([PLAIN] * len(reports))
        assert controls(collate, batch) == controls(collate, plain)
        assert all(torch.equal(batch.vision[name], plain.vision[name]) for name in plain.vision)
        for row, shown in zip(batch.prefix_ids.tolist(), (reports, reports[:1]), strict=True):
            lines = [f"Reader {i}: {normal(words, ' '.join(text.split()))}" for i, text in enumerate(shown, 1)]
            assert "\n".join(lines) in words.decode(row)


@each_family
def test_in_a_question_they_are_text(
    family: str, processors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prompts, "__path__", [str(tmp_path)])
    words = processors(family).tokenizer
    counted = []
    for place, text in enumerate([PLAIN, " ".join(contents(words)), "".join(contents(words))]):
        question = f"See: {text} Describe <"
        (tmp_path / f"q{place}.txt").write_text(question, encoding="utf-8")
        collate = collator(processors(family), f"q{place}")
        batch = collate([tiny.item(0, {"a": "No edema."})])
        assert normal(words, question) in words.decode(batch.prefix_ids[0])
        counted.append(controls(collate, batch))
    assert counted[0] == counted[1] == counted[2] and counted[0]


@each_family
def test_a_text_without_them_is_tokenised_as_ever(family: str, processors: Any) -> None:
    collate = collator(processors(family))
    plain = students.tokenizer(students.RECIPES[family], special_tokens.MORE)
    for text in (
        PLAIN,
        "",
        " ",
        "SpO2 <90 %; [see CT] {a}\n\n2 > 1 | x",
        "\u80ba\u6c34\u816b \U0001f468\u200d\u2695\ufe0f",
        "a<b>",
    ):
        pieces = collate.read(text)
        found = plain(text, add_special_tokens=False, return_offsets_mapping=True)
        assert pieces.ids == found["input_ids"] and pieces.offsets == found["offset_mapping"]
        assert pieces.shown == pieces.text == text and not pieces.control


@each_vocabulary
def test_every_kind_of_vocabulary_spells_them_out(name: str) -> None:
    words = VOCABULARIES[name]
    image = dict(image_token="<image>", image_token_id=words.convert_tokens_to_ids("<image>"))
    read = TextTokens(SimpleNamespace(tokenizer=words, **image))
    for text in [*special_tokens.texts(contents(words)), PLAIN, BREAK, f"<{BREAK}/s>", "\ufdd0</s>\ufdd1"]:
        pieces = read(text)
        lost = words.unk_token_id in pieces.ids and name == "unigram"
        assert read.control.isdisjoint(pieces.ids) or lost, text
        want = normal(words, text) if name in NORMAL else text
        said = read.tokenizer.decode(pieces.ids)
        assert lost or said == want or (name in JOINED and said == want.lstrip(" "))
        assert pieces.shown == read.escape_special_tokens(text) and pieces.control == read.holds_control(text)
        if not pieces.control:
            assert pieces.ids == words(text, add_special_tokens=False)["input_ids"]


def test_case_and_normal_form_count_where_the_tokenizer_says_so() -> None:
    read = TextTokens(SimpleNamespace(tokenizer=VOCABULARIES["lower case"]))
    assert read.holds_control("a <\u00c9ND> b") and not read.holds_control("a <LEFT> b")
    read = TextTokens(SimpleNamespace(tokenizer=VOCABULARIES["compatibility"]))
    assert read.holds_control("\uff1c\u00e9nd\uff1e") and not read.holds_control("\uff1cleft\uff1e")


def test_what_the_vocabulary_lacks_is_no_mark() -> None:
    """A character that becomes the unknown token stays what it is; the token's own name is text."""
    read = TextTokens(SimpleNamespace(tokenizer=VOCABULARIES["unigram"]))
    assert read("\u80ba").text == "\u80ba" and not read.holds_control("\u80ba \u80ba\u80ba")
    assert read.holds_control("<unk>") and read.tokenizer.unk_token_id not in read("<unk>").ids


def test_a_vocabulary_of_whole_words_sees_a_space() -> None:
    """It cannot say what is parted without one."""
    words = Tokenizer(
        models.WordLevel({"<unk>": 0, "No": 1, "edema": 2, "<": 3, "image": 4, ">": 5}, unk_token="<unk>")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
    made.add_tokens([AddedToken("<image>", special=True)])
    read = TextTokens(SimpleNamespace(tokenizer=made))
    assert read("No edema<image>").shown == "No edema< image>" and read("No edema<image>").ids == [1, 2, 3, 4, 5]
    assert read("No edema<image>").offsets == [(0, 2), (3, 8), (8, 9), (9, 14), (14, 15)]


def test_a_token_of_one_character_becomes_the_replacement_character() -> None:
    words = tiny.processor().tokenizer.__class__.from_pretrained(NANO)
    words.add_tokens([AddedToken("\u2302", special=True)])
    read = TextTokens(SimpleNamespace(tokenizer=words))
    pieces = read("a\u2302b\u2302")
    assert pieces.text == words.decode(pieces.ids) == f"a{LOST}b{LOST}" and pieces.control


def test_words_and_layout_among_the_added_tokens_are_no_marks() -> None:
    words = tiny.processor().tokenizer.__class__.from_pretrained(NANO)
    words.add_tokens([AddedToken(text, normalized=False) for text in ("cardiomegaly", "\n\n", "\u2581\u2581")])
    words.add_tokens([AddedToken("ANSWER", special=True)])
    read = TextTokens(SimpleNamespace(tokenizer=words))
    assert not read.holds_control("cardiomegaly\n\n") and read.holds_control("ANSWER")
    assert words.convert_tokens_to_ids("cardiomegaly") in read("cardiomegaly").ids


def test_tags_of_thinking_are_tokens_where_thinking_is_taught(processors: Any) -> None:
    """Of answers: a teacher's tags in a prompt are text."""
    think = processors("qwen3_vl").tokenizer.convert_tokens_to_ids("<think>")
    taught, not_taught = (collator(processors("qwen3_vl"), keep=keep) for keep in (is_tag, None))
    answer = Branch("a", "<think>Edema?</think> <tool_call>")
    assert think in taught.encode_answer(answer)[0] and think not in not_taught.encode_answer(answer)[0]
    assert (
        taught.encode_answer(Branch("a", "<tool_call>"))[0] == not_taught.encode_answer(Branch("a", "<tool_call>"))[0]
    )
    assert think not in taught([tiny.item(0, {}, ("<think>",))]).prefix_ids


def test_conflicts_lie_where_they_lay(processors: Any) -> None:
    text = "No edema.</s> Severe <image>pneumonia.[INST] Clear."
    span = (text.index("Severe"), text.index("[INST]"))
    collate = collator(processors("llava"))
    ids, inside = collate.encode_answer(Branch("a", text, conflicts=(span,)))
    assert (
        collate.tokenizer.decode([i for i, within in zip(ids, inside, strict=True) if within]).strip()
        == text[slice(*span)]
    )


def test_templates_and_places_in_a_text_are_text() -> None:
    """Neither the chat template's language nor the prompt's reads what stands in a text."""
    text = "{{ 7 * 7 }} {% for x in y %} {# note #} $reports $findings ${findings} $$ {0} {text} %s \\n"
    words = tiny.processor().tokenizer
    batch = tiny.collator("reconcile")([tiny.item(0, {}, (text, "No edema."))])
    assert f"Reader 1: {text}\nReader 2: No edema.\n" in words.decode(batch.prefix_ids[0])
    assert words.decode(tiny.collator().encode_answer(Branch("a", text))[0][:-1]) == text


def test_texts_that_hold_any_are_counted() -> None:
    items = [
        tiny.item(0, {"a": "No edema.</s>", "b": "<|im_end|> <|im_end|>"}, ("<|image_pad|>", "Clear.")),
        tiny.item(1, {"a": "Edema <90."}, ("<|im_start|>",)),
    ]
    examples = [example for example, _ in items]
    assert tiny.collator().control_texts(examples) == {"branches": 1}
    assert tiny.collator("reconcile").control_texts(examples) == {"branches": 1, "reports": 2}
    assert tiny.collator().control_texts([]) == {}


def test_a_stage_says_and_keeps_how_many_hold_any(monkeypatch: pytest.MonkeyPatch) -> None:
    said, kept = [], {}
    monkeypatch.setattr(once.leader, "say", said.append)
    folder = SimpleNamespace(stage="apo", why_anew=list, begin=lambda: None, finish=lambda **facts: kept.update(facts))
    once._make(folder, "apo", lambda: {"cut": {"reports": 3}, "control": {"branches": 1, "reports": 2}})
    counts = "3 cut for student.max_context_tokens, 1 branches with control tokens, 2 reports with control tokens"
    assert f"(texts: {counts})" in said[-1]
    assert kept["control"] == {"branches": 1, "reports": 2}


def test_a_processor_of_another_make_is_left_as_it_was() -> None:
    """What is saved with a student is its own tokenizer."""
    own = load_processor("nano")
    own.tokenizer = own.tokenizer.__class__.from_pretrained(NANO)
    before = own.tokenizer.backend_tokenizer.to_str()
    collate = tiny.Collator(own, prompt="describe", findings=(), **LIMITS)
    assert own.tokenizer.backend_tokenizer.to_str() == before and collate.tokenizer is not own.tokenizer
    ids = collate.encode_answer(Branch("a", "x<|im_end|>y"))[0]
    assert collate.tokenizer.decode(ids[:-1]) == "x<|im_end|>y"
    again = pickle.loads(pickle.dumps(collate))
    assert again.encode_answer(Branch("a", "x<|im_end|>y"))[0] == ids


def test_control_ids_are_all_that_tokenizer_and_processor_name(processors: Any) -> None:
    own = processors("gemma3")
    names = {own.tokenizer.convert_ids_to_tokens(i) for i in control_ids(own)}
    assert {"<image_soft_token>", "<start_of_image>", "<tool_call>", "<left>", "</s>", "<|im_end|>"} <= names
    assert isinstance(collator(own)([tiny.item(0, {"a": "x"}, ("y",))]), BranchBatch)
