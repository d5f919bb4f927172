"""Images that show little or nothing of what an answer states, set against the image as in mDPO (arXiv 2406.11839)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from PIL import Image, ImageStat

from apo_lightning.types import Damage

KINDS = ("crop", "blank")


def damaged(images: Sequence[Image.Image], how: Damage, study: str) -> list[Image.Image]:
    """Each image of a study spoilt, in its own size and mode, the same way in every pass.

    ``crop``: a box of the image's shape, somewhere, of a share of its area that is drawn from (0, ``how.area``], made
    as large as the image. ``blank``: its mean grey (or colour) everywhere.

    Raises:
        ValueError: there is no such kind.
    """
    if how.how not in KINDS:
        raise ValueError(f"how must be one of {', '.join(KINDS)}, got '{how.how}'")
    if how.how == "blank":
        return [_blank(image) for image in images]
    return [_crop(image, how.area, Random(f"{how.seed} {study} {place}")) for place, image in enumerate(images)]


def _blank(image: Image.Image) -> Image.Image:
    mean = tuple(round(value) for value in ImageStat.Stat(image).mean)
    return Image.new(image.mode, image.size, mean if len(mean) > 1 else mean[0])


def _crop(image: Image.Image, area: float, draw: Random) -> Image.Image:
    side = (area * (1 - draw.random())) ** 0.5
    width, height = (max(1.0, side * whole) for whole in image.size)
    left, upper = draw.random() * (image.width - width), draw.random() * (image.height - height)
    box = (left, upper, left + width, upper + height)
    return image.resize(image.size, Image.Resampling.BICUBIC, box=box)
