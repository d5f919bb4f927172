"""What a data set says of a study is part of every key: a field that is not hashed would reuse old stages."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from apo_lightning.types import Box, Detail, Prior, Study
from data_modules.loading.checks import hash_studies

STUDY = Study("s", "p", "train", ("1",), {"edema": 1.0})
OTHER = {
    "id": "t",
    "patient": "q",
    "split": "val",
    "images": ("2",),
    "findings": {"edema": 0.0},
    "details": {"edema": Detail("left", "mild")},
    "report": "Edema.",
    "views": ("PA",),
    "boxes": (Box("edema", 0.1, 0.1, 0.2, 0.2),),
    "prior": Prior("before", ("0",), "Clear."),
    "progression": {"edema": "stable"},
}
"""Field of a study to another value; a new field needs a line here, and one in `hash_studies`."""


def hashed(study: Study) -> str:
    return hash_studies([study], on_disk=False, full=True)


@pytest.mark.parametrize("name", [field.name for field in fields(Study)])
def test_every_field_of_a_study_is_hashed(name: str) -> None:
    assert hashed(replace(STUDY, **{name: OTHER[name]})) != hashed(STUDY)


@pytest.mark.parametrize("name", [field.name for field in fields(Prior)])
def test_every_field_of_the_examination_before_is_hashed(name: str) -> None:
    before = replace(STUDY, prior=OTHER["prior"])
    other = {"id": "earlier", "images": ("9",), "report": None}[name]
    assert hashed(replace(before, prior=replace(OTHER["prior"], **{name: other}))) != hashed(before)
