"""What is asked about a study, and the hashes by which its answer is known.

``key`` is over all that the answer depends on: study, model, words, images, their size, and how tokens are drawn. A
changed prompt, model or image is another key. Not in it: the address, the variable of the key, limits, prices, and
``max_tokens`` (an answer that ended by itself is the same under a larger limit). ``asks`` is the same without the
images, for whoever cannot open them.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from apo_lightning import prompts
from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.errors import DataError
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
    """The prompt as it is asked about ``study``."""
    return prompts.render(endpoint.prompt, findings)


def asks(endpoint: Endpoint, study: str, words: str) -> str:
    """Hash of what the answer to ``study`` depends on, but for the images."""
    image = [endpoint.image_size, endpoint.image_detail]
    return digest([FORM, study, endpoint.model, words, image, endpoint.sampling])


def request(endpoint: Endpoint, teacher: str, study: Study, findings: Sequence[str], images: Sequence[str]) -> Request:
    """
    Args:
        images: see `image_hashes`.
    """
    words = words_of(endpoint, study, findings)
    return Request(study.id, teacher, words, asks(endpoint, study.id, words), tuple(images))


def shown(study: Study) -> tuple[str, ...]:
    """References of the images of a study, in the order in which they are shown."""
    return (*(study.prior.images if study.prior else ()), *study.images)


def image_hashes(study: Study, *, on_disk: bool) -> tuple[str, ...]:
    """SHA-256 of each image file; of a drawing that of its reference.

    Raises:
        DataError: a file cannot be read.
    """
    return tuple(_hash(reference, on_disk) for reference in shown(study))


def _hash(reference: str, on_disk: bool) -> str:
    if not on_disk:
        return hashlib.sha256(reference.encode()).hexdigest()
    try:
        with Path(reference).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{reference}: cannot be read ({error.strerror}).") from error


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
