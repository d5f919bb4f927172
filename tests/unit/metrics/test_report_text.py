"""Corpus metrics of report texts as sums over studies: values worked out by hand, and under resampling."""

from __future__ import annotations

import numpy as np
import pytest

from apo_lightning.errors import ConfigError, DataError
from apo_lightning.metrics.bootstrap import Resampled
from apo_lightning.metrics.outcomes import MEAN
from apo_lightning.metrics.report_text import TEXT_METRICS, bleu, coco
from apo_lightning.metrics.report_text.base import Pairs, Tally, TextMetric, joined, means
from apo_lightning.metrics.report_text.lcs import lcs_length
from apo_lightning.metrics.report_text.measured import chosen, report_outcomes, require_reports, words
from apo_lightning.metrics.report_text.meteor import added, meteor
from apo_lightning.metrics.report_text.r2gen import cleaned
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.types import Study

PYTHON = ReportTextSettings(backend="python")


def study(name: str, report: str | None, patient: str = "p") -> Study:
    return Study(name, patient, "test", (), {}, report=report)


def of(outcomes: list) -> dict[str, float]:
    return {metric: value for metric, _, value in outcomes[0].rows()}


def test_bleu_from_sums_by_hand() -> None:
    """Candidate of 4 words, reference of 5: 3 of 4 words, 1 of 3 pairs match, nothing longer."""
    counts = np.array([3, 1, 0, 0, 4, 3, 2, 1, 4, 5], float)
    penalty = np.exp(1 - 5 / 4)
    ours, theirs = bleu.sacre(counts), bleu.coco(counts)
    assert ours["python:bleu_1"] == pytest.approx(3 / 4 * penalty)
    assert ours["python:bleu_2"] == pytest.approx((3 / 4 * 1 / 3) ** (1 / 2) * penalty)
    assert ours["python:bleu_3"] == pytest.approx((3 / 4 * 1 / 3 * (1 / 2) / 2) ** (1 / 3) * penalty)
    assert ours["python:bleu_4"] == pytest.approx((3 / 4 * 1 / 3 * (1 / 2) / 2 * (1 / 4) / 1) ** (1 / 4) * penalty)
    assert theirs["coco:bleu_2"] == pytest.approx((3 / 4 * 1 / 3) ** (1 / 2) * penalty)
    assert theirs["coco:bleu_3"] < 1e-4


def test_bleu_does_not_reward_a_longer_candidate_and_is_0_without_words() -> None:
    long, none = np.array([4, 3, 2, 1, 8, 7, 6, 5, 8, 4], float), np.array([0] * 9 + [4], float)
    assert bleu.sacre(long)["python:bleu_1"] == pytest.approx(0.5) == bleu.coco(long)["coco:bleu_1"]
    assert bleu.sacre(none)["python:bleu_4"] == 0
    assert bleu.coco(none)["coco:bleu_4"] == pytest.approx(0)


def test_meteor_from_sums_by_hand() -> None:
    """ "the heart is normal ." under "the cardiac silhouette is normal .": as the program counts it."""
    pair = np.array([6, 5, 3, 3, 1, 1, 3, 3, *[0] * 8, 1, 1, 0, 0, 2, 5, 5], float)
    matched = 0.75 * 1 + 0.25 * 3 + 0.6 * 0.75
    precision, recall = matched / (0.75 * 3 + 0.25 * 3), matched / (0.75 * 2 + 0.25 * 3)
    mean = 1 / (0.15 / precision + 0.85 / recall)
    assert meteor(pair) == pytest.approx(mean * (1 - 0.6 * (2 / 5) ** 0.2))
    same = np.array([3, 3, 2, 2, 1, 1, 2, 2, *[0] * 12, 1, 3, 3], float)
    counts = added(np.stack([pair, same]))
    assert counts[:, 20].tolist() == [2, 0], "what matches whole adds no chunk to a corpus"
    assert meteor(counts) == pytest.approx([meteor(pair), 1.0])
    assert meteor(2 * counts[1]) == pytest.approx(1.0)
    assert meteor(np.zeros(23)) == 0


@pytest.mark.parametrize(
    ("one", "other", "length"),
    [("abcbdab", "bdcaba", 4), ("", "abc", 0), ("abc", "", 0), ("abc", "abc", 3), ("abc", "xyz", 0), ("aab", "aba", 2)],
)
def test_longest_common_subsequence(one: str, other: str, length: int) -> None:
    assert lcs_length(list(one), list(other)) == length == lcs_length(list(other), list(one))


def test_longest_common_subsequence_of_random_words() -> None:
    from rouge_score.rouge_scorer import _lcs_table

    rng = np.random.default_rng(0)
    for _ in range(50):
        one, other = (rng.integers(0, 6, rng.integers(1, 90)).tolist() for _ in range(2))
        assert lcs_length(one, other) == _lcs_table(one, other)[-1][-1]


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ("The heart is normal. No effusion.", "the heart is normal . no effusion ."),
        ("1. No edema. 2. Fracture, old.  3. Tube_tip.", "no edema . fracture old . tubetip ."),
        ("FINDINGS:\nNo edema ..\n\nOld t-line (5 cm)", "findings no edema . old t-line 5 cm ."),
        ('left/right "it\'s" [x] {y} 50% <z> a=b', "leftright its x y 50 z ab ."),
        ("", ""),
        ("  \n", ""),
        ("XXXX", "xxxx ."),
    ],
)
def test_reports_are_cleaned_as_r2gen_cleans_them(report: str, words: str) -> None:
    """The right sides are what R2Gen's ``clean_report_mimic_cxr`` gave, cut at blanks; but for the empty ones."""
    assert cleaned(report) == words


def test_cider_keeps_the_document_frequencies_of_all_references() -> None:
    pytest.importorskip("pycocoevalcap")
    texts = ["no edema .", "no effusion .", "large heart .", "no edema ."]
    scores = coco.cider(texts, texts[1:] + texts[:1])
    tally = means({"coco:cider": scores})
    twice = tally.formula(tally.counts[[0, 0, 3, 3]].sum(axis=0))["coco:cider"]
    assert twice == pytest.approx(np.mean([scores[0], scores[3]]))
    assert coco.cider(texts, texts)[2] == pytest.approx(7.5), "10 a study, but no 4-gram in three words"
    assert coco.cider(["no edema ."], ["no edema ."]) == [0.0]


def test_a_resample_is_what_its_studies_alone_would_give() -> None:
    """Counts that add up: patients drawn twice and not at all equal the library on that list of texts."""
    studies = [study(f"s{i}", f"No edema. Heart size {i}. Lungs clear.", f"p{i // 2}") for i in range(8)]
    texts = {s.id: f"There is no edema. Heart is {s.id}. The lungs are clear." for s in studies}
    whole = report_outcomes(texts, studies, PYTHON)[0]
    drawn = [0, 0, 1, 1, 6, 7]
    found = whole.metrics(whole.counts[drawn].sum(axis=0))
    again = [study(f"d{k}", studies[i].report) for k, i in enumerate(drawn)]
    alone = of(report_outcomes({s.id: texts[studies[i].id] for s, i in zip(again, drawn, strict=True)}, again, PYTHON))
    for name, value in alone.items():
        if name != "report_style_distance":
            assert found[name, MEAN] == pytest.approx(value, nan_ok=True), name


def test_intervals_are_clustered_by_patient_and_style_has_none() -> None:
    studies = [study(f"s{i}", "No edema." if i % 3 else "Edema and a large heart.", f"p{i // 2}") for i in range(12)]
    outcomes = report_outcomes({s.id: "No edema is seen today." for s in studies}, studies, PYTHON)[0]
    table = Resampled({"arm": {0: outcomes}}, resamples=200).intervals("arm")
    rouge, style = table["python:rouge_l", MEAN], table["report_style_distance", MEAN]
    assert rouge.low < rouge.value < rouge.high and rouge.patients == 6
    assert style.value > 0 and np.isnan([style.low, style.high]).all()


def test_a_study_without_a_text_counts_as_an_empty_one_and_without_a_report_not_at_all() -> None:
    studies = [study("a", "No edema."), study("b", "No edema."), study("c", None), study("d", " ")]
    got = of(report_outcomes({"a": "No edema.", "c": "Edema.", "other": "x"}, studies, PYTHON))
    assert got["python:rouge_l"] == pytest.approx(0.5)
    assert got["report_length_ratio"] == pytest.approx(0.5)


@pytest.mark.parametrize("settings", [ReportTextSettings(), ReportTextSettings(backend="off")])
def test_nothing_is_measured_where_nothing_is_asked(settings: ReportTextSettings) -> None:
    assert report_outcomes({"a": "x"}, [study("a", "No edema.")], settings) == []
    assert words(settings) == ""


def test_nothing_is_measured_without_a_report() -> None:
    assert report_outcomes({"a": "x"}, [study("a", None)], PYTHON) == []
    with pytest.raises(DataError, match=r"report_text\.backend is python, and none of the 1 studies of the test split"):
        require_reports(PYTHON, [study("a", None)], "test")
    require_reports(ReportTextSettings(), [study("a", None)], "test")
    require_reports(PYTHON, [study("a", None), study("b", "Edema.")], "test")


@pytest.mark.parametrize("backend", ["python", "coco"])
def test_one_backend_a_table(backend: str) -> None:
    names = {name for name, cls in TEXT_METRICS.items() if type(chosen(ReportTextSettings(backend=backend))[0]) is cls}
    assert names == {backend}


def test_a_mean_leaves_out_what_has_no_score() -> None:
    tally = means({"a": [1.0, float("nan"), 0.0], "b": [float("nan")] * 3})
    found = tally.formula(tally.counts.sum(axis=0))
    assert found["a"] == 0.5 and np.isnan(found["b"])
    assert joined([tally, tally], ["p", "q", "r"]).counts.shape == (3, 8)


def test_a_metric_of_ones_own_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exact(TextMetric):
        def measure(self, pairs: Pairs) -> list[Tally]:
            return [means({"exact": [float(a == b) for a, b in zip(pairs.candidates, pairs.references, strict=True)]})]

    monkeypatch.setitem(TEXT_METRICS, "exact", Exact)
    studies = [study("a", "Edema."), study("b", "No edema.")]
    settings = ReportTextSettings(backend="python", also=["exact"])
    assert of(report_outcomes({"a": "Edema.", "b": "Edema."}, studies, settings))["exact"] == 0.5
    with pytest.raises(ConfigError, match=r"No text metric is named 'exakt'\. Did you mean 'exact'"):
        chosen(ReportTextSettings(backend="python", also=["exakt"]))
