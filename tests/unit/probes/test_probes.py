"""Votes and order flips by hand, what an evaluation writes of them, and what a table makes of those files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apo_lightning.experiment import results
from apo_lightning.experiment.stage_files import read_rows
from apo_lightning.experiment.stage_folder import StageFolder
from apo_lightning.experiment.steps.evaluate import EvaluateSet
from apo_lightning.metrics.flips import of_flips
from apo_lightning.metrics.probes import FILES, of_flip_rows, of_votes
from apo_lightning.probes.flips import Swapping
from apo_lightning.probes.votes import sampling
from apo_lightning.settings import EvaluateSettings, SamplingSettings, TrainerSettings
from apo_lightning.text.thinking import ThinkingPolicy
from apo_lightning.types import Answer, Example, Prior, Study
from tests.unit.experiment.test_results import NEVER, STUDIES, last, stored, value, written

FINDINGS = ("edema", "mass")


def means(measure: Any, finding: str = "mean") -> dict[str, float]:
    return {metric: value for metric, name, value in measure.rows() if name == finding}


def voted(texts: list[str], **truth: int | None) -> Any:
    return of_votes([{"patient": "a", "texts": texts, "truth": truth}])


def test_a_vote_is_the_share_of_readable_texts_that_say_present() -> None:
    """Two of three readable texts say edema, one says mass; the refusal and the babble abstain."""
    texts = ["Edema. No mass.", "Edema.", "No edema. Mass.", "I cannot interpret medical images.", "A chest film."]
    assert voted(texts, edema=1, mass=0).scores[0] == pytest.approx([2 / 3, 1 / 3])


def test_half_of_the_votes_is_present() -> None:
    found = voted(["Edema.", "No edema."], edema=1)
    assert found.scores[0] == 0.5 and means(found)["vote_accuracy"] == 1


def test_a_study_whose_texts_all_abstain_is_wrong_on_every_finding() -> None:
    rows = [
        {"patient": "a", "texts": ["I cannot read images."] * 2, "truth": {"edema": 1, "mass": 0}},
        {"patient": "b", "texts": ["No edema. Mass."] * 2, "truth": {"edema": 0, "mass": 1}},
    ]
    found = of_votes(rows)
    assert found.scores.tolist() == [[0, 1], [0, 1]]
    assert means(found)["vote_accuracy"] == 0.5 and means(found)["vote_auroc"] == 0.5


def test_unknown_labels_of_a_vote_count_for_nothing() -> None:
    found = voted(["I cannot read images."], edema=None, mass=1)
    assert math.isnan(found.scores[0, 0]) and means(found)["vote_accuracy"] == 0


def test_a_vote_reads_what_the_thinking_policy_reads() -> None:
    rows = [{"patient": "a", "texts": ["<think>Edema.</think> No edema."], "truth": {"edema": 0}}]
    assert of_votes(rows, ThinkingPolicy().as_read).scores[0] == 0


def test_votes_are_sampled_whatever_the_answer_is() -> None:
    plan = EvaluateSettings(max_new_tokens=9, no_repeat_ngram_size=3, sampling=SamplingSettings(0.7, 0.9))
    how = sampling(plan).decoding()
    assert how == {**plan.decoding(), "sample": True, "temperature": 0.7, "top_p": 0.9}


def test_flips_by_hand() -> None:
    """Edema: told in both orders of three studies, swapped in two (stable stays). Mass: told in both of one, not
    swapped. What is told in one order only, or has no label, counts for nothing."""
    labels = [
        {"edema": "improving", "mass": "stable"},
        {"edema": "stable"},
        {"edema": "stable"},
        {"edema": "worsening"},
    ]
    told = [
        {"edema": "worsening", "mass": "improving"},
        {"edema": "stable", "mass": "stable"},
        {"edema": "improving"},
        {"edema": "stable"},
    ]
    other = [
        {"edema": "improving", "mass": "improving"},
        {"edema": "stable", "mass": "stable"},
        {"edema": "improving"},
        {},
    ]
    found = of_flips(labels, told, other, ("edema", "mass", "pneumonia"), list("abcd"))
    assert found.rows() == [
        ("flip_consistency", "edema", pytest.approx(2 / 3)),
        ("flip_consistency", "mass", 0.0),
        ("flip_consistency", "mean", pytest.approx(1 / 3)),
    ]


@pytest.mark.parametrize(
    ("text", "swapped", "share"),
    [
        ("Edema is improving.", "Edema is worsening.", 1.0),
        ("Edema is worse.", "Edema has decreased.", 1.0),
        ("Edema is stable.", "Edema is unchanged.", 1.0),
        ("Edema is improving.", "Edema is improving.", 0.0),
        ("Edema is improving.", "Edema is stable.", 0.0),
        ("Edema is stable.", "Edema is worsening.", 0.0),
        ("Edema is improving.", "I cannot say.", math.nan),
    ],
)
def test_a_course_must_be_told_the_other_way_round(text: str, swapped: str, share: float) -> None:
    row = {"patient": "a", "progression": {"edema": "stable"}, "text": text, "swapped": swapped}
    assert means(of_flip_rows([row], ["edema"]))["flip_consistency"] == pytest.approx(share, nan_ok=True)


def test_the_images_of_the_earlier_examination_come_last() -> None:
    study = Study("s", "p", "test", ("now", "side"), {}, prior=Prior("before", ("then",)))
    shown = Swapping(lambda items: [images for _, images in items])([(Example(study), ["then", "now", "side"])])
    assert shown == [["now", "side", "then"]]


PAIRS = [
    Study(
        f"s{i}",
        f"p{i}",
        "test",
        ("now",),
        {"edema": 1.0},
        prior=Prior("b", ("then",)),
        progression={"edema": "improving"},
    )
    for i in range(3)
]


class FakeData:
    """A set whose studies are given; ``counted`` differs from the experiment's own."""

    scored_findings = findings = ("edema",)

    def __init__(self, studies: list[Study]) -> None:
        self._studies = studies

    def studies(self, split: str) -> list[Study]:
        return list(self._studies)


class FakeContext:
    """Answers "Edema is improving." whatever is shown, and notes what it is asked."""

    seed, done, thinking = 0, {}, ThinkingPolicy()

    def __init__(self, **evaluate: Any) -> None:
        plan = EvaluateSettings(max_new_tokens=4, batch_studies=6, **evaluate)
        self.cfg, self.asked = SimpleNamespace(evaluate=plan, prompt="describe", trainer=TrainerSettings()), []

    def for_set(self, name: str) -> FakeContext:
        assert name == "other"
        return self

    def newest(self, artefact: str, **how: Any) -> None:
        return None

    @property
    def scored(self) -> tuple[str, ...]:
        return ("edema",)

    def load(self, made_by: Any) -> None:
        return None

    def collator(self, student: Any, prompt: str, findings: Any) -> Any:
        return lambda items: items

    def answers(self, writer: Any, asked: Any, collate: Any, size: int, folder: Path) -> Any:
        self.asked.append((writer.samples, type(collate).__name__, size, folder.name, len(asked), writer.how.sample))
        return {e.study.id: [Answer("Edema is improving.", True)] * writer.samples for e in asked}


def evaluated(own: FakeContext, studies: list[Study], tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    folder = StageFolder(tmp_path, "evaluate_other", {})
    folder.begin()
    own.data = FakeData(studies)
    return folder.path, EvaluateSet(own, "other").run(folder)


def test_another_set_is_answered_with_its_own_studies_and_flipped(tmp_path: Path) -> None:
    own = FakeContext()
    path, facts = evaluated(own, PAIRS, tmp_path)
    assert [asked[:5] for asked in own.asked] == [(1, "function", 6, path.name, 3), (1, "Swapping", 6, "flips", 3)]
    assert facts["probes"] == {"flips": {"studies": 3, "cut": 3}} and facts["studies"] == 3
    assert read_rows(path / "flips.jsonl")[0] == {
        "study": "s0",
        "patient": "p0",
        "progression": {"edema": "improving"},
        "text": "Edema is improving.",
        "swapped": "Edema is improving.",
    }
    scores = {(metric, name): value for metric, name, value in json.loads((path / "scores.json").read_text())}
    assert scores["flip_consistency", "mean"] == 0 and scores["progression_accuracy", "mean"] == 1
    assert not (path / "statements.jsonl").exists() and not (path / "samples.jsonl").exists()


def test_no_flip_without_pairs_or_where_it_is_switched_off(tmp_path: Path) -> None:
    alone = [Study(s.id, s.patient, "test", ("now",), s.findings, progression=s.progression) for s in PAIRS]
    for place, (studies, flip) in enumerate([(alone, True), (PAIRS, False)]):
        own = FakeContext(flip=flip)
        path, facts = evaluated(own, studies, tmp_path / str(place))
        assert len(own.asked) == 1 and facts["probes"] == {} and not (path / "flips.jsonl").exists()


def test_samples_are_drawn_apart_from_the_answer_and_counted(tmp_path: Path) -> None:
    plain = [Study(s.id, s.patient, "test", ("now",), {"edema": float(i)}) for i, s in enumerate(PAIRS[:2])]
    own = FakeContext(samples=3)
    own.cfg.evaluate.likelihood.form = "off"
    path, facts = evaluated(own, plain, tmp_path)
    assert own.asked[1] == (3, "function", 2, "samples", 2, True) and own.asked[0][-1] is False
    assert facts["probes"]["samples"]["cut"] == 6 and facts["probes"]["samples"]["studies_without_readable"] == 0
    assert read_rows(path / "samples.jsonl")[1] == {
        "study": "s1",
        "patient": "p1",
        "truth": {"edema": 1},
        "texts": ["Edema is improving."] * 3,
    }
    scores = {(metric, name): value for metric, name, value in json.loads((path / "scores.json").read_text())}
    assert scores["vote_accuracy", "mean"] == scores["vote_auroc", "mean"] == 0.5


def known(folder: Path, arm: str, right: float, seed: int = 0) -> None:
    """An evaluation with all files of the probes; ``right``: p of what is there, 1 - p of what is not."""
    stored(folder, arm, NEVER, seed=seed)
    stage = folder / arm / f"seed{seed}" / "evaluate"
    truth = {s.id: {name: int(present) for name, present in s.findings.items()} for s in STUDIES}
    p = {s: {name: right if present else 1 - right for name, present in own.items()} for s, own in truth.items()}
    lines = {
        "statements": [{"study": s.id, "patient": s.patient, "truth": truth[s.id], "p": p[s.id]} for s in STUDIES],
        "samples": [
            {"study": s.id, "patient": s.patient, "truth": truth[s.id], "texts": ["Edema.", "Mass."]} for s in STUDIES
        ],
        "flips": [
            {
                "study": s.id,
                "patient": s.patient,
                "progression": {"edema": "stable"},
                "text": "Stable edema.",
                "swapped": "Stable edema.",
            }
            for s in STUDIES
        ],
    }
    for name, rows in lines.items():
        (stage / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_table_has_what_arms_know_with_intervals_and_paired_differences(tmp_path: Path) -> None:
    known(tmp_path, "base", 0.4)
    known(tmp_path, "spd_mt", 0.6)
    tables = written(tmp_path, last())
    frame = tables["results"]
    assert value(frame, arm="base", metric="likelihood_auroc", finding="edema").value == 0
    assert value(frame, arm="spd_mt", metric="likelihood_accuracy", finding="mean").value == 1
    assert value(frame, arm="spd_mt", metric="likelihood_ece", finding="edema").value == pytest.approx(0.4)
    assert value(frame, arm="base", metric="vote_auroc", finding="edema").value == 0.5
    assert value(frame, arm="base", metric="flip_consistency", finding="mean").value == 1
    apart = value(tables["differences"], arm="spd_mt", metric="likelihood_auroc", finding="mean")
    assert (apart.against, apart.value) == ("base", 1)
    within = value(tables["intervals"], arm="base", metric="vote_accuracy", finding="edema")
    assert within.low < within.value < within.high and within.patients == 6
    known_of = frame[frame.metric.str.startswith(("likelihood", "vote"))]
    assert set(known_of[known_of.kind != "arm"].arm) == {"prevalence"}  # whose score is the share in training


def test_an_older_evaluation_beside_a_newer_one(tmp_path: Path) -> None:
    stored(tmp_path, "base", NEVER)
    known(tmp_path, "spd_mt", 0.6)
    frame = written(tmp_path, last())["results"]
    assert set(frame[frame.metric == "likelihood_auroc"].arm) == {"spd_mt", "prevalence"}
    assert {"base", "spd_mt"} <= set(frame[frame.metric == "accuracy"].arm)


def test_every_file_of_a_probe_is_looked_after() -> None:
    assert {f"{name}.jsonl" for name in FILES} <= set(results.inventory.OUTPUTS)
