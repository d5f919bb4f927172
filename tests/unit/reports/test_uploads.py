"""What W&B is given: the tables of the report, and no text of a guarded set."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from apo_lightning.cli import commands
from apo_lightning.experiment import tracking
from apo_lightning.reports import dashboard, uploads, write
from apo_lightning.settings import WandbSettings
from tests.helpers import fake_run


def told(run_folder: Path) -> list[Path]:
    """Every file that an offline W&B run holds for its server."""
    return [path for path in (run_folder / "wandb").rglob("*") if path.is_file() and path.parent.name != "logs"]


def test_the_table_that_is_printed_goes_up_with_its_intervals(tmp_path: Path) -> None:
    folder = fake_run.make(tmp_path, arms=("spd_mt", "sft"))
    found = uploads.gather(folder)
    table = found["tables/results"].get_dataframe()
    own = table[(table["kind"] == "arm") & (table["arm"] == "sft")].iloc[0]
    values = pd.read_csv(folder / "results.csv").query("arm == 'sft' and metric == 'accuracy' and finding == 'mean'")
    assert own["accuracy/mean"] == pytest.approx(values["value"].mean()) and own["seeds"] == 3
    assert {"tables/intervals", "tables/differences"} <= set(found)


def test_figures_and_studies_go_up_where_they_may_be_shown(tmp_path: Path) -> None:
    folder = fake_run.make(tmp_path, arms=("spd_mt", "sft"), teacher_text="a sentence of a teacher")
    write(folder)
    found = uploads.gather(folder)
    assert "figures/accuracy" in found
    rows = found["studies"].get_dataframe()
    assert list(rows["teacher gpt5"]) == ["a sentence of a teacher"] * len(rows) and len(rows) == 4
    assert all(image is not None for image in rows["image"])


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_guarded_set_sends_neither_texts_nor_images(tmp_path: Path, acknowledged: bool) -> None:
    guarded = {"credentialed": True, "acknowledged": acknowledged}
    folder = fake_run.make(tmp_path, arms=("spd_mt", "sft"), teacher_text="patient words", manifest=guarded)
    write(folder)
    tracking.tell_report(WandbSettings(mode="offline"), folder, "fake", {})
    files = told(folder)
    assert any("results" in path.name for path in files)  # the numbers are there in both cases
    words = [path for path in files if b"patient words" in path.read_bytes()]
    radiographs = [path for path in files if "studies" in path.as_posix()]
    assert bool(words) == acknowledged and bool(radiographs) == acknowledged


def test_a_dashboard_shows_tables_first_and_names_what_is_logged() -> None:
    pytest.importorskip("wandb_workspaces")
    made = dashboard.build("me", "apo-lightning")
    assert [section.name for section in made.sections][:2] == ["Read me", "Results"]
    said = json.dumps(made._to_model().model_dump(mode="json"))
    assert all(name in said for name in dashboard.RESULTS)
    panels = [panel for section in made.sections[1:4] for panel in section.panels if hasattr(panel, "groupby")]
    assert len(panels) == 8 and {panel.groupby.name for panel in panels} == {"arm"}
    assert all(key in said for panels in (dashboard.LEARN, dashboard.CRITIQUE) for _, keys in panels for key in keys)


def test_a_dashboard_that_wandb_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")

    def refuse(self: object) -> None:
        raise ValueError("project not found")

    monkeypatch.setattr(workspaces.Workspace, "save", refuse)
    assert commands.main(["dashboard", "me"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "did not take the dashboard of me/apo-lightning: project not found" in said
