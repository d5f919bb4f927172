"""Whose tokens are whose: a teacher with another tokenizer gives no log-probs, by its vocabulary or by its texts."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from apo_lightning.caches.log_probs import LogProbs, identity
from apo_lightning.errors import ArtifactError, ConfigError, DataError
from apo_lightning.experiment import teacher_tokens
from apo_lightning.functional.teacher_logits import TopK
from apo_lightning.models.vocabularies import Vocabulary, difference
from apo_lightning.recording import tokens
from apo_lightning.teachers.hf import Hf, LogProbSettings
from apo_lightning.teachers.hf_logits import HfLogits
from apo_lightning.teachers.recorded import Recorded
from apo_lightning.types import Branch, Example
from tests.helpers import tiny
from tests.helpers.stage_keys import smoke
from tests.unit.teachers.test_open_teachers import text_model

__all__ = ["text_model"]

KL = {"name": "spd_kl", "kind": "forward", "temperature": 1.0, "reduction": "token_mean"}
OWN = Vocabulary(10, "abc", {8: "<|end|>", 9: "<|image|>"}, 8)


def example(place: int, text: str, name: str = "t") -> Example:
    return Example(tiny.study(tiny.drawn()[place][0]), (Branch(name, text), Branch("other", "Whatever.")))


def recorded(path: Path, *examples: Example) -> LogProbs:
    """A file that has rows of the first branch of some examples, as the student's tokenizer parts them."""
    words = Vocabulary.of(tiny.processor())
    file = LogProbs(path, identity(2, 1.0, "float32", words.size, **words.facts()))
    for own in examples:
        ids = torch.tensor(tiny.collator().encode_answer(own.branches[0])[0])
        row = torch.full((len(ids), 2), 0.25).log()
        file.write([(own.study.id, ids, TopK(torch.tensor([[1, 2]] * len(ids)), row, tail=row[:, 0] * 0.5))])
    return file


def test_facts_come_back() -> None:
    own = Vocabulary.of(tiny.processor())
    assert Vocabulary.from_facts({**own.facts(), "vocabulary": str(own.size)}) == own
    assert own.size == len(tiny.processor().tokenizer) and own.added[own.end] == "<|im_end|>"
    assert difference(own, own) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ordinary": "xyz", "size": 12}, "it has 12 tokens and the student 10, and they are not the same ones"),
        ({"added": {8: "<|end|>", 9: "<|video|>"}}, "its token 9 is '<|video|>', and the student's is '<|image|>'"),
        ({"added": {**OWN.added, 10: "<tool>"}}, "its token 10 is '<tool>', and the student's is no token"),
        ({"end": 9}, "its answers end in token 9, and the student's in 8"),
        ({"added": {8: "<|end|>"}}, None),
    ],
)
def test_what_differs_is_said(change: dict[str, Any], says: str | None) -> None:
    assert difference(OWN, replace(OWN, **change)) == says


def test_one_renamed_token_is_another_vocabulary() -> None:
    """Sizes, and the ids of most texts, are the same."""
    other = copy.deepcopy(tiny.processor())
    held = other.tokenizer.get_vocab()
    token = max(set(held) - {t.content for t in other.tokenizer.added_tokens_decoder.values()}, key=held.get)
    own, renamed = Vocabulary.of(tiny.processor()), {**held, "renamed": held[token]}
    del renamed[token]
    other.tokenizer.get_vocab = lambda: renamed
    assert len(renamed) == len(held) and "they are not the same ones" in difference(own, Vocabulary.of(other))


def test_another_tokenizer_is_refused_with_the_ways_out(text_model: Path) -> None:
    teacher = Hf("t", "t.jsonl", model=str(text_model)).processor()
    with pytest.raises(ConfigError) as refused:
        tokens.require_same_vocabulary("t", tiny.processor(), teacher)
    size = len(tiny.processor().tokenizer)
    said = str(refused.value)
    assert (
        "teachers.t gives no log-probs that this student can learn from: its tokenizer is not the student's: it has 259"
        in said
    )
    assert f"and the student {size:,}" in said and "'No pneumothorax. Small left pleural effusion.' is [" in said
    assert "stages.spd.loss: {name: spd_nll, reduction: token_mean}" in said and "pool.select" in said


def test_recorded_texts_are_compared_by_their_ids(tmp_path: Path) -> None:
    """One text is gone and one is another: both are counted, the first is named; the texts of others do not matter."""
    known = [example(0, "No edema."), example(1, "Severe edema.")]
    file = recorded(tmp_path / "x.sqlite", *known)
    tokens.require_same_texts("t", tiny.collator(), file, known)
    changed = [known[0], example(1, "Severe oedema."), example(2, "No edema.")]
    with pytest.raises(ConfigError, match=r"teachers\.t: 2 of its 3 texts cannot be learned .* another text of study"):
        tokens.require_same_texts("t", tiny.collator(), file, changed)
    tokens.require_same_texts("u", tiny.collator(), file, changed)


def test_a_text_that_the_student_cuts_is_learned_as_far_as_it_goes(tmp_path: Path) -> None:
    known = example(0, "No edema. No pneumothorax. No effusion.")
    file = recorded(tmp_path / "x.sqlite", known)
    tokens.require_same_texts("t", tiny.collator(max_branch_tokens=5), file, [known])


def test_a_live_teacher_is_compared_by_the_ids_of_the_texts() -> None:
    """The same vocabulary, read otherwise: a normalizer that the student does not have."""
    from tokenizers import normalizers

    other = tiny.student(1)
    other.processor = copy.deepcopy(other.processor)
    tokens.require_same_texts("t", tiny.collator(), other, [example(0, "No edema.")])
    other.processor.tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    tokens.require_same_vocabulary("t", tiny.processor(), other.processor)
    tokens.require_same_texts("t", tiny.collator(), other, [example(0, "no edema.")])
    with pytest.raises(ConfigError, match=r"1 of its 1 texts .* has token \d+ at place 0 there and \d+ here"):
        tokens.require_same_texts("t", tiny.collator(), other, [example(0, "No edema.")])


def hf(name: str, **log_probs: Any) -> Hf:
    return Hf(name, "t.jsonl", model="nano", log_probs=LogProbSettings("x.sqlite", **log_probs))


def built(loss: dict[str, Any], *teachers: Any, select: Any = "all") -> None:
    cfg = copy.deepcopy(smoke())
    cfg.stages.spd.loss, cfg.pool.select = loss, select
    teacher_tokens.require_logits(cfg, {own.name: own for own in teachers})


def test_what_is_asked_for_is_given() -> None:
    text = Recorded("text", "t.jsonl")
    built(KL, hf("a"), HfLogits("b", "t.jsonl"), HfLogits("c", "t.jsonl", model="nano"))
    built(KL, hf("a"), text, select=["a"])
    built({"name": "spd_nll", "reduction": "token_mean"}, hf("a", temperature=2.0), text)


def test_a_teacher_of_texts_is_refused_for_logits(text_model: Path) -> None:
    with pytest.raises(ConfigError, match=r"'spd_kl' needs teachers that give logits, and text, b give text.* spd_nll"):
        built(KL, hf("a"), Recorded("text", "t.jsonl"), Hf("b", "t.jsonl", model="nano"))
    other = Hf("t", "t.jsonl", model=str(text_model), log_probs=LogProbSettings("x.sqlite"))
    with pytest.raises(ConfigError, match=r"teachers\.t gives no log-probs .* its tokenizer is not the student's"):
        built(KL, other)
    built(KL, replace(other, model="not/on/this/disk"))


def test_one_temperature() -> None:
    with pytest.raises(ConfigError, match=r"temperature is 1\.0, and teachers\.a\.log_probs\.temperature 2\.0"):
        built(KL, hf("a", temperature=2.0))
    built({**KL, "temperature": 2.0}, hf("a", temperature=2.0))


def test_a_mixture_needs_whole_distributions() -> None:
    with pytest.raises(ConfigError, match="mixes whole distributions, and of a the likeliest tokens alone"):
        built({**KL, "name": "spd_mixture_kl"}, hf("a"), HfLogits("b", "t.jsonl"))


def test_what_was_recorded_with_other_settings_is_refused(tmp_path: Path) -> None:
    recorded(tmp_path / "x.sqlite", example(0, "No edema."))
    own = Hf("t", "t.jsonl", model="nano", log_probs=LogProbSettings(str(tmp_path / "x.sqlite"), k=2))
    assert own.load(tiny.settings()).k == 2
    with pytest.raises(ArtifactError, match=r"log_probs asks for .*'k': 32.* was recorded with .*'k': 2"):
        replace(own, log_probs=replace(own.log_probs, k=32)).load(tiny.settings())
    with pytest.raises(DataError, match=r"teachers\.t\.log_probs: .*none\.sqlite is not there.* apo collect"):
        replace(own, log_probs=LogProbSettings(str(tmp_path / "none.sqlite"))).load(tiny.settings())


def test_all_of_it_before_a_stage(tmp_path: Path) -> None:
    known = example(0, "No edema.")
    section = hf("t", k=2)
    section = replace(section, log_probs=replace(section.log_probs, path=str(tmp_path / "x.sqlite")))
    recorded(tmp_path / "x.sqlite", known)
    own = SimpleNamespace(
        cfg=smoke(),
        networks=None,
        teachers={"t": 1.0},
        teacher=lambda name: section,
        collator=lambda student, prompt: tiny.collator(),
    )
    assert list(teacher_tokens.of_teachers(own, tiny.student(), [known])) == ["t"]
    with pytest.raises(ConfigError, match="1 of its 1 texts"):
        teacher_tokens.of_teachers(own, tiny.student(), [example(0, "Edema.")])
