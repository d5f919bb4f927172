"""What docs/results/critique says is what its tables hold."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import jinja2
import pandas as pd
import pytest

from tests.pipeline.conftest import ROOT

PAGE = ROOT / "docs" / "results" / "critique"


@pytest.fixture
def text(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A file of benchmarks/, which is a folder of scripts."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("critique_text")


def test_every_number_of_the_page_is_in_its_tables(text: ModuleType) -> None:
    assert (PAGE / "README.md").read_text() == text.page(PAGE)


def test_limits_are_those_of_the_tables(text: ModuleType) -> None:
    """Of each student, and of both with the widest ends."""
    limits = importlib.import_module("critique_limits")
    written = pd.read_csv(PAGE / "limits.csv")
    pd.testing.assert_frame_equal(limits.of_students(PAGE), written, atol=2e-4, rtol=0)
    ends = written.set_index(["student", "way"])
    for way in limits.WAYS.values():
        first, second, both = (ends.loc[student, way] for student in ("first", "second", "both"))
        assert both.margin_low == min(first.margin_low, second.margin_low)
        assert both.margin_high == max(first.margin_high, second.margin_high)
        assert first.margin_low < both.margin_value < second.margin_high


WAYS = {
    "SFT on the majority vote (`ours`)": "sft_vote",
    "SFT on t+, sentences weighed by agreement": "sft_agreement",
    "SFT on t+": "sft",
    "APO listwise + NLL": "listwise_nll",
    "DPO + NLL, one random teacher": "dpo_nll",
    "APO listwise": "listwise",
    "SPD, then APO listwise (the paper)": "spd_listwise",
}


def test_the_first_table_of_the_readme_is_that_of_the_page(text: ModuleType) -> None:
    """Of the second student, which is the embedded one."""
    lines = (ROOT / "README.md").read_text().splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("| way |")) + 2
    tables, told = text.Tables(PAGE / "second_student"), {}
    for line in lines[begin:]:
        if not line.startswith("|"):
            break
        way, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        told[way] = cells
    assert set(told) == set(WAYS)
    for way, (drifting, one_wording, published) in told.items():
        assert [drifting, one_wording] == [tables.there(world, WAYS[way]) for world in ("drifting", "one_wording")]
        with pytest.raises(LookupError) if published == "not run" else nullcontext():
            assert published == tables.there("published", WAYS[way])


def test_a_pair_is_told_either_way_round(text: ModuleType, tmp_path: Path) -> None:
    """sft minus base is +.0547 [.0294, .0839] in pairs.csv, so base minus sft has the ends in the other order."""
    folder = tmp_path / "critique_map"
    folder.mkdir()
    (folder / "pairs.csv").write_text(
        "world,set,arm,against,metric,finding,value,low,high,seeds,studies,patients\n"
        "drifting,own,sft,base,balanced_accuracy,mean,0.0547,0.0294,0.0839,5,300,115\n"
        "drifting,own,dpo,base,balanced_accuracy,mean,-0.0004,-0.0021,0.0005,5,300,115\n"
    )
    tables = text.Tables(tmp_path)
    assert tables.minus("sft") == "+0.055 [0.029, 0.084]"
    assert tables.minus("base", "sft") == "-0.055 [-0.084, -0.029]"
    assert tables.minus("dpo") == "+0.000 [-0.002, 0.001]"
    with pytest.raises(LookupError, match="critique_map has no sft minus dpo in balanced_accuracy, drifting"):
        tables.minus("sft", "dpo")


def test_a_template_that_asks_for_what_is_not_there_is_an_error(text: ModuleType, tmp_path: Path) -> None:
    template = tmp_path / "page.j2"
    template.write_text("{{ nothing }}")
    with pytest.raises(jinja2.UndefinedError, match="nothing"):
        text.page(PAGE, template)
