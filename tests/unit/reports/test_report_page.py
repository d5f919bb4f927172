"""What a page is made of: words on what was run, groups of columns, marks, published numbers, further sets, curves."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning import reports
from apo_lightning.errors import ArtifactError
from apo_lightning.reports import (
    columns,
    cost,
    curves,
    facts,
    failures,
    figures_arms,
    figures_scores,
    groups,
    latex,
    measured,
    published,
    sentences,
    significance,
    table,
    teacher_drift,
    zero_shot,
)
from tests.helpers import fake_run, rich_run


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich_run.make(tmp_path_factory.mktemp("rich"))


@pytest.fixture(scope="module")
def written(rich: Path) -> Path:
    reports.write(rich)
    return rich


KIND = {"simulated": "SIMULATED teachers", "recorded": "REAL teachers", "api": "REAL teachers"}


@pytest.mark.parametrize("kind", KIND)
@pytest.mark.parametrize(("data", "where"), [("phantom", "DRAWN images (phantom)"), ("chexpert", "data chexpert")])
def test_the_first_sentence_says_whether_teachers_and_images_are_real(kind: str, data: str, where: str) -> None:
    settings = {"teachers": {"a": {"kind": kind}}, "data": {"name": data}}
    said = facts.banner(settings)
    assert said.startswith(f"{KIND[kind]} on {where}")
    assert ("nothing of any real model" in said) is (kind == "simulated" or data == "phantom")


def test_mixed_and_unknown_teachers_are_told() -> None:
    mixed = {"teachers": {"a": {"kind": "simulated"}, "b": {"kind": "api"}}, "data": {"name": "chexpert"}}
    assert facts.banner(mixed) == "Some teachers are SIMULATED, others are REAL (api) on data chexpert."
    for settings in ({}, {"teachers": 3}, {"teachers": {"a": None}}):
        assert "Not recorded" in facts.banner(settings)


def test_what_was_run_is_said_in_words() -> None:
    settings = rich_run.settings(("base", "sft", "dpo"))
    settings["evaluate"]["data"] = {"name": "open_i"}
    settings["teachers"]["gpt5"] = {"kind": "recorded", "weight": 0.2}
    said = dict(facts.told({}, settings))
    assert said["Data"] == "trained on phantom, tested on open_i (phantom: radiographs drawn by a program)"
    assert "6 SIMULATED" in said["Teachers"] and "1 REAL: recorded texts, read from files (gpt5)" in said["Teachers"]
    assert "gpt5 0.2" in said["Teacher weights"]
    assert said["Student"] == "nano, the embedded Qwen2.5-VL of 2 M parameters; adapter LoRA, r 8, alpha 32; float32"
    assert said["Preference (critique)"] == "apo_listwise (beta 0.1); lr 5e-05; 80 steps, 4 studies per batch"
    assert said["Differs by arm"] == "dpo: apo.loss.beta 0.5"
    assert said["Git commit"] == "not recorded"
    del settings["arms"]["sft"], settings["arms"]["dpo"]
    assert dict(facts.told({}, settings))["SPD (learn)"] == "no arm has it"
    assert dict(facts.told({}, {}))["Settings"] == "not recorded: the run folder has no config.yaml"


def test_who_weighs_by_what_and_what_the_gate_did_is_said_in_words() -> None:
    settings = rich_run.settings(("base", "sft"))
    assert "Gate on conflict" not in dict(facts.told({}, settings))
    settings["pool"] = {
        "weights": {"name": "router", "power": 4},
        "gate": {"studies": 0.3, "findings": None, "action": "weight", "weight": 0.25},
    }
    said = dict(facts.told({"gated": ["spd kept 80 studies: 7 studies beyond their threshold"]}, settings))
    assert said["Teacher weights"] == "by router (power 4)"
    assert said["Gate on conflict"] == (
        "studies above 0.3: weighed by 0.25; spd kept 80 studies: 7 studies beyond their threshold"
    )


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"name": "open_i"}, "open_i, its own splits"),
        (
            {"name": "tabular", "split": None, "val_fraction": 0.2, "test_fraction": 0.3},
            "drawn by patient (val 20%, tes",
        ),
        ({"name": "tabular", "split": "fold", "val_fraction": 0.2}, "tabular, splits of the column 'fold', drawn by"),
        ({"name": "tabular", "split": None, "split_file": "/a/b/mine.csv"}, "tabular, splits of mine.csv"),
    ],
)
def test_whence_the_splits_are(own: dict, says: str) -> None:
    assert says in dict(facts.told({}, {"data": own}))["Data"]


def test_only_arms_that_ran_are_said_to_differ() -> None:
    """Those that the folder links to, of several runs too; of an earlier version, those of the last run."""
    settings = rich_run.settings(("base", "sft", "dpo"))
    settings["arms"]["sft"]["set"] = {"stages.apo.steps": 7}
    both = "sft: apo.steps 7; dpo: apo.loss.beta 0.5"
    assert dict(facts.told({}, settings))["Differs by arm"] == both
    assert dict(facts.told({}, settings | {"only": ["sft"]}))["Differs by arm"] == "sft: apo.steps 7"
    links = {f"{arm}/seed0/apo": "apo-1" for arm in ("base", "dpo")}
    assert (
        dict(facts.told({"links": links}, settings | {"only": ["sft"]}))["Differs by arm"] == "dpo: apo.loss.beta 0.5"
    )
    assert "Differs by arm" not in dict(facts.told({"links": {"base/seed0/evaluate": "e"}}, settings))


def test_odd_settings_are_no_traceback() -> None:
    for odd in ({"data": 3}, {"arms": {"a": None}}, {"student": [], "stages": {"spd": 2}}, {"evaluate": "x"}):
        assert facts.told({"data": 3}, odd) and facts.banner(odd)


def test_time_and_answers_are_counted_once_a_stored_stage(tmp_path: Path) -> None:
    """Both arms share one spd a seed: 2 stages of 30 s; manifests of the others are not there."""
    run = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0, 1), steps=2)
    for stored in (run.parent / "store").glob("spd-*"):
        (stored / "manifest.json").write_text(json.dumps({"seconds": 30.0}))
        (stored / "config.yaml").write_text("prompt: {name: describe, text: 'Describe <it>.'}")
    said = dict(cost.told(run))
    assert said["Time"] == "1 min 0 s in all: spd 1 min 0 s (2×)"
    assert said["Teacher answers"] == "28 texts of 7 teachers on 4 studies"
    assert said["Prompt 'describe'"] == "Describe <it>."


def test_columns_stand_in_groups_with_the_summary_first(rich: Path) -> None:
    found = groups.groups(measured.load(rich))
    assert [group.name for group in found if not group.folded] == [
        "text",
        "findings",
        "likelihood",
        "vote",
        "report-texts",
        "report-texts-coco",
        "report-texts-python",
        "logp",
    ]
    titles = {group.name: [column.title for column in group.columns] for group in found}
    assert titles["likelihood"] == ["accuracy", "balanced accuracy", "macro-F1", "AUROC", "AP", "ECE"]
    assert titles["report-texts-coco"][3:] == ["BLEU-4", "ROUGE-L", "METEOR", "CIDEr"]
    assert "pycocoevalcap (Java)" in {group.name: group.title for group in found}["report-texts-coco"]
    assert len(titles["findings"]) == 14 and "agreement of seeds" in titles["text"]
    assert {"findings-likelihood-auroc", "findings-agreement"} <= {group.name for group in found if group.folded}


def test_no_table_holds_two_backends(rich: Path) -> None:
    for group in groups.groups(measured.load(rich)):
        backends = {column.metric.split(":")[0] if ":" in column.metric else "" for column in group.columns}
        assert len(backends) == 1, group.name


def test_columns_and_rows_without_a_value_are_left_out() -> None:
    frame = pd.DataFrame(
        [
            ("a", "A", "arm", 0, "accuracy", "mean", 0.5),
            ("a", "A", "arm", 0, "likelihood_auroc", "mean", 0.7),
            ("a", "A", "arm", 0, "likelihood_ece", "mean", float("nan")),
            ("t", "T", "teacher", 0, "accuracy", "mean", 0.5),
        ],
        columns=measured.FIELDS,
    )
    text, likelihood = groups.groups(results(frame))
    assert [column.metric for column in likelihood.columns] == ["likelihood_auroc"]
    assert [title for title, _ in text.sections] == ["Arms", "Teachers"]
    assert [title for title, _ in likelihood.sections] == ["Arms"]


def results(frame: pd.DataFrame, tests: list[tuple] = (), differences: list[tuple] = ()) -> measured.Results:
    laid = [
        pd.DataFrame(rows, columns=[*index, *more]).set_index(index)
        for rows, index, more in (
            ([], measured.PLACE, measured.BOUNDS),
            ([(*row, 2, 30, 10) for row in differences], measured.PAIR, measured.BOUNDS),
            (list(tests), measured.TESTED, measured.FOUND),
        )
    ]
    return measured.Results(frame, *laid)


def two_arms(p: float, n: int, low: float = 0.1) -> measured.Results:
    frame = pd.DataFrame(
        [("sft", "SFT", "arm", 0, "accuracy", "mean", 0.5), ("apo", "APO", "arm", 0, "accuracy", "mean", 0.8)],
        columns=measured.FIELDS,
    )
    tests = [("apo", "sft", "accuracy", "mean", "permutation", n, 0.3, p, p)]
    return results(frame, tests, [("apo", "sft", "accuracy", "mean", 0.3, low, 0.5)])


@pytest.mark.parametrize(
    ("p", "low", "mark", "bold"),
    [
        (0.001, 0.1, "**", True),
        (0.03, 0.1, "*", True),
        (0.05, 0.1, "", False),
        (0.2, 0.1, "", False),
        (0.001, -0.1, "**", False),
    ],
)
def test_stars_are_the_corrected_test_and_bold_needs_it_too(p: float, low: float, mark: str, bold: bool) -> None:
    reference, other = table.rows(two_arms(p, 100, low))
    assert (reference.cells[0].mark, reference.cells[0].bold) == ("", False)
    assert (other.cells[0].mark, other.cells[0].bold) == (mark, bold)


@pytest.mark.parametrize(("n", "small"), [(0, True), (5, True), (6, False), (100, False)])
def test_what_could_not_have_been_found_is_too_small_to_compare(n: int, small: bool) -> None:
    """All of n patients on one side: p is 2 / 2^n, .0625 of five and .03125 of six."""
    found = two_arms(1.0, n)
    assert [row.cells[0].small for row in table.rows(found)] == [False, small]
    assert (table.rows(found)[1].cells[0].value == "0.800 n/c") is small
    assert significance.comparisons(found).any_small is small


def test_a_pair_is_found_either_way_round_and_the_worst_test_counts() -> None:
    frame = two_arms(0.2, 9).values
    tests = [
        ("sft", "apo", "accuracy", "mean", name, 90, -0.3, p, p)
        for name, p in (("permutation", 0.2), ("mcnemar", 0.001))
    ]
    known = significance.comparisons(results(frame, tests)).known
    assert known["apo", "sft", "accuracy", "mean"].p == known["sft", "apo", "accuracy", "mean"].p == 0.2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,b,accuracy,mean,permutation,9,0.1,1.5,0.5", "a p outside [0, 1]"),
        ("a,b,accuracy,mean,permutation,9,x,0.5,0.5", "a value that is not a number"),
    ],
)
def test_corrupt_tests_say_file_and_row(tmp_path: Path, row: str, says: str) -> None:
    run = fake_run.make(tmp_path, arms=("base",), seeds=(0,))
    (run / "tests.csv").write_text(",".join([*measured.TESTED, *measured.FOUND]) + f"\n{row}\n")
    with pytest.raises(ArtifactError, match=r"tests\.csv line 2 has .*Delete .*tests\.csv") as caught:
        measured.load(run)
    assert says in str(caught.value)


def test_published_numbers_stand_beside_ours_where_findings_match(rich: Path) -> None:
    found = measured.load(rich)
    shown = published.beside(found, {"data": {"name": "phantom"}})
    assert shown is not None and shown.heads[-1] == "average of the five"
    (_, theirs), (_, ours) = shown.rows
    assert dict(theirs)["APO 7B"] == ["0.84", "0.67", "0.78", "0.96", "0.65", "0.78"]
    wide = table.wide(found).loc[("arm", "sft")]
    each = [wide[f"accuracy/{name}"] for name in published.FINDINGS]
    assert dict(ours)["SPD+MT, SFT on t+"] == [f"{value:.2f}" for value in [*each, sum(each) / 5]]
    assert shown.why.startswith("Ours are on phantom. Published, not measured here")


def test_published_averages_are_those_of_their_rows() -> None:
    """As printed, to a hundredth."""
    for name, (*each, mean) in published.ROWS.items():
        assert abs(sum(each) / 5 - mean) < 0.0101, name


def test_nothing_published_beside_other_findings_or_courses() -> None:
    lines = [("a", "A", "arm", 0, "accuracy", name, 0.5) for name in ("fracture", "mean")]
    assert published.beside(results(pd.DataFrame(lines, columns=measured.FIELDS)), {}) is None
    lines = [("a", "A", "arm", 0, "progression_accuracy", name, 0.5) for name in ("edema", "mean")]
    assert published.beside(results(pd.DataFrame(lines, columns=measured.FIELDS)), {}) is None


def test_further_sets_are_shown_and_those_left_out_are_named(rich: Path) -> None:
    found = zero_shot.read(rich, measured.load(rich))
    assert found is not None and [own.name for own in found.measured] == ["open_i", "chestxray14"]
    assert found.left_out == [("PadChest", "data/padchest is not on this disk.")]
    assert [heat.title for heat in found.heats] == ["Mean accuracy", "Balanced accuracy", "AUROC, by likelihood"]
    first = found.heats[0]
    assert list(first.heads) == ["test split of the experiment", "open-i", "chestxray14"]
    label, cells = first.rows[1]
    assert label == "SPD+MT" and [cell.text for cell, _ in cells][1:] == ["0.650", "0.650"]
    assert [share for _, share in cells][1:] == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", None, 3, "a\0b"])
def test_a_set_cannot_be_read_from_elsewhere(tmp_path: Path, name: object) -> None:
    run = fake_run.make(tmp_path, arms=("base",), seeds=(0,))
    (run / "sets").mkdir()
    (run / "sets" / "sets.json").write_text(json.dumps([{"name": name}]))
    with pytest.raises(ArtifactError, match=r"sets\.json has a set named .* Delete .*sets\.json"):
        zero_shot.read(run, measured.load(run))


def test_a_broken_table_of_a_set_is_named(tmp_path: Path) -> None:
    run = rich_run.make(tmp_path, arms=("base", "sft"), seeds=(0,))
    (run / "sets" / "open_i" / "results.csv").write_text("no table\n")
    with pytest.raises(ArtifactError, match=r"open_i/results\.csv lacks the columns .* Delete .*open_i/results\.csv"):
        reports.write(run)


def test_warnings_of_shared_stages_are_given_once(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, arms=("spd_mt", "sft"), seeds=(0,), steps=2)
    entry = {"signature": "no_convergence", "step": 3, "warning": "Flat.", "value": 0.12345, "threshold": 1}
    (run / "sft" / "seed0" / "spd" / "failures.json").write_text(json.dumps([entry]))
    (found,) = failures.read(run, table.arm_labels(measured.load(run).values))
    assert found.where == "SPD+MT, seed 0: spd; SPD+MT, SFT on t+, seed 0: spd"
    assert (found.signature, found.step, found.advice) == ("no convergence", "3", "")
    assert found.warning == "Flat. (0.123, threshold 1)" and found.place.endswith(": spd, step 3")
    answers = [{"arm": arm, "seed": 0, "stage": "evaluate", **entry, "step": None} for arm in ("sft", "gone")]
    (run / "failures.json").write_text(json.dumps(answers))
    *_, last = failures.read(run, table.arm_labels(measured.load(run).values))
    assert last.place == "SPD+MT, SFT on t+, seed 0: evaluate"
    reports.write(run)
    assert "Flat." in (run / "report.html").read_text() and "step None" not in (run / "report.md").read_text()


def test_arms_of_a_curve_are_points_of_lines(rich: Path) -> None:
    found = measured.load(rich)
    (axis, points), *more = curves.points(rich_run.settings(rich_run.ARMS), found).items()
    assert axis == "teachers heard" and not more
    assert [(point.x, point.line) for point in points][:2] == [(1.0, "SFT on t+"), (2.0, "SPD")]
    assert curves.metrics(found) == ["accuracy", "balanced_accuracy", "likelihood_auroc"]
    drawn = figures_arms.curve(found, points, ["accuracy"])
    assert sorted(len(line.get_xdata()) for line in drawn.axes[0].lines if line.get_marker() != "None") == [2, 3]
    for odd in ({"arms": 3}, {"arms": {"sft": {"curve": {"x": "many"}}}}, {"arms": {"sft": {"curve": {"x": 1}}}}):
        assert curves.points(odd, found) == {}


def test_the_forest_shows_what_is_apart_and_what_is_too_small() -> None:
    (axes,) = figures_arms.forest(two_arms(0.001, 100)).axes
    assert [text.get_text() for text in axes.texts] == ["+0.300**"]
    (axes,) = figures_arms.forest(two_arms(1.0, 2)).axes
    assert [text.get_text() for text in axes.texts] == ["+0.300 (too small to compare)"]
    assert figures_arms.forest_panels(results(two_arms(1.0, 2).values)) == {}


def test_reliability_is_counted_by_bins(tmp_path: Path) -> None:
    """.1 twice, once present; .95 once, present; what is not labelled counts for nothing."""
    run = fake_run.make(tmp_path, arms=("base",), seeds=(0,))
    rows = [
        ({"edema": 0.1, "fracture": 0.5}, {"edema": 1, "fracture": None}),
        ({"edema": 0.12}, {"edema": 0}),
        ({"edema": 0.95}, {"edema": 1}),
    ]
    text = "".join(json.dumps({"p": p, "truth": truth}) + "\n" for p, truth in rows)
    (run / "base" / "seed0" / "evaluate" / "statements.jsonl").write_text(text)
    found = figures_scores.reliability(run, {"base": "Base"})["base"]
    assert found["p"].tolist() == pytest.approx([0.11, 0.95]) and found["share"].tolist() == [0.5, 1.0]
    assert found["n"].tolist() == [2, 1]


def test_drift_of_teachers_along_stream_and_report(tmp_path: Path) -> None:
    """A is right at first and wrong at the end; in each report its first sentence is right and its last is not."""
    run = fake_run.make(tmp_path, arms=("base",), seeds=(0,))
    place = run / "base" / "seed0"
    truth = {"edema": 1, "pneumonia": 0}
    lines = [{"study": f"s{i}", "truth": truth} for i in range(2)]
    (place / "evaluate" / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    texts = [
        ("s0", 0.0, "There is edema. There is no pneumonia."),
        ("s1", 1.0, "There is pneumonia. There is no edema."),
        ("s9", 0.5, "There is edema."),
    ]
    rows = [{"study": study, "teacher": "A", "text": text, "t": t} for study, t, text in texts]
    (place / "collect" / "trajectories.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = teacher_drift.measure(run).set_index(["along", "part"])["right"]
    assert found["stream"].to_dict() == {0: 1.0, 4: 0.0}
    assert found["report"].to_dict() == {0: 0.5, 1: 0.5}


def test_the_csv_holds_what_is_printed(written: Path) -> None:
    with (written / "report.csv").open(newline="") as file:
        rows = {(row["kind"], row["arm"]): row for row in csv.DictReader(file)}
    found = measured.load(written)
    assert (
        float(rows["arm", "sft"]["likelihood_auroc/mean"])
        == table.wide(found).at[("arm", "sft"), "likelihood_auroc/mean"]
    )
    assert rows["arm", "base"]["accuracy/mean mark"] == "**" and rows["arm", "dpo"]["accuracy/mean mark"] == "too small"
    assert rows["baseline", "prevalence"]["likelihood_auroc/mean"] == ""
    printed = {column.key for group in groups.groups(found) for column in group.columns}
    assert printed <= set(next(iter(rows.values())))


def test_every_form_says_the_same(written: Path) -> None:
    html, md, tex = ((written / name).read_text("utf-8") for name in ("report.html", "report.md", "report.tex"))
    for text in (html, md, tex):
        for said in (
            "SIMULATED teachers on DRAWN images",
            "By likelihood: what the student knows",
            "BLEU-4",
            "0.78",
            "Raise the NLL weight.",
            "PadChest" if text is not tex else "chestxray14",
        ):
            assert said in text, said
    assert "0.646\\*\\*" not in html and "too small to compare" in html and r"n/c" in md


def test_hostile_names_are_escaped_in_every_form(tmp_path: Path) -> None:
    """Of an arm, an axis, a set, a warning and a metric."""
    bad = "<script>alert(1)</script>"
    run = rich_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), findings=("edema", "pneumonia"))
    for path in (run / "config.yaml", run / "sets" / "sets.json", run / "sft" / "seed0" / "apo" / "failures.json"):
        text = path.read_text()
        for word in ("teachers heard", "PadChest", "not on this disk", "Raise the NLL", "describe"):
            text = text.replace(word, bad)
        path.write_text(text)
    path = run / "results.csv"
    path.write_text(path.read_text().replace("SPD+MT, SFT on t+", bad).replace("coco:bleu_1", f"coco:{bad}"))
    reports.write(run)
    for name in ("report.html", "report.md", "report.tex", "table.tex"):
        text = (run / name).read_text("utf-8")
        assert bad not in text and "alert(1)" in text, name


TEX = shutil.which("pdflatex") or shutil.which("tectonic")


@pytest.mark.skipif(TEX is None, reason="no pdflatex and no tectonic on this machine")
def test_the_document_compiles_and_no_table_leaves_the_page(tmp_path: Path) -> None:
    run = rich_run.make(tmp_path, arms=("base", "sft", "dpo"), seeds=(0,), steps=2)
    path = run / "results.csv"
    path.write_text(
        path.read_text().replace("gpt5,gpt5", r"gpt5,\input{x} β £ é_%&#^~{}$\frac$").replace('"SPD+MT, DPO"', "[*")
    )
    reports.write(run)
    shutil.rmtree(run / "figures")
    own = [TEX, "-interaction=nonstopmode", "-halt-on-error"] if "pdflatex" in str(TEX) else [TEX]
    done = subprocess.run([*own, "report.tex"], cwd=run, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (run / "report.pdf").stat().st_size > 10_000
    assert "Overfull" not in done.stdout


def test_tabulars_fit_a_page() -> None:
    """Twenty arms and fourteen findings: at most six columns and 22 rows each, and every cell is there once."""
    lines = [(f"a{i}", f"A{i}", "arm", 0, "accuracy", f"f{j}", 0.5) for i in range(30) for j in range(14)]
    frame = pd.DataFrame(lines, columns=measured.FIELDS)
    report = reports.Report("x", [reports.Told("x", "", [])], [], results(frame), [])
    parts = latex.tables(report).split(r"\begin{tabular}")[1:]
    assert len(parts) == 3 * 2
    assert sum(part.count("0.500") for part in parts) == 30 * 14
    assert all(len([line for line in part.splitlines() if line.startswith("A")]) <= latex.LINES for part in parts)


def test_short_heads_are_told(rich: Path) -> None:
    group = next(group for group in groups.groups(measured.load(rich)) if group.name == "findings")
    assert dict(group.legend)["pneumon."] == "pneumonia" and len(set(group.heads)) == 14
    assert columns.short(["a", "ab"]) == ["a", "ab"]


def test_what_to_change_is_said_once_for_all_that_are_warned_alike() -> None:
    said = [failures.Failure(where, "style alone", "", "w", "lower it") for where in ("a", "b")]
    other = failures.Failure("c", "collapse", "", "w", "")
    first, second = failures.grouped([said[0], other, said[1]])
    assert (first.title, first.advice, [own.place for own in first.failures]) == (
        "style alone (2 times)",
        "lower it",
        ["a", "b"],
    )
    assert (second.title, second.failures) == ("collapse", [other])


def test_the_first_sentence_says_who_is_highest_and_whether_that_is_certain(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, arms=("spd_mt", "sft", "apo_listwise"))
    sure = sentences.verdict(measured.load(run))
    assert sure.startswith("Balanced accuracy: SPD+MT, SFT on t+ is highest (0.8")
    for name in ("intervals.csv", "differences.csv"):
        (run / name).unlink(missing_ok=True)
    unsure = sentences.verdict(measured.load(run))
    assert unsure.endswith("but not told apart from any other arm.")
    reports.write(run)
    assert unsure in (run / "report.html").read_text()
    alone = fake_run.make(tmp_path / "alone", arms=("sft",))
    assert sentences.verdict(measured.load(alone)) == ""


@pytest.mark.parametrize(
    ("always", "who"), [(0.4, ""), (0.7, "SPD+MT, SFT on t+"), (0.6, "SPD+MT, SFT on t+"), (0.9, "every arm")]
)
def test_the_first_sentences_say_where_an_answer_without_an_image_is_as_good(
    tmp_path: Path, always: float, who: str
) -> None:
    run = fake_run.make(tmp_path, arms=("spd_mt", "sft"))
    frame = pd.read_csv(run / "results.csv")
    mean = (frame["metric"] == "accuracy") & (frame["finding"] == "mean")
    for name, value in {"spd_mt": 0.8, "sft": 0.6, "always_no": always, "always_yes": 0.1}.items():
        frame.loc[mean & (frame["arm"] == name), "value"] = value
    frame = frame[~((frame["kind"] == "baseline") & (frame["arm"] == "majority_vote"))]
    frame.to_csv(run / "results.csv", index=False)
    said = sentences.blind(measured.load(run))
    scores = f"In mean accuracy Always no scores {always:.3f} without looking at an image"
    told = f"{scores}: as high as, or higher than, {who}."
    assert said == (told if who else "")
    reports.write(run)
    assert ("without looking at an image" in (run / "report.md").read_text("utf-8")) is bool(who)


def test_time_counts_the_answers_to_further_sets(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, arms=("sft",), seeds=(0,))
    (run / "sets" / "scanner").mkdir(parents=True)
    stage = tmp_path / "runs" / "store" / "evaluate_scanner-1"
    stage.mkdir(parents=True)
    (stage / "manifest.json").write_text(json.dumps({"seconds": 61}))
    (run / "sft" / "seed0" / "evaluate_scanner").symlink_to(stage)
    time = dict(cost.told(run))["Time"]
    assert "evaluate_scanner 1 min 1 s (1×)" in time
