"""What all archives on disk share: splits, missing files, paths that lead out, the cache of decoded images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.types import Box, Prior, Study
from data_modules.folder import FolderDataModule, without


@dataclass(eq=False, kw_only=True)
class Ten(FolderDataModule):
    """Ten studies of two images each, of ten patients, without splits; study 9 has study 8 as its prior."""

    vocabulary = ("edema",)
    reads: int = 0

    def read_index(self) -> Sequence[Study]:
        self.reads += 1
        self.left_out["lateral"] += 2
        studies = [
            Study(
                f"s{i}",
                f"p{i}",
                "",
                (self.path(i, "a"), self.path(i, "b")),
                {"edema": float(i % 2)},
                views=("PA", "LATERAL"),
                boxes=(Box("edema", 0, 0, 1, 1, image=1),),
            )
            for i in range(10)
        ]
        return [*studies[:9], replace(studies[9], prior=Prior("s8", (self.path(8, "a"),)))]

    def path(self, number: int, name: str) -> str:
        return str(self.folder / f"{number}{name}.png")


@pytest.fixture
def root(tmp_path) -> Path:
    for i in range(10):
        for name, grey in (("a", i), ("b", 100 + i)):
            Image.new("L", (40, 20), grey).save(tmp_path / f"{i}{name}.png")
    return tmp_path


def every(data: FolderDataModule) -> dict[str, Study]:
    return {study.id: study for split in data.splits for study in data.studies(split)}


def test_splits_are_cut_once_by_patient(root):
    """.2 of 10 patients are tested on; .25 of the other 8 validate."""
    data = Ten(root=str(root), test_fraction=0.2, val_fraction=0.25)
    assert {split: len(data.studies(split)) for split in data.splits} == {"train": 6, "val": 2, "test": 2}
    data.check()
    assert data.reads == 1 and data.left_out == {"lateral": 2}


def test_a_split_file_takes_the_place_of_the_splits(root, tmp_path):
    (tmp_path / "mine.csv").write_text("study,patient,split\ns0,p0,test\ns1,p1,valid\ns2,p2,train\n")
    data = Ten(root=str(root), split_file=str(tmp_path / "mine.csv"))
    assert {split: [s.id for s in data.studies(split)] for split in data.splits} == {
        "train": ["s2"],
        "val": ["s1"],
        "test": ["s0"],
    }
    assert data.facts()["left_out"] == {"lateral": 2, "not in mine.csv": 7}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("study,split\nx1,train\n", r"lists none of the 10 studies. Study ids there look like 'x1', here like 's0'"),
        ("study,split\ns1,dev-2\n", r"mine.csv:2\): split must be one of train, .* got 'dev-2'"),
        ("study,part\ns1,train\n", r"no column 'split'"),
    ],
)
def test_a_split_file_that_does_not_fit(root, tmp_path, text, reason):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        Ten(root=str(root), split_file=str(tmp_path / "mine.csv")).studies("train")


def test_missing_images_are_an_error_unless_they_are_allowed(root):
    (root / "3b.png").unlink()
    (root / "4a.png").unlink()
    (root / "4b.png").unlink()
    (root / "8a.png").unlink()
    with pytest.raises(
        DataError, match=r"images of split '\w+' are not there, first .*(?:a|b).png.*allow_missing=true"
    ):
        every(Ten(root=str(root)))
    data = Ten(root=str(root), allow_missing=True)
    studies = every(data)
    assert set(studies) == {f"s{i}" for i in range(10)} - {"s4"}
    assert studies["s3"].images == (str(root / "3a.png"),) and studies["s3"].views == ("PA",)
    assert studies["s3"].boxes == (), "its box lay on the image that is gone"
    assert studies["s8"].views == ("LATERAL",) and studies["s8"].boxes[0].image == 0, "the box moved with its image"
    assert studies["s9"].prior == Prior("s8", ()), "an earlier image that is gone is not shown"
    assert sum(data.missing.values()) == 5  # 3b, 4a, 4b, 8a, and 8a once more as the prior of 9
    assert sum(data.facts()["missing_images"].values()) == 5


def test_earlier_images_come_first(root):
    data = Ten(root=str(root))
    greys = [image.getpixel((0, 0)) for image in data.images(every(data)["s9"])]
    assert greys == [8, 9, 109]


@pytest.mark.parametrize("cache", [False, True])
def test_images_are_shrunk_when_they_are_read(root, tmp_path, cache):
    where = str(tmp_path / "cache") if cache else None
    for _ in range(2):
        data = Ten(root=str(root), max_side=20, cache_dir=where, cache=False)
        assert [image.size for image in data.images(every(data)["s0"])] == [(20, 10)] * 2
    assert len(list((tmp_path / "cache").glob("*.pt"))) == (2 if cache else 0)


@pytest.mark.parametrize(
    ("reference", "inside"),
    [
        ("a/b.png", "a/b.png"),
        ("a/../b.png", "b.png"),
        (r"a\b.png", "a/b.png"),
        ("./b.png", "b.png"),
        ("../b.png", None),
        ("a/../../b.png", None),
        ("/etc/passwd", None),
        ("", None),
        (r"..\b.png", None),
    ],
)
def test_paths_of_a_table_stay_inside_the_root(root, reference, inside):
    assert Ten(root=str(root)).inside(reference) == (inside and str(root / inside))


def test_a_link_inside_the_folder_is_the_users_own(root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("disk")
    Image.new("L", (4, 4), 7).save(elsewhere / "x.png")
    (root / "linked").symlink_to(elsewhere)
    assert Ten(root=str(root)).inside("linked/x.png") == str(root / "linked/x.png")


def test_without_nothing_gone_nothing_changes():
    study = Study("s", "p", "train", ("a", "b"), {}, views=("PA", "LL"))
    assert without(study, set()) == study


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"val_fraction": 0.0}, r"val_fraction must be in \(0, 1\), got 0.0"),
        ({"test_fraction": 1.0}, r"test_fraction must be in \(0, 1\), got 1.0"),
        ({"max_side": 0}, "max_side must be >= 1, got 0"),
        ({"fraction_by": "image"}, "fraction_by must be patient or study, got 'image'"),
        ({"findings": ["oedema"]}, "findings names 'oedema'. Did you mean 'edema'"),
        ({"augment": "wild"}, "augment must be one of none, mild, got 'wild'"),
    ],
)
def test_settings_out_of_range(settings, reason):
    with pytest.raises(ValueError, match=reason):
        Ten(root="x", **settings)


def test_a_fraction_by_study_parts_patients(root):
    data = Ten(root=str(root), fraction_by="study", data_fraction=0.5, test_fraction=0.2, val_fraction=0.25)
    whole = Ten(root=str(root), test_fraction=0.2, val_fraction=0.25)
    assert len(data.studies("train")) == 3 and data.studies("test") == whole.studies("test")


def test_a_sample_of_a_large_set_is_judged_by_its_own_share(root, monkeypatch):
    """3 of 10 studies are decoded and all fail: 30 % of the set, which .5 would allow, but all that were looked at."""
    monkeypatch.setattr("data_modules.base.SMALL_SET", 5)
    monkeypatch.setattr("data_modules.loading.checks.SAMPLE", 3)
    for path in root.glob("*.png"):
        path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(DataError, match=r"Of 3 studies that were decoded, 3 could not be \(100.0%\)"):
        Ten(root=str(root), max_bad_share=0.5).check()


def test_a_split_file_is_not_thinned_again(root, tmp_path):
    lines = [f"s{i},{'train' if i < 8 else 'val' if i == 8 else 'test'}" for i in range(10)]
    (tmp_path / "mine.csv").write_text("\n".join(["study,split", *lines]))
    data = Ten(root=str(root), split_file=str(tmp_path / "mine.csv"), data_fraction=0.5)
    assert len(data.studies("train")) == 8 and data.facts()["data_fraction"] == 1.0


def test_the_folder_one_stands_in_is_a_root_like_any_other(root, monkeypatch):
    monkeypatch.chdir(root)
    data = Ten(root=".")
    assert data.inside("a/b.png") == "a/b.png" and data.inside("../b.png") is None
    assert data.inside(str(root / "a.png")) == str(root / "a.png")
