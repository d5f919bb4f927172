"""Teachers told by their style: apart, alike, and the same words about other findings."""

from __future__ import annotations

import numpy as np
import pytest

from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.style import against, between_teachers
from apo_lightning.metrics.style_probe import LEAST, separability
from apo_lightning.phantom.world import FINDINGS, cases
from apo_lightning.teachers.simulated import Simulated
from apo_lightning.types import Study

STUDIES = [
    Study(c.id, str(c.patient), "test", (), {name: float(name in c.present) for name in FINDINGS}, c.present)
    for c in cases(5, 60)
]
RATES = {"sensitivity": {"default": 0.7}, "specificity": {"default": 0.7}}


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    teachers = (Simulated("a", **RATES), Simulated("alike", **RATES), Simulated("apart", positive=5, opener=3, **RATES))
    said = [item for one in teachers for item in one.signal(STUDIES, np.linspace(0, 1, 60).tolist())]
    return Corpus.of(said, STUDIES, FINDINGS)


def test_wording_is_told_and_findings_are_not(corpus: Corpus) -> None:
    found = between_teachers(corpus)
    assert list(found) == [("a", "alike"), ("a", "apart"), ("alike", "apart")]
    assert found["a", "apart"] == found["alike", "apart"] == 1
    assert 0.3 < found["a", "alike"] < 0.7


def test_of_the_studies_that_both_have(corpus: Corpus) -> None:
    preferred = {study: corpus.texts[study]["apart"] for study in corpus.studies[:30]}
    found = against(corpus, preferred)
    own = [corpus.texts[study]["a"] for study in preferred]
    assert found["a"] == separability(list(preferred.values()), own, FINDINGS) == 1
    assert found["apart"] <= 0.5, "the same texts"
    few = against(corpus, dict(list(preferred.items())[: LEAST - 1]))
    assert np.isnan(list(few.values())).all()
    assert np.isnan(against(corpus, {})["a"])


def test_no_more_studies_than_asked_for(corpus: Corpus) -> None:
    every_other = {study: corpus.texts[study]["apart"] for study in corpus.studies[::2]}
    assert against(corpus, every_other, most=25)["a"] == 1
    assert np.isnan(against(corpus, every_other, most=LEAST - 1)["a"])
