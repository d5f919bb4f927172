"""What of a teacher is part of a key: a setting that came later is none while it is left alone."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from apo_lightning.experiment import cache_keys
from apo_lightning.teachers import TEACHERS

BY_SETTINGS = {kind: cls for kind, cls in TEACHERS.items() if not hasattr(cls, "fingerprint")}
LATER = [(kind, name) for kind, cls in BY_SETTINGS.items() for name in getattr(cls, "later", ())]


def _section(**settings: Any) -> dict[str, Any]:
    own = SimpleNamespace(cfg=SimpleNamespace(teachers={"some": settings}))
    return cache_keys.of_teachers(own, ["some"])[0]["teachers"]["some"]  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "name"), LATER)
def test_a_later_setting_is_in_a_key_where_it_is_given(kind: str, name: str) -> None:
    default = {own.name: own.default for own in dataclasses.fields(TEACHERS[kind])}[name]
    before = _section(kind=kind, path="no_such.jsonl", weight=2.0)
    assert _section(kind=kind, path="no_such.jsonl", weight=1.0, **{name: default}) == before
    assert _section(kind=kind, path="no_such.jsonl", **{name: 4}) == {**before, name: 4}
