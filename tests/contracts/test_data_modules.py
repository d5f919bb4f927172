"""Every registered data set keeps the promises of ``CXRDataModule``.

A data set that needs settings has a file ``tests/helpers/<name>_folder.py`` whose ``settings(folder)`` makes a small
one in a folder and returns them; it is called twice on the same folder. The others are built bare.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from apo_lightning.errors import DataError
from apo_lightning.findings import CANONICAL
from apo_lightning.types import Example, Study
from data_modules import DATA
from data_modules.base import CXRDataModule
from data_modules.loading.splits import SPLITS

Make = Callable[..., CXRDataModule]


def settings_of(name: str, folder: Path) -> dict:
    """Settings of a small data set that ``tests/helpers/<name>_folder.py`` makes in ``folder``; none without one."""
    module = f"tests.helpers.{name}_folder"
    return importlib.import_module(module).settings(folder) if importlib.util.find_spec(module) else {}


@pytest.fixture(params=sorted(DATA))
def make(request, tmp_path) -> Make:
    """Builds the same small data set anew, with some settings changed."""
    cls, settings = DATA[request.param], settings_of(request.param, tmp_path)
    return lambda **changes: cls(**{**settings, **changes})


@pytest.fixture
def trainable(make) -> Make:
    """``make`` of a set that has a training split."""
    if make().splits != SPLITS:
        pytest.skip("a set for evaluation alone")
    return make


def plain(studies: list[Study]) -> list[Study]:
    """NaN differs from itself: as None it can be compared."""
    known = [{k: None if math.isnan(v) else v for k, v in s.findings.items()} for s in studies]
    return [replace(study, findings=labels) for study, labels in zip(studies, known, strict=True)]


def every(data: CXRDataModule) -> list[Study]:
    return [study for split in data.splits for study in data.studies(split)]


def test_class_says_what_it_is(make):
    data = make()
    assert isinstance(data, CXRDataModule)
    assert type(data).studies is CXRDataModule.studies, "give read_studies; studies belongs to the base"
    assert type(data).citation or not data.on_disk, "name who made the images"
    assert list(data.findings) == sorted(data.findings) and data.findings


def test_splits_part_patients_and_nothing_is_empty(make):
    data = make()
    patients = [{study.patient for study in data.studies(split)} for split in data.splits]
    assert all(patients)
    assert sum(map(len, patients)) == len(set().union(*patients))
    assert len({study.id for study in every(data)}) == len(every(data))
    assert all(study.split == split for split in data.splits for study in data.studies(split))


def test_findings_are_known_and_zero_one_or_nan(make):
    data = make()
    for study in every(data):
        assert set(study.findings) <= set(data.findings)
        assert all(value in (0.0, 1.0) or math.isnan(value) for value in study.findings.values())
        present = {name for name, value in study.findings.items() if value == 1.0}
        assert set(study.details) <= present, "details belong to present findings"
    present = {name for study in every(data) for name, value in study.findings.items() if value == 1.0}
    assert present & set(CANONICAL), "no canonical finding is ever present"


def test_same_settings_give_the_same_studies(make):
    assert plain(every(make())) == plain(every(make()))


def test_data_fraction_is_nested_by_patient_and_leaves_val_and_test_alone(trainable):
    make, whole = trainable, trainable()
    parts = [make(data_fraction=share).studies("train") for share in (0.1, 0.5, 1.0)]
    patients = [{study.patient for study in part} for part in parts]
    assert patients[0] < patients[1] < patients[2]
    assert len(patients[1]) == pytest.approx(len(patients[2]) / 2, abs=1)
    assert plain(parts[2]) == plain(whole.studies("train"))
    whole_patients = [study for study in parts[2] if study.patient in patients[1]]
    assert plain(parts[1]) == plain(whole_patients), "a patient comes whole"
    for split in ("val", "test"):
        assert plain(make(data_fraction=0.1).studies(split)) == plain(whole.studies(split))


def test_images_are_eight_bit_grey_and_the_same_every_time(make):
    data, other = make(), make()
    for study, same in zip(every(data)[:4], every(other)[:4], strict=True):
        images = data.images(study)
        assert images and all(isinstance(image, Image.Image) and image.mode == "L" for image in images)
        assert [i.tobytes() for i in images] == [i.tobytes() for i in other.open_images(same)]


def test_check_passes_and_drops_nothing(make):
    data = make()
    before = every(data)
    data.check()
    assert data.bad == [] and plain(every(data)) == plain(before)


def test_fingerprint_is_stable_and_moves_with_any_label(make):
    data = make()
    print_ = data.fingerprint()
    assert make().fingerprint() == print_
    if "train" in data.splits:
        assert make(data_fraction=0.5).fingerprint() != print_
    moved = {with_label(make, value).fingerprint() for value in (0.0, 1.0, math.nan)}
    assert len(moved) == 3 and len(moved - {print_}) == 2


def with_label(make: Make, value: float) -> CXRDataModule:
    """The set with the first finding of its first study changed."""
    data = make()
    chosen = data.splits[0]
    first, *rest = data.studies(chosen)
    changed = replace(first, findings={**first.findings, data.findings[0]: value})
    data.read_studies = lambda split, read=data.read_studies: [changed, *rest] if split == chosen else read(split)
    data._studies.clear()
    return data


@pytest.mark.parametrize("value", [2.0, -1.0, 0.5])
def test_label_out_of_range_is_an_error_that_names_it(make, value):
    data = with_label(make, value)
    with pytest.raises(DataError, match=f"Study {data.studies(data.splits[0])[0].id}.*'{data.findings[0]}' is {value}"):
        data.check()


def test_unknown_label_passes_the_check(make):
    data = with_label(make, math.nan)
    data.check()
    assert math.isnan(data.studies(data.splits[0])[0].findings[data.findings[0]])


def test_unknown_finding_is_an_error(make):
    data = make()
    first = every(data)[0]
    data.read_studies = lambda split: [replace(first, id=split, patient=split, split=split, findings={"gout": 1.0})]
    data._narrowed = list  # as a module does whose labels are not those it declares
    data._studies.clear()
    with pytest.raises(DataError, match=rf"finding 'gout'\. Known: {data.findings[0]}"):
        data.check()


def test_patient_in_two_splits_is_an_error_that_names_them(trainable):
    data = trainable()
    first = data.studies("train")[0]
    data.read_studies = lambda split: [replace(first, id=split, patient="p7", split=split)]
    data._studies.clear()
    with pytest.raises(DataError, match="1 patients are both in 'train' and in 'val': p7"):
        data.check()


def test_empty_split_and_repeated_id_are_errors(make):
    data = make()
    first = every(data)[0]
    empty = f"Split '{data.splits[0]}' has no studies"
    for studies, reason in (([], empty), ([first, first], "1 study ids occur twice")):
        data.read_studies = lambda split, s=studies: [replace(x, split=split) for x in s]
        data._studies.clear()
        with pytest.raises(DataError, match=reason):
            data.check()


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"data_fraction": 0.0}, {"data_fraction": 1.5}, {"num_workers": -1}, {"max_bad_share": 2.0}]
)
def test_settings_out_of_range_are_refused_with_their_value(make, wrong):
    ((key, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{key} must be .*, got {value}"):
        make(**wrong)


def test_the_four_loaders_hand_over_examples_with_their_images(make):
    data = make()
    examples = [Example(study) for study in data.studies(data.splits[-1])][:9]
    data.prepare_data()
    data.setup("fit")
    data.connect(
        collate=list, batch_studies=2, seed=0, train=examples, val=examples, test=examples[:5], predict=examples
    )
    batches = list(data.train_dataloader())
    assert [len(batch) for batch in batches] == [2] * len(batches) == [2] * max(1, len(examples) // 2)
    assert all(isinstance(example, Example) and image.mode == "L" for example, (image, *_) in batches[0])
    validated = [[example.study.id for example, _ in batch] for batch in data.val_dataloader()]
    assert validated == [[e.study.id for e in examples[i : i + 2]] for i in range(0, len(examples), 2)]
    tested = [example for batch in data.test_dataloader() for example, _ in batch]
    assert tested == examples[:5]
    answered = [example for _, batch in data.predict_dataloader() for example, _ in batch]
    assert [e.study.id for e in answered] == [e.study.id for e in examples]


@pytest.mark.parametrize("stage", ["fit", "validate", "test", "predict", None])
def test_setup_reads_the_splits_that_a_call_needs(make, stage):
    data, read = make(), []
    data.read_studies = lambda split, own=data.read_studies: (read.append(split), own(split))[1]
    data.setup(stage)
    wanted = {"fit": {"train", "val"}, "validate": {"val"}, "test": {"test"}, "predict": set(), None: set(SPLITS)}
    assert set(read) == wanted[stage] & set(data.splits)


@pytest.mark.parametrize("kind", ["train", "val", "test", "predict"])
def test_what_was_not_connected_is_an_error_that_says_how(make, kind):
    data = make()
    data.connect(collate=list, batch_studies=2, seed=0)
    with pytest.raises(DataError, match=rf"call connect\({kind}=\.\.\.\)"):
        getattr(data, f"{kind}_dataloader")()


def test_a_loading_process_gets_a_light_copy(make):
    data = make()
    data.images(every(data)[0])
    copy = pickle.loads(pickle.dumps(data))
    assert copy._cache == {} and copy.trainer is None
    assert plain(every(copy)) == plain(every(data))


def test_findings_narrow_labels_details_and_boxes(make):
    whole = make()
    name = next(name for s in every(whole) for name, value in s.findings.items() if value == 1.0)
    narrow = make(findings=[name])
    assert narrow.findings == narrow.scored_findings == (name,)
    assert [study.findings.get(name) for study in every(narrow)] == pytest.approx(
        [study.findings.get(name) for study in every(whole)], nan_ok=True
    )
    for study in every(narrow):
        assert {*study.findings, *study.details, *study.progression, *(b.finding for b in study.boxes)} <= {name}


def test_boxes_lie_on_an_image_of_a_finding_that_is_present(make):
    for study in every(make()):
        for box in study.boxes:
            assert study.findings[box.finding] == 1.0 and 0 <= box.image < len(study.images)
            assert min(box.x, box.y) >= 0 and min(box.width, box.height) > 0
            assert max(box.x + box.width, box.y + box.height) <= 1 + 1e-6


def test_views_belong_to_images(make):
    assert all(len(study.views) in (0, len(study.images)) for study in every(make()))


def test_facts_count_what_is_used(make):
    data = make()
    data.check()
    facts = data.facts()
    data.check()
    assert data.facts() == facts, "a second check finds the same"
    assert facts["studies"] == {split: len(data.studies(split)) for split in SPLITS}
    assert facts["unusable"] == 0 and facts["data_fraction"] == 1.0


def test_unusable_rows_count_towards_the_allowed_share_and_are_listed(make, tmp_path):
    """One row of n + 1: above an allowed share of 0, below one of .5."""
    data = make(max_bad_share=0.0)
    every(data)
    data.faults.append(("table.csv:7", "patient is empty"))
    with pytest.raises(DataError, match=r"1 of \d+ studies and rows cannot be used .*table.csv:7: patient is empty"):
        data.check(report_path=tmp_path / "unusable.tsv")
    assert (tmp_path / "unusable.tsv").read_text() == "table.csv:7\tpatient is empty\n"
    data.max_bad_share = 0.5
    data.check()
    assert data.bad == [("table.csv:7", "patient is empty")]


def test_fingerprint_moves_with_what_is_done_to_the_pixels(make):
    """Stages are stored under it: another augmentation must not find the results of this one."""
    assert make(augment="mild").fingerprint() != make().fingerprint()
    if hasattr(make(), "max_side"):
        assert make(max_side=4).fingerprint() != make().fingerprint()
