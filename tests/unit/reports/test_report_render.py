"""A run folder to its report: self-contained, escaped, tolerant of missing pieces, and written whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from rich.console import Console

from apo_lightning import reports
from apo_lightning.errors import ArtifactError
from apo_lightning.reports import facts, figures, figures_training, folder, latex, measured, samples
from tests.helpers import fake_run

SMALL = {"arms": ("base", "spd_mt", "sft", "apo_listwise"), "seeds": (0, 1), "steps": 4}


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run whose teachers are hostile, with its report."""
    run = fake_run.make(tmp_path_factory.mktemp("run"), teacher_text="<script>alert(1)</script> | **x**", **SMALL)
    assert reports.write(run) == run / "report.html"
    return run


def test_teacher_text_comes_out_escaped(written: Path) -> None:
    html, markdown = ((written / name).read_text() for name in ("report.html", "report.md"))
    assert html.lower().count("<script") == 3  # the explorer's data, its images and its code
    assert r"\u003cscript\u003ealert(1)\u003c/script\u003e" in html
    assert "<script" not in markdown.lower()
    assert r"&lt;script&gt;alert(1)&lt;/script&gt; \| \*\*x\*\*" in markdown


def test_html_asks_for_nothing_outside_itself(written: Path) -> None:
    page = Page((written / "report.html").read_text())
    addresses = [
        v for _, a in page.tags for k, v in a.items() if k in ("src", "href", "srcset", "data", "action", "poster")
    ]
    assert (
        len([a for a in addresses if a.startswith("data:")]) == 4
    )  # figures; the images of studies lie in the explorer's data
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not {"link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    style = (written / "report.html").read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_html_says_what_was_run_and_how_it_counts(written: Path) -> None:
    page = Page((written / "report.html").read_text())
    for text in (
        "2025-11-03T09:30",
        "5d34990",
        "0, 1",
        "make experiment EXP=fake",
        "torch 2.13.0",
        "Not for clinical use",
        "wrong on every labelled finding",
        "counts as absent",
        "SPD+MT, SFT on t+",
        "Majority vote",
    ):
        assert text in page.text, text
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")


def test_markdown_links_figures_that_exist(written: Path) -> None:
    markdown = (written / "report.md").read_text()
    for name in ("accuracy.png", "forest.png", "rewards.png", "spd_loss.png"):
        assert f"](figures/{name})" in markdown
        with Image.open(written / "figures" / name) as image:
            assert image.format == "PNG" and min(image.size) > 300
    assert f"]({samples_path(written)})" in markdown
    widths = {line.count("|") for line in markdown.splitlines() if line.startswith("| ") and "difference" not in line}
    assert {6, 9, 4} <= widths  # the label, and 4 columns from the text, 7 findings, 2 of log p


def samples_path(run: Path) -> str:
    return f"samples/{json.loads((run / 'samples' / 'samples.json').read_text())[0]['image']}"


def test_latex_table_has_as_many_cells_as_columns(written: Path) -> None:
    parts = (written / "table.tex").read_text().split(r"\begin{tabular}")[1:]
    assert len(parts) == 6  # text, findings of 7 in two, log p, differences, published
    for part in parts:
        columns = part.split("{3.8cm}")[1].split("}")[0].count("r")
        rows = [line for line in part.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
        assert 1 <= columns <= 6 and {line.count(" & ") for line in rows} == {columns}
    assert [len(re.findall(r"^[^ \\].* & ", part, re.M)) for part in parts[:2]] == [4 + 7 + 3] * 2
    assert latex.tex("a_b & 5% ± \\") == r"a\_b \& 5\% $\pm$ \textbackslash{}"


def test_terminal_tables_fit_eighty_columns(written: Path) -> None:
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    reports.print_table(written, console)
    text = console.export_text()
    assert "…" not in text
    for word in ("mean accuracy", "pneumon.", "pneumot.", "Always yes", "minus SPD+MT, SFT on t+", "-24.0 →"):
        assert word in text, word


def test_terminal_shows_labels_as_they_are(tmp_path: Path) -> None:
    """A label is no markup; one arm has nothing to be compared with, so there is no third table."""
    (tmp_path / "results.csv").write_text(
        "arm,label,kind,seed,metric,finding,value\na,[red]A,arm,0,accuracy,mean,0.5\nt,T,teacher,0,accuracy,mean,0.9\n"
    )
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    reports.print_table(tmp_path, console)
    text = console.export_text()
    assert "[red]A" in text and "minus" not in text


def test_missing_stages_and_metrics_are_tolerated(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, **SMALL)
    for path in (run.parent / "store").glob("*/metrics.jsonl"):
        path.unlink()
    reports.write(run)
    assert sorted(path.name for path in (run / "figures").iterdir()) == ["accuracy.png", "forest.png"]
    assert "Reward curves" not in (run / "report.html").read_text()


def test_a_figure_that_is_no_longer_drawn_is_removed(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, findings=("edema", "pneumonia"), **SMALL)
    (run / "figures").mkdir()
    for name in ("radar.png", "curve_beta.png", "knows.png", "mine.png"):
        (run / "figures" / name).write_bytes(b"old")
    reports.write(run)
    left = {path.name for path in (run / "figures").iterdir()}
    assert left == {"accuracy.png", "forest.png", "rewards.png", "spd_loss.png", "mine.png"}


def test_results_alone_make_a_report(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text(
        "arm,label,kind,seed,metric,finding,value\nvote,Vote,baseline,0,accuracy,edema,0.5\n"
    )
    html = reports.write(tmp_path).read_text()
    assert samples.ABSENT in Page(html).text and "not recorded" in html


def test_metrics_of_a_killed_and_resumed_run(tmp_path: Path) -> None:
    """A step written twice keeps its last value; a last line without its end is left out."""
    run = fake_run.make(tmp_path, arms=("sft",), seeds=(0,), steps=2)
    (run / "sft" / "seed0" / "spd" / "metrics.jsonl").write_text(
        '{"step": 0, "train/loss": 3.0}\n{"step": 1, "train/loss": 2.0}\n'
        '{"step": 1, "train/loss": 1.5}\n{"step": 2, "tra'
    )
    metrics = folder.read_metrics(run, "spd", {"sft": "SFT"})
    assert list(zip(metrics["step"], metrics["train/loss"], strict=True)) == [(0, 3.0), (1, 1.5)]
    assert metrics["run"].unique().tolist() == ["spd-shared0"]


@pytest.mark.parametrize(
    ("name", "content", "delete"),
    [
        ("manifest.json", "{", ".*/fake/manifest.json"),
        ("manifest.json", "[]", ".*/fake/manifest.json"),
        ("samples/samples.json", '[{"findings": {}}]', ".*/fake/samples/samples.json"),
        ("samples/samples.json", "{}", ".*/fake/samples/samples.json"),
        ("sft/seed0/evaluate/predictions.jsonl", '{"study": "a"}\nnonsense\n{}\n', ".*/store/evaluate-sft0,"),
        ("apo_listwise/seed0/collect/trajectories.jsonl", '{"study": "a"}\n', ".*/store/collect-all,"),
        ("apo_listwise/seed1/apo/metrics.jsonl", "3\n", ".*/store/apo-apo_listwise1,"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path: Path, name: str, content: str, delete: str) -> None:
    run = fake_run.make(tmp_path, **SMALL)
    (run / name).write_text(content)
    with pytest.raises(ArtifactError, match=f"{name}.* Delete {delete}.*run the experiment 'fake' again"):
        reports.write(run)


REPORT_READS = (
    "results.csv",
    "manifest.json",
    "samples/samples.json",
    "sft/seed0/evaluate/predictions.jsonl",
    "sft/seed0/self_distill/preferred.jsonl",
    "sft/seed0/collect/trajectories.jsonl",
    "sft/seed0/spd/metrics.jsonl",
    "samples/study000.png",
    "sft/seed0/apo",
    "sft/seed0",
)


@pytest.mark.parametrize("name", REPORT_READS)
@pytest.mark.parametrize("damage", ["cut", "empty", "zeros", "foreign", "list", "bytes", "folder", "nowhere", "gone"])
def test_whatever_is_damaged_a_report_is_written_or_the_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: str
) -> None:
    monkeypatch.setattr(reports.drawing.figures, "png", lambda *_: b"")
    run = fake_run.make(tmp_path, arms=("sft",), seeds=(0,), steps=3, studies=2)
    path = run / name
    whole = path.read_bytes() if path.is_file() else b"x" * 20
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    content = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "zeros": bytes(len(whole)),
        "foreign": b'{"a": [1]}\n',
        "list": b"[1, 2]\n",
        "bytes": b"\xff\xfe{\n",
    }
    if damage in content:
        path.write_bytes(content[damage])
    elif damage == "folder":
        path.mkdir()
    elif damage == "nowhere":
        path.symlink_to("gone")
    try:
        reports.write(run)
    except ArtifactError as error:
        assert path.name in str(error) and ("rm " in str(error) or "does not exist" in str(error))
    else:
        assert (run / "report.html").stat().st_size > 1000


def test_an_error_leaves_the_previous_report(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, **SMALL)
    before = reports.write(run).read_bytes()
    (run / "results.csv").write_text("not,a,table\n")
    with pytest.raises(ArtifactError, match=r"results\.csv lacks the columns"):
        reports.write(run)
    assert (run / "report.html").read_bytes() == before


def test_files_are_renamed_into_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the rename fails, the old file is whole and no temporary file stays."""
    target = tmp_path / "report.html"
    folder.write_atomic(target, "old")

    def refuse(source: Path, _: Path) -> None:
        assert Path(source).read_text() == "new" and target.read_text() == "old"
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        folder.write_atomic(target, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_no_report_leaves_temporary_files(written: Path) -> None:
    assert not list(written.rglob("*.tmp"))


@pytest.mark.parametrize(
    ("manifest", "shown"),
    [
        ({}, True),
        ({"credentialed": False}, True),
        ({"credentialed": True}, False),
        ({"credentialed": True, "acknowledged": False}, False),
        ({"credentialed": True, "acknowledged": "no"}, False),
        ({"credentialed": True, "acknowledged": True}, True),
    ],
)
def test_credentialed_data_stays_out_of_the_report(tmp_path: Path, manifest: dict, shown: bool) -> None:
    run = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2, manifest=manifest)
    reports.write(run)
    html, markdown = ((run / name).read_text() for name in ("report.html", "report.md"))
    for word in ("study000", "consult a radiologist", "Most readers agree"):
        assert (word in html) is shown
        assert (word in markdown) is shown
    assert ("data use agreement" in html) is not shown


def test_unfinished_arms_are_named(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, manifest={"seeds": [0, 1, 2]}, **SMALL)
    reports.write(run)
    assert "Unfinished: Base has no results for seed 2." in (run / "report.html").read_text()


def test_examples_are_studies_on_which_first_and_last_arm_differ(tmp_path: Path) -> None:
    """The arms differ on d (a finding) and b (a refusal), not on a (None counts as absent): b, d, then a."""
    run = fake_run.make(tmp_path, arms=("base", "sft"), seeds=(0,), steps=2, studies=0)
    entries = [
        {"study": s, "findings": {"edema": 1, "pneumonia": None}, "report": None, "image": "../../x.png"}
        for s in "dcba"
    ]
    (run / "samples" / "samples.json").write_text(json.dumps(entries))
    (run.parent / "x.png").write_bytes(b"not of this run")
    first = {s: {"study": s, "text": "", "findings": {"edema": 0}, "refused": False} for s in "abcd"}
    last = {**first, "a": first["a"] | {"findings": {"edema": None}}, "b": first["b"] | {"refused": True}}
    last["d"] = first["d"] | {"findings": {"edema": 1}}
    for arm, rows in (("base", first), ("sft", last)):
        lines = "".join(json.dumps(row) + "\n" for row in rows.values())
        (run / arm / "seed0" / "evaluate" / "predictions.jsonl").write_text(lines)
    found, note = samples.collect(run, {"experiment": "fake"}, {"base": "Base", "sft": "SFT"})
    assert note == ""
    assert [sample.study for sample in found] == ["b", "d", "a"]
    assert [answer.verdict for answer in found[0].students] == [
        "wrong on edema",
        "refused or unreadable: wrong on every labelled finding",
    ]
    assert found[1].students[1].verdict == "right on every labelled finding"
    assert found[0].truth == "edema (not labelled: pneumonia)"
    assert found[0].image is None  # a name that leaves the folder is not followed


def test_arms_keep_their_colour_and_nine_are_told_apart() -> None:
    frame = fake_frame([f"arm{i}" for i in range(10)])
    styles = figures.arm_styles(frame)
    assert len(set(styles.values())) == 10
    assert styles["arm0"] == ("#7F7F7F", "")


def fake_frame(arms: list[str]) -> pd.DataFrame:
    return pd.DataFrame([(arm, arm, "arm", 0, "accuracy", "mean", 0.5) for arm in arms], columns=measured.FIELDS)


def bare(frame: pd.DataFrame) -> measured.Results:
    """A table without intervals."""
    empty = [
        pd.DataFrame(columns=[*index, *measured.BOUNDS]).set_index(index) for index in (measured.PLACE, measured.PAIR)
    ]
    return measured.Results(frame, *empty)


def test_figures_refuse_what_they_cannot_draw() -> None:
    empty = fake_frame([])
    with pytest.raises(ValueError, match="train/reward_chosen"):
        figures_training.reward_curves(empty)
    with pytest.raises(ValueError, match="train/loss"):
        figures_training.spd_curve(empty, {})


def test_bars_show_the_mean_over_seeds(tmp_path: Path) -> None:
    """Two seeds at .2 and .6: one bar of height .4."""
    lines = [("a", "A", "arm", seed, "accuracy", "mean", value) for seed, value in ((0, 0.2), (1, 0.6))]
    results = bare(pd.DataFrame(lines, columns=measured.FIELDS))
    (axes,) = figures.accuracy_bars(results).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([0.4])
    assert [text.get_text() for text in axes.texts] == [".40"]


def test_whiskers_are_the_ends_of_the_interval() -> None:
    """.9, from .5 to .97: no interval of equal arms."""
    lines = [("a", "A", "arm", 0, "accuracy", "mean", 0.9)]
    bounds = pd.DataFrame([("arm", "a", "accuracy", "mean", 0.9, 0.5, 0.97, 1, 32, 11)])
    intervals = bounds.set_axis([*measured.PLACE, *measured.BOUNDS], axis=1).set_index(measured.PLACE)
    results = measured.Results(
        pd.DataFrame(lines, columns=measured.FIELDS), intervals, bare(fake_frame(["a"])).differences
    )
    (axes,) = figures.accuracy_bars(results).axes
    (whisker,) = axes.collections[0].get_segments()
    assert whisker[:, 1] == pytest.approx([0.5, 0.97])


def test_what_is_left_out_and_how_much_was_measured_is_said(tmp_path: Path) -> None:
    """In the fake run no finding has a row for balanced accuracy; one gets one, without a value."""
    run = fake_run.make(tmp_path, **SMALL)
    with (run / "results.csv").open("a") as file:
        file.writelines(f"{arm},{arm},arm,0,balanced_accuracy,edema,\n" for arm in SMALL["arms"])
    reports.write(run)
    said = "Left out of balanced accuracy and macro-F1, since their labels in this split are all of one class: edema."
    for text in (Page((run / "report.html").read_text()).text, (run / "report.md").read_text(), printed(run)):
        assert said in " ".join(text.split())
    assert "Measured on 300 studies of 100 patients." in (run / "report.md").read_text()


def test_a_folder_of_an_earlier_version_says_how_to_get_intervals(tmp_path: Path) -> None:
    run = fake_run.make(tmp_path, **SMALL)
    for name in ("intervals.csv", "differences.csv"):
        (run / name).unlink()
    reports.write(run)
    said = "not kept study by study: all rows. Run the experiment 'fake' again"
    assert said in (run / "report.md").read_text() and said in " ".join(printed(run).split())


def printed(run: Path) -> str:
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    reports.print_table(run, console)
    return console.export_text()


def test_the_header_says_what_was_trained_on_and_whom_to_cite():
    manifest = {
        "citation": "A. Author, 2020",
        "data": {"studies": {"train": 1200, "test": 30}, "removed": 4, "unusable": 0, "left_out": {"no image": 104}},
    }
    said = dict(facts.told(manifest, {}))
    assert said["Studies"] == "train 1,200, test 30; left out: 4 of tested patients, 104 no image"
    assert said["Source"] == "A. Author, 2020"
    assert not {"Studies", "Source"} & dict(facts.told({}, {})).keys()
