"""Teachers' texts as people have them: whatever the file, the same texts reach the same studies, or it says why not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT

from apo_lightning import config
from apo_lightning.cli import audit
from apo_lightning.errors import ConfigError, DataError
from apo_lightning.experiment import told_texts
from apo_lightning.own_texts import offered, reading
from apo_lightning.own_texts.matching import ID, NAME, PATH, ZEROS
from apo_lightning.teachers.recorded import Recorded
from apo_lightning.types import Study

SHARED = ROOT.parent / "shared"
FAULTS, NIH = SHARED / "faults/teacher_files", SHARED / "data/nih_chestxray14_sample"
IDS = [f"{n:08d}_00{n % 3}" for n in range(1, 7)]
STUDIES = [Study(name, name, "train", (f"/data/nih/images/{name}.png",), {}) for name in IDS]
SAID = {
    (name, teacher): f'{teacher} says of {name}:\n\n- **Edema**: present; no effusion, "none"\n'
    for name in IDS
    for teacher in ("gpt-4o", "claude")
}
ROWS = [
    {"image": f"img/{name}.png", "model": teacher, "response": text, "prompt": "Describe", "usage": '{"tokens": 3}'}
    for (name, teacher), text in SAID.items()
]


def table(rows: list[dict[str, Any]], mark: str = ",", end: str = "\n", names: dict[str, str] | None = None) -> str:
    out = io.StringIO()
    head = list(rows[0])
    writer = csv.writer(out, delimiter=mark, lineterminator=end)
    writer.writerows([[(names or {}).get(key, key) for key in head], *([row.get(key) for key in head] for row in rows)])
    return out.getvalue()


def nested(value: Callable[[str, str], Any] = lambda teacher, text: text) -> dict[str, dict[str, Any]]:
    return {
        f"{name}.png": {teacher: value(teacher, SAID[name, teacher]) for teacher in ("gpt-4o", "claude")}
        for name in IDS
    }


def wide(names: tuple[str, str] = ("gpt-4o", "claude"), **more: str) -> list[dict[str, str]]:
    texts = [[SAID[name, "gpt-4o"], SAID[name, "claude"]] for name in IDS]
    return [
        {"study_id": name, **dict(zip(names, said, strict=True)), **more} for name, said in zip(IDS, texts, strict=True)
    ]


def openai(name: str, model: str, text: str) -> dict[str, Any]:
    choices = [{"index": 0, "message": {"role": "assistant", "content": text}}]
    return {
        "id": f"b{name}",
        "custom_id": name,
        "response": {"status_code": 200, "body": {"model": model, "choices": choices}},
    }


def anthropic(name: str, model: str, text: str) -> dict[str, Any]:
    message = {"model": model, "role": "assistant", "content": [{"type": "text", "text": text}]}
    return {"custom_id": name, "result": {"type": "succeeded", "message": message}}


def turned(rows: list[dict[str, Any]], **changes: Callable[[Any], Any]) -> list[dict[str, Any]]:
    return [{key: changes.get(key, lambda value: value)(value) for key, value in row.items()} for row in rows]


EXCEL = {"image": "Image Path", "model": "Model Name", "response": "Response Text"}
DOCUMENTS = {
    "rows": ROWS,
    "behind data": {"meta": {"n": 12}, "data": ROWS},
    "behind results": {"results": nested()},
    "by image": nested(),
    "by image and object": nested(lambda teacher, text: {"response": text, "usage": {"tokens": 3}}),
    "by image, a vendor's object": nested(lambda teacher, text: {"choices": [{"message": {"content": text}}]}),
    "by image, rows": {n: [{"model": t, "response": SAID[n, t]} for t in ("gpt-4o", "claude")] for n in IDS},
    "by teacher": {t: {f"{n}.png": SAID[n, t] for n in IDS} for t in ("gpt-4o", "claude")},
    "by teacher, ids": {t: {n: SAID[n, t] for n in IDS} for t in ("gpt-4o", "claude")},
    "by teacher, rows": {t: [{"image": f"{n}.png", "text": SAID[n, t]} for n in IDS] for t in ("gpt-4o", "claude")},
    "columns": {key: [row[key] for row in ROWS] for key in ROWS[0]},
    "pandas columns": {key: {str(i): row[key] for i, row in enumerate(ROWS)} for key in ROWS[0]},
    "pandas index": {str(i): row for i, row in enumerate(ROWS)},
    "pandas split": {"columns": list(ROWS[0]), "index": [0], "data": [list(row.values()) for row in ROWS]},
    "texts by teacher in a row": [{"image": image, "responses": said} for image, said in nested().items()],
    "texts in a list in a row": [
        {"study": n, "answers": [{"model": t, "answer": SAID[n, t]} for t in ("gpt-4o", "claude")]} for n in IDS
    ],
    "rows by study": {"studies": {name[:-4]: {"responses": own} for name, own in nested().items()}},
    "messages": [
        {"images": [row["image"]], "model": row["model"], "messages": [
            {"role": "user", "content": "<image>Describe"}, {"role": "assistant", "content": row["response"]}]}
        for row in ROWS
    ],
}  # fmt: skip
LINES = {
    "rows": ROWS,
    "own form": [{"study": name, "teacher": teacher, "text": text} for (name, teacher), text in SAID.items()],
    "own form with more": [{"study": n, "teacher": t, "text": x, "date": "2025"} for (n, t), x in SAID.items()],
    "one an image": [
        {"id": n, "image": f"{n}.png", "trajectories": said} for n, said in zip(IDS, nested().values(), strict=True)
    ],
    "OpenAI batch": [openai(name, teacher, text) for (name, teacher), text in SAID.items()],
    "Anthropic batch": [anthropic(name, teacher, text) for (name, teacher), text in SAID.items()],
    "no suffix, upper case": turned(ROWS, image=lambda path: Path(path).stem.upper()),
    "Windows": turned(ROWS, image=lambda path: "C:\\Users\\me\\" + path.replace("/", "\\").replace(".png", ".PNG")),
}
TABLES = {
    "plain": (table(ROWS), "utf-8"),
    "mark of byte order, CRLF": (table(ROWS, end="\r\n"), "utf-8-sig"),
    "semicolons": (table(ROWS, ";"), "utf-8"),
    "tabs, UTF-16": (table(ROWS, "\t"), "utf-16"),
    "Excel's headers": (table(ROWS, ";", "\r\n", EXCEL), "utf-8-sig"),
    "wide": (table(wide()), "utf-8"),
    "wide with other words": (table(wide(("gpt-4o_answer", "claude_answer"), notes="n", split="a b")), "utf-8"),
    "wide beside a reference": (table(wide(report="The radiologist's own words.")), "utf-8"),
    "pandas' index": ("\n".join(f"{i - 1 if i else ''},{line}" for i, line in enumerate(
        table(turned(ROWS, response=lambda t: t.replace("\n", " "))).splitlines())), "utf-8"),
}  # fmt: skip


def said(path: Path, teacher: str, studies: list[Study] = STUDIES, **more: Any) -> dict[str, str]:
    found = Recorded(teacher, str(path), **more).signal(studies, [0.0] * len(studies))
    return {one.study: one.text for one in found}


def require_all(path: Path) -> None:
    """Each teacher's own words on each study, but for blanks around a cell of a table."""
    for teacher in ("gpt-4o", "claude"):
        read = {name: " ".join(text.split()) for name, text in said(path, teacher).items()}
        assert read == {name: " ".join(SAID[name, teacher].split()) for name in IDS}
    assert list(offered.teachers(str(path)).values()) == ["gpt-4o", "claude"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_json_document_of_any_usual_shape(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.json").write_text(json.dumps(DOCUMENTS[name], indent=1), encoding="utf-8")
    require_all(tmp_path / "t.json")


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("file", ["t.jsonl", "t.json", "t.txt"])
def test_json_lines_under_any_name(tmp_path: Path, name: str, file: str) -> None:
    (tmp_path / file).write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(json.dumps(row).encode() for row in LINES[name]))
    require_all(tmp_path / file)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_usual_form(tmp_path: Path, name: str) -> None:
    text, encoding = TABLES[name]
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    require_all(tmp_path / "t.csv")


def test_parquet_and_a_folder_of_one_file_a_teacher(tmp_path: Path) -> None:
    pd.DataFrame(ROWS).to_parquet(tmp_path / "t.parquet")
    require_all(tmp_path / "t.parquet")
    (tmp_path / "folder").mkdir()
    for teacher in ("claude", "gpt-4o"):
        rows = {f"{name}.png": SAID[name, teacher] for name in IDS}
        (tmp_path / f"folder/{teacher}.json").write_text(json.dumps(rows))
    assert said(tmp_path / "folder", "gpt-4o") == {name: SAID[name, "gpt-4o"] for name in IDS}
    assert list(offered.teachers(str(tmp_path / "folder"))) == ["claude", "gpt-4o"]


@pytest.mark.parametrize("file", ["teachers.csv", "teachers.jsonl", "rows.json", "by_image.json"])
@pytest.mark.skipif(not FAULTS.is_dir(), reason="needs shared/faults")
def test_the_files_that_went_wrong(file: str) -> None:
    rows = json.loads((FAULTS / "rows.json").read_text())
    for name, teacher in (("gpt", "gpt-4o"), ("claude", "claude-sonnet-4"), ("gemini", "gemini-2.5-pro")):
        wanted = {Path(row["image"]).stem: row["response"] for row in rows if row["model"] == teacher}
        studies = [Study(one, one, "train", (f"/x/{one}.png",), {}) for one in wanted]
        assert said(FAULTS / file, name, studies) == wanted


def jsonl(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(study: object, text: object = "No edema.", teacher: str = "gpt", key: str = "study") -> dict[str, object]:
    return {key: study, "model": teacher, "response": text}


def study(id_: str, *images: str) -> Study:
    return Study(id_, id_, "train", images, {})


@pytest.mark.parametrize(
    ("written", "studies", "how"),
    [
        (7, [study("7"), study("8")], ID),
        (7.0, [study("7"), study("8")], ID),
        ("7", [study("007"), study("012")], ZEROS),
        (12, [study("007"), study("012")], ZEROS),
        ("0007", [study("0007"), study("7")], ID),
        ("p1/s1/view1.jpg", [study("a", "/d/p1/s1/view1.jpg"), study("b", "/d/p2/s1/view1.jpg")], PATH),
        ("IM_1.DCM", [study("a", "/d/im_1.dcm"), study("b", "/d/im_2.dcm")], NAME),
        ("02aa804e-bde0afdd", [study("s50414267", "/m/02aa804e-bde0afdd.jpg")], NAME),
        ("https://x.org/im_2.png?raw=1", [study("b", "/d/im_2.png"), study("a", "/d/im_1.png")], NAME),
        ("D:\\x\\d\\im.1.png", [study("a", "/home/d/im.1.png"), study("b", "/home/d/im.2.png")], PATH),
        ("p10/p10000032/s50414267/x.jpg", [study("s50414267", "/m/p10/p10000032/s50414267/x.jpg")], PATH),
    ],
)  # fmt: skip
def test_what_a_study_is_matched_by(tmp_path: Path, written: object, studies: list[Study], how: str) -> None:
    own = Recorded("gpt", str(jsonl(tmp_path / "t.jsonl", row(written)))).matched(studies)
    wanted = next(one.id for one in studies if one.id != "8") if written != 12 else "012"
    assert (list(own.said), dict(own.by)) == ([wanted], {how: 1})


@pytest.mark.parametrize(
    ("written", "studies", "why"),
    [
        (["1"], [study("001"), study("01")], "none for the 2 studies"),  # zeros are no padding where lengths differ
        (["x.png"], [study("a", "/1/x.png"), study("b", "/2/x.png")], "'x.png' may be an image of 'a' or 'b'"),
        (["p/x.png", "q/x.png"], [study("a", "/d/x.png")], "'p/x.png' and 'q/x.png' both end as one image of 'a' does"),
        (["1.png"], [study("1", "/d/2.png"), study("2", "/d/1.png")], "study '1' by its id, and '2' by its file name"),
        (
            ["p9/s7/view1.png"],
            [*(study(f"a{n}", f"/p{n}/s1/view1.png") for n in range(9)), study("b", "/p1/s7/view1.png")],
            "end in 's7/view1', as short as ends that studies share",
        ),
    ],
)
def test_what_may_be_several_studies_is_refused(
    tmp_path: Path, written: list[str], studies: list[Study], why: str
) -> None:
    path = jsonl(tmp_path / "t.jsonl", *map(row, written))
    with pytest.raises(DataError, match=why):
        Recorded("gpt", str(path)).signal(studies, [0.0] * len(studies))


def test_the_surest_column_goes_first_and_another_helps(tmp_path: Path) -> None:
    rows = [{"id": f"chatcmpl-{n}", "image": f"{n}.png", "model": "gpt", "text": f"text {n}"} for n in range(3)]
    studies = [study(f"s{n}", f"/d/{n}.png") for n in range(3)]
    assert said(jsonl(tmp_path / "a.jsonl", *rows), "gpt", studies) == {f"s{n}": f"text {n}" for n in range(3)}
    numbered = [{"id": 2 - n, "image": f"{n}.png", "model": "gpt", "text": f"text {n}"} for n in range(3)]
    named = [study(str(n), f"/d/{n}.png") for n in range(3)]
    assert said(jsonl(tmp_path / "b.jsonl", *numbered), "gpt", named) == {str(n): f"text {n}" for n in range(3)}


def test_the_number_of_a_row_is_no_study(tmp_path: Path) -> None:
    rows = [{"id": n - 1, "image": f"{n}.png", "model": "gpt", "text": f"text {n}"} for n in range(1, 6)]
    named = [study(str(n), f"/d/{n}.png") for n in range(3)]
    own = Recorded("gpt", str(jsonl(tmp_path / "t.jsonl", *rows))).matched(named)
    assert {name: one.text for name, one in own.said.items()} == {"1": "text 1", "2": "text 2"}
    assert own.strangers == ["3.png", "4.png", "5.png"] and own.silent == ["0"]


def test_columns_by_mapping(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "dicom,who,gpt_answer,claude_answer,text\nx1,a,one a,two a,no\nx2,b,one b,two b,no\n"
    )
    studies = [study("x1"), study("x2")]
    columns = {"study": "DICOM", "text": "claude_answer"}
    assert said(tmp_path / "t.csv", "any", studies, columns=columns) == {"x1": "two a", "x2": "two b"}
    columns = {"image": "dicom", "teacher": "who", "text": "gpt_answer"}
    assert said(tmp_path / "t.csv", "b", studies, columns=columns) == {"x2": "one b"}
    with pytest.raises(DataError, match=r"columns\.text names 'gpt_anwer'.*Did you mean 'gpt_answer'"):
        said(tmp_path / "t.csv", "b", studies, columns={"text": "gpt_anwer"})
    with pytest.raises(ValueError, match=r"columns names no 'txet'\. Did you mean 'text'"):
        Recorded("a", "t.csv", columns={"txet": "x"})


def test_missing_texts_are_none_and_counted(tmp_path: Path) -> None:
    odd = ["", "nan", "NaN", None, "None", float("nan")]
    rows = [row("1"), *(row(str(n), text) for n, text in enumerate(odd, 2))]
    for write in (
        lambda: jsonl(tmp_path / "t.jsonl", *rows),
        lambda: (pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet"), tmp_path / "t.parquet")[1],
        lambda: (pd.DataFrame(rows).to_csv(tmp_path / "t.csv"), tmp_path / "t.csv")[1],
    ):
        path = write()
        assert said(path, "gpt", [study(str(n)) for n in range(1, 9)]) == {"1": "No edema."}
        assert reading.read(path).without == len(odd)


def test_repeated_texts(tmp_path: Path) -> None:
    studies = [study(f"a{n}") for n in range(20)]
    rows = [row(one.id, f"text {one.id}") for one in studies]
    same = jsonl(tmp_path / "same.jsonl", *rows, *rows)
    assert said(same, "gpt", studies) == {one.id: f"text {one.id}" for one in studies}
    few = jsonl(tmp_path / "few.jsonl", *rows, row("a3", "asked again"), row("a4", " "))
    assert said(few, "gpt", studies)["a3"] == "asked again" and said(few, "gpt", studies)["a4"] == "text a4"
    assert said(few, "gpt", studies, repeated="first")["a3"] == "text a3"
    many = jsonl(tmp_path / "many.jsonl", *rows, *(row(f"a{n}", "again") for n in range(3)))
    for path, how in ((many, None), (few, "refuse")):
        with pytest.raises(DataError, match=r"study 'a\d' of teacher 'gpt' stands on lines .*repeated=last"):
            said(path, "gpt", studies, repeated=how)
    assert said(many, "gpt", studies, repeated="last")["a2"] == "again"


def test_an_object_may_name_the_teacher_of_all_its_rows(tmp_path: Path) -> None:
    rows = [{"image": "1.png", "response": "No edema."}]
    (tmp_path / "t.json").write_text(json.dumps({"model": "gpt-4o", "results": rows}))
    assert offered.teachers(str(tmp_path / "t.json")) == {"gpt-4o": "gpt-4o"}


def test_a_name_means_the_one_teacher_that_has_its_words(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path / "t.jsonl", row("1", teacher="gpt-4o"), row("1", teacher="gpt-5"), row("1", teacher="Grok 4")
    )
    assert said(path, "grok4", [study("1")]) and said(path, "GPT_5", [study("1")])
    with pytest.raises(
        DataError, match=r"no trajectory of 'gpt'.*Known: Grok 4, gpt-4o, gpt-5.*teachers\.gpt\.teacher"
    ):
        said(path, "gpt", [study("1")])


def test_rows_of_no_use_are_counted_and_too_many_refused(tmp_path: Path) -> None:
    good = [row(f"a{n}") for n in range(40)]
    path = jsonl(tmp_path / "t.jsonl", *good, {"model": "gpt", "response": "of nothing"})
    assert reading.read(path).faults == [(f"{path}:41", 'names no study or image; it has ["model", "response"]')]
    with pytest.raises(DataError, match=r"t\.jsonl:1: names no study or image.*40 of 41 rows"):
        reading.read(jsonl(path, *({"model": "gpt", "response": "x"} for _ in good), row("a")))
    with pytest.raises(DataError, match=r'has no text; it has \["image", "labels"\]'):
        reading.read(jsonl(path, {"image": "1.png", "labels": 1}))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("t.json", b'{"a": 1, "b": [', r"t\.json:1: not JSON"),
        ("t.json", b'"text"', "holds str, no rows"),
        ("t.json", b'{"a": 1, "b": 2}', "an object with the keys a, b, and no rows"),
        ("t.xlsx", b"PK\x03\x04xx", "Excel workbook"),
        ("t.csv", b"image,response\n", "has a header, and no row"),
        ("t.csv", b"image,model,spoken\n1,a,b\n", "It has: image, model, spoken. Say which is what, as columns="),
        ("t.csv", b"image,model,response\n1,a,\n", "has no texts of teachers .*It has: image, model, response"),
    ],
)
def test_what_cannot_be_read_says_so(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        reading.read(tmp_path / file)


SMOKE = "extends: [{smoke}]\nname: mine\nteachers: {teachers}\n"


def loaded(tmp_path: Path, teachers: str, *words: str) -> dict[str, Any]:
    path = tmp_path / "mine.yaml"
    path.write_text(SMOKE.format(smoke=ROOT / "experiments/smoke.yaml", teachers=teachers))
    return config.load(path, words).teachers


def test_all_teachers_of_a_file_at_once(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "t.jsonl", *(row("1", teacher=name) for name in ("gpt-4o", "gemini-2.5-pro", "x/claude")))
    found = loaded(
        tmp_path, f"{{from: {path}, weights: {{gpt: 0.5, gemini-2.5-pro: 0}}}}", "teachers.x_claude.weight=0.2"
    )
    assert {name: (own["kind"], own["teacher"], own["weight"]) for name, own in found.items()} == {
        "gpt-4o": ("recorded", "gpt-4o", 0.5),
        "gemini-2_5-pro": ("recorded", "gemini-2.5-pro", 0.0),
        "x_claude": ("recorded", "x/claude", 0.2),
    }
    beside = loaded(tmp_path, f"{{from: {path}, columns: {{study: study}}, old: {{kind: recorded, path: {path}}}}}")
    assert set(beside) == {"gpt-4o", "gemini-2_5-pro", "x_claude", "old"}
    assert beside["gpt-4o"]["columns"] == {"study": "study"}
    assert list(loaded(tmp_path, "{}", f"teachers.from={path}")) == list(found)


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ("{from: none.csv}", r"teachers\.from \(.*mine\.yaml\): Cannot read trajectories from none\.csv"),
        ("{from: PATH, weights: {grok: 1}}", r"weights names no teacher 'grok'\. .*Known: gpt"),
        ("{from: PATH, gpt: {kind: recorded, path: x}}", "has a teacher 'gpt', and so has the experiment"),
        ("{from: 3}", "must be the path of a file of texts"),
    ],
)
def test_what_is_wrong_with_such_a_file_names_the_key(tmp_path: Path, teachers: str, message: str) -> None:
    path = jsonl(tmp_path / "t.jsonl", row("1"))
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, teachers.replace("PATH", str(path)))


def test_what_a_run_says_of_its_texts(tmp_path: Path) -> None:
    rows = [{**row(f"{n}.png", "The image shows a chest.", key="image"), "usage": 3} for n in range(2, 8)]
    path = jsonl(tmp_path / "t.jsonl", *rows)
    studies = [study(f"s{n}", f"/d/{n}.png") for n in range(6)]
    lines, facts = told_texts.tell({"gpt": Recorded("gpt", str(path))}, studies, ["edema"])
    assert lines == [
        f"{path}: study in 'image'; teacher in 'model'; text in 'response'; not read: usage",
        "gpt: texts on 4 of 6 studies, 4 by file name",
        "gpt: 2 texts name no study here, as 6.png, 7.png",
        "gpt: 2 studies have no text, as s0, s1",
        f"gpt: 4 of 4 texts state none of the findings: see how they are read by 'apo audit {path}'",
    ]
    assert facts == {"gpt": {"by": {"file name": 4}, "strangers": 2, "silent": 2}}


def test_the_audit_reads_what_a_teacher_reads(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(table(ROWS))
    read = audit.read(tmp_path / "t.csv")
    assert [(one["study"], one["teacher"]) for one in read] == [(one["image"], one["model"]) for one in ROWS]
    assert [one["study"] for one in audit.read(jsonl(tmp_path / "t.jsonl", *ROWS))] == [one["image"] for one in ROWS]
