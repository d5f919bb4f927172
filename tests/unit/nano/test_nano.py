"""The recipe's rules, and that the committed student is what it claims to be."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from apo_lightning.models.processor import NANO
from apo_lightning.nano import parts, pretrain
from apo_lightning.nano.pretrain import examine
from apo_lightning.nano.skills import biased_view, consensus, reconcile
from apo_lightning.phantom.wording import EXTRAS, REFUSALS
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.text.labeler import parse
from apo_lightning.types import Detail, Example
from tests.helpers import tiny

LEFT = Detail("left", "mild")
RIGHT = Detail("right", "severe")


def test_consensus_by_hand() -> None:
    """Edema is claimed by two of three, pneumonia by one, atelectasis by all with right named most often."""
    claims = [
        {"atelectasis": RIGHT, "edema": Detail(None, "mild")},
        {"atelectasis": LEFT, "pneumonia": LEFT},
        {"atelectasis": RIGHT, "edema": Detail(None, "mild")},
    ]
    assert consensus(claims) == {"atelectasis": RIGHT, "edema": Detail(None, "mild")}
    assert consensus(claims[1:]) == {"atelectasis": LEFT}  # one of two is not most; the first of equal sides


def test_a_side_that_nobody_names_is_none_and_silence_is_no_vote_for_it() -> None:
    claims = [{"edema": Detail()}, {"edema": Detail()}, {"edema": Detail(None, "severe")}]
    assert consensus(claims) == {"edema": Detail(None, "severe")}
    assert consensus(claims[:2]) == {"edema": Detail()}


def test_reports_of_all_forms_occur_and_extras_never_reach_the_answer() -> None:
    rng = np.random.default_rng(0)
    made = [reconcile(rng, 7) for _ in range(60)]
    texts = [text for reports, _ in made for text in reports]
    for sign in ("Findings:", "Impression:", "\n", "No acute cardiopulmonary abnormality.", *EXTRAS):
        assert any(sign in text for text in texts), sign
    assert any(not re.search("left|right|mild|moderate|severe", text) and "dema is present" in text for text in texts)
    for _, answer in made:
        assert not any(extra in answer for extra in EXTRAS) and "\n" not in answer


def test_lessons_without_forms_are_in_prose_alone() -> None:
    rng = np.random.default_rng(0)
    texts = [text for _ in range(60) for text in reconcile(rng, 7, forms=False)[0]]
    assert not any(sign in text for text in texts for sign in ("Findings:", "\n", *EXTRAS))


@pytest.mark.parametrize("readers", [1, 4, 7])
def test_the_reconciled_report_states_what_most_readers_state(readers: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        reports, answer = reconcile(rng, readers)
        speaking = [parse(text, FINDINGS) for text in reports if text not in REFUSALS]
        stated = parse(answer, FINDINGS)
        for finding in FINDINGS:
            yes = sum(row[finding] == 1 for row in speaking)
            assert stated[finding] == float(2 * yes > len(speaking))


def test_the_taught_bias_is_as_wrong_as_promised() -> None:
    found = cases(9, 3000)
    right = [np.mean([(f in case.present) == (f in biased_view(case.present)) for case in found]) for f in FINDINGS]
    assert 0.60 <= np.mean(right) <= 0.74
    assert max(right) < 0.85


def test_the_committed_student_is_small() -> None:
    assert sum(path.stat().st_size for path in NANO.iterdir()) < 10_000_000


@pytest.fixture(scope="module")
def skills() -> dict[str, float]:
    """What the committed student can do on patients that neither its lessons nor any data module has."""
    network = AutoModelForImageTextToText.from_pretrained(NANO).eval()
    return examine(network, tiny.collator("describe"), tiny.collator("reconcile"), count=200)


def test_the_committed_student_sees_a_little_with_the_bias_it_was_taught(skills: dict[str, float]) -> None:
    assert 0.60 <= skills["seeing_vs_truth"] <= 0.72
    assert skills["seeing_vs_rule"] > skills["seeing_vs_truth"] + 0.15


@pytest.mark.parametrize(("readers", "least"), [(1, 0.97), (3, 0.93), (7, 0.91)])
def test_the_committed_student_reconciles_readers_it_never_met(
    skills: dict[str, float], readers: int, least: float
) -> None:
    """Of all forms; saying "no" to everything agrees on about .7."""
    assert skills[f"reconciling_{readers}"] > least


def test_the_committed_student_is_what_the_parts_build() -> None:
    config = json.loads((NANO / "config.json").read_text())
    network = parts.build_network(tiny.processor().tokenizer, seed=0)
    assert config["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]
    assert len(tiny.processor().tokenizer) == config["text_config"]["vocab_size"] <= 2000
    assert {k: v.shape for k, v in network.state_dict().items() if k != "lm_head.weight"} == {
        k: v.shape
        for k, v in AutoModelForImageTextToText.from_pretrained(NANO).state_dict().items()
        if k != "lm_head.weight"
    }


LESSONS = "069f917d0f86b87be25dc253c5742c1a5b2b3bc2df03ec6fbc5c382def8e8150"
"""Of the first lessons of each phase that the committed student had. Where they change, its weights are no longer what
`make nano` gives: train it again, take what comes out, and measure again what is told of it (`docs/results`); or leave
the lessons."""


def test_the_committed_student_had_the_lessons_of_the_recipe() -> None:
    """Its vocabulary is theirs, and so are their words."""
    assert parts.build_tokenizer(pretrain._corpus()).get_vocab() == tiny.processor().tokenizer.get_vocab()
    pool = [(case, None) for case in cases(pretrain.WORLD_SEED, 50, pretrain.FIRST_PATIENT)]
    digest = hashlib.sha256(repr(pretrain.PHASES).encode())
    for number, phase in enumerate(pretrain.PHASES):
        for pair in itertools.islice(pretrain.Lessons(pool, _texts, _texts, phase, number), 5):
            digest.update(json.dumps(pair).encode())
    assert digest.hexdigest() == LESSONS


def _texts(items: list[tuple[Example, list[None]]]) -> list[list[str]]:
    return [[*(branch.text for branch in e.branches), *(told.text for told in e.context)] for e, _ in items]


def test_one_call_and_two_that_go_on_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = list(pretrain._corpus(60))
    monkeypatch.setattr(pretrain, "_corpus", lambda: corpus)
    phases = [pretrain.Phase(2, sights=2, reports=3, readers={1: 1.0}, forms=forms) for forms in (False, True)]
    how = {"phases": phases, "patients": 6, "asked": 2}
    threads = torch.get_num_threads()
    try:
        whole = list(pretrain.recipe(tmp_path / "whole", **how))
        list(pretrain.recipe(tmp_path / "parts", **{**how, "phases": phases[:1]}))
        before = _bytes(tmp_path / "parts")
        rest = list(pretrain.recipe(tmp_path / "parts", first=1, **how))
    finally:
        torch.set_num_threads(threads)
    assert [number for number, _ in whole] == [0, 1] and rest == whole[1:]
    assert _bytes(tmp_path / "whole") == _bytes(tmp_path / "parts") != before


def _bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("seven", "weights", "status", "says"),
    [
        (0.92, (NANO / pretrain.WEIGHTS).read_bytes(), 0, "byte for byte"),
        (0.91, b"others", 0, "Of one kind"),
        (0.9, b"others", 1, "below"),
        (0.89, b"others", 1, "below"),
    ],
)
def test_a_student_made_again_is_held_beside_the_committed_one(
    seven: float,
    weights: bytes,
    status: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Within .02 or the same bytes, and written elsewhere unless somebody says so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrain, "skills_of", lambda folder: {"seeing_vs_rule": 0.99, "reconciling_7": 0.92})
    into = []

    def recipe(out: Path, **how: int) -> list[tuple[int, dict[str, float]]]:
        into.append(out)
        out.mkdir(parents=True)
        (out / pretrain.WEIGHTS).write_bytes(weights)
        return [(0, {"seeing_vs_rule": 0.1, "reconciling_7": 0.1}), (1, {"seeing_vs_rule": 1, "reconciling_7": seven})]

    monkeypatch.setattr(pretrain, "recipe", recipe)
    assert pretrain.main([]) == status and into == [Path("build/nano")] and NANO not in into
    said = capsys.readouterr().out
    assert re.search(rf"reconciling 7 +│ +0\.920 +│ +{seven:.3f}", said)
    assert says in said and ("student.model=build/nano" in said) == (status == 0)


def test_skills_are_those_of_the_folder(tmp_path: Path) -> None:
    found = pretrain.skills_of(tiny.folder(tmp_path / "random"), asked=2)
    assert set(found) == {"seeing_vs_truth", "seeing_vs_rule", *(f"reconciling_{n}" for n in (1, 3, 7))}
    assert found["seeing_vs_rule"] < 0.95 < pretrain.skills_of(NANO, asked=20)["seeing_vs_rule"]
