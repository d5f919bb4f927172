"""How fast a teacher is asked, and how much may be spent."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from aiolimiter import AsyncLimiter

from apo_lightning.errors import ConfigError, did_you_mean

MINUTE = 60.0
TOKEN_WINDOW = 6
"""Parts of a minute in which tokens are counted: an account's limit is kept in every minute but for one part."""


class Pace:
    """When the next request of a teacher may be sent. Requests are spread evenly; after being told to wait, all wait.

    Args:
        requests, tokens: a minute; None: no limit.
    """

    def __init__(self, requests: float | None, tokens: float | None) -> None:
        self._requests = AsyncLimiter(1, MINUTE / requests) if requests else None
        self._tokens = AsyncLimiter(tokens / TOKEN_WINDOW, MINUTE / TOKEN_WINDOW) if tokens else None
        self._until = 0.0

    async def turn(self, tokens: float) -> None:
        """Wait until a request of so many tokens may be sent."""
        if self._requests:
            await self._requests.acquire()
        if self._tokens:
            for part in _parts(tokens, self._tokens.max_rate):
                await self._tokens.acquire(part)
        loop = asyncio.get_running_loop()
        while (left := self._until - loop.time()) > 0:
            await asyncio.sleep(left)

    def rest(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)


def _parts(amount: float, most: float) -> list[float]:
    """An amount in pieces that a limiter takes: a request may be larger than what is allowed at a time."""
    whole = int(amount // most)
    return [most] * whole + ([rest] if (rest := amount - whole * most) > 0 else [])


@dataclass
class Spent:
    """What was used: requests that were sent, tokens in and out, and money where prices are known."""

    requests: float = 0
    tokens: float = 0
    money: float = 0.0

    def __iadd__(self, other: Spent) -> Spent:
        for own in fields(Spent):
            setattr(self, own.name, getattr(self, own.name) + getattr(other, own.name))
        return self

    def minus(self) -> Spent:
        return Spent(-self.requests, -self.tokens, -self.money)


LIMITS = tuple(own.name for own in fields(Spent))


class Budget:
    """What may be used in all. What a request may cost at most is set aside before it is sent, so that the sum of all
    that are under way stays within.

    Args:
        most: limits by name; what is not named has none.
        spent: what was used before.
    """

    def __init__(self, most: Mapping[str, float], spent: Spent | None = None) -> None:
        self.most, self.spent, self.aside = dict(most), spent or Spent(), Spent()
        self._changed = asyncio.Condition()

    async def take(self, worst: Spent) -> str:
        """Set aside what a request may cost; waits while others are under way that may leave enough. Returns the name
        of the limit that it would pass, empty where it was set aside."""
        async with self._changed:
            while (over := self._over(worst)) and self.aside.requests > 0:
                await self._changed.wait()
            if not over:
                self.aside += worst
            return over

    async def settle(self, worst: Spent, used: Spent) -> None:
        """What was set aside is free again, and what was used is spent."""
        async with self._changed:
            self.aside += worst.minus()
            self.spent += used
            self._changed.notify_all()

    def words(self, name: str, worst: Spent) -> str:
        """What a limit leaves, where it does not leave enough."""
        most, used, one = (getattr(own, name) for own in (Spent(**self.most), self.spent, worst))
        return f"{used_up(name, most)}: {used:,.6g} are spent, and a request may take {one:,.3g}"

    def _over(self, worst: Spent) -> str:
        for name, most in self.most.items():
            if getattr(self.spent, name) + getattr(self.aside, name) + getattr(worst, name) > most * (1 + 1e-9):
                return name
        return ""


def used_up(name: str, most: float) -> str:
    """Why asking ends at a limit, and how it goes on."""
    return f"--budget {name}={most:.12g} is used up (give a higher one to go on)"


def read_budget(words: str | None) -> dict[str, float]:
    """Limits as the command line gives them.

    >>> read_budget("money=5,tokens=2e6")
    {'money': 5.0, 'tokens': 2000000.0}

    Raises:
        ConfigError: a name or a number is none.
    """
    found: dict[str, float] = {}
    for word in (words or "").replace(" ", "").split(",") if words else ():
        name, _, value = word.partition("=")
        if name not in LIMITS:
            raise ConfigError(
                f"--budget names '{name}'. {did_you_mean(name, LIMITS)} Write --budget money=5,tokens=2e6."
            )
        try:
            found[name] = float(value.replace("_", ""))
        except ValueError:
            found[name] = math.nan
        if not found[name] >= 0:
            raise ConfigError(f"--budget {name} must be a number >= 0, got '{value}'. Write --budget {name}=100.")
    return found


class Stop:
    """Whether asking is to end: nothing more is sent, and what is under way is waited for.

    Args:
        above: a stop that stops this one too.

    Attributes:
        why: empty while it goes on.
    """

    def __init__(self, above: Stop | None = None) -> None:
        self.why, self._event, self._below = "", asyncio.Event(), list[Stop]()
        if above is not None:
            above._below.append(self)
            if above:
                self.now(above.why)

    def __bool__(self) -> bool:
        return bool(self.why)

    def now(self, why: str) -> None:
        """From now on; the first reason stays."""
        self.why = self.why or why
        self._event.set()
        for one in self._below:
            one.now(why)

    async def sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), seconds)

    async def unless(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for something, but no longer than until the stop."""
        both = [asyncio.ensure_future(waiting), asyncio.ensure_future(self._event.wait())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
            await asyncio.gather(*both, return_exceptions=True)
