"""The code of docs/tour.ipynb runs as it stands, and the notebook was saved with what it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT

NOTEBOOK = ROOT / "docs" / "tour.ipynb"
CELLS = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
CODE = [cell for cell in CELLS if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the notebook ends with, opened as Jupyter opens it: in ``docs/`` of a project."""
    project, names = tmp_path_factory.mktemp("project"), dict[str, Any]()
    (project / "docs").mkdir()
    (project / "docs/tour.ipynb").touch()
    (project / "experiments").symlink_to(ROOT / "experiments")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project / "docs")
        for number, cell in enumerate(CODE, 1):
            exec(compile("".join(cell["source"]), f"docs/tour.ipynb, cell {number}", "exec"), names)
        names["folder"] = Path(names["folder"]).resolve()
    torch.set_num_threads(threads)
    names["plt"].close("all")
    return names


def test_the_study_and_its_texts(ran: dict[str, Any]) -> None:
    assert sum(ran["study"].findings.values()) >= 2
    assert ran["texts"].keys() == ran["cfg"].teachers.keys() and all(ran["texts"].values())


def test_teachers_disagree(ran: dict[str, Any]) -> None:
    kappa = ran["whole"]["fleiss", "mean"]
    assert kappa.low < kappa.value < kappa.high < 1
    pairs = ran["kappas"].to_numpy()
    assert pairs.shape == (7, 7) and (pairs == pairs.T).all() and (pairs.diagonal() == 1).all() and pairs.min() < 0.5


def test_the_run_has_its_files_where_the_page_says(ran: dict[str, Any]) -> None:
    assert ran["folder"].parts[-3:-1] == ("project0", "runs") and (ran["folder"] / "report.html").is_file()


def test_results_have_every_arm_with_an_interval(ran: dict[str, Any]) -> None:
    arms = ran["shown"].loc[["base", "spd_mt", "apo_listwise"]]
    assert ((arms["low"] < arms["value"]) & (arms["value"] < arms["high"])).all() and (arms["studies"] == 24).all()
    assert set(arms.index) <= set(ran["results"]["arm"])


def test_the_student_answers(ran: dict[str, Any]) -> None:
    assert ran["answer"].text and not ran["answer"].cut


def test_every_cell_was_saved_with_what_it_shows() -> None:
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    shown = [output.get("data", {}) for cell in CODE for output in cell["outputs"]]
    assert sum("image/png" in data for data in shown) == 2
    assert all(cell["outputs"] for cell in CODE[1:])


def test_the_file_is_small_and_says_nothing_of_the_machine_that_ran_it() -> None:
    text = NOTEBOOK.read_text("utf-8")
    assert len(text) < 200_000
    assert not [word for word in ("stderr", "/home/", "/root/", "/tmp/", "site-packages", str(ROOT)) if word in text]
