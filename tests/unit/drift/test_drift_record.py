"""The record of drift: from files and runs to drift.json, the terminal, Markdown and the page."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from apo_lightning import reports
from apo_lightning.cli.commands import main
from apo_lightning.collecting.journal import Answer, Journal
from apo_lightning.drift import run
from apo_lightning.drift.corpus import Corpus
from apo_lightning.drift.measured import Measured, intervals, shared
from apo_lightning.experiment import drift_labels, drift_sources
from apo_lightning.reports import drift, drift_tables, drift_words, figures_drift
from apo_lightning.text.mentions import MENTIONS
from tests.helpers import fake_run

NAMES = ["edema", "pleural_effusion"]
SAID = {
    "a": ("Edema. Left pleural effusion.", "No edema. No pleural effusion."),
    "b": ("Edema. Right pleural effusion.", "No edema. Small left pleural effusion."),
    "c": ("I cannot interpret medical images.", "Possible edema. No pleural effusion."),
}


def texts(studies: int = 8) -> dict[str, dict[str, str]]:
    return {f"s{i}": {name: own[i % 2] for name, own in SAID.items()} for i in range(studies)}


def record(studies: int = 8, **how) -> dict:
    truth = {f"s{i}": {"edema": float(i % 2 == 0), "pleural_effusion": 1.0} for i in range(studies)}
    corpus = Corpus.read(texts(studies), NAMES, truth, {f"s{i}": f"p{i // 2}" for i in range(studies)})
    return run.measure(corpus, resamples=50, orders=19, signs=19, style=False, **how) | {"source": "x"}


def test_the_record_by_hand() -> None:
    """Even studies: a and b agree on edema and not on the side of the effusion, c refuses: 1 of 2 statements in common
    is contradicted. Odd ones: edema a-b alike, a-c and b-c not; effusion a-b and b-c not, a-c alike: 4 of 6."""
    found = record()
    assert (found["version"], found["studies"], found["patients"], found["labelled"]) == (1, 8, 4, 8)
    assert found["kinds"]["c"] == {"refused": 4, "nothing": 0, "normal": 0, "stated": 4}
    conflict = found["conflict"]
    assert conflict["mean"] == pytest.approx((1 / 2 + 4 / 6) / 2, abs=1e-6) and conflict["beyond"]["studies"] == 4
    assert conflict["histogram"]["counts"] == [0, 0, 0, 0, 4, 0, 4, 0, 0, 0]  # .5 is not above .5
    assert [one["study"] for one in conflict["worst"]] == ["s1", "s3", "s5", "s7"]
    assert conflict["worst"][0]["findings"] == {name: pytest.approx(2 / 3, abs=1e-6) for name in NAMES}
    assert found["steps"]["statements"]["position"]["conflict"]["mean"][-1] == pytest.approx((0.5 + 2 / 3) / 2)
    assert found["profiles"]["a"]["recall"]["pleural_effusion"]["value"] == 0.5


def test_thresholds_are_those_of_the_gate() -> None:
    found = record(beyond=(0.4, 0.9))["conflict"]
    assert found["thresholds"] == {"studies": 0.4, "findings": 0.9}
    assert found["beyond"] == {"studies": 8, "findings": {"edema": 0, "pleural_effusion": 4}}


def test_the_record_is_plain_json_without_nan() -> None:
    found = record()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert run.rounded({"a": np.float64("nan"), "b": (0.12345678,)}) == {"a": None, "b": [0.123457]}


@pytest.mark.parametrize("studies", [1, 2, 8])
def test_what_is_shown_of_few_studies_too(studies: int) -> None:
    found = record(studies)
    said = list(drift_words.sentences(found))
    assert said[0].startswith("Is it worth training on t+ (the text that the student writes after it has read all")
    assert said[1].startswith(f"3 teachers, {3 * studies} texts on {studies} stud")
    tables = {table.name: table for table in drift_tables.tables(found)}
    rows = dict(tables["drift-teachers"].rows)
    assert all(len(cells) == len(tables["drift-teachers"].heads) for cells in rows.values())
    assert rows["c"][tables["drift-teachers"].heads.index("refuses")].text in ("1.00", "0.50")
    assert all(figure.data.startswith(b"\x89PNG") for figure in drift.draw(found))


def test_a_file_from_the_command_line(tmp_path: Path, capsys) -> None:
    """Labels from a table, patients too; drift.md, figures and drift.json come to lie in a folder."""
    file, labels = tmp_path / "t.jsonl", tmp_path / "labels.csv"
    rows = [{"study": s, "teacher": t, "text": text} for s, own in texts().items() for t, text in own.items()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    labels.write_text(
        "study,patient,Edema,pleural effusion\n" + "".join(f"s{i},p{i},{(i + 1) % 2},\n" for i in range(8))
    )
    assert main(["drift", str(file), "--findings", "edema,pleural effusion", "--labels", str(labels)]) == 0
    folder = tmp_path / "t_drift"
    found = json.loads((folder / "drift.json").read_text())
    assert (found["source"], found["patients"], found["labelled"], found["whole"]) == ("t", 8, 8, True)
    page = (folder / "drift.md").read_text()
    assert "contradict each other" in page and "figures/drift_steps.png" in page
    assert {path.name for path in (folder / "figures").iterdir()} >= {"drift_agreement.png", "drift_steps.png"}
    assert "Studies in conflict, the worst first" in capsys.readouterr().out


def test_lines_of_images_bring_their_labels_and_reports(tmp_path: Path) -> None:
    row = {"id": "s0", "image": "x.png", "patient": "p0", "trajectories": {"a": "Edema.", "b": "No edema."}}
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({**row, "labels": ["Edema"]}) + "\n")
    found = drift_sources.of_files([path], NAMES)
    assert found.corpus.truth.tolist() == [[1, 0]] and found.corpus.patients == ("p0",)
    assert "taken for absent" in found.notes[0]
    path.write_text(json.dumps({**row, "report": "No edema."}) + "\n")
    found = drift_sources.of_files([path], NAMES)
    assert found.corpus.truth[0, 0] == 0 and np.isnan(found.corpus.truth[0, 1]) and "reports" in found.notes[0]


def _journal(folder: Path, teacher: str, *answers: dict) -> None:
    for row in answers:
        Journal(folder, teacher).append(Answer(**{"key": "k", "asks": "a", "teacher": teacher, "text": "", **row}))


def test_what_collect_has_written_is_read_as_it_lies(tmp_path: Path, capsys) -> None:
    """Of several answers on a study the newest without a mark; thinking is none of the answer."""
    for i, text in enumerate(("Edema.", "No edema.")):
        _journal(tmp_path, "one", {"study": f"s{i}", "text": text})
    refused = {"study": "s0", "mark": "refused", "text": "I cannot."}
    _journal(tmp_path, "two", {"study": "s0", "text": "No edema.", "thinking": "Effusion?"}, refused)
    found = drift_sources.of_files(sorted(tmp_path.glob("*.jsonl")), NAMES)
    assert found.corpus.teachers == ("one", "two") and found.name == tmp_path.name
    assert found.corpus.said[0, :, 0].tolist() == [1, 0]
    assert np.isnan(found.corpus.said[0, 1, 1])
    for words in ([str(tmp_path)], [str(path) for path in sorted(tmp_path.glob("*.jsonl"))]):
        assert main(["drift", *words, "--out", str(tmp_path / "out")]) == 0
        assert "2 teachers, 3 texts on 2 studies" in capsys.readouterr().out


def test_other_questions_and_broken_lines_in_a_journal_are_told(tmp_path: Path) -> None:
    _journal(tmp_path, "one", {"study": "s0", "text": "Edema."}, {"study": "s0", "asks": "b", "text": "No edema."})
    with (tmp_path / "one.jsonl").open("a") as file:
        file.write('{"key": "torn\n')
    found = drift_sources.of_files([tmp_path / "one.jsonl"], NAMES)
    assert found.corpus.said[0, 0, 0] == 0
    assert found.notes == [
        "one.jsonl has answers to 1 further questions; of each study the newest counts.",
        "one.jsonl has 1 lines that are no answers.",
        "Of 1 studies the patient is not known: each counts as one of its own in intervals.",
    ]


def test_two_files_with_one_text_are_refused(tmp_path: Path, capsys) -> None:
    row = json.dumps({"study": "s0", "teacher": "a", "text": "Edema."}) + "\n"
    paths = [tmp_path / "x.jsonl", tmp_path / "y.jsonl"]
    for path in paths:
        path.write_text(row)
    assert main(["drift", *map(str, paths)]) == 2
    assert "Study 's0' of teacher 'a' stands in several of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "none.csv"], "cannot be read"),
        (["--studies", "0"], "--studies must be 1 or more"),
        (["--student"], "--student needs a model"),
        (["--encoder", "nowhere"], "--encoder must be a folder"),
        (["--loss", "2"], "--loss must be in"),
        (["--student-accuracy", "70"], "--student-accuracy must be a share in [0, 1], got 70"),
        (["--findings", "edemaa"], "Did you mean"),
    ],
)
def test_mistakes_are_sentences(tmp_path: Path, capsys, words: list[str], said: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text(json.dumps({"study": "s", "teacher": "a", "text": "Edema."}) + "\n")
    assert main(["drift", str(file), *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("study,edema\ns0,2\n", "'edema' is none of -1, 0, 1, nor empty ('2')"),
        ("study,edema\ns0,1\ns0,0\n", "stands there twice"),
        ("name,edema\ns0,1\n", "has no column 'study', nor one of image files"),
        ("study,age\ns0,1\n", "has no column for a finding (edema)"),
        ("study,edema\nx1,1\nx2,0\n", "none of its 2 studies is one of the texts ('x1' there, 's0' here)"),
    ],
)
def test_tables_of_labels_that_cannot_be_used(tmp_path: Path, capsys, table: str, said: str) -> None:
    file, labels = tmp_path / "t.jsonl", tmp_path / "l.csv"
    file.write_text(json.dumps({"study": "s0", "teacher": "a", "text": "Edema."}) + "\n")
    labels.write_text(table)
    assert main(["drift", str(file), "--findings", "edema", "--labels", str(labels)]) == 2
    assert said in capsys.readouterr().err


def test_labels_are_found_by_file_name_where_that_is_one_studys(tmp_path: Path) -> None:
    """As a run finds texts: without folder and ending; a name that two studies have is nobody's."""
    spoken = ["img/a.png", "one/b.png", "two/b.png", "c"]
    found = drift_labels.same_names(tmp_path / "l.csv", ["a", "b", "c", "d"], spoken)
    assert found == {"a": "img/a.png", "c": "c"}


def test_a_report_has_the_section_where_a_run_has_a_record(tmp_path: Path) -> None:
    folder = fake_run.make(tmp_path, arms=("base",), seeds=(0,), findings=NAMES)
    (folder / "drift.json").write_text(json.dumps(record()))
    page = reports.write(folder).read_text()
    assert '<h2 id="drift">' in page and "Studies in conflict" in page and 'href="#drift"' in page
    assert (folder / "figures" / "drift_conflict.png").is_file()
    assert "Drift of the teachers" in (folder / "report.md").read_text()
    assert "Drift: Teachers" in (folder / "table.tex").read_text()
    (folder / "drift.json").unlink()
    assert '<h2 id="drift">' not in reports.write(folder).read_text()
    assert not (folder / "figures" / "drift_conflict.png").exists()


@pytest.mark.parametrize(("acknowledged", "named"), [(True, True), (False, False)])
def test_studies_under_an_agreement_are_named_only_where_acknowledged(
    tmp_path: Path, acknowledged: bool, named: bool
) -> None:
    manifest = {"credentialed": True, "acknowledged": acknowledged}
    folder = fake_run.make(tmp_path, arms=("base",), seeds=(0,), findings=NAMES, manifest=manifest)
    (folder / "drift.json").write_text(json.dumps(record()))
    assert ("drift-studies" in [table.name for table in drift.read(folder).tables]) is named


def test_a_damaged_record_is_told_and_another_version_left_out(tmp_path: Path) -> None:
    from apo_lightning.errors import ArtifactError

    path = tmp_path / "drift.json"
    path.write_text("{")
    with pytest.raises(ArtifactError, match="no record of drift"):
        drift.load(path)
    path.write_text('{"version": 99}')
    assert drift.load(path) is None


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ((0.02, 0.01, 0.03), "loses 0.020 [0.010, 0.030]"),
        ((-0.08, -0.1, 0.01), "gains 0.080 [-0.010, 0.100]"),
        ((0.0, None, None), "loses 0.000"),
    ],
)
def test_a_loss_below_0_is_a_gain(lost: tuple, said: str) -> None:
    assert drift_words._lost(dict(zip(("value", "low", "high"), lost, strict=True))) == said


def test_a_pair_is_dependent_by_the_p_that_is_corrected_once() -> None:
    """The p of any finding is a second look: taking the smaller of the two would reject too often."""
    one = {"teachers": ["a", "b"], "correlation": 0.1, "holm": 0.2, "holm_any": 0.001}
    said = list(drift_words._dependent({"independence": [one]}))
    assert said == ["That teachers err independently given the truth is not refuted, for the one pair."]
    said = list(drift_words._dependent({"independence": [{**one, "holm": 0.01}]}))
    assert said[0].startswith("1 of 1 pairs of teachers do not err independently") and "a and b (+0.10)" in said[0]


def test_a_stream_that_was_not_tested_is_not_said_to_be_without_a_change() -> None:
    figure = figures_drift.stream(record(8))
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert titles and all("not tested, too few studies" in title for title in titles)


def test_divergence_is_told_beyond_that_of_a_teacher_from_itself() -> None:
    """Few tokens make any two means differ: what rises as much for one teacher alone is no drift."""
    flat = {"mean": [0.1, 0.1, 0.1], "rise": {"value": 0.0, "low": -0.02, "high": 0.02}}
    rising = {"mean": [0.5, 0.6, 0.7], "rise": {"value": 0.2, "low": 0.1, "high": 0.3}, "excess": flat}
    found = record(8)
    found["steps"]["divergence"] = {"scorer": "nano", "position": rising}
    said = next(text for text in drift_words._moves(found) if "next words" in text)
    assert "beyond that of a teacher from itself, does not move (+0.00 [-0.02, 0.02] bits)" in said


def test_a_share_has_no_end_below_0() -> None:
    """Of 2 of 24 statements by patients that differ, the bootstrap's normal part would reach below."""
    counted = np.zeros((12, 1))
    counted[:2] = 1
    blocks = {"share": shared(counted, np.full((12, 1), 2)), "kappa": (np.stack([counted, counted * 0 + 2], -1), half)}
    found = intervals(Measured.of([f"p{i}" for i in range(12)], ["edema"], blocks))
    assert found["share", "edema"].low == 0 < found["share", "edema"].value
    assert found["kappa", "edema"].low < 0, "what is no share may"


def half(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def test_a_data_set_without_labels_is_measured_by_what_the_reader_knows_and_it_is_said() -> None:
    cfg = SimpleNamespace(data={"name": "own"})
    assert drift_sources._wanted(("edema",), cfg) == (("edema",), [])
    wanted, (note,) = drift_sources._wanted((), cfg)
    assert wanted == list(MENTIONS) and "'own' has no labels" in note and "--findings names others" in note


def test_the_table_of_the_data_set_is_taken_as_it_is(tmp_path: Path) -> None:
    """Columns and cells as `tabular` has them: file names, patient_id, Effusion, yes and no."""
    path = tmp_path / "labels.csv"
    path.write_text("filename;patient_id;age;Edema;Effusion\na.png;7;50;yes;0\nb.png;7;51;-1;\n")
    truth, patients = drift_labels.table(path, ["edema", "pleural_effusion"])
    assert truth["a.png"] == {"edema": 1.0, "pleural_effusion": 0.0}
    assert all(math.isnan(value) for value in truth["b.png"].values())
    assert patients == {"a.png": "7", "b.png": "7"}
