"""Disturbed training images: a function of the seed, mild, never mirrored."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from data_modules.images.augment import AUGMENT, mild

SEEDS = range(60)


def block(width: int = 160, height: int = 200) -> Image.Image:
    """A white block of half the size in the middle of a black image."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = 255
    return Image.fromarray(pixels)


def smooth() -> Image.Image:
    y, x = np.mgrid[:96, :96]
    return Image.fromarray((120 + 60 * np.sin(x / 30) + 50 * np.cos(y / 25)).astype(np.uint8))


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(float)


def spans() -> np.ndarray:
    """Height, width, and center (down, across) of the disturbed block, for each seed: ``[60, 4]``."""
    found = []
    for seed in SEEDS:
        lit = array(mild(block(), seed)) > 128
        down, across = np.where(lit)
        found.append((lit[:, 80].sum(), lit[100].sum(), down.mean(), across.mean()))
    return np.array(found)


def test_same_seed_same_image_and_other_seed_another():
    image = smooth()
    first = [mild(image, seed).tobytes() for seed in range(20)]
    assert first == [mild(image, seed).tobytes() for seed in range(20)]
    assert [mild(image, seed).tobytes() for seed in reversed(range(20))] == first[::-1], "whatever came before"
    assert len(set(first)) == 20


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1])
def test_every_seed_that_a_loader_draws(seed):
    """``ExampleSet`` draws 32 bits."""
    assert mild(smooth(), seed).size == (96, 96)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (160, 200), (33, 7)])
def test_size_and_mode_are_kept(size):
    for seed in range(3):
        image = mild(Image.new("L", size, 90), seed)
        assert (image.mode, image.size) == ("L", size)


def test_the_image_that_is_given_is_left_alone():
    image = smooth()
    before = image.tobytes()
    mild(image, 3)
    assert image.tobytes() == before


def test_never_mirrored():
    """Left bright stays left bright, upper bright stays upper bright."""
    left, upper = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    left[:, :32], upper[:32] = 220, 220
    for seed in SEEDS:
        side, above = array(mild(Image.fromarray(left), seed)), array(mild(Image.fromarray(upper), seed))
        assert side[:, 8:24].mean() > side[:, 40:56].mean() + 100
        assert above[8:24].mean() > above[40:56].mean() + 100


def test_mild():
    """Not one image is the same as before, and none is far from it."""
    image = smooth()
    distances = [np.abs(array(mild(image, seed)) - array(image))[8:-8, 8:-8].mean() for seed in SEEDS]
    assert min(distances) > 0.3
    assert max(distances) < 16


def test_moves_and_sizes_stay_within_what_is_said_and_use_it_in_both_directions():
    """Block of 100 x 80 pixels in 200 x 160: 5 % make 95..105 and 76..84, 4 % move it by 8 and 6.4. A turn of 5
    degrees makes lines through it longer by 0.4 % and lets one pixel more in at each edge."""
    height, width, down, across = spans().T
    for span, side in ((height, 100), (width, 80)):
        assert side * 0.94 - 1 <= span.min() < side * 0.97
        assert side * 1.03 < span.max() <= side * 1.06 + 1
    for center, middle, most in ((down, 99.5, 8.0), (across, 79.5, 6.4)):
        assert middle - most - 0.7 <= center.min() < middle - most / 2
        assert middle + most / 2 < center.max() <= middle + most + 0.7


def test_turns_by_at_most_five_degrees_both_ways():
    """The slope of a bar: tan 5 degrees, up to 1.05 / 0.95 times that where height grows and width shrinks."""
    pixels = np.zeros((161, 161), np.uint8)
    pixels[78:83, 20:141] = 255
    slopes = []
    for seed in SEEDS:
        lit = array(mild(Image.fromarray(pixels), seed))
        rows = np.arange(161)
        ends = [(lit[:, column] * rows).sum() / lit[:, column].sum() for column in (40, 120)]
        slopes.append((ends[1] - ends[0]) / 80)
    assert np.tan(np.deg2rad(5.55)) > max(slopes) > np.tan(np.deg2rad(2.5))
    assert -np.tan(np.deg2rad(5.55)) < min(slopes) < -np.tan(np.deg2rad(2.5))


def test_none_is_no_augmentation():
    assert AUGMENT["none"] is None
    assert AUGMENT["mild"] is mild
