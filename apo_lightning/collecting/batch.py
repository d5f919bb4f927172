"""Asking by OpenAI's batch endpoint, at half the price: a file of questions is sent, and one of answers fetched.

Whatever happens on the way, the same command goes on: a file that was sent is begun, a batch that was begun is waited
for, answers that have come are written into the teacher's journal, where a second look writes none twice. Whether a
batch was begun when no answer came to that is looked up before another one is.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from openai.types import Batch

from apo_lightning.collecting import batch_answers, batch_files, loops, request
from apo_lightning.collecting.batch_api import Service
from apo_lightning.collecting.batch_files import Record
from apo_lightning.collecting.collect import Collected, hush, require_prices
from apo_lightning.collecting.failures import Failure
from apo_lightning.collecting.limits import Spent, used_up
from apo_lightning.collecting.plan import Plan
from apo_lightning.collecting.questions import Outcome
from apo_lightning.collecting.request import Request
from apo_lightning.collecting.secrets import masked, read_key
from apo_lightning.errors import ApoError, ConfigError
from apo_lightning.files.atomic import removal

ENDED = ("completed", "expired", "cancelled", "failed")
LONGEST_POLL = 300.0
"""Seconds between two looks, which get rarer."""
Say = Callable[[str], None]


def collect(
    plans: Sequence[Plan], budget: Mapping[str, float], say: Say, *, wait: bool = True, poll: float = 10.0
) -> Collected:
    """Send what is to be asked and fetch what was answered; call it inside of `collect.alone`.

    Args:
        plans: of the teachers.
        budget: see `limits.Budget`. What would pass it, if every answer were as long as it may be, is not sent.
        say: takes a line.
        wait: until all has come; else what has not come yet is fetched by the next call.
        poll: seconds from one look to the next, at first.

    Raises:
        ConfigError: a key is not set; a batch is under way elsewhere; the budget is in money and a price is not known;
            or the teacher is not asked by OpenAI's protocol.
        ArtifactError: what is on disk of a batch cannot be read.
    """
    require_prices(plans, budget)
    hush()
    spent, asking, begun = Spent(), list[_Batches](), set[Path]()
    for plan in plans:
        spent += plan.spent
        waiting = [own for own in _waiting(plan) if own.path not in begun]  # plans of two arms may share a journal
        begun |= {own.path for own in waiting}
        if plan.questions or waiting:
            asking.append(_Batches(plan, budget, say, waiting))
    for own in asking:
        own.spent = spent
        own.set_aside(sum(len(record.requests) for record in own.begun))
    if asking:
        loops.run(_all([own.run(poll if wait else None) for own in asking]))
    return Collected({own.plan.label: own.outcome for own in asking})


def refuse_under_way(plans: Sequence[Plan]) -> None:
    """What a batch asks is not asked beside it: it would be paid twice.

    Raises:
        ConfigError: a teacher has a batch whose answers have not come.
        ArtifactError: what is on disk of a batch cannot be read.
    """
    for plan in plans:
        if waiting := _waiting(plan):
            raise ConfigError(
                f"teachers.{plan.name}: {len(waiting)} batches of {sum(len(own.requests) for own in waiting):,} "
                "questions are under way, which would be paid twice. Fetch their answers first: add --batch. To give "
                f"them up: {'; '.join(removal(own.path) for own in waiting)}"
            )


def _waiting(plan: Plan) -> list[Record]:
    return [own for own in batch_files.records(plan.journal) if not own.done]


async def _all(runs: Sequence[Coroutine[None, None, None]]) -> None:
    ended = await asyncio.gather(*runs, return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error


class _Batches:
    """The batches of one teacher.

    Attributes:
        begun: those of earlier calls; ``open``: those that the endpoint works at.
        spent: by all teachers, what may be spent by their batches included.
    """

    def __init__(self, plan: Plan, budget: Mapping[str, float], say: Say, begun: list[Record]) -> None:
        self.plan, self.budget, self.spent = plan, budget, Spent()
        self.endpoint, self.journal, self.outcome = plan.endpoint, plan.journal, Outcome()
        self.say = lambda text: say(f"{plan.label}: {text}")
        where = f"teachers.{plan.name}"
        if self.endpoint.client != "openai":
            raise ConfigError(
                f"{where}.client is '{self.endpoint.client}', and only endpoints with OpenAI's protocol take batches. "
                "Ask it without --batch."
            )
        self.key = read_key(self.endpoint.key, f"{where}.key")
        self.begun, self.open = begun, list[Record]()
        for own in self.begun:
            if own.base_url != self.endpoint.base_url:
                raise ConfigError(
                    f"{where}: a batch of {len(own.requests):,} questions is under way at {own.base_url}, and base_url "
                    f"is now {self.endpoint.base_url}. Set it back to fetch the answers, or give them up: "
                    f"{removal(own.path)}"
                )

    def set_aside(self, questions: int) -> str:
        """Count what questions may cost. Returns the name of the limit that they pass, empty where they pass none."""
        read, written = self.plan.sizes.worst
        money = (self.endpoint.price.of(read, written) or 0.0) * batch_answers.DISCOUNT
        self.spent += Spent(questions, questions * (read + written), questions * money)
        return next((name for name, most in self.budget.items() if getattr(self.spent, name) > most), "")

    async def run(self, poll: float | None) -> None:
        """Go on with what was begun, begin the rest, and fetch."""
        async with Service(self.endpoint, self.key) as self.service:
            try:
                for record in self.begun:
                    await self._begin(record)
                for record in self._write({key for own in _waiting(self.plan) for key in own.keys}):
                    await self._begin(record)
            except Failure as error:
                self.outcome.ended = str(error)
            await self._fetch_all(poll)

    def _write(self, waiting: set[str]) -> Iterator[Record]:
        """A record and a file for each part of what is to be asked, each when the one before is on its way.

        Args:
            waiting: keys that are asked already.
        """
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
            own.write(raw for _, raw in part)
            yield own

    def _lines(self, waiting: set[str], hashes: dict[str, str]) -> Iterator[tuple[Request, bytes]]:
        for question in self.plan.questions:
            try:
                own, images = question.open()
            except ApoError as error:
                self.outcome.failed[question.study] = str(error)
                continue
            if own.key in waiting:
                continue
            if over := self.set_aside(1):
                self.outcome.ended = used_up(over, self.budget[over])
                return
            raw = batch_files.line(own.key, request.body(self.endpoint, own.words, images))
            if len(raw) > batch_files.MOST_BYTES:
                self.outcome.failed[question.study] = f"its question has {len(raw):,} bytes, more than a batch takes"
                continue
            hashes[own.key] = hashlib.sha256(own.words.encode()).hexdigest()
            yield own, raw

    async def _begin(self, record: Record) -> None:
        """From a file on this disk to a batch that the endpoint works at.

        Raises:
            Failure: the endpoint does not take it.
        """
        if not record.batch:
            if not record.file and not record.input.exists():
                self._close(record, "its file was gone before it was sent")
                return
            if not record.file:
                record.file = await self.service.upload(record)
                record.save()
            record.input.unlink(missing_ok=True)
            record.batch = (await self.service.begin(record)).id
            record.save()
            self.outcome.sent += len(record.requests)
            self.say(f"batch {record.batch} of {len(record.requests):,} questions is under way")
        self.open.append(record)

    async def _fetch_all(self, poll: float | None) -> None:
        left = self.open
        while left := [own for own in left if await self._is_left(own)]:
            if poll is None:
                under_way = f"{len(left)} batches are under way; the same command fetches their answers"
                self.outcome.ended = self.outcome.ended or under_way
                return
            await asyncio.sleep(poll)
            poll = min(poll * 1.5, LONGEST_POLL)

    async def _is_left(self, record: Record) -> bool:
        """Whether answers are still to come; of a batch that cannot be looked at, the next call is to ask again."""
        try:
            found = await self.service.look(record)
            if found.status in ENDED:
                self._merge(record, found, batch_answers.lines(record, await self.service.answers(found)))
                await self.service.forget(record)
                return False
        except Failure as error:
            self.outcome.ended = f"batch {record.batch} cannot be fetched now: {error} (known of it: {record.path})"
            return False
        counts = found.request_counts
        done = f", {counts.completed + counts.failed:,} of {counts.total:,} done" if counts else ""
        self.say(f"batch {record.batch} is {found.status}{done}")
        return True

    def _merge(self, record: Record, found: Batch, came: batch_answers.Lines) -> None:
        """Answers into the journal, what has none by its study; the record is closed when all of it is on disk."""
        written = {own.id for own in self.journal.read().answers}
        for line in came.own:
            try:
                answer = batch_answers.answer(record, self.endpoint.price, found, line)
            except Failure as error:
                self.outcome.failed[record.keys[line.key]["study"]] = str(error)
                continue
            if answer.id not in written:
                self.journal.append(answer)
            self.outcome.answers.append(replace(answer, logprobs=None))
        said = "; ".join(own.message or own.code or "" for own in (found.errors and found.errors.data) or [])
        why = masked(f"{found.status}: {said}" if said else found.status)[:300]
        for key in record.keys.keys() - {own.key for own in came.own}:
            self.outcome.failed[record.keys[key]["study"]] = f"the batch is {why}"
        self._close(record, found.status)
        self.say(f"batch {record.batch} is {why}: {len(came.own):,} of {len(record.requests):,} came back{came.odd}")

    def _close(self, record: Record, how: str) -> None:
        record.done = how
        record.save()
        record.input.unlink(missing_ok=True)
