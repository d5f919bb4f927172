"""A teacher's answers on disk: nothing that was written is lost or changed, whatever was cut off."""

from __future__ import annotations

import errno
import json
import os
from multiprocessing import get_context
from pathlib import Path

import pytest

from apo_lightning.collecting.journal import Answer, Journal
from apo_lightning.errors import ArtifactError
from apo_lightning.files.atomic import Unwritten


def answer(study: str, text: str = "No edema.", **more: object) -> Answer:
    return Answer(
        **{"key": f"k-{study}", "asks": f"a-{study}", "study": study, "teacher": "gpt5", "text": text, **more}
    )


def test_what_is_appended_is_read_in_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new" / "folder", "gpt5")
    assert journal.read().answers == []
    written = [
        answer("s1", input_tokens=3, cost=0.25, images=("x",)),
        answer("s2", "a\u2028b \ud83d\n", mark="refused"),
    ]
    for own in written:
        journal.append(own)
    found = journal.read()
    assert [own.text for own in found.answers] == ["No edema.", "a\u2028b \ud83d\n"]
    assert (found.answers[0].cost, found.answers[1].mark, found.damaged) == (0.25, "refused", [])
    assert len(journal.path.read_text("utf-8").split("\n")) == 3


@pytest.mark.parametrize("cut", [1, 17, 60])
def test_a_line_that_was_cut_off_is_ended_counted_and_takes_no_other_along(tmp_path: Path, cut: int) -> None:
    journal = Journal(tmp_path, "gpt5")
    journal.append(answer("s1"))
    whole = journal.path.read_bytes()
    journal.append(answer("s2"))
    torn = journal.path.read_bytes()[: len(whole) + cut]
    journal.path.write_bytes(torn)
    assert [own.study for own in journal.read().answers] == ["s1"]
    journal.append(answer("s2", "again"))
    found = journal.read()
    assert [(own.study, own.text) for own in found.answers] == [("s1", "No edema."), ("s2", "again")]
    assert found.damaged == [2] and journal.path.read_bytes().startswith(torn)


def test_of_answers_to_one_question_the_newest_without_a_mark_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gpt5")
    for text, mark in (("I", "refused"), ("II", ""), ("III", "truncated"), ("IV", ""), ("V", "empty")):
        journal.append(answer("s1", text, mark=mark))
    journal.append(answer("s2", "cut", mark="truncated"))
    journal.append(answer("s2", "", mark="empty"))
    counted = journal.read().by_key()
    assert (counted["k-s1"].text, counted["k-s2"].mark) == ("IV", "empty")


def test_without_knowing_images_the_newest_image_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gpt5")
    for key, text in (("old", "old image"), ("new", "new image")):
        journal.append(answer("s1", text, key=key))
    assert journal.read().by_asks()["a-s1"].text == "new image"
    assert set(journal.read().by_key()) == {"old", "new"}


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, "gpt5")
    journal.append(answer("s1"))
    before, write, sizes = journal.path.read_bytes(), os.write, [5]

    def full(file: int, content: memoryview) -> int:
        if not sizes:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[: sizes.pop()])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Unwritten, match="No space"):
        journal.append(answer("s2"))
    monkeypatch.undo()
    assert journal.path.read_bytes() == before


def _many(folder: Path, name: str) -> None:
    for i in range(100):
        Journal(folder, "gpt5").append(answer(f"{name}{i}", "x" * 5000))


def test_two_that_both_write_do_not_write_into_each_others_lines(tmp_path: Path) -> None:
    """The lease keeps a second collector out; one that was suspended until it lost the lease may still come back."""
    both = [get_context("fork").Process(target=_many, args=(tmp_path, name)) for name in "ab"]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    found = Journal(tmp_path, "gpt5").read()
    assert len({own.study for own in found.answers}) == 200 and not found.damaged


def test_lines_that_are_no_answers_are_counted(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gpt5")
    journal.append(answer("s1"))
    with journal.path.open("a") as file:
        file.write('{"study": "s2"}\n' + json.dumps({**answer("s3").row(), "text": 5}) + "\n")
        file.write(json.dumps({**answer("s4").row(), "of_tomorrow": 1}) + "\n")
    found = journal.read()
    assert [own.study for own in found.answers] == ["s1", "s4"]
    assert (found.damaged, found.foreign) == ([2], 1)


def test_names_that_differ_have_files_that_differ(tmp_path: Path) -> None:
    names = ["gpt5", "GPT5", "a/b", "a_b", "../x", "é"]
    paths = {Journal(tmp_path, name).path for name in names}
    assert len({str(path).lower() for path in paths}) == len(names)
    assert {path.parent for path in paths} == {tmp_path}


def test_a_folder_in_its_place_is_said(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "gpt5")
    journal.path.mkdir()
    with pytest.raises(ArtifactError, match=r"gpt5\.jsonl cannot be read"):
        journal.read()
