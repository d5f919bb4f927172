"""The HTTP client below `openai`: it speaks to one host, gives up what never ends, and hands on no key.

What it refuses is `Refused`, which the client of openai wraps in an APIConnectionError (``__cause__``); asking again
would end in the same way.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from urllib.request import getproxies, proxy_bypass

import httpx2

from apo_lightning.collecting.guard import check_address, is_loopback
from apo_lightning.collecting.secrets import conceal, masked, masked_bytes
from apo_lightning.errors import ConfigError
from apo_lightning.files.limits import MAX_ANSWER

OPENAI = "api.openai.com"
OPENAIS_OWN = ("openai-organization", "openai-project")
"""Headers that the client takes from the environment, for whatever endpoint it speaks to."""
GONE = ("content-encoding", "content-length", "transfer-encoding")
"""Headers of a body that was decoded here."""


class Refused(httpx2.TransportError):
    """What this client does not do."""


class OtherHost(Refused):
    """A request to another host, by a redirect or otherwise: images and keys are meant for one."""


class TooLarge(Refused):
    """An answer larger than any that is asked for."""


def client(base_url: str, timeout: float, max_bytes: int = MAX_ANSWER) -> httpx2.AsyncClient:
    """A client for one endpoint.

    Args:
        base_url: of the endpoint; requests go to its scheme, host and port alone.
        timeout: seconds of one request from its beginning to the last byte of the answer.
        max_bytes: of an answer, inflated.

    Raises:
        ConfigError: it is no address, or the environment names a proxy that is none.
    """
    url = check_address(base_url, "endpoint")
    transport = _OneHost(url, timeout, max_bytes)
    return httpx2.AsyncClient(transport=transport, timeout=timeout, follow_redirects=True, trust_env=False)


class _OneHost(httpx2.AsyncBaseTransport):
    def __init__(self, url: httpx2.URL, timeout: float, max_bytes: int) -> None:
        self.url, self.timeout, self.max_bytes = url, timeout, max_bytes
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
        own = is_loopback(str(url))
        try:
            self.inner = httpx2.AsyncHTTPTransport(trust_env=not own, limits=limits, proxy=_proxy(url))
        except (ValueError, ImportError, httpx2.InvalidURL) as error:
            raise ConfigError(f"The proxy that the environment names cannot be used: {masked(str(error))}.") from None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The whole answer, decoded and without keys.

        Raises:
            OtherHost, TooLarge: see there.
            httpx2.ReadTimeout: not all of it was there in time.
        """
        if not _is_same(self.url, request.url):
            raise OtherHost(
                f"refused: a request meant for {self.url.host} would go to {request.url.scheme}://"
                f"{masked(request.url.netloc.decode('ascii', 'replace'))}. Put the right address into base_url.",
                request=request,
            )
        self._strip(request)
        try:
            async with asyncio.timeout(self.timeout):
                return await self._answer(request)
        except TimeoutError:
            raise httpx2.ReadTimeout(f"no whole answer within {self.timeout:g} s", request=request) from None

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        raw = await self.inner.handle_async_request(request)
        raw.request = request
        try:
            parts = [part async for part in self._bounded(raw)]
        finally:
            await raw.aclose()
        headers = [(k, masked_bytes(v)) for k, v in raw.headers.raw if k.lower().decode("latin-1") not in GONE]
        return httpx2.Response(
            raw.status_code, headers=headers, content=masked_bytes(b"".join(parts)), extensions=raw.extensions
        )

    async def _bounded(self, raw: httpx2.Response) -> AsyncIterator[bytes]:
        size = 0
        async for part in raw.aiter_bytes():
            size += len(part)
            if size > self.max_bytes:
                raise TooLarge(
                    f"refused: an answer of {self.url.host} has more than {self.max_bytes:,} bytes", request=raw.request
                )
            yield part

    def _strip(self, request: httpx2.Request) -> None:
        """Take out what belongs to OpenAI alone, also what a user has told its client to add."""
        if self.url.host == OPENAI:
            return
        added = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
        for name, _, value in (line.partition(":") for line in (*OPENAIS_OWN, *added)):
            if (found := request.headers.get(name.strip())) is not None and value.strip() in ("", found):
                del request.headers[name.strip()]

    async def aclose(self) -> None:
        await self.inner.aclose()


def _is_same(own: httpx2.URL, other: httpx2.URL) -> bool:
    """The same host and port, as safe or safer."""
    if own.host != other.host:
        return False
    ports = {"http": 80, "https": 443}
    mine, theirs = (url.port or ports.get(url.scheme) for url in (own, other))
    safer = own.scheme == "http" and other.scheme == "https" and (mine, theirs) == (80, 443)
    return safer or (own.scheme == other.scheme and mine == theirs)


def _proxy(url: httpx2.URL) -> str | None:
    """The proxy that the environment names for an address; none for this machine, whatever it names: what may not leave
    the machine would leave it by a proxy."""
    if is_loopback(str(url)) or proxy_bypass(url.host):
        return None
    found = getproxies()
    if (proxy := found.get(url.scheme) or found.get("all")) is None:
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    conceal(httpx2.URL(proxy).password)
    return proxy
