"""Draws a case as a frontal chest radiograph: bright is dense, the patient's left is on the right of the image.

All geometry is in fractions of the image side, so one case looks the same at every size. Signs follow radiology
teaching: effusion is a basal opacity with a meniscus that climbs along the chest wall; pneumothorax is a black rim
without vessels outside a fine pleural line; consolidation is a dense sharp-edged segment with air bronchograms;
pneumonia is several soft patches; atelectasis is plate-like bands with a raised diaphragm; edema is a butterfly
of haze around both hila with thick vessels and short peripheral (Kerley B) lines; cardiomegaly is a heart wider than
half the chest.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.ndimage import zoom

from apo_lightning.phantom.world import Body, Case
from apo_lightning.types import Detail

GRADE = {"mild": 0.0, "moderate": 0.5, "severe": 1.0}
CENTRE_Y = 0.45
DRAWING = 1
"""Raise it when images change: it is part of every image reference, and so of the hashes of stored stages."""


@lru_cache(maxsize=8)
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.meshgrid(axis, axis)


def _edge(distance: np.ndarray, width: float) -> np.ndarray:
    """Soft step: 1 where ``distance`` is well below 0, 0 well above."""
    return np.clip(0.5 - distance / width, 0.0, 1.0)


def _blob(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    return np.exp(-0.5 * (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2))


def _signs(detail: Detail) -> tuple[int, ...]:
    """-1 for the patient's right (left of the image), +1 for the left."""
    return {"left": (1,), "right": (-1,), "bilateral": (-1, 1)}.get(detail.side or "bilateral", (-1, 1))


class _Chest:
    """One radiograph in the making. ``image`` is density in [0, 1]; ``lungs`` maps a side to its soft mask."""

    def __init__(self, case: Case, size: int) -> None:
        self.body: Body = case.body
        self.rng = np.random.default_rng(case.noise)
        self.x, self.y = _grid(size)
        self.size = size
        self.case = case
        self.lift = {sign: 0.012 if sign < 0 else 0.0 for sign in (-1, 1)}
        for sign in _signs(case.present["atelectasis"]) if "atelectasis" in case.present else ():
            self.lift[sign] += 0.03 + 0.05 * GRADE[case.present["atelectasis"].severity]

    def centre(self, sign: int) -> float:
        return 0.5 + self.body.rotation + sign * (self.body.lung_width + 0.045)

    def base(self, sign: int) -> float:
        return CENTRE_Y + self.body.lung_height * 0.93 - self.lift[sign]

    def draw(self) -> np.ndarray:
        self._torso()
        self._lungs()
        self._vessels()
        self._heart()
        for finding, detail in self.case.present.items():
            sign = getattr(self, f"_{finding}", None)
            if sign is not None:
                sign(detail, GRADE[detail.severity])
        self._ribs()
        return self._film()

    def _torso(self) -> None:
        x, y = self.x, self.y
        half = 0.40 + 0.08 * np.clip((y - 0.15) / 0.3, 0, 1)
        body = _edge(np.abs(x - 0.5) - half, 0.05) * _edge(0.05 + 0.10 * np.abs(x - 0.5) / 0.4 - y, 0.04)
        self.image = 0.04 + 0.58 * body
        self.image += 0.10 * _edge(np.abs(x - 0.5 - self.body.rotation) - 0.035, 0.03) * body

    def _width(self, y: np.ndarray) -> np.ndarray:
        """Half width of a lung at height ``y``: a rounded apex, slightly wider towards the base."""
        up = np.clip((CENTRE_Y - y) / (self.body.lung_height * 1.02), 0, 1)
        return self.body.lung_width * np.sqrt(1 - up**2.6) * (1 + 0.10 * np.clip((y - CENTRE_Y) / 0.3, 0, 1))

    def _lungs(self) -> None:
        x, y, body = self.x, self.y, self.body
        self.lungs, self.hemithorax = {}, {}
        width = self._width(y)
        for sign in (-1, 1):
            cx = self.centre(sign)
            dome = self.base(sign) + 0.40 * (x - cx) ** 2 / body.lung_width
            sides = _edge(np.abs(x - cx) - width, 0.02) * _edge(CENTRE_Y - body.lung_height * 1.02 - y, 0.01)
            self.lungs[sign] = sides * _edge(y - dome, 0.018)
            self.hemithorax[sign] = sides * _edge(y - dome - 0.03, 0.018)
        self.field = np.maximum(self.lungs[-1], self.lungs[1])
        self.image -= 0.42 * self.field

    def _vessels(self) -> None:
        rng = np.random.default_rng(self.body.texture)
        for sign in (-1, 1):
            hx = 0.5 + self.body.rotation + sign * 0.085
            self.image += 0.16 * _blob(self.x, self.y, hx, CENTRE_Y - 0.01, 0.028, 0.05) * self.lungs[sign]
            angle = np.arctan2(self.y - CENTRE_Y, sign * (self.x - hx))
            radius = np.hypot(self.x - hx, self.y - CENTRE_Y)
            branches = np.sin(angle * 9 + rng.uniform(0, 6.28) + 14 * radius) ** 8
            self.image += 0.075 * branches * np.exp(-radius / 0.16) * self.lungs[sign]

    def _heart(self) -> None:
        detail = self.case.present.get("cardiomegaly")
        ratio = self.body.heart if detail is None else 0.56 + 0.14 * GRADE[detail.severity]
        chest = 2 * (2 * self.body.lung_width + 0.045)
        half = ratio * chest / 2
        cx, cy = 0.5 + self.body.rotation + 0.28 * half, CENTRE_Y + 0.165
        tilt = self.x - cx - 0.25 * (self.y - cy)
        shape = np.sqrt((tilt / half) ** 2 + ((self.y - cy) / (0.135 + 0.18 * (half - 0.15))) ** 2)
        heart = _edge(shape - 1, 0.14)
        self.image += 0.40 * heart * self.field
        self.image += 0.05 * heart * (1 - self.field)
        self.heart = heart
        knob = _blob(self.x, self.y, 0.5 + self.body.rotation + 0.06, CENTRE_Y - 0.13, 0.03, 0.035)
        self.image += 0.16 * knob * self.field

    def _add(self, layer: np.ndarray, sign: int) -> None:
        """Opacities fill the air that is left: they saturate at soft-tissue density instead of adding up."""
        room = np.clip(0.72 - self.image, 0, None)
        self.image += room * np.clip(layer, 0, 1) * self.lungs[sign]

    def _pleural_effusion(self, detail: Detail, grade: float) -> None:
        for sign in _signs(detail):
            outer = np.clip(sign * (self.x - self.centre(sign)) / self.body.lung_width, -1, 1)
            level = self.base(sign) + 0.04 - (0.12 + 0.20 * grade) - 0.07 * np.clip(outer, 0, 1) ** 2
            fluid = _edge(level - self.y, 0.03) * self.hemithorax[sign]
            self.image += np.clip(0.66 - self.image, 0, None) * fluid

    def _pneumothorax(self, detail: Detail, grade: float) -> None:
        for sign in _signs(detail):
            fade = np.clip((CENTRE_Y + 0.20 + 0.08 * grade - self.y) / 0.22, 0, 1)
            gap = (0.045 + 0.075 * grade) * np.sqrt(fade)
            pleura = sign * (self.x - self.centre(sign)) - (self._width(self.y - 1.1 * gap) - gap)
            free = self.lungs[sign] * (gap > 0.008)
            air = np.clip(pleura / 0.012, 0, 1) * free
            self.image += ((0.05 + 0.08 * grade) * fade * (1 - air) - (self.image - 0.045) * air) * self.lungs[sign]
            self.image += 0.30 * np.exp(-0.5 * (pleura / 0.0045) ** 2) * free

    def _consolidation(self, detail: Detail, grade: float) -> None:
        for sign in _signs(detail):
            hx = 0.5 + self.body.rotation + sign * 0.085
            outward = sign * (self.x - hx)
            top = CENTRE_Y - 0.20 - 0.05 * grade + self.rng.uniform(-0.01, 0.02)
            fissure = CENTRE_Y - 0.055 + 0.02 * grade + 0.06 * outward
            reach = 0.07 - 0.05 * grade - outward
            lobe = _edge(top - self.y + 0.25 * np.abs(outward - 0.12), 0.05) * _edge(self.y - fissure, 0.008)
            angle = np.arctan2(self.y - CENTRE_Y - 0.02, outward)
            bronchi = np.exp(-0.5 * ((np.mod(angle * 5, 1.3) - 0.65) / 0.10) ** 2)
            self._add(lobe * _edge(reach, 0.05) * (0.95 - 0.45 * bronchi), sign)

    def _pneumonia(self, detail: Detail, grade: float) -> None:
        for sign in _signs(detail):
            patches = np.zeros_like(self.x)
            for _ in range(4 + int(4 * grade)):
                cx = self.centre(sign) + self.rng.uniform(-0.09, 0.10)
                cy = CENTRE_Y + self.rng.uniform(-0.02, 0.20)
                radius = self.rng.uniform(0.022, 0.034)
                patches += (0.55 + 0.25 * grade) * _blob(self.x, self.y, cx, cy, radius, radius)
            self._add(patches, sign)

    def _atelectasis(self, detail: Detail, grade: float) -> None:
        for sign in _signs(detail):
            for k in range(2 + int(2 * grade)):
                y0 = self.base(sign) - 0.05 - 0.038 * k
                line = self.y - y0 + 0.18 * sign * (self.x - self.centre(sign)) * (1 if k % 2 else -0.5)
                reach = _edge(np.abs(self.x - self.centre(sign)) - self.body.lung_width * 0.75, 0.03)
                self._add((0.75 + 0.2 * grade) * np.exp(-0.5 * (line / 0.0075) ** 2) * reach, sign)

    def _edema(self, detail: Detail, grade: float) -> None:
        for sign in (-1, 1):
            hx = 0.5 + self.body.rotation + sign * 0.12
            haze = _blob(self.x, self.y, hx, CENTRE_Y, 0.07 + 0.02 * grade, 0.13 + 0.03 * grade)
            radius = np.hypot(self.x - hx, self.y - CENTRE_Y)
            bend = np.arctan2(self.y - CENTRE_Y, self.x - hx) * 7 + 25 * radius
            streaks = np.sin(bend + np.sin(9 * bend / 7)) ** 4 * np.exp(-radius / 0.10)
            edge = sign * (self.x - self.centre(sign)) / self.body.lung_width
            kerley = (np.sin(self.y * 150) ** 6) * np.clip((edge - 0.72) / 0.1, 0, 1) * (self.y > CENTRE_Y + 0.03)
            self._add((0.45 + 0.35 * grade) * haze + 0.18 * streaks + 0.4 * kerley, sign)

    def _ribs(self) -> None:
        outer = np.abs(self.x - 0.5 - self.body.rotation)
        wave = (self.y - 0.55 * outer**1.5 - 0.03) / 0.062
        band = np.clip(np.cos(2 * np.pi * wave) - 0.35, 0, 1)
        cage = _edge(outer - 2 * self.body.lung_width - 0.10, 0.05) * (self.y > 0.1) * (self.y < 0.85)
        self.image += 0.055 * band * cage
        collar = np.abs(self.y - 0.155 - 0.10 * (outer - 0.15))
        self.image += 0.10 * _edge(collar - 0.012, 0.01) * (outer > 0.04) * (outer < 0.36)

    def _film(self) -> np.ndarray:
        noise = np.random.default_rng([self.case.noise, 1])  # its own stream: findings must not change the grain
        coarse = noise.normal(0, 0.02, (8, 8)).astype(np.float32)
        self.image += zoom(coarse, self.size / 8, order=1)[: self.size, : self.size]
        self.image += noise.normal(0, 0.018, self.image.shape).astype(np.float32)
        return np.clip(self.image * self.body.exposure, 0, 1)


def draw(case: Case, size: int = 112) -> Image.Image:
    """Radiograph of a case as an 8-bit grey image of ``size`` x ``size`` pixels."""
    return Image.fromarray((255 * np.clip(_Chest(case, size).draw() * 1.25, 0, 1)).astype(np.uint8), mode=None)
