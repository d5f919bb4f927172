"""Runs compared: settings that differ, differences paired by study and seed, changed answers, all by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import yaml

from apo_lightning.cli import commands
from apo_lightning.cli.compare import run_folder
from apo_lightning.errors import ArtifactError, ConfigError
from apo_lightning.experiment import answer_files
from apo_lightning.metrics.answers import answered, prediction_row
from apo_lightning.reports import compare, compared, settings_changes
from apo_lightning.reports.compare import Run
from apo_lightning.types import Answer, Study
from tests.helpers import fake_run, rich_run

FINDINGS = ("edema", "pneumonia")
TRUTH = {"s1": (1, 0), "s2": (1, 1), "s3": (0, 0), "s4": (0, None)}
"""Study to its labels; two studies are of one patient, and the last one's pneumonia is not known."""
PATIENTS = {"s1": "p1", "s2": "p1", "s3": "p2", "s4": "p3"}
BEFORE = {"s1": "No edema. No pneumonia.", "s2": "Edema. Pneumonia.", "s3": "Edema. No pneumonia.", "s4": "No edema."}
AFTER = {
    "s1": "Edema. No pneumonia.",
    "s2": "No edema. No pneumonia.",
    "s3": "I cannot interpret medical images.",
    "s4": "No edema. Pneumonia.",
}
"""Beside `BEFORE`: edema of s1 is fixed; both of s2 are broken; the refusal of s3 breaks pneumonia and leaves edema
wrong; s4 is read otherwise on a finding without a label."""


def study(name: str, **more) -> Study:
    labels = {f: float("nan") if v is None else float(v) for f, v in zip(FINDINGS, TRUTH[name], strict=True)}
    return Study(name, PATIENTS[name], "test", (f"img/{name}.png",), labels, **more)


def answers(folder: Path, arm: str, texts: dict[str, str], seeds: tuple[int, ...] = (0,), old: bool = False) -> None:
    """Put the answers of an arm into its stored evaluation, as this version writes them or as an ``old`` one did."""
    for seed in seeds:
        rows = [prediction_row(study(name), text, FINDINGS, str, name == "s2") for name, text in texts.items()]
        kept = [
            {k: v for k, v in row.items() if not old or k in ("study", "text", "findings", "refused")} for row in rows
        ]
        path = folder / arm / f"seed{seed}" / "evaluate" / "predictions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))


def run(root: Path, name: str, texts: dict[str, str], arms: tuple[str, ...] = ("sft",), **options) -> Path:
    options = {"seeds": (0,), "steps": 2, "findings": FINDINGS, "studies": 1} | options
    made = fake_run.make(root / name, arms=arms, **options)
    (made / "config.yaml").write_text(yaml.safe_dump(rich_run.settings(arms)))
    folder = made.rename(made.with_name(name))
    for arm in arms:
        answers(folder, arm, texts, options["seeds"])
    return folder


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    return [run(tmp_path, "one", BEFORE), run(tmp_path, "two", AFTER)]


def settings(folder: Path, change) -> None:
    path = folder / "config.yaml"
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


def test_fixed_and_broken_by_hand_the_most_changed_first(two: list[Path]) -> None:
    found = compared.read(two).changed
    assert [(one.study, one.fixed, one.broken, one.other) for one in found] == [
        ("s2", (), ("edema", "pneumonia"), ()),
        ("s3", (), ("pneumonia",), ("edema",)),
        ("s1", ("edema",), (), ()),
        ("s4", (), (), ("pneumonia",)),
    ]
    assert (found[0].before, found[0].after) == (BEFORE["s2"], AFTER["s2"])


def test_the_difference_is_that_of_the_accuracies_and_its_test_swaps_patients(two: list[Path]) -> None:
    """Edema: 3 of 4 right before (s2, s4 and not s1, s3: 2 of 4) and 2 after (s1, s4); pneumonia: 3 of 3 before and 1
    after (s1). Means: (2/4 + 3/3) / 2 = .75 and (2/4 + 1/3) / 2 = 5/12. By patient p1 adds (0/4 - 1/3) / 2, p2
    (0/4 - 1/3) / 2, p3 nothing: of 4 patterns of signs 2 are as far from 0, p = 1/2."""
    found = {(one.metric, one.finding): one for one in compared.read(two).differences}
    assert found["accuracy", "edema"].interval.value == pytest.approx(0.0)
    assert found["accuracy", "pneumonia"].interval.value == pytest.approx(-2 / 3)
    mean = found["accuracy", "mean"]
    assert mean.interval.value == pytest.approx(5 / 12 - 3 / 4)
    assert (mean.interval.seeds, mean.interval.studies, mean.interval.patients) == (1, 4, 3)
    assert mean.interval.low < mean.interval.value < mean.interval.high
    assert (mean.test, mean.p, mean.p_holm) == ("permutation", 0.5, 0.5)
    assert found["refusals", "mean"].interval.value == 0.25 and found["refusals", "mean"].test == ""


def test_holm_goes_over_all_pairs(tmp_path: Path) -> None:
    """Two arms with equal answers: each p of 1/2 is corrected for two."""
    made = [run(tmp_path, name, texts, ("sft", "dpo")) for name, texts in (("one", BEFORE), ("two", AFTER))]
    found = [one for one in compared.read(made).differences if (one.metric, one.finding) == ("accuracy", "mean")]
    assert [one.pair.name for one in found] == ["two/sft minus one/sft", "two/dpo minus one/dpo"]
    assert [(one.p, one.p_holm) for one in found] == [(0.5, 1.0)] * 2


def test_only_common_seeds_are_paired(tmp_path: Path) -> None:
    made = [
        run(tmp_path, "one", BEFORE, seeds=(0, 1)),
        run(tmp_path, "two", AFTER, seeds=(1, 2)),
        run(tmp_path, "three", AFTER, seeds=(3,)),
    ]
    found = compared.read(made)
    assert [list(pair.seeds) for pair in found.pairs] == [[1]]
    assert {one.seed for one in found.changed} == {1}
    assert found.notes == ["three is not paired with one: sft and sft have no seed in common (0, 1; 3)."]


def other_labels(folder: Path) -> None:
    path = folder / "sft/seed0/evaluate/predictions.jsonl"
    path.write_text(path.read_text().replace('"truth": {"edema": 0', '"truth": {"edema": 1', 1))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda f: answers(f, "sft", {name: AFTER[name] for name in ("s1", "s2", "s3")}),
            "two is not paired with one: their test sets differ (4 and 3 studies).",
        ),
        (
            other_labels,
            "two is not paired with one: their studies have the same names and other labels, or other patients.",
        ),
        (
            lambda f: answers(f, "sft", AFTER, old=True),
            "two is not paired with one: their answers have no labelled finding in common.",
        ),
    ],
    ids=["studies", "labels", "no labels"],
)
def test_what_is_not_the_same_is_said_and_not_paired(two: list[Path], change, says: str, capsys) -> None:
    change(two[1])
    found = compared.read(two)
    assert (found.pairs, found.differences, found.changed) == ([], [], [])
    assert says in found.notes
    assert commands.main(["compare", *map(str, two)]) == 0
    html = (two[0].parent / "comparisons/one_vs_two/compare.html").read_text("utf-8")
    assert says in html and "No two arms could be paired" in html
    assert says in " ".join(capsys.readouterr().out.split())


def test_answers_of_an_earlier_version_take_their_labels_from_the_samples(two: list[Path]) -> None:
    """It wrote neither labels nor patients nor images nor how an answer ended: each study is then a patient."""
    for folder, texts in zip(two, (BEFORE, AFTER), strict=True):
        answers(folder, "sft", texts, old=True)
        entries = [
            {"study": name, "findings": dict(zip(FINDINGS, own, strict=True)), "image": None}
            for name, own in TRUTH.items()
        ]
        (folder / "samples/samples.json").write_text(json.dumps(entries))
    found = compared.read(two)
    mean = next(one for one in found.differences if (one.metric, one.finding) == ("accuracy", "mean"))
    assert (mean.interval.value, mean.interval.patients) == (pytest.approx(5 / 12 - 3 / 4), 4)
    assert [one.study for one in found.changed] == ["s2", "s3", "s1", "s4"]
    line = next(csv.DictReader(compared.write(found).with_name("changed.csv").open(encoding="utf-8")))
    assert (line["finish_before"], line["images"], line["patient"]) == ("", "", "s2")


def test_settings_key_by_key_and_arm_by_arm(tmp_path: Path) -> None:
    """beta is .5 in arm dpo of both, so what the experiments say of it differs for sft alone."""
    made = [run(tmp_path, name, BEFORE, ("sft", "dpo")) for name in ("one", "two")]

    def change(content: dict) -> None:
        content |= {"name": "two", "runs_dir": "/elsewhere", "seeds": [0, 1], "wandb": {"mode": "offline"}}
        content["data"] |= {"root": "/mnt/set", "table": "/mnt/labels.csv", "train": 100}
        content["stages"]["apo"]["loss"]["beta"] = 0.2
        content["arms"]["dpo"]["stages"] = ["spd", "apo"]
        content["arms"]["dpo"]["label"] = "another name"
        content["teachers"].pop("qwen")

    settings(made[0], lambda content: content["data"].update(root="data/set", table="data/labels.csv"))
    settings(made[1], change)
    found = [(one.key, one.arms, one.before, one.after) for one in compared.read(made).settings]
    assert found == [
        ("data.train", (), "480", "100"),
        ("stages.apo.loss.beta", ("sft",), "0.1", "0.2"),
        ("stages_of_arm", ("dpo",), '["spd", "self_distill", "apo"]', '["spd", "apo"]'),
        ("teachers.qwen.kind", (), '"simulated"', "–"),
        ("teachers.qwen.weight", (), "1.0", "–"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/a/texts.csv", "/b/texts.csv", True),
        ("texts.csv", "~/b/texts.csv", True),
        ("/a/texts.csv", "/b/other.csv", False),
        ("Qwen/7B", "other/7B", False),
        (["/a/x.csv"], ["/b/x.csv"], True),
        (["/a/x.csv"], [], False),
        (True, 1, False),
        (1, 1.0, True),
    ],
)
def test_folders_of_the_machine_are_no_difference(one, other, same: bool) -> None:
    first, second = (Run(Path(), name, None, {}, {"key": own}, {}) for name, own in (("one", one), ("two", other)))
    assert (settings_changes.changes(first, second) == []) is same


def test_arms_without_a_common_name_are_all_paired_and_arm_picks(tmp_path: Path) -> None:
    made = [run(tmp_path, "one", BEFORE, ("base", "spd_mt")), run(tmp_path, "two", AFTER, ("sft", "dpo"))]
    found = compared.read(made)
    assert len(found.pairs) == 4 and "two/dpo minus one/base" in {pair.name for pair in found.pairs}
    assert "Arms of one and two: only in one: base, spd_mt; only in two: dpo, sft." in found.notes
    again = [made[0], run(tmp_path, "three", AFTER, ("base", "spd_mt"))]
    chosen = compared.read(again, ["spd_mt"])
    assert [pair.name for pair in chosen.pairs] == ["three/spd_mt minus one/spd_mt"]
    assert set(compare.together(chosen.runs).runs) == {"one/spd_mt", "three/spd_mt"}
    with pytest.raises(ConfigError, match=r"--arm: .*three has no arm 'spd'.*spd_mt"):
        compared.read(again[::-1], ["spd"])


def test_the_command_prints_the_top_and_writes_everything(two: list[Path], tmp_path: Path, capsys) -> None:
    settings(two[1], lambda content: content["stages"]["apo"].update(steps=90))
    before = [sorted(path.name for path in folder.iterdir()) for folder in two]
    out = tmp_path / "here"
    assert commands.main(["compare", *map(str, two), "--out", str(out), "--top", "1"]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= max(80, len(f"comparison: {out}/compare.html"))
    assert "s2 (seed 0)  broken: edema, pneumonia" in said and BEFORE["s2"] in said and "s3 (seed" not in said
    assert "stages.apo.steps" in said and "-0.333 [" in said
    assert sorted(path.name for path in out.iterdir()) == sorted(compared.FILES)
    lines = list(csv.DictReader((out / "changed.csv").open(encoding="utf-8")))
    assert [line["study"] for line in lines] == ["s2", "s3", "s1", "s4"]
    first = lines[0]
    assert (first["broken"], first["changed"], first["patient"]) == ("edema;pneumonia", "2", "p1")
    assert (first["finish_before"], lines[1]["finish_after"], first["images"]) == ("length", "stop", "img/s2.png")
    html = (out / "compare.html").read_text("utf-8")
    assert "two/sft minus one/sft" in html and AFTER["s2"] in html and "stages.apo.steps" in html
    assert "+1 −3" in html  # fixed and broken over all findings
    assert [sorted(path.name for path in folder.iterdir()) for folder in two] == before


def test_texts_under_an_agreement_are_neither_shown_nor_written(two: list[Path], capsys) -> None:
    place = compared.write(compared.read(two))
    assert (place.with_name("changed.csv")).is_file()
    manifest = json.loads((two[1] / "manifest.json").read_text())
    (two[1] / "manifest.json").write_text(json.dumps(manifest | {"credentialed": True}))
    assert commands.main(["compare", *map(str, two)]) == 0
    html, said = place.read_text("utf-8"), capsys.readouterr().out
    for text in (html, said):
        assert AFTER["s2"] not in text and BEFORE["s2"] not in text and "credentialed" in text
    assert "+1 −3" in html and not place.with_name("changed.csv").exists()


def test_runs_are_found_by_name(two: list[Path], monkeypatch, capsys) -> None:
    monkeypatch.chdir(two[0].parent.parent)
    assert run_folder("one") == Path("runs/one") and run_folder("runs/one") == Path("runs/one")
    with pytest.raises(ArtifactError, match=r"onee is no folder.*Did you mean 'one'"):
        run_folder("onee")
    assert commands.main(["compare", "one", "runs/one"]) == 2
    assert "compare needs two runs or more, got 1" in capsys.readouterr().err


def test_an_answer_carries_all_that_it_is_compared_by() -> None:
    row = prediction_row(study("s4"), "No edema. Pneumonia.", FINDINGS, str, True)
    assert row == {
        "study": "s4",
        "text": "No edema. Pneumonia.",
        "findings": {"edema": 0, "pneumonia": 1},
        "kind": "stated",
        "refused": False,
        "patient": "p3",
        "images": ["img/s4.png"],
        "truth": {"edema": 0, "pneumonia": None},
        "finish": "length",
    }
    assert prediction_row(study("s1"), "Edema.", FINDINGS, str, False)["finish"] == "stop"
    assert "finish" not in prediction_row(study("s1"), "Edema.", FINDINGS, str)
    assert answered({key: value for key, value in row.items() if key not in ("finish", "images")}).patient == "p3"


def test_an_evaluation_says_why_each_answer_ended(tmp_path: Path) -> None:
    told = {name: [Answer(text, name == "s2"), Answer("Edema.", True)] for name, text in BEFORE.items()}
    answer_files.write(tmp_path, told, [study(name) for name in told], FINDINGS, str, {})
    rows = [json.loads(line) for line in (tmp_path / "predictions.jsonl").read_text().splitlines()]
    assert [(row["text"], row["finish"]) for row in rows] == [
        (BEFORE["s1"], "stop"),
        (BEFORE["s2"], "length"),
        (BEFORE["s3"], "stop"),
        (BEFORE["s4"], "stop"),
    ]


def test_courses_are_compared_where_studies_are_labelled_with_them(tmp_path: Path) -> None:
    """Of two studies one is labelled with a course: improving before, worsening after, and worsening is right."""
    made = []
    for name, word in (("one", "improved"), ("two", "worsened")):
        folder = run(tmp_path, name, BEFORE)
        texts = {"s1": "Edema.", "s2": f"Edema has {word}."}
        rows = [
            prediction_row(study("s1"), texts["s1"], FINDINGS, str),
            prediction_row(study("s2", progression={"edema": "worsening"}), texts["s2"], FINDINGS, str),
        ]
        path = folder / "sft/seed0/evaluate/predictions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        made.append(folder)
    found = compared.read(made)
    assert len(found.pairs) == 1 and found.notes == []
    assert [(one.study, one.fixed, one.broken) for one in found.changed] == [("s2", ("edema",), ())]


def test_stages_that_an_arm_does_not_run_are_no_difference() -> None:
    stages = {"apo": {"steps": 8}, "apo_2": {"steps": 9}, "sft": {"steps": 3}}
    held = {"stages": stages, "arms": {"a": {"stages": ["spd", "apo_2"]}, "b": {"stages": []}}}
    assert settings_changes.resolved(held, "a") == {
        "stages.apo.steps": 8,
        "stages.apo_2.steps": 9,
        "stages_of_arm": ["spd", "apo_2"],
    }
    assert settings_changes.resolved(held, "b") == {"stages_of_arm": []}


def test_arms_that_were_left_out_are_in_no_run(tmp_path: Path, capsys) -> None:
    made = [run(tmp_path, name, BEFORE, ("sft", "dpo")) for name in ("one", "two")]
    settings(made[1], lambda content: content.update(only=["sft"]))
    settings(made[1], lambda content: content["data"].update(train=100))
    settings(made[0], lambda content: content["arms"].update(never={"stages": ["spd"]}, dpo2={"stages": ["spd"]}))
    settings(made[0], lambda content: content.update(only=["sft", "dpo"]))
    first, second = compare.read(made)
    assert settings_changes.notes(first, second) == ["Arms of one and two: only in one: dpo."]
    assert commands.main(["compare", *map(str, made)]) == 0
    heads = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:2] == ["key", "arms"])
    assert heads.split() == ["key", "arms", "one", "two"]
