"""No odd table gives other studies without a word, a traceback, or a message that nobody understands.

Every file that a data set, a teacher or an importer reads is tried in every form of ``tests/helpers/odd_*.py``: what
comes of it are the clean file's studies, or an error that names the file, and row, column and value where one is odd.
Each form is tried on some of the files, and on all of them where slow tests run.
"""

from __future__ import annotations

import pytest

from tests.helpers.odd_documents import DOCUMENTS
from tests.helpers.odd_sets import TARGETS, Bench, judged

EVERY = 8
"""Of so many files one is tried with a form where slow tests do not run."""
ALL = (*TARGETS, *DOCUMENTS)
CASES = [
    pytest.param(
        place,
        form,
        id=f"{target.name}-{target.file}-{form}",
        marks=() if (place + number) % EVERY == 0 else pytest.mark.slow,
    )
    for place, target in enumerate(ALL)
    for number, form in enumerate(target.odd([]))
]


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    made: dict[int, Bench] = {}

    def bench(place: int) -> Bench:
        if place not in made:
            made[place] = Bench(ALL[place], tmp_path_factory.mktemp("set"))
        return made[place]

    return bench


@pytest.mark.parametrize(("place", "form"), CASES)
def test_an_odd_file_is_read_rightly_or_refused_by_its_name(benches, monkeypatch, place, form):
    monkeypatch.setattr(
        "data_modules.loading.checks.find_bad_images", lambda *_, **__: ({}, set())
    )  # the images are as they were
    found = benches(place).outcome(form)
    assert found.kind in ("right", "refused"), found.text
    if form in ("as it is", "byte-order mark", "crlf", "no final newline"):
        assert found.kind == "right", found.text
    if form.startswith("a column twice") or form in ("a folder", "empty", "cut off inside a row"):
        assert found.kind == "refused"


@pytest.mark.parametrize(
    ("come", "kind"),
    [(lambda: 1, "right"), (lambda: 2, "silent"), (lambda: 1 / 0, "crash")],
)
def test_the_judge_tells_the_kinds_apart(come, kind):
    assert judged(come, 1, ("a.csv",)).kind == kind


def test_a_refusal_must_name_the_file_and_be_readable():
    from apo_lightning.errors import DataError

    def refusing(text):
        def come():
            raise DataError(text)

        return judged(come, 1, ("a.csv", "'Edema'")).kind

    assert refusing("a.csv:3: 'Edema' is none of 0, 1 ('2').") == "refused"
    assert refusing("Split 'train' has no studies.") == refusing("a.csv: 'Edema' codec can't decode") == "unclear"
