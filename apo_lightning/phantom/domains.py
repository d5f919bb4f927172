"""The same radiograph from elsewhere: four shifts for zero-shot tests. Each keeps every finding visible."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

DOMAINS = ("home", "scanner", "portable", "cropped", "inverted")


def _scanner(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Another detector: half the resolution, a steeper curve, more noise."""
    side = image.width
    coarse = image.resize((side * 5 // 8,) * 2, Image.Resampling.BOX).resize((side, side), Image.Resampling.BILINEAR)
    value = np.asarray(coarse, np.float32) / 255
    value = np.clip(1.25 * value**1.35, 0, 1) + rng.normal(0, 0.05, value.shape)
    return Image.fromarray((255 * np.clip(value, 0, 1)).astype(np.uint8))


def _portable(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bedside AP film: closer, turned, soft, flat, with a line and electrode leads over the chest."""
    side = image.width
    turned = image.rotate(float(rng.uniform(-7, 7)), Image.Resampling.BILINEAR, fillcolor=8)
    edge = int(0.05 * side)
    near = turned.crop((edge, edge, side - edge, side - edge)).resize((side, side), Image.Resampling.BILINEAR)
    flat = ImageOps.autocontrast(near.filter(ImageFilter.GaussianBlur(side / 220))).point(lambda v: 45 + 0.68 * v)
    pen = ImageDraw.Draw(flat)
    for x in rng.uniform(0.25, 0.75, 2):
        y = float(rng.uniform(0.2, 0.6))
        pen.line([(x * side, 0), ((x + 0.05) * side, y * side)], fill=225, width=max(1, side // 112))
        pen.ellipse([(x + 0.03) * side, y * side, (x + 0.07) * side, (y + 0.04) * side], fill=235)
    return flat


def _cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Collimated off centre: up to a tenth is missing on every side."""
    side = image.width
    left, top, right, bottom = (rng.uniform(0.02, 0.10, 4) * side).astype(int)
    return image.crop((left, top, side - right, side - bottom)).resize((side, side), Image.Resampling.BILINEAR)


def _inverted(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bone is black (MONOCHROME1 shown as it is stored)."""
    return ImageOps.invert(image)


def shift(image: Image.Image, domain: str, seed: int) -> Image.Image:
    """``image`` as it would look in ``domain``; ``home`` changes nothing.

    Raises:
        ValueError: there is no such domain.
    """
    if domain not in DOMAINS:
        raise ValueError(f"domain must be one of {', '.join(DOMAINS)}, got '{domain}'")
    if domain == "home":
        return image
    change = {"scanner": _scanner, "portable": _portable, "cropped": _cropped, "inverted": _inverted}[domain]
    return change(image, np.random.default_rng(seed))
