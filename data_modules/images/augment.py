"""Disturbing training images as a detector and a patient do: a little turned, shifted, nearer, brighter, noisier.

Never mirrored: reports and labels name sides, and the heart lies on the left. What is done to an image is a function of
(seed, pass, study), so it does not depend on how many processes load, and a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

Augment = Callable[[Image.Image, int], Image.Image]
"""An image of mode ``L`` and a seed to another image of mode ``L`` and the same size."""


def mild(image: Image.Image, seed: int) -> Image.Image:
    """At most 5 degrees, 4 % of the sides, 5 % of width and height each, a gamma of 0.9 to 1.1, and noise of 1 %."""
    pixels = np.asarray(image, dtype=np.float32)[None] / 255
    disturbed = _mild_transforms(image.size).set_random_state(seed)(pixels)
    return Image.fromarray(np.round(np.asarray(disturbed)[0].clip(0, 1) * 255).astype(np.uint8))


AUGMENT: dict[str, Augment | None] = {"none": None, "mild": mild}


@lru_cache(maxsize=256)  # of a set with many sizes not all are kept
def _mild_transforms(size: tuple[int, int]) -> Any:
    from monai.transforms import Compose, RandAdjustContrast, RandAffine, RandGaussianNoise  # importing takes seconds

    width, height = size
    moved = RandAffine(
        prob=1.0,
        rotate_range=np.deg2rad(5.0),
        translate_range=(0.04 * height, 0.04 * width),
        scale_range=(0.05, 0.05),  # one number would scale the height alone
        padding_mode="zeros",
        mode="bilinear",
    )
    return Compose([moved, RandAdjustContrast(prob=1.0, gamma=(0.9, 1.1)), RandGaussianNoise(prob=1.0, std=0.01)])
