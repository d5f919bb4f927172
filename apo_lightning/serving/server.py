"""A server of vLLM or SGLang with the base model: what it serves, and adapters that it takes and gives back.

vLLM (``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True``, ``--enable-lora``) takes them under ``/v1``, and an adapter is a model
of its own name there; SGLang (``--enable-lora``) takes them beside ``/v1``, and its name stands behind the base's.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2

from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.collecting.failures import Failure, failure
from apo_lightning.collecting.secrets import masked
from apo_lightning.collecting.senders import OpenAISender, read_key
from apo_lightning.errors import ServerError, first_line
from apo_lightning.models.processor import locate
from apo_lightning.settings import ServerSettings

T = TypeVar("T")
LOAD, UNLOAD = "load_lora_adapter", "unload_lora_adapter"
WHERE = "student.server"
SGLANG = "sglang"
PATIENCE = 30.0
"""Seconds that an answer to a small question may take: what is served, or forgetting an adapter."""
LONGEST = 300
"""Characters of a server's own words in a message."""
START = (
    "Start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment and --enable-lora, or SGLang with "
    "--enable-lora."
)


@dataclass(frozen=True)
class Base:
    """The base model as a server calls it.

    Attributes:
        id: its name.
        root: what was loaded under it.
        kind: ``owned_by``: vllm or sglang.
        positions: tokens of a question and its answer together, at most; None: it does not say.
    """

    id: str
    root: str
    kind: str
    positions: int | None

    def model(self, adapter: str | None) -> str:
        """The name under which the base with an adapter is asked."""
        if adapter is None:
            return self.id
        return f"{self.id}:{adapter}" if self.kind == SGLANG else adapter


class Server:
    """A connection to a server, with an event loop in a thread of its own, to be closed.

    Args:
        settings: its address, key and limits.
        timeout: seconds of a request; None: as the settings say.

    Raises:
        ConfigError: its key is not set.
    """

    def __init__(self, settings: ServerSettings, *, timeout: float | None = None, tokens: int = 1024) -> None:
        self.url = str(settings.url).rstrip("/")
        endpoint = Endpoint(
            base_url=self.url,
            model=WHERE,
            key=settings.key,
            timeout=timeout or settings.timeout,
            concurrency=settings.concurrency,
            max_tokens=tokens,
        )
        self.sender = OpenAISender(endpoint, read_key(settings.key, f"{WHERE}.key"))
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="serving", daemon=True)
        self.thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.give_up()
        self.begin(self.sender.close()).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def give_up(self) -> None:
        """End what is under way, so that nothing is asked any more."""
        self.begin(self._cancel()).result()

    async def _cancel(self) -> None:
        under_way = asyncio.all_tasks() - {asyncio.current_task()}
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Let the loop do it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def base(self, model: str) -> Base:
        """The base model among those that are served.

        Raises:
            ServerError: the server is not there, or serves something else.
        """
        try:
            content = self.begin(self.get("/models")).result()
        except Failure as error:
            raise ServerError(
                f"{WHERE}.url {masked(self.url)} gave no list of models: {error}. Start the server, wait until it has "
                f"loaded the model, and look at the address: it ends in /v1."
            ) from error
        served = _cards(content)
        for card in served:
            if _is_model(card, model):
                positions = card.get("max_model_len")
                kind, root = str(card.get("owned_by") or ""), str(card.get("root") or card["id"])
                return Base(card["id"], root, kind, positions if isinstance(positions, int) else None)
        names = ", ".join(sorted({f"'{name}'" for card in served for name in (card["id"], card.get("root")) if name}))
        raise ServerError(
            f"{WHERE}.url {masked(self.url)} does not serve student.model '{model}'. It serves {names or 'nothing'}. "
            "Start it with the base model, under that name or from that folder."
        )

    def version(self) -> str | None:
        """Of vLLM; None where it says none."""
        try:
            content = self.begin(self.get(f"{self.url.removesuffix('/v1')}/version")).result(PATIENCE)
            return str(json.loads(content)["version"])
        except (Failure, TimeoutError, ValueError, KeyError, TypeError):
            return None

    def require_loading(self, base: Base) -> None:
        """
        Raises:
            ServerError: it takes no adapters while it runs.
        """
        status, said = self._post(base, LOAD, {"lora_name": "", "lora_path": ""})
        if status in (404, 405):
            raise ServerError(f"{WHERE}.url {masked(self.url)} takes no adapters ({said}). {START}")

    def load(self, base: Base, name: str, folder: Path, rank: int) -> None:
        """Let it take an adapter; one that a killed run left under that name is taken back first.

        Raises:
            ServerError: it does not take it.
        """
        self.unload(base, name)
        status, said = self._post(base, LOAD, {"lora_name": name, "lora_path": str(folder.resolve())})
        if status == 200:
            return
        raise ServerError(
            f"{WHERE}.url {masked(self.url)} does not take the student's adapter ({said}). It has rank {rank}: the "
            f"server needs --max-lora-rank of at least that (vLLM's default is 16), and must be able to read {folder}, "
            f"the same path on its machine. {START}"
        )

    def unload(self, base: Base, name: str) -> bool:
        """Let it forget an adapter; False: it does not know it, or is not there."""
        return self._post(base, UNLOAD, {"lora_name": name}, PATIENCE)[0] == 200

    def _post(self, base: Base, path: str, body: dict[str, Any], patience: float | None = None) -> tuple[int, str]:
        """Status (0: no answer) and what is said."""
        root = self.url.removesuffix("/v1") if base.kind == SGLANG else self.url
        try:
            return self.begin(self._sent(f"{root}/{path}", body)).result(patience)
        except (Failure, TimeoutError) as error:
            return 0, first_line(error)

    async def _sent(self, url: str, body: dict[str, Any]) -> tuple[int, str]:
        try:
            got = await self.sender.client.post(url, cast_to=httpx2.Response, body=body)
        except Exception as error:
            why = failure(error)
            status = getattr(error, "status_code", None)
            if status is None:
                raise why from None
            return int(status), str(why)[:LONGEST]
        return got.status_code, masked(got.text)[:LONGEST]

    async def get(self, path: str) -> bytes:
        """
        Raises:
            Failure: there is no answer.
        """
        try:
            return (await self.sender.client.get(path, cast_to=httpx2.Response)).content
        except Exception as error:
            raise failure(error) from error


def _cards(content: bytes) -> list[dict[str, Any]]:
    """Base models, without the adapters over them."""
    try:
        cards = json.loads(content)["data"]
        return [card for card in cards if isinstance(card["id"], str) and not card.get("parent")]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _is_model(card: dict[str, Any], model: str) -> bool:
    names = {str(card[key]) for key in ("id", "root") if card.get(key)}
    place = Path(locate(model))
    return model in names or (place.exists() and any(Path(name).resolve() == place.resolve() for name in names))
