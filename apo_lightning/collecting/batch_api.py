"""The few calls of OpenAI's batch endpoint, each repeated where that may help and is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import TypeVar

import openai
from openai.types import Batch
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from apo_lightning.collecting import http
from apo_lightning.collecting.batch_files import MOST_ANSWERS, URL, Record
from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.collecting.failures import Again, Failure, failure
from apo_lightning.files.atomic import removal

HOUR = 3600.0
"""Seconds that a file may take on the way."""
LONGEST_WAIT = 60.0
"""Seconds before a call is repeated, at most, where the endpoint does not ask for more."""
T = TypeVar("T")


class Service:
    """An endpoint that takes batches.

    Args:
        endpoint: where.
        key: see `secrets.read_key`.
    """

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        self.endpoint = endpoint
        self.client = openai.AsyncOpenAI(
            api_key=key,
            base_url=endpoint.base_url,
            timeout=HOUR,
            max_retries=0,
            http_client=http.client(endpoint.base_url, HOUR, 4 * MOST_ANSWERS),
        )

    async def __aenter__(self) -> Service:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.close()

    async def upload(self, record: Record) -> str:
        """Send the file of a record. Returns the endpoint's id of it.

        Raises:
            Failure: the endpoint does not take it.
        """
        content = await asyncio.to_thread(record.input.read_bytes)
        name = f"{record.name}.jsonl"
        sent = await self._patiently(lambda: self.client.files.create(file=(name, content), purpose="batch"))
        return sent.id

    async def begin(self, record: Record) -> Batch:
        """Have the endpoint work at a file that it has. Where an earlier try may have begun it, that is looked up.

        Raises:
            Failure: it does not; or it is unknown whether it does, and nothing is paid twice on a guess.
        """
        return await self._patiently(lambda: self._found_or_created(record))

    async def _found_or_created(self, record: Record) -> Batch:
        if record.tried and (found := await self._found(record)):
            return found
        record.tried = True
        record.save()
        return await self.client.batches.create(
            input_file_id=record.file,
            endpoint=URL,
            completion_window="24h",
            metadata={"name": record.name},
            extra_headers={"Idempotency-Key": record.name},
        )

    async def _found(self, record: Record) -> Batch | None:
        try:
            async for own in self.client.batches.list(limit=100):
                if own.input_file_id == record.file:
                    return own
        except openai.APIStatusError as error:
            if isinstance(why := failure(error), Again) and not why.door:
                raise
            raise Failure(
                f"{why}: whether the batch of file {record.file} was begun cannot be looked up. Look for it with your "
                f"provider, and if there is none, begin anew: {removal(record.path)}"
            ) from error
        return None

    async def look(self, record: Record) -> Batch:
        """How far a batch is.

        Raises:
            Failure: the endpoint does not say.
        """
        return await self._patiently(lambda: self.client.batches.retrieve(record.batch))

    async def answers(self, found: Batch) -> list[bytes]:
        """The files that a batch has written: answers, and what went wrong.

        Raises:
            Failure: the endpoint does not give them.
        """
        names = [name for name in (found.output_file_id, found.error_file_id) if name is not None]
        return [(await self._patiently(lambda name=name: self.client.files.content(name))).content for name in names]

    async def forget(self, record: Record) -> None:
        """Have the endpoint delete the file of a record, whose images have no more business there."""
        with suppress(openai.OpenAIError):
            await self.client.files.delete(record.file)

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and again after a failure that may pass.

        Raises:
            Failure: it did not pass, or none of this kind does.
        """

        async def once() -> T:
            try:
                return await ask()
            except Exception as error:
                raise failure(error) from error

        return await AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, Again) and not error.door),
            stop=stop_after_attempt(self.endpoint.retries + 1),
            wait=self._pause,
            reraise=True,
        )(once)

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, Again) and error.wait is not None:
            return error.wait
        return min(self.endpoint.backoff * 2 ** (state.attempt_number - 1), LONGEST_WAIT)
