"""What sends a request: the client of openai for whatever speaks its protocol, litellm for the rest."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, Protocol

import httpx2
import openai

from apo_lightning.collecting import http
from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.collecting.secrets import masked_bytes, read_key
from apo_lightning.errors import ConfigError

PATH = "/chat/completions"


class Sender(Protocol):
    """Sends one request, once; nothing is retried here."""

    async def send(self, body: dict[str, Any], idempotency: str) -> bytes:
        """Body of the response; any error of the client goes through."""

    async def close(self) -> None: ...


def sender(endpoint: Endpoint, where: str) -> Sender:
    """The sender that an endpoint asks for.

    Args:
        where: the teacher's section, for messages.

    Raises:
        ConfigError: its key is not set, or litellm is not installed.
    """
    kinds = {"openai": OpenAISender, "litellm": LiteLLMSender}
    return kinds[endpoint.client](endpoint, read_key(endpoint.key, f"{where}.key"))


class OpenAISender:
    """Any endpoint with OpenAI's protocol."""

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        self.client = openai.AsyncOpenAI(
            api_key=key,
            base_url=endpoint.base_url,
            timeout=endpoint.timeout,
            max_retries=0,
            http_client=http.client(endpoint.base_url, endpoint.timeout, endpoint.most_bytes),
        )

    async def send(self, body: dict[str, Any], idempotency: str) -> bytes:
        headers = {"Idempotency-Key": idempotency}
        got = await self.client.post(PATH, cast_to=httpx2.Response, body=body, options={"headers": headers})
        return got.content

    async def close(self) -> None:
        await self.client.close()


class LiteLLMSender:
    """An endpoint with a protocol of its own, through the client of litellm.

    Raises:
        ConfigError: it is not installed.
    """

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        try:
            self.library = importlib.import_module("litellm")
        except ImportError:
            raise ConfigError(
                "client: litellm needs the package litellm, which is not installed: pip install apo-lightning[litellm]"
            ) from None
        self.library.telemetry = False
        self.endpoint = endpoint
        self.more = {"timeout": endpoint.timeout, "num_retries": 0, "max_retries": 0}
        self.more |= {"api_key": key} if endpoint.key else {}
        self.more |= {"api_base": endpoint.base_url} if endpoint.base_url else {}

    async def send(self, body: dict[str, Any], idempotency: str) -> bytes:
        async with asyncio.timeout(self.endpoint.timeout):
            got = await self.library.acompletion(**body, **self.more)
        return masked_bytes(got.model_dump_json().encode())

    async def close(self) -> None:
        """It keeps its connections itself."""
