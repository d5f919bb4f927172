"""Asking a teacher: many questions at a time, each answer on disk before anything else happens to it."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from apo_lightning.collecting import replies, request
from apo_lightning.collecting.endpoint import Endpoint
from apo_lightning.collecting.failures import PATIENCE, Again, Broken, Closed, Declined, Failure, failure
from apo_lightning.collecting.journal import BROKEN, Answer, Journal
from apo_lightning.collecting.limits import Budget, Pace, Spent, Stop
from apo_lightning.collecting.questions import Asking, Outcome, Question
from apo_lightning.collecting.replies import Reply
from apo_lightning.collecting.senders import Sender
from apo_lightning.collecting.sizes import Sizes
from apo_lightning.errors import ApoError
from apo_lightning.files.atomic import Unwritten

IN_A_ROW, AFTER_ANSWERS = 3, 6
"""Times in a row that an endpoint speaks of the key or the model until we believe it; one that has answered may be
mistaken for a while."""
LOST_IN_A_ROW = 10
"""Questions in a row that are given up until the teacher is."""
LONGEST_WAIT = 60.0
"""Seconds before a request is sent again, at most, where the endpoint does not ask for more."""
ROOM = 64_000_000
"""Bytes that must be free on the disk for another question to be asked: answers under way need a place."""


class Asker:
    """Asks one teacher.

    Args:
        endpoint, journal: of the teacher.
        sender: sends its requests.
        sizes: what its questions and answers take; learns from what comes.
        budget, stop: shared by all teachers.
        opener: where images are opened, one at a time.
        watch: called with each answer, or None where a question was given up.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        journal: Journal,
        sender: Sender,
        sizes: Sizes,
        budget: Budget,
        stop: Stop,
        opener: Executor,
        watch: Callable[[Answer | None], None] = lambda answer: None,
    ) -> None:
        self.endpoint, self.journal, self.sender, self.sizes = endpoint, journal, sender, sizes
        self.budget, self.everyone, self.stop, self.opener, self.watch = budget, stop, Stop(stop), opener, watch
        self.pace = Pace(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self.outcome, self._doors, self._lost, self._first = Outcome(), 0, 0, asyncio.Lock()

    async def run(self, questions: Sequence[Question]) -> Outcome:
        """Ask until all is answered, or asking has to end; what is under way then is waited for."""
        turns = iter(questions)
        workers = [self._work(turns) for _ in range(min(self.endpoint.concurrency, len(questions)))]
        ended = await asyncio.gather(*workers, return_exceptions=True)
        await self.sender.close()
        self.outcome.ended = self.stop.why
        for error in ended:
            if isinstance(error, BaseException):
                raise error
        return self.outcome

    async def _work(self, turns: Iterator[Question]) -> None:
        try:
            for question in turns:
                if self.stop:
                    return
                await self._settle(question)
        except BaseException as error:  # the others finish what is under way, and ask nothing more
            self.everyone.now(f"an error that is not yours to mend ({type(error).__name__})")
            raise

    async def _settle(self, question: Question) -> None:
        """Ask, and note what came of it."""
        try:
            await self._ask(question)
        except Closed as error:
            self.stop.now(str(error))
        except (Failure, ApoError) as error:
            if not self.stop:
                self._give_up(question.study, str(error))

    def _give_up(self, study: str, why: str) -> None:
        self.outcome.failed[study] = why
        self._lost += 1
        self.watch(None)
        if self._lost >= LOST_IN_A_ROW:
            self.stop.now(f"{self._lost} questions in a row were given up, the last because: {why}")

    async def _ask(self, question: Question) -> None:
        """
        Raises:
            Failure: there is no answer.
            ApoError: the images cannot be opened.
        """
        asking, body = await asyncio.get_running_loop().run_in_executor(self.opener, self._open, question)
        await AsyncRetrying(
            retry=retry_if_exception_type(Again),
            stop=lambda state: self._gives_up(asking, _error(state)),
            wait=lambda state: self._wait(asking, _error(state)),
            sleep=self.stop.sleep,
            reraise=True,
        )(self._send, asking, body)

    def _open(self, question: Question) -> tuple[Asking, dict[str, Any]]:
        own, images = question.open()
        before = question.counts.get(own.key, 0), question.broken.get(own.key, 0)
        return Asking(own, *before), request.body(self.endpoint, own.words, images)

    async def _send(self, asking: Asking, body: dict[str, Any]) -> None:
        """One request, from its turn to its answer on disk. Within a budget the first is sent alone: what it takes says
        how many may be under way."""
        await self.stop.unless(self.pace.turn(self.sizes.question + self.sizes.answer))
        self._require_open()
        async with self._first if not self.sizes.seen and self.budget.most else nullcontext():
            worst, used = self.sizes.spent(None), Spent()
            if over := await self.budget.take(worst):
                raise Closed(self.budget.words(over, worst))
            try:
                self._require_open()
                self._require_room()
                used.requests = 1
                used = replace(self.sizes.spent(await self._exchange(asking, body)), requests=1)
            except Failure as why:
                used = worst if why.costly else used
                raise
            finally:
                await self.budget.settle(worst, used)

    async def _exchange(self, asking: Asking, body: dict[str, Any]) -> Answer:
        """Send, receive, and write. Nothing is awaited between the last two: an answer that is here is on disk."""
        asking.begin()
        self.outcome.sent += 1
        try:
            reply = replies.read(await self.sender.send(body, asking.name))
        except Exception as error:
            reply = self._failed(asking, failure(error))
        answer = self._answer(asking, reply)
        self._keep(answer)
        self._doors = self._lost = 0
        self.sizes.learn([answer])
        self.watch(answer)
        return answer

    def _failed(self, asking: Asking, why: Failure) -> Reply:
        """What a failure is; a refusal by the endpoint's filter is an answer.

        Raises:
            Failure: any other.
        """
        if isinstance(why, Broken):
            asking.bad += 1
            self._keep(replace(self._answer(asking, Reply("", finish=str(why))), mark=BROKEN))
            asking.noted = asking.tries
        if isinstance(why, Declined):
            return Reply("", finish="content_filter", declined=True)
        if isinstance(why, Again):
            self._doors = self._doors + 1 if why.door else 0
            if self._doors >= (AFTER_ANSWERS if self.outcome.answers else IN_A_ROW):
                raise Closed(str(why)) from why
        raise why

    def _answer(self, asking: Asking, reply: Reply) -> Answer:
        own, endpoint = asking.request, self.endpoint
        known = reply.input_tokens is not None and reply.output_tokens is not None
        return Answer(
            key=own.key,
            asks=own.asks,
            study=own.study,
            teacher=own.teacher,
            text=reply.text,
            thinking=reply.thinking,
            mark=reply.mark,
            model=endpoint.model,
            answered_by=reply.model,
            base_url=endpoint.base_url,
            prompt=endpoint.prompt,
            prompt_sha256=hashlib.sha256(own.words.encode()).hexdigest(),
            images=own.images,
            settings=endpoint.drawn,
            finish=reply.finish,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost=endpoint.price.of(reply.input_tokens, reply.output_tokens) if known else None,
            asked=asking.at,
            seconds=round(time.monotonic() - asking.since, 3),
            tries=asking.tries - asking.noted,
            id=reply.id,
            logprobs=reply.logprobs,
        )

    def _keep(self, answer: Answer) -> None:
        """Write an answer; one that the disk does not take is held, and nothing more is asked of anybody."""
        try:
            self.journal.append(answer)
        except Unwritten as error:
            self.outcome.unsaved.append(answer)
            self.everyone.now(f"{self.journal.path} cannot be written ({error.strerror})")
        if answer.mark != BROKEN:
            self.outcome.answers.append(replace(answer, logprobs=None))

    def _require_open(self) -> None:
        if self.stop:
            raise Closed(self.stop.why)

    def _require_room(self) -> None:
        place = next(path for path in self.journal.path.absolute().parents if path.exists())
        if (free := shutil.disk_usage(place).free) < ROOM:
            self.everyone.now(f"only {free / 1e6:,.0f} MB are free on the disk of {self.journal.path}")
            raise Closed(self.stop.why)

    def _gives_up(self, asking: Asking, error: Again) -> bool:
        """A request is not sent again for ever; being told to come later is no failure of it."""
        asking.failures += not error.limited
        if asking.failures > self.endpoint.retries or asking.waited > PATIENCE:
            return True
        self.outcome.again[error.kind] += 1
        return False

    def _wait(self, asking: Asking, error: Again) -> float:
        """As long as the endpoint asks for, and a little more that differs; else at most twice as long each time."""
        most = min(self.endpoint.backoff * 2 ** (asking.tries - 1), LONGEST_WAIT)
        wait = random.uniform(0, most) if error.wait is None else error.wait + random.uniform(0, min(most, 1.0))
        if error.limited or error.wait is not None:
            self.pace.rest(wait)
        if error.limited:
            asking.waited += wait
        return wait


def _error(state: RetryCallState) -> Again:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, Again)
    return error
