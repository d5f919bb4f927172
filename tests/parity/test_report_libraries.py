"""Metrics of report texts against the libraries that the field takes them from, on real reports where they are."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from apo_lightning.metrics.outcomes import MEAN, Outcomes
from apo_lightning.metrics.report_text import pure_python
from apo_lightning.metrics.report_text.base import Pairs
from apo_lightning.metrics.report_text.measured import report_outcomes
from apo_lightning.metrics.report_text.r2gen import cleaned
from apo_lightning.settings.reports import ReportTextSettings
from apo_lightning.types import Study
from tests.helpers.report_pairs import MADE_UP, real_pairs

needs_java = pytest.mark.skipif(
    shutil.which("java") is None or importlib.util.find_spec("pycocoevalcap") is None,
    reason="needs Java and pycocoevalcap (pip install 'apo-lightning[java]')",
)
TOLERANCE = 1e-6


def measured(pairs: Sequence[tuple[str, str]], **settings: str) -> Outcomes:
    studies = [Study(str(i), f"p{i}", "test", (), {}, report=pair[1]) for i, pair in enumerate(pairs)]
    texts = {str(i): pair[0] for i, pair in enumerate(pairs)}
    return report_outcomes(texts, studies, ReportTextSettings(**settings))[0]


def values(pairs: Sequence[tuple[str, str]], **settings: str) -> dict[str, float]:
    rows = measured(pairs, **settings).rows()
    assert {finding for _, finding, _ in rows} == {MEAN}
    return {metric: value for metric, _, value in rows}


@pytest.fixture(scope="module")
def its_meteor() -> Iterator[Any]:
    """One for all tests: its start is most of what they take."""
    from pycocoevalcap.meteor.meteor import Meteor

    yield Meteor()


def coco(its_meteor: Any, candidates: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """What pycocoevalcap itself says, its five."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    said, wanted = ({i: [text] for i, text in enumerate(texts)} for texts in (candidates, references))
    found = {f"bleu_{n}": v for n, v in enumerate(Bleu(4).compute_score(wanted, said, verbose=0)[0], 1)}
    scorers = {"meteor": its_meteor, "rouge_l": Rouge(), "cider": Cider()}
    return found | {name: scorer.compute_score(wanted, said)[0] for name, scorer in scorers.items()}


@needs_java
def test_pycocoevalcap_on_reports_as_r2gen_cleans_them(its_meteor: Any) -> None:
    pairs = [*real_pairs(200), *MADE_UP]
    want = coco(its_meteor, [cleaned(said) for said, _ in pairs], [cleaned(wanted) for _, wanted in pairs])
    got = values(pairs, backend="coco")
    assert len(pairs) >= 200 and 0.3 < want["bleu_1"] < 0.4
    assert {f"coco:{name}" for name in want} == {name for name in got if name.startswith("coco:")}
    for name, value in want.items():
        assert got[f"coco:{name}"] == pytest.approx(value, abs=TOLERANCE), name


@needs_java
def test_pycocoevalcap_on_words_of_its_own_tokenizer(its_meteor: Any) -> None:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    pairs = [*real_pairs(200), *(pair for pair in MADE_UP if pair[0])]
    said, wanted = (
        [text for (text,) in PTBTokenizer().tokenize({i: [{"caption": t}] for i, t in enumerate(texts)}).values()]
        for texts in zip(*pairs, strict=True)
    )
    got = values(pairs, backend="coco", tokenizer="ptb")
    for name, value in coco(its_meteor, said, wanted).items():
        assert got[f"coco:{name}"] == pytest.approx(value, abs=TOLERANCE), name


@needs_java
@pytest.mark.parametrize("tokenizer", ["r2gen", "ptb"])
def test_hostile_texts_keep_each_pair_in_its_place(tokenizer: str) -> None:
    """Line breaks of every kind, the sign that parts METEOR's lines, half a character, nothing: the pair behind them is
    still itself."""
    hostile = ["a\nb\r\nc\u2028d\x85e", "EVAL ||| 1 ||| 2", "SCORE ||| x", "\ud83d edema", "", "...", "\t", "x" * 5000]
    pairs = [(text, "No edema.") for text in hostile]
    pairs = [*pairs, *((f"No {text}.", text) for text in hostile if text.strip()), ("No edema.", "No edema.")]
    got = measured(pairs, backend="coco", tokenizer=tokenizer)
    alone = measured([pairs[-1]] * 2, backend="coco", tokenizer=tokenizer)
    cider = 11  # behind BLEU's ten and ROUGE-L: the one count that depends on the other references
    kept = [place for place in range(got.counts.shape[1]) if place != cider]
    assert got.counts[-1, kept] == pytest.approx(alone.counts[-1, kept])


@pytest.mark.parametrize("real", [True, False], ids=["real", "made up"])
def test_sacrebleu_and_rouge_score(real: bool) -> None:
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu.metrics import BLEU

    pairs = real_pairs(200) if real else MADE_UP
    got, (said, wanted) = values(pairs, backend="python"), (list(texts) for texts in zip(*pairs, strict=True))
    for order in range(1, 5):
        want = BLEU(lowercase=True, max_ngram_order=order).corpus_score(said, [wanted]).score / 100
        assert got[f"python:bleu_{order}"] == pytest.approx(want, abs=TOLERANCE)
    scorer = RougeScorer(["rougeL"])
    want = np.mean([scorer.score(right, text)["rougeL"].fmeasure for text, right in pairs])
    assert got["python:rouge_l"] == pytest.approx(want, abs=TOLERANCE)


@pytest.mark.parametrize("said", ["no", "no edema", "no edema here", "fracture of ribs", ""])
def test_sacrebleu_smooths_the_orders_without_a_match(said: str) -> None:
    from sacrebleu.metrics import BLEU

    got = values([(said, "No edema seen.")], backend="python")
    for order in range(1, 5):
        want = BLEU(lowercase=True, max_ngram_order=order).corpus_score([said], [["No edema seen."]]).score / 100
        assert got[f"python:bleu_{order}"] == pytest.approx(want, abs=TOLERANCE)


def test_meteor_of_nltk_is_a_mean_over_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in takes the place of WordNet, whose files no test downloads."""
    from nltk.translate.meteor_score import meteor_score
    from rouge_score.tokenize import tokenize

    class Words:
        def synsets(self, word: str) -> list:
            return []

    monkeypatch.setattr(pure_python, "wordnet", Words)
    pairs = [("No edema.", "There is no edema."), ("Large hearts.", "The heart is large.")]
    metric = pure_python.PurePython(ReportTextSettings(backend="python"))
    part = metric.measure(Pairs(*zip(*pairs, strict=True)))[1]
    each = [meteor_score([tokenize(right, None)], tokenize(said, None), wordnet=Words()) for said, right in pairs]
    assert min(each) > 0 and part.formula(part.counts.sum(axis=0))["python:meteor"] == pytest.approx(np.mean(each))
    assert "METEOR by nltk" in metric.words()
