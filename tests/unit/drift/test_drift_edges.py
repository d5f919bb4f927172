"""What is measured of corpora that hold little: one teacher, one study, silent teachers, no agreement on anything."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from apo_lightning.drift.agreement import agreement, pairwise
from apo_lightning.drift.changes import changes
from apo_lightning.drift.conflict import conflict
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.independence import independence
from apo_lightning.drift.profiles import profiles
from apo_lightning.drift.style import between_teachers
from apo_lightning.drift.within import step_drift
from tests.helpers.corpora import corpus

NAN = np.nan
LITTLE = {
    "one teacher": corpus(np.ones((50, 1, 2)), truth=np.ones((50, 2))),
    "one study": corpus(np.ones((1, 3, 2)), truth=np.ones((1, 2))),
    "silent teachers": corpus(np.full((50, 2, 2), NAN), truth=np.ones((50, 2))),
    "a silent one": corpus(np.stack([np.ones((50, 2)), np.full((50, 2), NAN)], axis=1), truth=np.ones((50, 2))),
    "nothing known": corpus(np.ones((50, 2, 2)), truth=np.full((50, 2), NAN)),
    "one finding": corpus((np.arange(100) % 3 == 0).reshape(50, 2, 1), truth=np.ones((50, 1))),
}


@pytest.mark.parametrize("name", LITTLE)
def test_little_is_measured_without_complaint(name: str) -> None:
    own: Corpus = LITTLE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = agreement(own, 20)
        found = profiles(own, 20)
        pairwise(own, 20)
        slopes, moved, pairs = step_drift(own, 20), changes(own, orders=19), independence(own, signs=19)
    assert list(found) == list(slopes) == list(own.teachers)
    assert len(pairs) == len(own.teachers) * (len(own.teachers) - 1) // 2
    assert all(np.isnan(one.value) for one in slopes.values()), "no place is known"
    assert not any(one.places for one in moved.values())
    assert ("fleiss", "mean") in values
    assert conflict(own).by_study.shape == (len(own.studies),)


def test_texts_too_few_to_tell_a_style() -> None:
    read = Corpus.read({"s": {"a": "Edema.", "b": "No edema."}}, ["edema"])
    assert np.isnan(between_teachers(read)["a", "b"])
    assert agreement(read, 20)["conflict_presence", "edema"].value == 1
    assert np.isnan(agreement(read, 20)["conflict_presence", "edema"].low), "one patient tells nothing of others"
