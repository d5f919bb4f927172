"""Trajectories of others: three formats, what merges, and what is refused with file, item and key."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import data_modules
from apo_lightning.errors import DataError
from apo_lightning.teachers.recorded import Recorded, read_jsonl
from apo_lightning.text.labeler import refused
from apo_lightning.trajectories.importers import FORMATS, import_file, write
from data_modules.cxr_max import CxrMax

EXAMPLE = Path(__file__).parents[4] / "shared/data/cxr_max_example/example.json"
IMAGE = "files/p10/p10000032/s50414267/02aa-bb.jpg"
OTHER = "files/p10/p10000032/s50414268/03cc-dd.jpg"


def put(folder: Path, **files: Any) -> Path:
    """``name__jsonl=[...]`` writes JSON lines, any other a JSON document; strings are written as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        stem, _, kind = name.partition("__")
        if isinstance(content, str):
            text = content
        elif kind == "jsonl":
            text = "".join(json.dumps(row) + "\n" for row in content)
        else:
            text = json.dumps(content, indent=1)
        (folder / f"{stem}.{kind or 'json'}").write_text(text, encoding="utf-8")
    return folder


def rows(format: str, source: Path, **options: str) -> list[dict[str, Any]]:
    return FORMATS[format](source, **options)


def refusal(format: str, source: Path, **options: str) -> str:
    with pytest.raises(DataError) as caught:
        rows(format, source, **options)
    return str(caught.value)


def test_the_folder_of_importers_registers_no_data_set():
    assert not any(
        cls.__module__.startswith("apo_lightning.trajectories.importers") for cls in data_modules.DATA.values()
    )
    assert sorted(FORMATS) == ["cxr_max", "ms_swift", "teacher_folder"]


# A folder with one JSON a teacher


def test_files_of_both_forms_merge_by_image(tmp_path):
    source = put(
        tmp_path / "in",
        gpt5={IMAGE: "GPT on one.", OTHER: "GPT on two."},
        grok4=[{"image": OTHER, "text": "Grok on two.", "labels": ["Edema"], "report": "Edema."}],
        claude__jsonl=[
            {"id": "s1", "image_path": IMAGE, "response": "", "label": ["No Finding"], "subject_id": 10000032}
        ],
    )
    assert rows("teacher_folder", source) == [
        {
            "id": "s1",
            "image": IMAGE,
            "labels": ["No Finding"],
            "patient": "10000032",
            "trajectories": {"claude": "", "gpt5": "GPT on one."},
        },
        {
            "id": "03cc-dd",
            "image": OTHER,
            "labels": ["Edema"],
            "report": "Edema.",
            "trajectories": {"gpt5": "GPT on two.", "grok4": "Grok on two."},
        },
    ]


def test_ids_find_the_image_that_another_file_names(tmp_path):
    source = put(
        tmp_path / "in",
        a={"s1": "A.", "03cc-dd": "A too."},
        b=[{"id": "s1", "image": IMAGE, "text": "B."}],
        c={OTHER: "C."},
    )
    assert [(row["id"], row["image"], row["trajectories"]) for row in rows("teacher_folder", source)] == [
        ("s1", IMAGE, {"a": "A.", "b": "B."}),
        ("03cc-dd", OTHER, {"a": "A too.", "c": "C."}),
    ]


def test_an_id_without_an_image_is_refused_or_follows_a_pattern(tmp_path):
    source = put(tmp_path / "in", a={"s1": "A.", "s2": "B."})
    message = refusal("teacher_folder", source)
    assert (
        "2 problems" in message and "a.json, key 's1': no file says which image 's1' is. Give image_of=PATH" in message
    )
    assert [row["image"] for row in rows("teacher_folder", source, image_of="x/{id}.jpg")] == ["x/s1.jpg", "x/s2.jpg"]
    with pytest.raises(DataError, match=r"image_of must have \{id\} in it, got 'x.jpg'"):
        rows("teacher_folder", source, image_of="x.jpg")


def test_texts_are_kept_to_the_letter(tmp_path):
    texts = ["  **Bold** #blank\n\n", "", "\u00d6dem \u2028 \U0001fac1", "\ud800 half a character"]
    images = [f"{number}.jpg" for number in range(4)]
    source, target = put(tmp_path / "in", a=dict(zip(images, texts, strict=True))), tmp_path / "out" / "x.jsonl"
    import_file("teacher_folder", source, target)
    assert [item.text for item in read_jsonl(target)] == texts


def test_a_json_file_may_hold_json_lines(tmp_path):
    source = put(tmp_path / "in", a='{"image": "1.jpg", "text": "A."}\n\n{"image": "2.jpg", "text": "B."}\n')
    assert [row["id"] for row in rows("teacher_folder", source)] == ["1", "2"]
    source = put(tmp_path / "two", a='{"image": "1.jpg", "text": "A."}\n{"image": "2.jpg", "txt": "B."}\n')
    assert "a.json:2: unknown key 'txt'. Did you mean 'text'?" in refusal("teacher_folder", source)


def test_other_files_of_the_folder_are_named(tmp_path, caplog):
    source = put(tmp_path / "in", a={"1.jpg": "A."}, README__md="...", _x__csv="...")
    (source / ".hidden.json").write_text("no JSON")
    with caplog.at_level(logging.WARNING):
        assert len(rows("teacher_folder", source)) == 1
    assert "not read: README.md, _x.csv" in caplog.text and "hidden" not in caplog.text


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": [{"image": "1.jpg", "txet": "x"}]}, "a.json, item 1: unknown key 'txet'. Did you mean 'text'?"),
        ({"a": [{"image": "1.jpg"}]}, "a.json, item 1: has no text; it may be called text, response"),
        ({"a": {"1.jpg": None}}, "a.json, key '1.jpg': has no text"),
        (
            {"a": {"1.jpg": {"text": "x"}}},
            "a.json, key '1.jpg': the text of 'a' must be a string, got {\"text\": \"x\"}",
        ),
        ({"a": ["x"]}, 'a.json, item 1: expected an object, got "x"'),
        ({"a": 7}, "a.json: expected an object, got 7"),
        ({"a": [{"text": "x"}]}, "a.json, item 1: has neither an id nor an image"),
        ({"a": [{"image": "1.jpg", "text": "x", "answer": "y"}]}, "'answer' and 'text' both give 'text'"),
        (
            {"a": [{"image": "1.jpg", "text": "x", "labels": "Edema"}]},
            "'labels' must be a list of names, got \"Edema\"",
        ),
        ({"a": [{"image": "1.jpg", "text": "x", "id": " "}]}, "'id' must be a string that is not empty, got \" \""),
        ({"a": [{"image": "1.jpg", "text": "x", "id": 1.5}]}, "'id' must be a string that is not empty, got 1.5"),
        ({"a": [{"image": "1.jpg", "text": "x", "id": True}]}, "'id' must be a string that is not empty, got true"),
        ({"a": '{"1.jpg": "x", "1.jpg": "y"}'}, "a.json: key '1.jpg' stands twice in one object"),
        ({"a": '[{"image": "1.jpg"'}, "a.json:1: not JSON ("),
        ({"a": ""}, "a.json: it is empty"),
        ({"a__jsonl": "{}\n{"}, "a.jsonl:2: not JSON ("),
        (
            {"a": [{"image": "1.jpg", "text": "x"}] * 2},
            "a.json, item 2: '1' has the same text of teacher 'a' in a.json, item 1",
        ),
        (
            {"a": [{"image": "1.jpg", "text": t} for t in "xy"]},
            "a.json, item 2: '1' has another text of teacher 'a' in a.json, ",
        ),
        (
            {"a": {"1.jpg": "x"}, "a__jsonl": [{"image": "1.jpg", "text": "y"}]},
            "a.jsonl:1: '1' has another text of teacher 'a'",
        ),
        (
            {"a": {"x/1.jpg": "x", "y/1.jpg": "x"}},
            "id '1' (the name of the file, since it has no id: give ids) has the image",
        ),
        (
            {n: [{"image": "1.jpg", "text": "x", "labels": [label]}] for n, label in (("a", "Edema"), ("b", "Mass"))},
            "b.json, item 1: 'labels' of '1' is ['Mass'] here and ['Edema'] in a.json, item 1",
        ),
        (
            {n: [{"image": "1.jpg", "text": "x", "report": n}] for n in ("a", "b")},
            "b.json, item 1: 'report' of '1' is 'b' here and 'a' in a.json, item 1",
        ),
        (
            {n: [{"image": "1.jpg", "text": "x", "id": n}] for n in ("a", "b")},
            "b.json, item 1: image '1.jpg' has the id 'b' here and 'a' in a.json, item 1",
        ),
        (
            {n: [{"image": f"{n}.jpg", "text": "x", "id": "s1"}] for n in ("a", "b")},
            "b.json, item 1: id 's1' has the image 'b.jpg' here and 'a.jpg' in a.json, item 1",
        ),
    ],
)
def test_what_is_wrong_is_named_once_with_its_place(tmp_path, files, expected):
    source, target = put(tmp_path / "in", **files), tmp_path / "out.jsonl"
    message = refusal("teacher_folder", source)
    assert expected in message
    assert message.startswith(f"{source}: 1 problems; nothing was written.\n") or "a.jsonl:2" in expected
    with pytest.raises(DataError):
        import_file("teacher_folder", source, target)
    assert not target.exists()


def test_labels_in_another_order_and_spelling_agree(tmp_path):
    item = {"image": "1.jpg", "text": "x"}
    source = put(
        tmp_path / "in",
        a=[{**item, "labels": ["Edema", "Pleural Effusion"]}],
        b=[{**item, "labels": ["effusion", "edema"]}],
    )
    (row,) = rows("teacher_folder", source)
    assert row["labels"] == ["Edema", "Pleural Effusion"]


def test_ten_problems_are_listed_and_the_others_counted(tmp_path):
    message = refusal("teacher_folder", put(tmp_path / "in", a=[{"image": f"{i}.jpg"} for i in range(1, 13)]))
    assert "12 problems" in message and message.count("has no text") == 10 and message.endswith("... and 2 more")


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("files/x.jpg", "", "files/x.jpg"),
        ("./files//x.jpg", "", "files/x.jpg"),
        ("files\\p10\\x.jpg", "", "files/p10/x.jpg"),
        ("/data/mimic/files/x.jpg", "/data/mimic/", "files/x.jpg"),
        ("C:\\mimic\\files\\x.jpg", "C:\\mimic", "files/x.jpg"),
        ("mimic/files/x.jpg", "mimic", "files/x.jpg"),
        ("mimic2/x.jpg", "mimic", "mimic2/x.jpg"),
        ("/x.jpg", "/", "x.jpg"),
    ],
)
def test_image_paths_become_relative(tmp_path, path, root, found):
    source = put(tmp_path / "in", a=[{"image": path, "text": "x"}])
    assert [row["image"] for row in rows("teacher_folder", source, images_root=root)] == [found]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/data/x.jpg", "image '/data/x.jpg' is an absolute path: give images_root=FOLDER"),
        ("C:\\data\\x.jpg", "is an absolute path"),
        ("../x.jpg", "image '../x.jpg' leads out of the folder of the images"),
        ("https://a.org/x.jpg", "is an address or embedded, not a file"),
        ("data:image/png;base64,AAAA", "is an address or embedded, not a file"),
        (" ", 'an image must be a path, got " "'),
        (7, "an image must be a path, got 7"),
        ([], "has no image"),
        ({"path": None, "bytes": "AAAA"}, "images are embedded as bytes"),
        ({"path": "x.jpg", "width": 3}, "an image may have the keys path and bytes, got path, width"),
    ],
)
def test_image_paths_that_are_refused(tmp_path, path, why):
    source = put(tmp_path / "in", a=[{"image": path, "text": "x"}])
    message = refusal("teacher_folder", source, images_root="/other")
    assert "1 problems" in message and "a.json, item 1: " in message and why in message


def test_columns_give_other_names_and_leave_out(tmp_path):
    source = put(tmp_path / "in", a=[{"bild": "1.jpg", "sagt": "x", "prompt": "?"}])
    assert "unknown key 'bild'" in refusal("teacher_folder", source)
    (row,) = rows("teacher_folder", source, columns="bild:image, sagt:text, prompt:-")
    assert row == {"id": "1", "image": "1.jpg", "trajectories": {"a": "x"}}
    with pytest.raises(DataError, match=r"columns: 'txt' is no key of this format\. Did you mean 'text'\?"):
        rows("teacher_folder", source, columns="sagt:txt")
    with pytest.raises(DataError, match="columns must look like 'theirs:ours,theirs:-', got 'sagt'"):
        rows("teacher_folder", source, columns="sagt")


# ms-swift


def swift(answer: str, images: Any = None, *, tags: int = 1, system: str = "", **more: Any) -> dict[str, Any]:
    opening = [{"role": "system", "content": system}] if system else []
    question = {"role": "user", "content": "<image>" * tags + "What is seen?"}
    return {
        "messages": [*opening, question, {"role": "assistant", "content": answer}],
        "images": [IMAGE] if images is None else images,
        **more,
    }


def test_sft_rows_are_numbered_by_image(tmp_path):
    table = [swift("a"), swift("x", [OTHER], rejected_response=None), swift("b", [{"path": IMAGE, "bytes": None}])]
    assert rows("ms_swift", put(tmp_path / "in", SPD=table) / "SPD.json") == [
        {"id": "02aa-bb", "image": IMAGE, "trajectories": {"teacher1": "a", "teacher2": "b"}},
        {"id": "03cc-dd", "image": OTHER, "trajectories": {"teacher1": "x"}},
    ]


def test_dpo_rows_give_the_preferred_text_and_one_teacher_each(tmp_path):
    table = [swift("best", system="You are.", rejected_response=text) for text in ("a", "b")]
    source = put(tmp_path / "in", APO__jsonl=table)
    assert [row["trajectories"] for row in rows("ms_swift", source)] == [
        {"preferred": "best", "teacher1": "a", "teacher2": "b"}
    ]
    (row,) = rows("ms_swift", source, teacher="gpt5, grok4", preferred="t+")
    assert row["trajectories"] == {"t+": "best", "gpt5": "a", "grok4": "b"}


def test_both_files_together_say_the_same(tmp_path):
    """The rejected texts of DPO are the texts of SFT: seven teachers stay seven."""
    source = put(
        tmp_path / "in", SPD=[swift("a"), swift("b")], APO=[swift("best", rejected_response=text) for text in "ab"]
    )
    (row,) = rows("ms_swift", source)
    assert row["trajectories"] == {"preferred": "best", "teacher1": "a", "teacher2": "b"}
    put(source, APO=[swift("best", rejected_response=text) for text in "ba"])
    assert "SPD.json, item 1: '02aa-bb' has another text of teacher 'teacher1' in APO.json, item 1" in refusal(
        "ms_swift", source
    )


def test_rows_of_both_kinds_in_one_file_and_a_second_copy(tmp_path):
    """Kinds and files are numbered apart, or two teachers would be counted as four or six."""
    table = [swift("a"), swift("best", rejected_response="a"), swift("b"), swift("best", rejected_response="b")]
    (row,) = rows("ms_swift", put(tmp_path / "in", one=table, two=table))
    assert row["trajectories"] == {"teacher1": "a", "preferred": "best", "teacher2": "b"}


def test_equal_texts_of_two_teachers_are_two(tmp_path):
    """Two models that refuse in the same words."""
    (row,) = rows("ms_swift", put(tmp_path / "in", SPD=[swift("I cannot."), swift("I cannot.")]))
    assert row["trajectories"] == {"teacher1": "I cannot.", "teacher2": "I cannot."}


def test_a_key_of_the_rows_may_name_the_teacher(tmp_path):
    source = put(tmp_path / "in", SPD=[swift("b", model="grok4"), swift("a", model="gpt5")])
    assert "unknown key 'model'. Known: images, messages, rejected_response" in refusal("ms_swift", source)
    (row,) = rows("ms_swift", source, teacher_key="model")
    assert row["trajectories"] == {"grok4": "b", "gpt5": "a"}
    put(source, SPD=[swift("b", model="grok4"), swift("b", model="grok4")])
    assert f"item 2: image '{IMAGE}' has a text of teacher 'grok4' in SPD.json, item 1" in refusal(
        "ms_swift", source, teacher_key="model"
    )


def test_two_images_of_a_row_are_one_study(tmp_path):
    (row,) = rows("ms_swift", put(tmp_path / "in", SPD=[swift("a", [IMAGE, OTHER], tags=2)]))
    assert row["image"] == [IMAGE, OTHER] and row["id"] == "02aa-bb"


def test_without_tags_the_images_stand_in_front(tmp_path):
    assert len(rows("ms_swift", put(tmp_path / "in", SPD=[swift("a", tags=0)]))) == 1


def talk(*turns: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": said} for role, said in turns], "images": [IMAGE], **more}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ([], "expected an object with the keys messages, images, rejected_response, got []"),
        (swift("a", response="b"), "unknown key 'response'. Did you mean 'rejected_response'?"),
        (swift("a", label=True), "unknown key 'label'"),
        ({"images": [IMAGE]}, "'messages' must be a list of messages, got null"),
        (talk(("user", "?")), "messages must be [system,] user, assistant; got user"),
        (talk(), "messages must be [system,] user, assistant; got none"),
        (talk(("human", "?"), ("gpt", "a")), "messages must be [system,] user, assistant; got human, gpt"),
        (
            talk(("user", "?"), ("assistant", "a"), ("user", "?"), ("assistant", "a")),
            "messages must be [system,] user, assi",
        ),
        (talk(("user", "?"), ("assistant", ["a"])), 'the content of a message must be a string, got ["a"]'),
        ({"messages": [{"role": "user", "text": "?"}]}, "unknown key 'text' of a message"),
        ({**swift("a"), "images": None}, "'images' must be a list of paths, got null"),
        ({**swift("a"), "images": IMAGE}, "'images' must be a list of paths, got \"files"),
        (swift("a", []), "has no image"),
        (swift("a", [{"bytes": "AAAA"}]), "images are embedded as bytes"),
        (swift("a", tags=2), "messages have 2 times <image>, but there are 1 images"),
        (swift("a", [IMAGE, OTHER], tags=1), "messages have 1 times <image>, but there are 2 images"),
        (swift("a <image>"), "messages have 2 times <image>, but there are 1 images"),
        (swift("a", rejected_response=["b"]), "'rejected_response' must be a string, got [\"b\"]"),
    ],
)
def test_wrong_rows_are_named(tmp_path, row, why):
    source = put(tmp_path / "in", SPD=[swift("x", [OTHER]), row])
    assert refusal("ms_swift", source).startswith(
        f"{source}: 1 problems; nothing was written.\nSPD.json, item 2: {why}"
    )


def test_preferred_texts_that_differ_and_names_that_do_not_fit(tmp_path):
    source = put(tmp_path / "in", APO=[swift(best, rejected_response=text) for best, text in ("xa", "yb")])
    assert "item 2: '02aa-bb' has another text of teacher 'preferred' in APO.json, item 1" in refusal(
        "ms_swift", source
    )
    source = put(tmp_path / "in", APO=[swift("x", rejected_response=text) for text in "ab"])
    assert "item 2: image 'files/" in refusal("ms_swift", source, teacher="gpt5")
    assert "has more texts than teacher names: gpt5" in refusal("ms_swift", source, teacher="gpt5")
    assert "Give teacher or teacher_key, not both" in refusal("ms_swift", source, teacher="a", teacher_key="b")
    assert "teacher names must differ" in refusal("ms_swift", source, teacher="a,preferred")
    assert "teacher names must differ" in refusal("ms_swift", source, teacher="a,a")
    named = put(tmp_path / "named", APO=[swift("x", rejected_response="a", model=None)])
    assert "'model' must name the teacher, got null" in refusal("ms_swift", named, teacher_key="model")
    put(named, APO=[swift("x", model="preferred")])
    assert "'model' must name the teacher, got \"preferred\"" in refusal("ms_swift", named, teacher_key="model")


# CXR-MAX by a guess


def test_both_guessed_forms_of_the_release(tmp_path):
    source = put(
        tmp_path / "in",
        one=[{"image": IMAGE, "labels": ["Edema"], "responses": {"gpt5": "a"}}],
        two__jsonl=[{"image": IMAGE, "model": "grok4", "answer": "b"}, {"img": OTHER, "teacher": "grok4", "text": "c"}],
    )
    assert rows("cxr_max", source) == [
        {"id": "02aa-bb", "image": IMAGE, "labels": ["Edema"], "trajectories": {"gpt5": "a", "grok4": "b"}},
        {"id": "03cc-dd", "image": OTHER, "trajectories": {"grok4": "c"}},
    ]


@pytest.mark.parametrize(
    ("item", "why"),
    [
        ({"image": IMAGE, "trajectories": {}, "chain": "x"}, "unknown key 'chain'"),
        ({"image": IMAGE, "text": "x"}, "must have either 'trajectories', or 'teacher' and 'text'"),
        ({"image": IMAGE, "model": "gpt5"}, "must have either 'trajectories', or 'teacher' and 'text'"),
        ({"image": IMAGE, "model": " ", "text": "x"}, "must have either 'trajectories', or 'teacher' and 'text'"),
        ({"image": IMAGE, "model": "a", "text": "x", "trajectories": {}}, "must have either 'trajectories', or 'teach"),
        ({"image": IMAGE, "trajectories": ["x"]}, "'trajectories' must be an object of texts by teacher, got [\"x\"]"),
        ({"image": IMAGE, "trajectories": {"a": 1}}, "the text of 'a' must be a string, got 1"),
    ],
)
def test_other_columns_are_refused_with_what_to_do(tmp_path, item, why):
    message = refusal("cxr_max", put(tmp_path / "in", data=[item]))
    assert f"data.json, item 1: {why}" in message
    assert "columns of the released CXR-MAX were not known" in message and "columns=theirs:ours" in message


def test_the_published_example_is_imported_unchanged(tmp_path):
    if not EXAMPLE.is_file():
        pytest.skip("the worked example is not here")
    example = json.loads(EXAMPLE.read_text(encoding="utf-8"))
    assert "example.json: unknown key 'image_size'" in refusal("cxr_max", EXAMPLE)
    unused = ",".join(f"{key}:-" for key in example if key not in ("labels", "trajectories"))
    assert "has neither an id nor an image" in refusal("cxr_max", EXAMPLE, columns=unused)
    source = put(tmp_path / "in", x=[{"image": IMAGE, **{key: example[key] for key in ("labels", "trajectories")}}])
    target = tmp_path / "cxr_max.jsonl"
    found = import_file("cxr_max", source, target)
    assert found.trajectories == dict.fromkeys(example["trajectories"], 1)
    assert found.median_length["GPT-5-nano"] == 706 and found.median_length["Grok-4"] == 4268
    assert {item.teacher: item.text for item in read_jsonl(target)} == example["trajectories"]
    assert [item.teacher for item in read_jsonl(target) if refused(item.text)] == ["Moonshot-v1"]


# The command


def test_what_is_imported_is_a_data_set_with_its_teachers(tmp_path):
    source = put(tmp_path / "in", gpt5={IMAGE: "abc", OTHER: "a"}, grok4={IMAGE: " "})
    target = tmp_path / "set" / "cxr_max.jsonl"
    summary = import_file("teacher_folder", source, target)
    assert str(summary).splitlines() == [
        "2 images, 0 with labels, 0 with a report",
        "gpt5: 2 trajectories, median 2 characters",
        "grok4: 1 trajectories, 1 of them empty, median 1 characters",
    ]
    data = CxrMax(root=str(target.parent))
    assert [study.id for study in data.index] == ["02aa-bb", "03cc-dd"]
    assert {study.patient for study in data.index} == {"10000032"} and data.faults == []
    assert [item.text for item in Recorded("gpt5", str(target)).signal(data.index, [0.0, 1.0])] == ["abc", "a"]


def test_own_lines_are_imported_as_they_are(tmp_path):
    line = {
        "id": "s1",
        "image": IMAGE,
        "labels": [],
        "report": "r",
        "patient": "p",
        "split": "train",
        "trajectories": {"a": "x"},
    }
    source, target = put(tmp_path / "in", own__jsonl=[line]), tmp_path / "out.jsonl"
    summary = import_file("cxr_max", source, target)
    assert (summary.images, summary.labelled, summary.reports) == (1, 1, 1)
    assert [json.loads(text) for text in target.read_text().splitlines()] == [line]


@pytest.mark.parametrize(
    ("format", "source", "target", "options", "why"),
    [
        ("teacher_fold", "in", "o.jsonl", {}, "No format is named 'teacher_fold'. Did you mean 'teacher_folder'?"),
        (
            "ms_swift",
            "in",
            "o.jsonl",
            {"teachr": "a"},
            "Format 'ms_swift' has no option 'teachr'. Did you mean 'teacher'?",
        ),
        ("ms_swift", "in", "o.jsonl", {"source": "a"}, "Format 'ms_swift' has no option 'source'."),
        ("teacher_folder", "none", "o.jsonl", {}, "none is not there. Give a JSON or JSONL file, or a folder of them."),
        ("teacher_folder", "empty", "o.jsonl", {}, "empty has no .json and no .jsonl file."),
        ("teacher_folder", "empty/x.csv", "o.jsonl", {}, "x.csv must end in .json or .jsonl."),
        ("teacher_folder", "in", "o.json", {}, "The target must end in .jsonl, got "),
        ("teacher_folder", "in", "in/o.jsonl", {}, "in/o.jsonl lies among the sources in "),
        ("teacher_folder", "in/b.jsonl", "in/b.jsonl", {}, "in/b.jsonl lies among the sources in "),
        ("teacher_folder", "in", "folder.jsonl", {}, "folder.jsonl is a folder. Give a file."),
        ("teacher_folder", "nothing", "o.jsonl", {}, "nothing holds no trajectory; nothing was written."),
    ],
)
def test_calls_that_cannot_work(tmp_path, format, source, target, options, why):
    put(tmp_path / "in", a={"1.jpg": "x"}, b__jsonl=[{"image": "2.jpg", "text": "y"}])
    put(tmp_path / "empty", x__csv="a,b")
    put(tmp_path / "nothing", a=[])
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError) as caught:
        import_file(format, tmp_path / source, tmp_path / target, **options)
    assert why in str(caught.value)
    assert not (tmp_path / "o.jsonl").exists()


def test_a_target_that_is_there_is_replaced_whole_or_not_at_all(tmp_path):
    source, target = put(tmp_path / "in", a={"1.jpg": "new"}), tmp_path / "out.jsonl"
    target.write_text("old")
    with pytest.raises(DataError, match=r"out\.jsonl, line 2 would be wrong \('id' must be .*nothing was written"):
        write([{"id": "a", "image": "b", "trajectories": {}}, {"id": ""}], target)
    assert target.read_text() == "old"
    import_file("teacher_folder", source, target)
    assert [item.text for item in read_jsonl(target)] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out.jsonl"]
