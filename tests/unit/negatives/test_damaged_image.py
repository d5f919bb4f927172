"""Answers behind damaged images: what is damaged and how, and that they are scored behind it, and nothing else is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from apo_lightning.batching.damage import damaged
from apo_lightning.batching.examples import Rejected, preference_examples
from apo_lightning.losses import LOSSES
from apo_lightning.models.student import Student
from apo_lightning.negatives import NEGATIVES
from apo_lightning.scoring.apart import by_images
from apo_lightning.settings import OptimSettings
from apo_lightning.stages.apo import APO
from apo_lightning.types import PREFERRED, Branch, BranchBatch, Damage, Example
from tests.helpers import tiny
from tests.helpers.negatives import seen

CROP = Damage("crop", 0.2, 0)
BLANK = Damage("blank", 0.2, 0)


def ramp(width: int = 200, height: int = 100) -> Image.Image:
    """Brightness tells the column."""
    return Image.fromarray(np.tile(np.linspace(0, 255, width).round().astype(np.uint8), (height, 1)))


@pytest.mark.parametrize("kept", [0.05, 0.2, 1.0])
def test_a_crop_shows_no_more_than_its_share_in_the_image_s_own_size(kept: float) -> None:
    """Of a ramp the range of brightness is the width of the box; its height is in proportion."""
    shares = []
    for seed in range(300):
        (image,) = damaged([ramp()], Damage("crop", kept, seed), "s")
        pixels = np.asarray(image, dtype=float)
        assert image.size == (200, 100) and image.mode == "L"
        shares.append(((pixels.max() - pixels.min()) / 255) ** 2)
    assert max(shares) <= kept + 0.01
    assert np.mean(shares) == pytest.approx(kept / 2, rel=0.15)  # uniform up to it


def test_crops_lie_everywhere() -> None:
    middles = [np.asarray(damaged([ramp()], Damage("crop", 0.04, seed), "s")[0]).mean() for seed in range(200)]
    assert min(middles) < 45 and max(middles) > 210 and np.mean(middles) == pytest.approx(127, abs=12)


def test_the_same_in_every_pass_and_another_for_each_study_image_and_seed() -> None:
    two = damaged([ramp(), ramp()], CROP, "s")
    assert [image.tobytes() for image in damaged([ramp(), ramp()], CROP, "s")] == [image.tobytes() for image in two]
    others = [two[1], damaged([ramp()], CROP, "t")[0], damaged([ramp()], replace(CROP, seed=1), "s")[0]]
    assert len({image.tobytes() for image in [two[0], *others]}) == 4


def test_blank_is_the_mean_and_nothing_else() -> None:
    (grey,), (colour,) = damaged([ramp()], BLANK, "s"), damaged([Image.new("RGB", (4, 3), (9, 8, 7))], BLANK, "s")
    assert set(np.asarray(grey).ravel()) == {128} and grey.size == (200, 100)
    assert colour.getpixel((2, 1)) == (9, 8, 7)


@pytest.mark.parametrize("size", [(1, 1), (3, 200)])
def test_small_images_stay_images(size: tuple[int, int]) -> None:
    for seed in range(20):
        assert damaged([Image.new("L", size, 7)], Damage("crop", 0.01, seed), "s")[0].size == size


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="how must be one of crop, blank, got 'smear'"):
        damaged([ramp()], Damage("smear", 0.2, 0), "s")


@pytest.mark.parametrize(
    ("setting", "said"), [({"area": 0}, r"area must be in \(0, 1\], got 0"), ({"how": "x"}, "how")]
)
def test_settings(setting: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NEGATIVES["damaged_image"](**setting)


def test_t_plus_stands_against_itself_whatever_the_filters_say() -> None:
    """A copy, and here a refusal; cut where t+ is cut."""
    best = {"s": "I am sorry, I cannot interpret medical images.", "t": "Edema."}
    own, made = seen({}, best, seed=7), NEGATIVES["damaged_image"](area=0.1)
    found = preference_examples(
        own.studies, {}, {}, best, cut={"t"}, instead=Rejected(made.proposed(own), lambda s, a: made.kept(own, s, a))
    )
    assert [each.branches for each in found] == [
        (Branch(PREFERRED, best["s"]), Branch("damaged", best["s"], damage=Damage("crop", 0.1, 7))),
        (Branch(PREFERRED, "Edema.", cut=True), Branch("damaged", "Edema.", cut=True, damage=Damage("crop", 0.1, 7))),
    ]


def batch(count: int = 2, teachers: int = 1, how: Damage = CROP, keys: bool = False) -> BranchBatch:
    """Studies with t+, the same behind a damaged image, and teachers' answers."""
    items = []
    for place in range(count):
        (example, images), best = tiny.item(place, {PREFERRED: tiny.truth(place)}), tiny.truth(place)
        said = tuple(Branch(f"t{i}", "I see no edema." * (1 + i + place)) for i in range(teachers))
        branches = (*example.branches, Branch("damaged", best, damage=how), *said)
        items.append((Example(example.study, branches), images))
    collate = tiny.collator()
    collate.keys = keys
    return collate(items)


def alone(place: int, text: str, how: Damage | None) -> BranchBatch:
    """One answer of one study behind its image, which is damaged before anything here sees it."""
    example, images = tiny.item(place, {PREFERRED: text})
    return tiny.collator()([(example, damaged(images, how, example.study.id) if how else images)])


@pytest.mark.parametrize("mode", ["joint", "branchwise", "separate"])
@pytest.mark.parametrize("how", [CROP, BLANK])
def test_log_probs_are_those_behind_the_damaged_image(mode: str, how: Damage) -> None:
    student = tiny.student()
    student.settings.scorer.mode = mode
    scores = student.score(batch(how=how, teachers=2))
    plain = batch(how=how, teachers=2)
    for b in range(2):
        for u, damage in ((0, None), (1, how), (2, None), (3, None)):
            ids = plain.branch_ids[b, u][plain.branch_mask[b, u].bool()]
            one = alone(b, "x", damage)
            one = replace(one, branch_ids=ids[None, None], branch_mask=torch.ones(1, 1, len(ids), dtype=torch.long))
            value = student.score(one).logps.item()
            assert scores.logps[b, u].item() == pytest.approx(value, rel=1e-4), (b, u)
            assert scores.lengths[b, u] == len(ids)
    assert (scores.logps[:, 0] - scores.logps[:, 1]).abs().min() > 1e-3  # the image matters to a random network too


def moved(student: Student) -> Student:
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in (p for p in student.parameters() if p.requires_grad):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    return student


def test_dpo_against_it_is_the_conditional_term_of_mdpo() -> None:
    """-log sigmoid(beta (log pi(t+ | v) / ref(t+ | v) - log pi(t+ | v') / ref(t+ | v'))), mean over studies."""
    student = moved(tiny.student().make_trainable(seed=0))
    loss = LOSSES["dpo"](beta=0.3, nll_weight=0.0, reduction="sum")
    stage = APO(student, loss, OptimSettings(lr=1e-3), steps=10, seed=0)
    stage.log_loss = lambda output, batch, **extra: output
    output = stage.training_step(batch(teachers=0), 0)
    terms = []
    for b in range(2):
        values = []
        for damage in (None, CROP):
            one = alone(b, tiny.truth(b), damage)
            with student.reference():
                before = student.score(one).logps.item()
            values.append(student.score(one).logps.item() - before)
        terms.append(math.log1p(math.exp(-0.3 * (values[0] - values[1]))))
    assert output.loss.item() == pytest.approx(sum(terms) / 2, rel=1e-4)
    assert abs(terms[0] - math.log(2)) > 1e-4
    output.loss.backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in student.parameters() if p.requires_grad)


def test_keys_of_the_damaged_answer_are_others() -> None:
    """So that a cache of reference log-probs never takes one for the other."""
    keyed = batch(keys=True)
    assert len({key for row in keyed.branch_keys for key in row}) == 6
    assert keyed.branch_keys[0][1] == batch(keys=True).branch_keys[0][1]


def test_t_plus_alone_needs_no_damaged_image() -> None:
    whole = batch()
    assert whole.first(1).damaged is None and whole.first(2).damaged is whole.damaged
    assert [columns for columns, _ in by_images(whole)] == [[0, 2], [1]]
    assert [columns for columns, _ in by_images(whole.first(1))] == [[0]]
    part = by_images(whole)[1][1]
    assert part.sources == [["damaged"], ["damaged"]] and part.vision is whole.damaged.vision


def test_a_batch_where_only_some_studies_have_one_is_refused() -> None:
    (example, images), plain = tiny.item(0, {PREFERRED: "Edema."}), tiny.item(1, {PREFERRED: "Edema.", "t0": "No."})
    spoilt = Example(example.study, (*example.branches, Branch("damaged", "Edema.", damage=CROP)))
    with pytest.raises(ValueError, match="second answer of each study stands behind them"):
        tiny.collator()([(spoilt, images), plain])
