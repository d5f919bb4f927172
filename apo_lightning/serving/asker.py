"""Asks a server about studies, many at a time, and holds each answer to what was asked."""

from __future__ import annotations

import random
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from apo_lightning.collecting import replies
from apo_lightning.collecting.failures import Again, Failure, failure
from apo_lightning.collecting.replies import CUT, Reply
from apo_lightning.errors import ServerError
from apo_lightning.hashing.contents import digest
from apo_lightning.serving.server import WHERE, Server
from apo_lightning.types import Answer

TRIES = 4
LONGEST_WAIT = 30.0
"""Seconds before a question is asked again, at most."""
GO_ON = "What was written so far is kept: run again to go on, with the server or without (student.server.url=null)."


class Asker:
    """
    Args:
        server: who is asked.
        model: what it calls the student.
        how: what of each request says how is written.
        most: questions that are under way at a time.
    """

    def __init__(self, server: Server, model: str, how: dict[str, Any], most: int) -> None:
        self.server, self.model, self.how, self.most = server, model, how, most
        self.under_way: set[Future[Answer]] = set()

    def ask(self, study: str, messages: list[dict[str, Any]], seed: int, tokens: int) -> Future[Answer]:
        """Ask, as soon as there is a place.

        Args:
            study: its id.
            messages: the conversation.
            seed: of what is drawn.
            tokens: of the question as the student reads it.

        Raises:
            ServerError: an earlier question has no answer.
        """
        while len(self.under_way) >= self.most:
            ended, self.under_way = wait(self.under_way, return_when=FIRST_COMPLETED)
            for each in ended:
                each.result()
        body = {"model": self.model, "messages": messages, "seed": seed, **self.how}
        asked = self.server.begin(self._answer(study, body, tokens))
        self.under_way.add(asked)
        return asked

    async def _answer(self, study: str, body: dict[str, Any], tokens: int) -> Answer:
        try:
            reply = await AsyncRetrying(
                retry=retry_if_exception(lambda error: isinstance(error, Again) and not error.door),
                stop=stop_after_attempt(TRIES),
                wait=_pause,
                reraise=True,
            )(self._send, study, body)
        except Failure as error:
            raise ServerError(
                f"{WHERE} gave no answer about study '{study}': {error}. {GO_ON} Where it was too slow, raise "
                f"{WHERE}.timeout or lower {WHERE}.concurrency; where the question is too long for it, raise its "
                "--max-model-len."
            ) from error
        self._require(study, reply, tokens)
        return Answer(reply.text.rstrip("\ufffd").strip(), reply.finish in CUT)  # a cut may lie inside a character

    async def _send(self, study: str, body: dict[str, Any]) -> Reply:
        try:
            return replies.read(await self.server.sender.send(body, digest([study, body["model"], body["seed"]])))
        except Exception as error:
            raise failure(error) from error

    def _require(self, study: str, reply: Reply, tokens: int) -> None:
        """
        Raises:
            ServerError: somebody else has answered, something else was asked, or not all of the answer is text.
        """
        if reply.model != self.model:
            raise ServerError(
                f"{WHERE} was asked for '{self.model}', and '{reply.model}' has answered about study '{study}': that "
                f"is another student. {GO_ON}"
            )
        if reply.input_tokens is not None and reply.input_tokens != tokens:
            raise ServerError(
                f"{WHERE} read the question about study '{study}' as {reply.input_tokens} tokens, and the student "
                f"reads {tokens}: its chat template or its limits of pixels are others. Start it with the model's own "
                "template and without --mm-processor-kwargs; SGLang takes no pixel limits with a question "
                f"(student.min_pixels, student.max_pixels), so there start it with the same ones. {GO_ON}"
            )
        if reply.thinking:
            raise ServerError(
                f"{WHERE} took thinking out of the answer about study '{study}': start it without --reasoning-parser. "
                f"{GO_ON}"
            )


def _pause(state: RetryCallState) -> float:
    """As long as the server asks for, else up to twice as long each time."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, Again) else None
    return asked if asked is not None else random.uniform(0, min(2.0**state.attempt_number, LONGEST_WAIT))
