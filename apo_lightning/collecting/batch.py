"""Asking by OpenAI's batch endpoint, at half the price: a file of questions is sent, and one of answers fetched.

Whatever happens on the way, the same command goes on: a file that was sent is begun, a batch that was begun is waited
for, answers that have come are written into the teacher's journal, where a second look writes none twice. Whether a
batch was begun when no answer came to that is looked up before another one is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import openai
from openai.types import Batch
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from apo_lightning.collecting import batch_files, http, replies, request
from apo_lightning.collecting.ask import Outcome
from apo_lightning.collecting.batch_files import Line, Record
from apo_lightning.collecting.failures import Again, Declined, Failure, failure
from apo_lightning.collecting.journal import Answer, Journal
from apo_lightning.collecting.limits import Spent
from apo_lightning.collecting.plan import Plan
from apo_lightning.collecting.replies import Reply
from apo_lightning.collecting.request import Request
from apo_lightning.collecting.secrets import masked, read_key
from apo_lightning.errors import ApoError, ArtifactError, ConfigError
from apo_lightning.files.atomic import removal

DISCOUNT = 0.5
"""Of the price, as OpenAI and most that copy its batches take."""
ENDED = ("completed", "expired", "cancelled", "failed")
HOURS = 3600.0
"""Seconds that a file may take on the way."""
LONGEST_POLL = 300.0
"""Seconds between two looks, which get rarer."""
FILTERED = ("content_filter", "content_policy_violation", "moderation")
Say = Callable[[str], None]


def collect(
    plans: Sequence[Plan], budget: Mapping[str, float], say: Say, *, wait: bool = True, poll: float = 10.0
) -> dict[str, Outcome]:
    """Send what is to be asked and fetch what was answered; call it inside of `collect.alone`.

    Args:
        plans: of the teachers.
        budget: see `limits.Budget`. What would pass it is not sent.
        say: takes a line.
        wait: until all has come; else what has not come yet is fetched by the next call.
        poll: seconds from one look to the next, at first.

    Returns:
        teacher to what came of it.

    Raises:
        ConfigError: a key is not set; a batch is under way elsewhere; or the teacher is not asked by OpenAI's protocol.
        ArtifactError: what is on disk of a batch cannot be read.
    """
    asking = [_Batches(plan, dict(budget), say, wait, poll) for plan in plans if _has_work(plan)]
    if asking:
        asyncio.run(_all(asking))
    return {own.plan.name: own.outcome for own in asking}


def _has_work(plan: Plan) -> bool:
    return bool(plan.questions) or any(not own.done for own in batch_files.records(plan.journal))


async def _all(asking: Sequence[_Batches]) -> None:
    ended = await asyncio.gather(*(own.run() for own in asking), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error


@dataclass
class _Counts:
    """Lines that are no answers to what was asked."""

    damaged: int = 0
    foreign: int = 0
    twice: int = 0


class _Batches:
    """The batches of one teacher."""

    def __init__(self, plan: Plan, budget: dict[str, float], say: Say, wait: bool, poll: float) -> None:
        self.plan, self.budget, self.wait, self.poll = plan, budget, wait, poll
        self.endpoint, self.journal, self.outcome = plan.endpoint, plan.journal, Outcome()
        self.say = lambda text: say(f"{plan.name}: {text}")
        if self.endpoint.client != "openai":
            raise ConfigError(
                f"teachers.{plan.name}.client is '{self.endpoint.client}', and only endpoints with OpenAI's protocol "
                "take batches. Ask it without --batch."
            )
        self.key = read_key(self.endpoint.key, f"teachers.{plan.name}.key")
        self.open = [own for own in batch_files.records(self.journal) if not own.done]
        elsewhere = next((own for own in self.open if own.base_url != self.endpoint.base_url), None)
        if elsewhere:
            raise ConfigError(
                f"teachers.{plan.name}: a batch of {len(elsewhere.requests):,} questions is under way at "
                f"{elsewhere.base_url}, and base_url is now {self.endpoint.base_url}. Set it back to fetch the answers, "
                f"or give them up: {removal(elsewhere.path)}"
            )

    async def run(self) -> None:
        """Go on with what was begun, begin the rest, and fetch."""
        own = self.endpoint
        made = http.client(own.base_url, HOURS, batch_files.MOST_ANSWERS * 4)
        async with openai.AsyncOpenAI(
            api_key=self.key, base_url=own.base_url, timeout=HOURS, max_retries=0, http_client=made
        ) as self.client:
            try:
                for record in self.open:
                    await self._begin(record)
                for record in self._write():
                    self.open.append(record)
                    await self._begin(record)
                await self._fetch_all()
            except Failure as error:
                self.outcome.ended = masked(str(error))

    def _write(self) -> Iterator[Record]:
        """A record and a file for each part of what is to be asked, each when the one before is on its way."""
        waiting = {key for own in self.open for key in own.keys}
        each = batch_files.answer_bytes(self.endpoint.max_tokens, self.endpoint.top_logprobs)
        hashes: dict[str, str] = {}
        for part in batch_files.chunks(self._lines(waiting, hashes), each):
            own = batch_files.new(
                self.journal,
                model=self.endpoint.model,
                base_url=self.endpoint.base_url,
                prompt=self.endpoint.prompt,
                settings=self.endpoint.drawn,
            )
            own.requests = batch_files.asked([one for one, _ in part], hashes)
            own.path.parent.mkdir(parents=True, exist_ok=True)
            with own.input.open("wb") as file:
                file.writelines(raw for _, raw in part)
            own.save()
            yield own

    def _lines(self, waiting: set[str], hashes: dict[str, str]) -> Iterator[tuple[Request, bytes]]:
        spent, (read, written) = self.plan.spent, self.plan.sizes.worst
        used = Spent(spent.requests, spent.tokens, spent.money)
        for question in self.plan.questions:
            try:
                own, images = question.open()
            except ApoError as error:
                self.outcome.failed[question.study] = str(error)
                continue
            if own.key in waiting:
                continue
            used += Spent(1, read + written, (self.endpoint.price.of(read, written) or 0.0) * DISCOUNT)
            if over := next((name for name, most in self.budget.items() if getattr(used, name) > most), ""):
                self.outcome.ended = f"the budget of {self.budget[over]:,g} {over} is used up"
                return
            hashes[own.key] = hashlib.sha256(own.words.encode()).hexdigest()
            raw = batch_files.line(own.key, request.body(self.endpoint, own.words, images))
            if len(raw) > batch_files.MOST_BYTES:
                self.outcome.failed[question.study] = f"its question has {len(raw):,} bytes, more than a batch takes"
                continue
            yield own, raw

    async def _begin(self, record: Record) -> None:
        """From a file on this disk to a batch that the endpoint works at."""
        if record.batch:
            return
        if not record.file:
            if not record.input.exists():
                self._close(record, "its file was gone before it was sent")
                return
            content = await asyncio.to_thread(record.input.read_bytes)
            sent = await self._patiently(
                lambda: self.client.files.create(file=(f"{record.name}.jsonl", content), purpose="batch")
            )
            record.file = sent.id
            record.save()
        record.input.unlink(missing_ok=True)
        begun = await self._patiently(lambda: self._found_or_created(record))
        record.batch = begun.id
        record.save()
        self.outcome.sent += len(record.requests)
        self.say(f"batch {record.batch} of {len(record.requests):,} questions is under way")

    async def _found_or_created(self, record: Record) -> Batch:
        """The batch that works at the file; begun now, unless it was when nothing came back.

        An endpoint that cannot list its batches leaves it unknown, and nothing is paid twice on a guess.
        """
        if record.tried:
            async for own in self.client.batches.list(limit=100):
                if own.input_file_id == record.file:
                    return own
        record.tried = True
        record.save()
        return await self.client.batches.create(
            input_file_id=record.file,
            endpoint=batch_files.URL,
            completion_window="24h",
            metadata={"name": record.name},
            extra_headers={"Idempotency-Key": record.name},
        )

    async def _fetch_all(self) -> None:
        pause = self.poll
        while True:
            for record in [own for own in self.open if not own.done]:
                await self._look(record)
            left = [own for own in self.open if not own.done]
            if not left:
                return
            if not self.wait:
                self.outcome.ended = f"{len(left)} batches are under way; the same command fetches their answers"
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, LONGEST_POLL)

    async def _look(self, record: Record) -> None:
        found = await self._patiently(lambda: self.client.batches.retrieve(record.batch))
        if found.status not in ENDED:
            counts = found.request_counts
            done = f", {counts.completed + counts.failed:,} of {counts.total:,} done" if counts else ""
            self.say(f"batch {record.batch} is {found.status}{done}")
            return
        lines, counts = await self._lines_of(record, found)
        self._merge(record, found, lines, counts)
        with suppress(openai.OpenAIError):  # its images have no more business there
            await self.client.files.delete(record.file)

    async def _lines_of(self, record: Record, found: Batch) -> tuple[list[Line], _Counts]:
        lines, counts, seen = [], _Counts(), set[str]()
        for name in (found.output_file_id, found.error_file_id):
            if name is None:
                continue
            got = await self._patiently(lambda name=name: self.client.files.content(name))
            read, damaged = batch_files.read_lines(got.content)
            counts.damaged += damaged
            for own in read:
                if own.key not in record.keys:
                    counts.foreign += 1
                elif own.key in seen:
                    counts.twice += 1
                else:
                    seen.add(own.key)
                    lines.append(own)
        return lines, counts

    def _merge(self, record: Record, found: Batch, lines: Sequence[Line], counts: _Counts) -> None:
        """Answers into the journal, what has none by its study; the record is closed when all of it is on disk."""
        written = {(own.key, own.id) for own in self.journal.read().answers}
        for one in lines:
            try:
                answer = self._answer(record, found, one)
            except Failure as error:
                self.outcome.failed[record.keys[one.key]["study"]] = masked(str(error))
                continue
            if (answer.key, answer.id) not in written:
                self.journal.append(answer)
                self.outcome.answers.append(answer)
        why = "; ".join(masked(own.message or own.code or "") for own in (found.errors and found.errors.data) or [])
        unheard = record.keys.keys() - {own.key for own in lines}
        for key in unheard:
            self.outcome.failed[record.keys[key]["study"]] = f"the batch is {found.status}{f': {why}' if why else ''}"
        self._close(record, found.status)
        said = f"batch {record.batch} is {found.status}: {len(lines):,} of {len(record.requests):,} questions came back"
        more = [f"{count:,} lines {what}" for what, count in _words(counts).items() if count]
        self.say(f"{said}{f' ({why})' if why else ''}{f'; not used: {", ".join(more)}' if more else ''}")

    def _answer(self, record: Record, found: Batch, one: Line) -> Answer:
        """
        Raises:
            Failure: it is none.
        """
        own, reply = record.keys[one.key], _reply(one)
        known = reply.input_tokens is not None and reply.output_tokens is not None
        full = self.endpoint.price.of(reply.input_tokens, reply.output_tokens) if known else None
        return Answer(
            key=own["key"],
            asks=own["asks"],
            study=own["study"],
            teacher=record.teacher,
            text=reply.text,
            thinking=reply.thinking,
            mark=reply.mark,
            model=record.model,
            answered_by=reply.model,
            base_url=record.base_url,
            prompt=record.prompt,
            prompt_sha256=own["prompt_sha256"],
            images=tuple(own["images"]),
            settings=record.settings,
            finish=reply.finish,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost=None if full is None else full * DISCOUNT,
            asked=datetime.fromtimestamp(found.created_at, UTC).isoformat(timespec="seconds"),
            id=reply.id or one.id or f"{record.batch}/{one.key}",
            how="batch",
            logprobs=reply.logprobs,
        )

    def _close(self, record: Record, how: str) -> None:
        record.done = how
        record.save()
        record.input.unlink(missing_ok=True)

    async def _patiently[T](self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask, and again after a failure that may pass.

        Raises:
            Failure: it did not pass, or none of this kind does.
        """

        async def once() -> T:
            try:
                return await ask()
            except Exception as error:
                raise failure(error) from error

        def pause(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.wait if isinstance(error, Again) else None
            return min(self.endpoint.backoff * 2 ** (state.attempt_number - 1), 60.0) if asked is None else asked

        return await AsyncRetrying(
            retry=retry_if_exception_type(Again),
            stop=stop_after_attempt(self.endpoint.retries + 1),
            wait=pause,
            reraise=True,
        )(once)


def _reply(one: Line) -> Reply:
    """
    Raises:
        Failure: the line is no answer.
    """
    code = f"{one.error.get('code') or ''} {one.error.get('type') or ''}".lower()
    if any(name in code for name in FILTERED):
        return Reply("", finish="content_filter", declined=True)
    if one.status != 200:
        said = str(one.error.get("message") or one.error.get("code") or "nothing came back")
        raise Failure(masked(f"status {one.status}: {said}" if one.status else said)[:300])
    try:
        return replies.from_body(one.body)
    except Declined:
        return Reply("", finish="content_filter", declined=True)


def _words(counts: _Counts) -> dict[str, int]:
    return {"cannot be read": counts.damaged, "were not asked for": counts.foreign, "came twice": counts.twice}


def under_way(journal: Journal) -> set[str]:
    """See `batch_files.under_way`: what is asked without a batch leaves these out."""
    return batch_files.under_way(journal)


__all__ = ["ArtifactError", "collect", "under_way"]
