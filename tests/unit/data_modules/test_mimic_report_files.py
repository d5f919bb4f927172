"""Reports of MIMIC-CXR: text files, the archive and the table, wherever they lie, and how they come into studies."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from apo_lightning.errors import DataError
from apo_lightning.types import Study
from data_modules.archives.mimic_report_files import ReportFiles
from data_modules.mimic_cxr import MIMICCXR
from tests.helpers.mimic_cxr_folder import SPLITS, mimic_folder, studies_of


@pytest.fixture
def root(tmp_path) -> Path:
    return mimic_folder(tmp_path / "mimic-cxr-jpg" / "2.1.0")


def make(root: Path, **settings) -> MIMICCXR:
    return MIMICCXR(root=str(root), **settings)


def every(data: MIMICCXR) -> dict[str, Study]:
    return {study.id: study for split in data.splits for study in data.studies(split)}


REPORT = (
    " FINAL REPORT\n HISTORY: Cough.\n\n FINDINGS:\n Heart {study} is unchanged. Clear\n lungs {study}.\n\n"
    " IMPRESSION: Normal."
)


def text_of(study: int) -> str:
    return f"Heart {study} is unchanged. Clear lungs {study}.\nNormal."


def report_files(folder: Path) -> dict[int, Path]:
    """A report of every study but the last, beside where the folder of the study would be."""
    written = {}
    for number in range(len(SPLITS)):
        for subject, study in studies_of(number):
            written[study] = folder / f"p{str(subject)[:2]}/p{subject}/s{study}.txt"
            written[study].parent.mkdir(parents=True, exist_ok=True)
            written[study].write_text(REPORT.format(study=study))
    written.pop(study).unlink()
    return written


PLACES = ["files", "../../mimic-cxr/2.1.0/files", "../../mimic-cxr/files", "mimic-cxr-reports/files", "reports"]


@pytest.mark.parametrize("place", PLACES)
def test_text_reports_are_found_beside_the_images(root, place):
    folder = root / place
    written = report_files(folder)
    data = make(root, reports=True)
    assert {int(name[1:]): study.report for name, study in every(data).items() if study.report is not None} == {
        study: text_of(study) for study in written
    }
    last = studies_of(25)[-1][1]
    assert every(data)[f"s{last}"].report is None
    count = len(data.studies("test"))
    where = (folder if place == "reports" else folder.parent).resolve()
    assert (
        f"reports of split 'test' from {where}: {count - 1} of {count} studies have findings or impression, "
        "1 have no report at all"
    ) in data.notes
    assert all(study.report is None for study in every(make(root)).values())


def test_sections_and_comparisons(root):
    written = report_files(root / "files")
    study = next(iter(written))
    assert every(make(root, reports=True, sections=["history"]))[f"s{study}"].report == "Cough."
    assert every(make(root, reports=True, sections=["technique"]))[f"s{study}"].report is None
    written[study].write_text(" FINAL REPORT\n")
    data = make(root, reports=True)
    total = len(data.studies("train"))
    said = f"{total - 1} of {total} studies have findings or impression, 0 have no report at all"
    assert any(note.endswith(said) for note in data.notes)
    written[study].write_text(REPORT.format(study=study))
    assert every(make(root, reports=True, drop_comparisons=True))[f"s{study}"].report == (
        f"Clear lungs {study}.\nNormal."
    )


def test_the_archive_of_reports(root):
    written = report_files(root.parent / "unpacked/files")
    place = root.parents[1] / "mimic-cxr/2.0.0"
    place.mkdir(parents=True)
    with zipfile.ZipFile(place / "mimic-cxr-reports.zip", "w") as archive:
        for path in written.values():
            archive.write(path, path.relative_to(root.parent / "unpacked"))
    shutil.rmtree(root.parent / "unpacked")
    data = make(root, reports=True)
    reports = {int(name[1:]): study.report for name, study in every(data).items() if study.report}
    assert reports == {study: text_of(study) for study in written}
    (place / "mimic-cxr-reports.zip").write_bytes(b"a web page that says: not found")
    with pytest.raises(DataError, match=r"mimic-cxr-reports.zip: cannot be read .*Fetch the file again"):
        make(root, reports=True).studies("train")


def sectioned(path: Path) -> Path:
    header = "study,impression,findings,last_paragraph,comparison\n"
    rows = [
        f's{study},Normal.,"Clear lungs {study},\n no effusion.",,\n'
        for number in range(len(SPLITS))
        for _, study in studies_of(number)
    ]
    path.write_text(header + "".join(rows[:-1]) + f"s{studies_of(25)[-1][1]},,,Only this.,\n")
    return path


def test_the_table_of_sections(root):
    """Parsed by others, it has four sections; cells may hold line breaks."""
    sectioned(root / "mimic_cxr_sectioned.csv")
    studies = every(make(root, reports=True))
    first, last = studies_of(0)[0][1], studies_of(25)[-1][1]
    assert studies[f"s{first}"].report == f"Clear lungs {first}, no effusion.\nNormal."
    assert studies[f"s{last}"].report is None
    fallback = every(make(root, reports=True, sections=["findings", "last_paragraph"]))
    assert fallback[f"s{last}"].report == "Only this."
    with pytest.raises(DataError, match=r"names 'history', but .*sectioned.csv has only impression, findings"):
        make(root, reports=True, sections=["findings", "history"]).studies("train")


@pytest.mark.parametrize("given", ["folder", "table"])
def test_reports_root_goes_first(root, tmp_path, given):
    report_files(root / "files")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    table = sectioned(elsewhere / "mimic_cxr_sectioned.csv")
    data = make(root, reports=True, reports_root=str(elsewhere if given == "folder" else table))
    assert data.studies("train")[0].report.startswith("Clear lungs")


def test_no_reports_is_an_error_that_lists_where_they_were_looked_for(root, tmp_path):
    with pytest.raises(DataError, match=rf"No reports .* in {root}, {root.parent}.*set data.reports_root"):
        make(root, reports=True).studies("train")
    with pytest.raises(DataError, match=r"No reports .* in /nowhere/reports\."):
        make(root, reports=True, reports_root="/nowhere/reports").studies("train")
    (tmp_path / "mimic_cxr_sectioned.csv").write_text(
        "study,impression,findings,last_paragraph,comparison\ns59999999,a,b,c,d\n"
    )
    with pytest.raises(DataError, match=r"None of the \d+ studies of split 'train' has a report in .*sectioned.csv"):
        make(root, reports=True, reports_root=str(tmp_path)).studies("train")


def test_the_prior_has_its_report_too(root):
    report_files(root / "files")
    study = next(study for study in make(root, reports=True, prior=True).studies("train") if study.prior)
    assert study.report == text_of(int(study.id[1:]))
    assert study.prior.report == text_of(int(study.prior.id[1:]))


def test_only_reports_of_used_studies_are_read(root, monkeypatch):
    report_files(root / "files")
    asked: list[str] = []
    plain = ReportFiles.read
    monkeypatch.setattr(
        ReportFiles,
        "read",
        lambda self, wanted, faults: asked.extend(s for s, _ in wanted) or plain(self, wanted, faults),
    )
    data = make(root, reports=True, data_fraction=0.2)
    assert asked == []
    assert asked == [study.id for study in data.studies("train")] and len(asked) < 10


def test_many_reports_are_read_in_order(root, monkeypatch):
    """Chunks of 2 keep their order, and latin-1 is read where UTF-8 is not."""
    monkeypatch.setattr("data_modules.archives.mimic_report_files.CHUNK", 2)
    written = report_files(root / "files")
    study, path = next(iter(written.items()))
    path.write_bytes(REPORT.format(study=study).replace("Cough", "37°").encode("latin-1"))
    data = make(root, reports=True, sections=["history", "findings"])
    reports = {name: study.report for name, study in every(data).items() if study.report}
    assert len(reports) == 34
    assert reports.pop(f"s{study}").startswith(f"37°.\nHeart {study}")
    assert all(report.startswith(f"Cough.\nHeart {name[1:]} is") for name, report in reports.items())


def test_a_row_without_a_study_in_the_sectioned_table_is_named_once(root):
    """The table is read for each split, its fault counted once."""
    (root / "mimic_cxr_sectioned.csv").write_text(
        "study,impression,findings,last_paragraph,comparison\n"
        + "".join(f"{study.id},Clear.,,,\n" for study in every(make(root)).values())
        + ",Edema.,,,\n"
    )
    data = make(root, reports=True, reports_root=str(root / "mimic_cxr_sectioned.csv"))
    assert all(study.report == "Clear." for study in every(data).values())
    ((where, why),) = data.faults
    assert where.startswith("mimic_cxr_sectioned.csv:") and why == "column 'study' is empty ('')"
