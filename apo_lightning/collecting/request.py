"""What is asked about a study, and the hashes by which its answer is known.

``key`` is over all that the answer depends on: study, model, words, images, their size, and how tokens are drawn. A
changed prompt, model or image is another key. Not in it: the address, the variable of the key, limits, prices, and
``max_tokens`` (an answer that ended by itself is the same under a larger limit). ``asks`` is the same without the
images, for whoever cannot open them.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image

from apo_lightning import prompts
from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.hashing.contents import digest
from apo_lightning.types import Study

FORM = 1
"""Of what a key is made of: another form of images or messages is another number here."""


@dataclass(frozen=True)
class Request:
    """One question about one study.

    Attributes:
        study, teacher: whose answer it is.
        words: the prompt, filled in.
        asks: hash of all that the answer depends on but the images.
        images: SHA-256 of each image, in the order in which they are shown.
        key: hash of both.
    """

    study: str
    teacher: str
    words: str
    asks: str
    images: tuple[str, ...]

    @property
    def key(self) -> str:
        return digest([self.asks, self.images])


def words_of(endpoint: Endpoint, study: Study, findings: Sequence[str]) -> str:
    """The prompt as it is asked about ``study``; one that tells labels tells those of ``findings``."""
    if prompts.tells_labels(endpoint.prompt):
        labels = {name: study.findings[name] for name in findings if name in study.findings}
        return prompts.render(endpoint.prompt, findings, labels=labels)
    return _rendered(endpoint.prompt, tuple(findings))


@lru_cache(maxsize=64)
def _rendered(prompt: str, findings: tuple[str, ...]) -> str:
    return prompts.render(prompt, findings)


def asks(endpoint: Endpoint, study: str, words: str) -> str:
    """Hash of what the answer to ``study`` depends on, but for the images."""
    image = [endpoint.image_size, endpoint.image_detail]
    return digest([FORM, study, endpoint.model, words, image, endpoint.sampling])


def data_url(image: Image.Image, most: int | None) -> str:
    """An image as a PNG in an address, its long side at most ``most`` pixels."""
    if most is not None and max(image.size) > most:
        image = image.copy()
        image.thumbnail((most, most), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def messages(endpoint: Endpoint, words: str, images: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """The conversation: one turn of the user, images first."""
    detail = {"detail": endpoint.image_detail} if endpoint.image_detail else {}
    pictures = [
        {"type": "image_url", "image_url": {"url": data_url(own, endpoint.image_size), **detail}} for own in images
    ]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": words}]}]


def body(endpoint: Endpoint, words: str, images: Sequence[Image.Image]) -> dict[str, Any]:
    """Body of a request to ``/chat/completions``, also as a line of a batch has it."""
    return {
        "model": endpoint.model,
        "messages": messages(endpoint, words, images),
        endpoint.limit: endpoint.max_tokens,
        **endpoint.sampling,
    }
