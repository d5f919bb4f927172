"""Open-I: labels, views, report text, splits, and the real archive where it exists."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest

from apo_lightning.errors import DataError
from apo_lightning.types import Study
from data_modules.archives.open_i_layouts import read_reports
from data_modules.open_i import OpenI, strip_masks
from tests.helpers.open_i_folder import FINDINGS, ids, open_i_folder, projections, r2gen_folder, xml

SAMPLE = Path(__file__).parents[4] / "shared/data/openi_sample"


@pytest.fixture
def root(tmp_path) -> Path:
    return open_i_folder(tmp_path)


def studies(root: Path, **settings) -> dict[str, Study]:
    return {study.id: study for study in OpenI(root=str(root), **settings).index}


def present(study: Study) -> set[str]:
    return {name for name, value in study.findings.items() if value == 1}


def rewrite(root: Path, uid: int, **changes) -> None:
    """Another report for a patient, with the same images."""
    (root / f"ecgen-radiology/{uid}.xml").write_text(xml(f"CXR{uid}", ids(uid), **changes), encoding="utf-8")


def test_labels_of_the_reports(root):
    found = studies(root)
    assert list(found) == [f"CXR{uid}" for uid in range(1, 31)]
    assert present(found["CXR1"]) == {"no_finding"}
    assert present(found["CXR2"]) == {"pleural_effusion"}
    assert present(found["CXR3"]) == {"calcified_granuloma", "granuloma"}
    assert present(found["CXR4"]) == {"atelectasis"}
    assert len(OpenI.vocabulary) == 19 and all(set(s.findings) == set(OpenI.vocabulary) for s in found.values())
    assert found["CXR2"].findings is found["CXR7"].findings
    assert found["CXR2"].patient == "CXR2"


@pytest.mark.parametrize(
    ("term", "named"),
    [
        ("Bibasilar Infiltrates", {"infiltration"}),
        ("pleural thickening", {"pleural_thickening"}),
        ("airspace opacity", {"lung_opacity"}),
        ("Lung Lesion", {"lung_lesion"}),
        ("bochdalek hernia", {"hernia"}),
        ("Pulmonary Emphysema", {"emphysema"}),
        ("lung masses", {"mass"}),
        ("rib fracture", {"fracture"}),
        ("pulmonary edemas", {"edema"}),
        ("consolidation", {"no_finding"}),
        ("pneumonitis", {"no_finding"}),
        ("Opacities", {"no_finding"}),
    ],
)
def test_a_term_is_matched_as_part_of_itself(root, term, named):
    """As torchxrayvision does: in lower case, and the plural only where the singular is its beginning."""
    rewrite(root, 1, major="Mass/lung", automatic=[term])
    assert present(studies(root)["CXR1"]) == named


def test_terms_are_not_joined(root):
    """``calcified`` and ``granuloma`` in two terms are no calcified granuloma."""
    rewrite(root, 1, automatic=["calcified", "granuloma"])
    assert present(studies(root)["CXR1"]) == {"granuloma"}


def test_reports_that_nobody_indexed(root):
    rewrite(root, 10, major="No Indexing", automatic=["nodule"])
    assert present(studies(root)["CXR5"]) == {"no_finding"}
    found = studies(root, unindexed="unknown")
    assert all(math.isnan(value) for value in found["CXR5"].findings.values())
    assert present(found["CXR10"]) == {"nodule"}
    assert found["CXR10"].findings["edema"] == 0
    assert present(found["CXR1"]) == {"no_finding"}


def test_study_without_image_is_counted(root):
    data = OpenI(root=str(root))
    data.check()
    assert data.left_out == {"no image": 1}
    assert sum(data.facts()["studies"].values()) == 30 and data.bad == []


def test_without_a_table_the_first_image_is_used_and_said(root):
    """Of CXR1 that is the lateral one."""
    data = OpenI(root=str(root))
    first = data.index[0]
    assert [Path(path).name for path in first.images] == ["CXR1_1_IM-0001-3001.png"]
    assert first.views == ("",)
    assert "30 studies are used with an image of unknown view" in " ".join(data.notes)


def test_kaggles_projections_tell_the_view(root):
    projections(root)
    data = OpenI(root=str(root))
    first = data.index[0]
    assert [Path(path).name for path in first.images] == ["CXR1_1_IM-0001-4001.png"]
    assert first.views == ("FRONTAL",)
    assert "views from indiana_projections.csv: 60 images" in data.notes
    assert "unknown view" not in " ".join(data.notes)


@pytest.mark.parametrize(
    ("views", "most", "suffixes"),
    [
        (["frontal"], 3, ["4001"]),
        (["lateral"], 1, ["3001"]),
        (["frontal", "lateral"], 1, ["4001"]),
        (["frontal", "lateral"], 2, ["4001", "3001"]),
        (["lateral", "frontal"], 2, ["3001", "4001"]),
    ],
)
def test_views_come_in_the_order_that_is_asked_for(root, views, most, suffixes):
    projections(root)
    study = studies(root, views=views, max_images=most)["CXR1"]
    assert [Path(path).stem[-4:] for path in study.images] == suffixes
    assert study.views == tuple("FRONTAL" if suffix == "4001" else "LATERAL" for suffix in suffixes)


@pytest.mark.parametrize(
    "header", ["imageid,view", "imageid,tsne-view", "filename,View Position", "filename,projection"]
)
def test_other_tables_of_views(root, header):
    """CXR1's second image is frontal; both images of CXR2 are lateral; of the others nothing is known."""
    one, two = ids(1), ids(2)
    (root / "views.csv").write_text(
        f"{header},x\n{one[0]},LL,\n{one[1]},PA,\n{two[0]},RL,\n{two[1]},Lateral,\n{ids(3)[0]},,\n"
    )
    data = OpenI(root=str(root), views_file="views.csv")
    found = {study.id: study for study in data.index}
    assert [Path(path).stem for path in found["CXR1"].images] == [one[1]]
    assert "CXR2" not in found and data.left_out == {"no image": 1, "no frontal image": 1}
    assert found["CXR3"].views == ("",)


def test_report_text(root):
    rewrite(root, 2, findings="", impression="Small  effusion.\n Stable.")
    rewrite(root, 3, findings="", impression="  ")
    data = OpenI(root=str(root))
    found = {study.id: study.report for study in data.index}
    assert found["CXR1"] == "The lungs are clear. XXXX XXXX intact. Normal chest x-XXXX."
    assert found["CXR2"] == "Small effusion. Stable."
    assert found["CXR3"] is None
    assert "30 studies have images, 1 of them no report text" in data.notes
    assert studies(root, masks="strip")["CXR1"].report == "The lungs are clear. intact. Normal chest."
    assert studies(root, sections=["impression"])["CXR1"].report == "Normal chest x-XXXX."
    assert studies(root, sections=["indication", "findings"])["CXR1"].report == f"Cough {FINDINGS}"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("No XXXX effusion.", "No effusion."),
        ("A XXXX-year-old woman, XXXX, and XXXX.", "A woman, and."),
        ("XXXX. Clear lungs.", "Clear lungs."),
        ("Clear. XXXX, no effusion (XXXX).", "Clear. no effusion."),
        ("Chest (XXXX and lateral XXXX) at XXXX/XXXX.", "Chest (and lateral) at."),
        ("Seen on XXXX/CT; 3.5 cm, .5 cm.. XXXX..", "Seen on CT; 3.5 cm, .5 cm."),
        ("XXXX/granulomas, lung/pleura: XXXX; stable", "granulomas, lung/pleura: stable"),
        ("XXXX XXXX", ""),
        ("T-spine X XX", "T-spine X XX"),
    ],
)
def test_masks_are_stripped_with_what_hangs_on_them(text, left):
    assert strip_masks(text) == left


def test_patients_are_cut_by_default(root):
    """30 patients: round(.15 * 30) = 4 tested on, round(.15 * 26) = 4 validate."""
    data = OpenI(root=str(root))
    assert [len(data.studies(split)) for split in ("train", "val", "test")] == [22, 4, 4]


@pytest.mark.parametrize("table", [True, False])
def test_r2gens_split(root, tmp_path, table):
    """From its table or its annotation file; what it does not list is left out."""
    if table:
        (root / "r2gen_split.csv").write_text(
            "id,uid,split\n"
            + "".join(f"CXR{n}_IM-1,CXR{n},{'train' if n < 9 else 'validate'}\n" for n in range(1, 11))
            + "CXR11_IM-1,CXR11,test\nCXR12_IM-1,CXR12,holdout\n"
        )
    else:
        (r2gen_folder(tmp_path / "r2gen") / "annotation.json").rename(root / "annotation.json")
    data = OpenI(root=str(root), official_split="r2gen")
    sizes = [len(data.studies(split)) for split in ("train", "val", "test")]
    assert sizes == ([8, 2, 1] if table else [20, 4, 6])
    assert data.left_out["not in R2Gen's split"] == (20 if table else 1)
    assert data.faults == ([("r2gen_split.csv:13", "unknown split ('holdout') in column 'split'")] if table else [])


def test_r2gens_split_must_be_there(root):
    with pytest.raises(DataError, match=r"none of r2gen_split.csv, annotation.json.*data.official_split=none"):
        studies(root, official_split="r2gen")


def test_whole_set_is_tested_on(root):
    data = OpenI(root=str(root), whole=True)
    data.check()
    assert [len(data.studies(split)) for split in ("train", "val", "test")] == [0, 0, 30]
    assert data.splits == ("test",) and OpenI.splits == ("train", "val", "test")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"views": []}, r"views must be some of frontal, lateral, got \[\]"),
        ({"views": ["PA"]}, r"views must be some of frontal, lateral, got \['PA'\]"),
        ({"sections": ["history"]}, "sections must be some of comparison, .*got"),
        ({"max_images": 0}, "max_images must be >= 1, got 0"),
        ({"masks": "drop"}, "masks must be keep or strip, got 'drop'"),
        ({"unindexed": "zero"}, "unindexed must be absent or unknown, got 'zero'"),
        ({"official_split": "kaggle"}, "official_split must be none or r2gen, got 'kaggle'"),
        ({"whole": True, "official_split": "r2gen"}, "whole must be false where official_split"),
        ({"whole": True, "split_file": "x.csv"}, "whole must be false where .*split_file"),
    ],
)
def test_settings_out_of_range(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        OpenI(root="x", **wrong)


sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the real sample is not here")
whole_archive = {"root": str(SAMPLE), "index_file": "NLMCXR_reports.tgz"}


@sample
def test_real_archive():
    """Counted once by other means: 3,955 reports, their sections and images."""
    data = OpenI(**whole_archive)
    reports = read_reports(data, SAMPLE / "NLMCXR_reports.tgz")
    assert len(reports) == 3_955 and data.faults == []
    assert Counter(len(report.images) for report in reports) == {0: 104, 1: 446, 2: 3208, 3: 181, 4: 15, 5: 1}
    told = [(bool(r.sections["findings"]), bool(r.sections["impression"])) for r in reports]
    assert [sum(f for f, _ in told), sum(i for _, i in told), sum(f and i for f, i in told)] == [3425, 3921, 3419]
    assert told.count((False, False)) == 28
    assert [sum(word in r.headings for r in reports) for word in ("normal", "no indexing")] == [1391, 95]
    assert len(data.index) == 3_851 and data.left_out == {"no image": 104}
    assert sum(study.report is None for study in data.index) == 25


@sample
def test_real_labels_are_torchxrayvisions():
    """Positive counts of its Openi_Dataset (1.5.7, all views, one row a study) on the same archive."""
    counts = Counter(name for study in OpenI(**whole_archive).index for name in present(study))
    assert counts == {
        "no_finding": 2429,
        "lung_opacity": 421,
        "granuloma": 400,
        "atelectasis": 364,
        "cardiomegaly": 258,
        "calcified_granuloma": 218,
        "pleural_effusion": 179,
        "emphysema": 97,
        "fracture": 97,
        "infiltration": 92,
        "nodule": 82,
        "pneumonia": 82,
        "edema": 72,
        "hernia": 51,
        "pleural_thickening": 35,
        "fibrosis": 21,
        "pneumothorax": 21,
        "mass": 6,
        "lung_lesion": 3,
    }


@sample
def test_real_r2gen_split():
    data = OpenI(**whole_archive, official_split="r2gen")
    assert Counter(study.split for study in data.index) == {"train": 2069, "val": 296, "test": 590}
    assert data.left_out["not in R2Gen's split"] == 1_000


@sample
def test_real_images():
    """13 images of 9 studies, each study with its frontal one; the nine reports name four more."""
    data = OpenI(root=str(SAMPLE), views_file="index.csv")
    data.check()
    assert data.facts()["studies"] == {"train": 7, "val": 1, "test": 1} and data.bad == []
    used = [study for split in data.splits for study in data.studies(split)]
    assert all(study.views == ("FRONTAL",) for study in used)
    both = {"views": ["frontal", "lateral"], "max_images": 5, "views_file": "index.csv", "allow_missing": True}
    data = OpenI(root=str(SAMPLE), **both)
    data.check()
    used = [study for split in data.splits for study in data.studies(split)]
    assert sum(len(data.images(study)) for study in used) == 13 and sum(data.missing.values()) == 4
