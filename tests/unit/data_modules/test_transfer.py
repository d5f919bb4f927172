"""Train on one set, answer another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.types import Study
from data_modules.base import CXRDataModule
from data_modules.chestxray14 import ChestXray14
from data_modules.tabular import Tabular
from data_modules.transfer import Transfer
from tests.helpers.chestxray14_folder import nih_folder


@dataclass(eq=False, kw_only=True)
class Drawn(CXRDataModule):
    """Patients 0..9 train, 10..13 validate, 14..17 are tested; ``shift`` moves them."""

    shift: int = 0
    grey: int = 10
    on_disk = False
    patients_of = "hospital"
    vocabulary = ("edema", "pneumonia")
    citation = "drawn"

    def read_studies(self, split: str) -> Sequence[Study]:
        first, last = {"train": (0, 10), "val": (10, 14), "test": (14, 18)}[split]
        numbers = range(first + self.shift, last + self.shift)
        findings = {"edema": 1.0, "pneumonia": 0.0}
        own = {name: findings[name] for name in self.vocabulary}
        return [Study(f"s{i}", f"p{i}", split, (str(i),), own) for i in numbers]

    def open_images(self, study: Study) -> list[Image.Image]:
        return [Image.new("L", (2, 2), self.grey)]


class Elsewhere(Drawn):
    patients_of = "elsewhere"
    vocabulary = ("edema",)
    splits = ("test",)


def names(data: CXRDataModule, split: str) -> list[str]:
    return [study.id for study in data.studies(split)]


def test_patients_that_are_tested_on_are_left_out_of_training_and_counted():
    """Tested are 14-10=4 to 7: of 10 training studies 6 stay; validation 10 to 13 is untouched."""
    data = Transfer(Drawn(), Drawn(shift=-10))
    data.check()
    assert names(data, "train") == ["s0", "s1", "s2", "s3", "s8", "s9"]
    assert names(data, "val") == ["s10", "s11", "s12", "s13"]
    assert names(data, "test") == ["s4", "s5", "s6", "s7"]
    assert data.removed == 4 and data.facts()["removed"] == 4
    assert any("4 studies of patients that are tested on" in note for note in data.notes)
    data.check()
    assert data.removed == 4, "a second check does not count twice"


def test_a_study_that_two_sets_of_one_numbering_give_to_two_patients_is_an_error():
    class Renumbered(Drawn):
        def read_studies(self, split):
            return [replace(study, patient=f"{study.patient}9") for study in super().read_studies(split)]

    said = (
        "data has study 's4' of patient 'p4', evaluate.data has it of patient 'p49' .4 such studies., though both have"
    )
    with pytest.raises(DataError, match=said):
        Transfer(Drawn(), Renumbered(shift=-10)).check()


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(DataError, match=r"Split 'val' has no studies once the 4 of tested patients are left out"):
        Transfer(Drawn(), Drawn(shift=-4)).check()


def test_equal_ids_of_unrelated_sets_are_an_error_that_names_one():
    with pytest.raises(DataError, match=r"both have a study 's4' \(4 in all\)"):
        Transfer(Drawn(), Elsewhere(shift=-10)).check()


def test_images_questions_and_papers_come_from_the_right_set():
    source, target = Drawn(grey=10), Elsewhere(shift=100, grey=200)
    data = Transfer(source, target)
    data.check()
    assert [data.images(data.studies(s)[0])[0].getpixel((0, 0)) for s in ("train", "val", "test")] == [10, 10, 200]
    assert data.findings == ("edema", "pneumonia") and data.scored_findings == ("edema",)
    assert data.studies("test")[0].findings == {"edema": 1.0}
    assert data.facts()["studies"] == {"train": 10, "val": 4, "test": 4}


def test_fingerprint_moves_with_either_set():
    prints = {Transfer(Drawn(), Elsewhere(shift=shift)).fingerprint() for shift in (100, 101)} | {
        Transfer(Drawn(data_fraction=0.5), Elsewhere(shift=100)).fingerprint()
    }
    assert len(prints) == 3


def test_credentialed_if_either_is():
    class Guarded(Elsewhere):
        credentialed = True

    assert not Transfer(Drawn(), Elsewhere(shift=100)).credentialed
    assert Transfer(Drawn(), Guarded(shift=100)).credentialed


def test_what_is_not_used_of_either_set_need_not_be_there(tmp_path):
    """The training images of the evaluation set and the test images of the other are gone."""
    source, target = (ChestXray14(root=str(nih_folder(tmp_path / name))) for name in ("a", "b"))
    for data, splits in ((source, ("test",)), (target, ("train", "val"))):
        for path in (path for split in splits for study in data.studies(split) for path in study.images):
            Path(path).unlink()
    sets = [ChestXray14(root=str(tmp_path / name)) for name in ("a", "b")]
    sets[1].patients_of = "elsewhere"
    sets[1].read_index = lambda read=sets[1].read_index: [replace(s, id=f"b{s.id}") for s in read()]
    data = Transfer(*sets)
    data.check()
    assert data.facts()["studies"] == {"train": 34, "val": 6, "test": 10}


def test_facts_are_those_of_both(tmp_path):
    source, target = Drawn(data_fraction=0.5), Elsewhere(shift=100)
    source.left_out["lateral"], target.left_out["lateral"], target.left_out["CT"] = 2, 3, 1
    data = Transfer(source, target)
    data.check()
    facts = data.facts()
    assert facts["data_fraction"] == 0.5 and facts["left_out"] == {"lateral": 5, "CT": 1}


def test_messages_of_the_second_set_name_its_own_settings():
    class Broken(Elsewhere):
        def read_studies(self, split):
            raise DataError("data.root: x/data.csv is no folder. Set data.images_dir.")

    with pytest.raises(
        DataError, match=r"^evaluate.data.root: x/data.csv is no folder. Set evaluate.data.images_dir.$"
    ):
        Transfer(Drawn(), Broken()).check()


def test_nothing_is_read_when_a_transfer_is_made():
    """An experiment is checked on machines without its data."""
    data = Transfer(Tabular(root="/nowhere", index_file="index.csv"), Elsewhere(shift=100))
    with pytest.raises(DataError, match="/nowhere is no folder"):
        _ = data.findings


def further(**sets: CXRDataModule) -> dict[str, CXRDataModule]:
    """Checked sets by the key of their section, as a run has them."""
    for data in sets.values():
        data.splits = ("test",)
        data.check()
    return {f"evaluate.sets.{name}.data": data for name, data in sets.items()}


def test_patients_of_further_sets_leave_training_and_the_own_test_split_stays():
    data = Transfer(Drawn(), None, further(a=Drawn(shift=-10), b=Drawn(shift=-2)))
    data.check()
    assert names(data, "train") == ["s0", "s1", "s2", "s3", "s8", "s9"] and data.removed == 4 + 2
    assert names(data, "val") == ["s10", "s11"] and names(data, "test") == ["s14", "s15", "s16", "s17"]
    assert data.settled() is data and data.sets == (data.source,) and data.scored_findings == ("edema", "pneumonia")


def test_sets_whose_patients_are_not_in_training_change_nothing_at_all():
    source = Drawn()
    data = Transfer(source, None, further(a=Drawn(shift=0), b=Elsewhere(shift=100)))
    data.check()
    assert data.removed == 0 and data.settled() is source
    assert source.fingerprint() == Drawn().fingerprint()
    assert any("4 of 4 patients that are tested on are in the set" in note for note in source.notes)


def test_further_sets_beside_an_evaluation_set():
    data = Transfer(Drawn(), Drawn(shift=-10), further(b=Drawn(shift=-12)))
    data.check()
    assert names(data, "train") == ["s0", "s1", "s8", "s9"] and names(data, "test") == ["s4", "s5", "s6", "s7"]


def test_equal_ids_in_a_further_set_are_an_error_that_names_its_key():
    with pytest.raises(DataError, match=r"data and evaluate\.sets\.a\.data both have a study 's4' \(4 in all\)"):
        Transfer(Drawn(), None, further(a=Elsewhere(shift=-10))).check()


def test_what_is_trained_on_has_a_fingerprint_of_its_own():
    """It moves with the studies that are left, and not with where answers are scored or who was removed by whom."""

    def trained(target: CXRDataModule | None, **sets: CXRDataModule) -> str:
        data = Transfer(Drawn(), target, further(**sets))
        data.check()
        return data.fingerprint_of(data.studies("train"))

    whole = trained(Elsewhere(shift=100))
    assert whole == trained(Elsewhere(shift=200, grey=3)) == trained(None, a=Drawn(shift=100))
    less = trained(Drawn(shift=-10))
    assert less != whole and less == trained(None, a=Drawn(shift=-10)) == trained(
        Elsewhere(shift=100), a=Drawn(shift=-10)
    )
