"""Teachers from JSONL files: what is read, what is refused and how it says so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from apo_lightning.errors import DataError
from apo_lightning.teachers.base import by_study
from apo_lightning.teachers.recorded import Recorded, read_jsonl, write_jsonl
from apo_lightning.types import Study, Trajectory


def studies(*ids: str) -> list[Study]:
    return [Study(name, name, "test", (), {}) for name in ids]


def lines(tmp_path: Path, *rows: object) -> str:
    path = tmp_path / "t.jsonl"
    written = [item if isinstance(item, str) else json.dumps(item) for item in rows]
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return str(path)


def row(study: str = "s1", teacher: str = "gpt5", text: str = "No edema.", **more: object) -> dict[str, object]:
    return {"study": study, "teacher": teacher, "text": text, **more}


def test_studies_come_in_the_order_asked_and_missing_ones_are_left_out(tmp_path: Path) -> None:
    path = lines(tmp_path, row("s1", text="one"), row("s3", text="three"), row("s2", "other", "not mine"))
    found = Recorded("gpt5", path).signal(studies("s3", "s2", "s1"), [0.0, 0.5, 1.0])
    assert found == [Trajectory("s3", "gpt5", "three", 0.0), Trajectory("s1", "gpt5", "one", 1.0)]


def test_a_recorded_place_in_the_stream_is_kept(tmp_path: Path) -> None:
    path = lines(tmp_path, row("s1", t=0.25), row("s2"))
    assert [item.t for item in Recorded("gpt5", path).signal(studies("s1", "s2"), [0.0, 1.0])] == [0.25, 1.0]


def test_a_teacher_may_have_another_name_in_the_file(tmp_path: Path) -> None:
    path = lines(tmp_path, row(teacher="GPT-5-nano"))
    assert Recorded("gpt5", path, teacher="GPT-5-nano").signal(studies("s1"), [0.0])[0].teacher == "gpt5"


def test_empty_texts_and_blank_lines(tmp_path: Path) -> None:
    path = lines(tmp_path, row(text=""), "", "  ")
    assert [item.text for item in Recorded("gpt5", path).signal(studies("s1"), [0.0])] == [""]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    texts = ['No edema.\nSecond line, "quoted".', "", "\u00d6dem \u2028 \U0001fac1", "\ud800 half a character"]
    items = [Trajectory(f"s{i}", "gpt5", text, i / 4) for i, text in enumerate(texts)]
    path = tmp_path / "new" / "folder" / "t.jsonl"
    write_jsonl(path, items)
    assert read_jsonl(path) == items
    assert [entry.name for entry in path.parent.iterdir()] == ["t.jsonl"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [Trajectory("s1", "gpt5", "old")])

    def broken():
        yield Trajectory("s1", "gpt5", "new")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_jsonl(path, broken())
    assert [item.text for item in read_jsonl(path)] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["t.jsonl"]


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = lines(tmp_path, row(text="old"))
    teacher = Recorded("gpt5", path)
    assert teacher.signal(studies("s1"), [0.0])[0].text == "old"
    lines(tmp_path, row(text="new words"))
    os.utime(path, ns=(1, 1))
    assert teacher.signal(studies("s1"), [0.0])[0].text == "new words"


def test_without_a_single_trajectory_the_names_in_the_file_are_given(tmp_path: Path) -> None:
    path = lines(tmp_path, row(teacher="gpt-4"), row(teacher="grok4"))
    with pytest.raises(DataError) as caught:
        Recorded("gpt5", path).signal(studies("s1"), [0.0])
    message = str(caught.value)
    assert message.startswith(f"teachers.gpt5: {path} has no trajectory of 'gpt5'.")
    assert "Did you mean 'gpt-4'? Known: gpt-4, grok4." in message and "Set teachers.gpt5.teacher" in message


def test_with_trajectories_of_other_studies_both_ids_are_shown(tmp_path: Path) -> None:
    path = lines(tmp_path, row("p10/s1"))
    with pytest.raises(DataError, match=r"1 trajectories of 'gpt5', none for the 2 studies.*'p10/s1'.*'s1'"):
        Recorded("gpt5", path).signal(studies("s1", "s2"), [0.0, 1.0])


def test_nothing_asked_nothing_answered(tmp_path: Path) -> None:
    assert Recorded("gpt5", lines(tmp_path, row())).signal([], []) == []


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ('{"study": "s1", "teacher": "gpt5"', r"t\.jsonl:2: not JSON"),
        ("[1, 2]", r"t\.jsonl:2: expected a JSON object with the keys study, teacher, text, t"),
        ({"study": "s2", "teacher": "gpt5"}, r"t\.jsonl:2: 'text' must be a string, got nothing"),
        (row("s2", t=1.5), r"t\.jsonl:2: 't' must be a number in \[0, 1\], got 1\.5"),
        (row("s2", t="0.5"), r"'t' must be a number"),
        (row("s2", t=True), r"'t' must be a number"),
        ('{"study": "s2", "teacher": "gpt5", "text": "", "t": NaN}', r"'t' must be a number"),
        (row("s1", text="again"), r"study 's1' of teacher 'gpt5' stands on lines 1 and 2"),
    ],
)
def test_bad_lines_name_file_and_line(tmp_path: Path, bad: object, message: str) -> None:
    path = lines(tmp_path, row("s1"), bad)
    with pytest.raises(DataError, match=message):
        read_jsonl(path)
    with pytest.raises(DataError, match=message):
        Recorded("gpt5", path).signal(studies("s1"), [0.0])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row("s2", txet="x"), r"t\.jsonl:2: unknown key 'txet'\. Did you mean 'text'\?"),
        ({"study": 7, "teacher": "gpt5", "text": ""}, r"t\.jsonl:2: 'study' must be a string, got 7"),
        (row("s1"), r"study 's1' of teacher 'gpt5' stands on lines 1 and 2"),
        (
            {"id": "s2", "image": "x", "lables": [], "trajectories": {}},
            r"unknown key 'lables'\. Did you mean 'labels'\?",
        ),
        ({"id": "s2", "image": "x", "trajectory": {}}, r"t\.jsonl:2: unknown key 'trajectory'\. Did you mean 'trajec"),
        (
            {"id": "s2", "image": "x", "labels": []},
            r"'trajectories' must be an object of texts by teacher, got nothing",
        ),
    ],
)
def test_files_that_a_run_reads_have_no_other_keys_and_a_teacher_takes_them(
    tmp_path: Path, bad: object, message: str
) -> None:
    path = lines(tmp_path, row("s1"), bad, *(row(f"x{n}") for n in range(20)))
    with pytest.raises(DataError, match=message):
        read_jsonl(path)
    assert Recorded("gpt5", path).signal(studies("s1"), [0.0])[0].text == "No edema."


def test_missing_file_folder_and_wrong_encoding(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(DataError, match="Cannot read trajectories from"):
            read_jsonl(path)
    with pytest.raises(DataError, match="Cannot read trajectories from"):
        Recorded("gpt5", str(tmp_path / "none.jsonl")).signal(studies("s1"), [0.0])
    (tmp_path / "latin.jsonl").write_bytes(b'{"study": "\xe4"}')
    with pytest.raises(DataError, match="not UTF-8"):
        read_jsonl(tmp_path / "latin.jsonl")


def test_index_by_study_keeps_the_order_of_teachers() -> None:
    index = by_study([Trajectory("s1", "b", "1"), Trajectory("s2", "a", "2"), Trajectory("s1", "a", "3")])
    assert list(index) == ["s1", "s2"] and list(index["s1"]) == ["b", "a"] and index["s1"]["a"].text == "3"


def image(id: object = "s1", **more: object) -> dict[str, object]:
    return {"id": id, "image": f"{id}.jpg", "trajectories": {"gpt5": f"{id} by gpt5", "grok4": ""}, **more}


def test_one_line_an_image_serves_every_teacher(tmp_path: Path) -> None:
    path = lines(tmp_path, image("s1", labels=["Edema"], report="r", patient="p", split="train"), image("s2"))
    assert read_jsonl(path) == [
        Trajectory("s1", "gpt5", "s1 by gpt5"),
        Trajectory("s1", "grok4", ""),
        Trajectory("s2", "gpt5", "s2 by gpt5"),
        Trajectory("s2", "grok4", ""),
    ]
    found = Recorded("mine", path, teacher="gpt5").signal(studies("s2", "s9", "s1"), [0.0, 0.5, 1.0])
    assert found == [Trajectory("s2", "mine", "s2 by gpt5", 0.0), Trajectory("s1", "mine", "s1 by gpt5", 1.0)]


def test_both_forms_may_stand_in_one_file(tmp_path: Path) -> None:
    path = lines(tmp_path, image("s1"), row("s2", t=0.25), image("s3", trajectories={}), row("s1", "claude"))
    assert [(item.study, item.teacher, item.t) for item in read_jsonl(path)] == [
        ("s1", "gpt5", 0.0),
        ("s1", "grok4", 0.0),
        ("s2", "gpt5", 0.25),
        ("s1", "claude", 0.0),
    ]


def test_null_is_absent_and_a_study_may_have_two_images(tmp_path: Path) -> None:
    nothing = dict.fromkeys(("labels", "report", "patient", "split"))
    path = lines(tmp_path, image(image=["a.jpg", "b.jpg"], **nothing))
    assert [item.text for item in read_jsonl(path)] == ["s1 by gpt5", ""]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (image("s2", trajectories=["x"]), r"'trajectories' must be an object of texts by teacher, got \[\"x\"\]"),
        (image("s2", trajectories={"gpt5": None}), r"must name teachers with a text each, got \{\"gpt5\": null\}"),
        (image("s2", trajectories={" ": "x"}), r"must name teachers with a text each, got \{\" \": \"x\"\}"),
        (image(" "), r"t\.jsonl:2: 'id' must be a string that is not empty, got \" \""),
        (image(7), r"'id' must be a string that is not empty, got 7"),
        (image("s2", image=None), r"'image' must be a path or a list of paths, got null"),
        (image("s2", image=[]), r"'image' must be a path or a list of paths, got \[\]"),
        (image("s2", image=["a", ""]), r"'image' must be a path or a list of paths"),
        (image("s2", labels="Edema"), r"'labels' must be a list of names, got \"Edema\""),
        (image("s2", labels=[1]), r"'labels' must be a list of names, got \[1\]"),
        (image("s2", patient=10000032), r"'patient' must be a string, got 10000032"),
        (image("s2", split=False), r"'split' must be a string, got false"),
        (image("s2", report=[]), r"'report' must be a string, got \[\]"),
        (row("s1"), r"study 's1' of teacher 'gpt5' stands on lines 1 and 2"),
        ('{"id": "s2", "image": "x", "trajectories": {"a": "1", "a": "2"}}', r"jsonl:2: key 'a' stands twice in one"),
        ("[" * 100_000, r"t\.jsonl:2: not JSON"),
    ],
)
def test_bad_lines_of_images_name_file_line_and_key(tmp_path: Path, bad: object, message: str) -> None:
    path = lines(tmp_path, image("s1"), bad)
    with pytest.raises(DataError, match=message):
        read_jsonl(path)
    with pytest.raises(DataError, match=message):
        Recorded("gpt5", path).signal(studies("s1"), [0.0])


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    for form in (row(), image()):
        (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps(form).encode() + b"\r\n")
        assert read_jsonl(tmp_path / "bom.jsonl")[0].teacher == "gpt5"
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf\n" + json.dumps(row()).encode())
    assert len(read_jsonl(tmp_path / "bom.jsonl")) == 1


def test_the_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    good = json.dumps(row()).encode()
    (tmp_path / "t.jsonl").write_bytes(good + b"\n\n" + '{"study": "ö"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"t\.jsonl:3: not UTF-8 text \(invalid .* at byte 11\)\. Save it as UTF-8"):
        read_jsonl(tmp_path / "t.jsonl")
