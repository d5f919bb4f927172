"""What decides how a student writes: the settings, and nothing that came with the model. Texts that have no end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from transformers import GenerationConfig

from apo_lightning.batching.examples import preference_examples
from apo_lightning.models.generation import decoding, is_cut
from apo_lightning.settings import DecodingSettings, SelfDistillSettings
from apo_lightning.types import PREFERRED, Branch
from tests.helpers import tiny


def prompts(count: int = 2):
    return tiny.collator()([tiny.item(i, {}) for i in range(count)])


MEDDLING = [
    dict(repetition_penalty=5.0),
    dict(no_repeat_ngram_size=1),
    dict(num_beams=3),
    dict(bad_words_ids=[[i] for i in range(20, 400)]),
    dict(suppress_tokens=list(range(20, 400))),
    dict(forced_eos_token_id=5),
    dict(min_new_tokens=12),
    dict(max_length=3),
    dict(do_sample=True, temperature=9.0),
]


@pytest.mark.parametrize("own", MEDDLING, ids=lambda own: next(iter(own)))
def test_greedy_is_greedy_whatever_came_with_the_model(own: dict) -> None:
    student, how = tiny.student(), dict(max_new_tokens=12)
    want = student.generate(prompts(), **how)
    student.model.generation_config.update(**own)
    assert student.generate(prompts(), **how) == want


@torch.no_grad()
def test_a_cache_of_fixed_size_writes_the_same() -> None:
    """`student.compiled_writing` without a GPU: the library compiles nothing there, and the cache is another."""
    student, how = tiny.student(), dict(max_new_tokens=12)
    want, made = student.generate(prompts(), **how), []
    student.settings = replace(student.settings, compiled_writing=True)
    student.model.register_forward_pre_hook(
        lambda _, __, inputs: made.append(type(inputs["past_key_values"]).__name__), with_kwargs=True
    )
    assert student.generate(prompts(), **how) == want
    assert set(made) == {"StaticCache"}


def test_greedy_takes_the_likeliest_token_at_every_step() -> None:
    student = tiny.student()
    batch = prompts(1)
    student.model.generation_config = GenerationConfig(repetition_penalty=3.0, top_k=1, eos_token_id=[1])
    ids, stop = batch.prefix_ids, student.stop_tokens
    grid = {"pixel_values": batch.vision["pixel_values"], "image_grid_thw": batch.vision["image_grid_thw"]}
    for _ in range(8):
        types = (ids == student.model.config.image_token_id).int()
        logits = student.model(input_ids=ids, mm_token_type_ids=types, **grid).logits[0, -1]
        ids = torch.cat([ids, logits.argmax()[None, None]], 1)
        if int(ids[0, -1]) in stop:
            break
    text = student.processor.tokenizer.decode(ids[0, batch.prefix_ids.shape[1] :], skip_special_tokens=True).strip()
    assert student.generate(batch, max_new_tokens=8) == [[text]]


def test_samples_come_from_all_tokens_unless_top_k_is_set() -> None:
    """A published top_k of 1 would make all samples the greedy answer; the library's own default is 50."""
    student = tiny.student()
    student.model.generation_config.update(top_k=1, top_p=0.01)
    torch.manual_seed(0)
    free = student.generate(prompts(1), samples=6, max_new_tokens=8, sample=True)[0]
    assert len(set(free)) == 6
    torch.manual_seed(0)
    greedy = student.generate(prompts(1), samples=6, max_new_tokens=8, sample=True, top_k=1)[0]
    assert set(greedy) == {student.generate(prompts(1), max_new_tokens=8)[0][0]}


def test_every_decoding_setting_reaches_the_library() -> None:
    how = DecodingSettings(
        max_new_tokens=7,
        sample=True,
        temperature=0.7,
        top_p=0.8,
        top_k=9,
        repetition_penalty=1.1,
        no_repeat_ngram_size=4,
    )
    made = decoding(how, stop=[1, 2], pad=3, samples=5)
    assert (made.max_new_tokens, made.do_sample, made.temperature, made.top_p, made.top_k) == (7, True, 0.7, 0.8, 9)
    assert (made.repetition_penalty, made.no_repeat_ngram_size, made.num_return_sequences) == (1.1, 4, 5)
    assert (made.eos_token_id, made.pad_token_id, made.num_beams) == ([1, 2], 3, 1)
    assert decoding(DecodingSettings(max_new_tokens=1, sample=True), stop=[1], pad=0).top_k == 0


def test_the_decoding_part_of_a_stage_is_all_of_it() -> None:
    plan = SelfDistillSettings(
        batch_studies=1,
        max_new_tokens=5,
        sample=True,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        repetition_penalty=1.2,
        no_repeat_ngram_size=2,
    )
    assert plan.decoding() == dict(
        max_new_tokens=5,
        sample=True,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        repetition_penalty=1.2,
        no_repeat_ngram_size=2,
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (dict(top_p=1.5), "top_p must be in"),
        (dict(top_k=-1), "top_k must be >= 0"),
        (dict(repetition_penalty=0.0), "repetition_penalty must be > 0"),
        (dict(no_repeat_ngram_size=-2), "no_repeat_ngram_size must be >= 0"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DecodingSettings(max_new_tokens=1, **wrong)


def test_an_answer_that_ran_into_the_limit_says_so() -> None:
    """One that ends by itself at the very last token does not."""
    student = tiny.student()
    batch = prompts(1)
    student.model.generation_config.eos_token_id = None
    assert student.write(batch, DecodingSettings(max_new_tokens=4))[0][0].cut
    assert is_cut(torch.tensor([4, 5, 6]), [7]) and not is_cut(torch.tensor([4, 5, 7]), [7, 9])
    assert not is_cut(torch.tensor([7, 0, 0]), [7])
    student.model.generation_config.eos_token_id = list(range(len(student.processor.tokenizer)))
    assert not student.write(batch, DecodingSettings(max_new_tokens=1))[0][0].cut


def test_no_end_is_taught_where_the_text_has_none() -> None:
    collate = tiny.collator()
    whole, inside = collate.encode_answer(Branch(PREFERRED, "No edema.", conflicts=((0, 9),)))
    cut, inside_cut = collate.encode_answer(Branch(PREFERRED, "No edema.", conflicts=((0, 9),), cut=True))
    assert whole == [*cut, collate.tokenizer.eos_token_id]
    assert inside == [*inside_cut, False] and inside_cut == [True] * len(cut)


@pytest.mark.parametrize("drop", [False, True])
def test_a_cut_preferred_text_is_counted_and_left_out_on_request(drop: bool) -> None:
    studies = [tiny.item(i, {})[0].study for i in range(3)]
    texts, counts = {study.id: "No edema." for study in studies}, Counter()
    made = preference_examples(
        studies, {}, {}, texts, drop_refusals=True, drop_copies=True, counts=counts, cut={studies[1].id}, drop_cut=drop
    )
    assert counts["cut_preferred"] == 1
    assert [example.branches[0].cut for example in made] == ([False, False] if drop else [False, True, False])
