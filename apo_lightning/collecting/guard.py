"""Whom the images of a data set may be sent to."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence

import httpx2

from apo_lightning.collecting.secrets import masked
from apo_lightning.errors import ConfigError

RULE = "https://physionet.org/news/post/llm-responsible-use"
"""PhysioNet on third-party services (24 September 2025): its agreement prohibits sharing the data with them, also
through APIs; where one is used nevertheless, nothing may be retained, trained on, or read by people."""
HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f:.]+")
"""A name or an address. Whatever else stands for a host is read by one in this way and by another in that."""


def check_sending(sets: Mapping[str, bool], base_url: str, acknowledged: Sequence[str], where: str) -> None:
    """Nothing of a set under a data use agreement leaves this machine unless whoever runs this has said so by name.

    Args:
        sets: data set to whether it is credentialed.
        base_url: of the endpoint that its images go to.
        acknowledged: names under ``acknowledge_sending``.
        where: the teacher's section, for the message.

    Raises:
        ConfigError: a credentialed set that is not acknowledged would go elsewhere, or the address is none to ask.
    """
    host = check_address(base_url, where).host
    kept = sorted(name for name, credentialed in sets.items() if credentialed and name not in acknowledged)
    if kept and not is_loopback(base_url):
        names = ", ".join(kept)
        raise ConfigError(
            f"{where} would send images of {names} to {masked(host)}, and {names} came to you under a data use "
            "agreement (credentialed). PhysioNet's agreement forbids sharing its data with third parties, also through "
            f"their APIs and online platforms: {RULE}. Use a server on this machine (base_url: "
            "http://127.0.0.1:8000/v1). If the agreement permits this very endpoint, say so: "
            f"acknowledge_sending=[{','.join(kept)}]."
        )


def check_address(base_url: str, where: str) -> httpx2.URL:
    """The address as the client reads it, which is the only reading that counts.

    Raises:
        ConfigError: it is no address of http or https, or holds a user, a password or a key, which every copy of the
            settings would show.
    """
    said = f"{where}.base_url must be an address such as https://api.openai.com/v1"
    if set(str(base_url)) & set("@?#"):
        raise ConfigError(
            f"{said}, without anything before an '@' and behind a '?' or '#'. What stands there is not shown: a key in "
            "it would be in every copy of the settings. Put it into an environment variable and name that: key: "
            "OPENAI_API_KEY."
        )
    try:
        url = httpx2.URL(base_url)
    except (httpx2.InvalidURL, TypeError, ValueError) as error:
        raise ConfigError(f"{said}, got {masked(repr(base_url))}: {masked(str(error))}.") from None
    if url.scheme not in ("http", "https") or not HOST.fullmatch(url.host):
        raise ConfigError(f"{said}, got {masked(repr(base_url))}.")
    return url


def is_loopback(base_url: str) -> bool:
    """Whether an address is this machine's own: 127.0.0.0/8, ::1, or ``localhost`` where that is one of these.

    >>> [is_loopback(f"http://{host}/v1") for host in ("127.0.0.1:80", "[::1]", "127.0.0.1.evil.com", "127.0.0.1@a.io")]
    [True, True, False, False]
    """
    host = httpx2.URL(base_url).host.removesuffix(".")
    if host == "localhost":
        return all(_is_own(address) for address in _addresses(host))
    return _is_own(host)


def _is_own(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name, or a number such as 127.1 that readers take in different ways
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _addresses(name: str) -> list[str]:
    """What the system makes of a name; nothing where it makes nothing of it, so that nothing can be sent either."""
    try:
        return sorted({str(found[4][0]).split("%")[0] for found in socket.getaddrinfo(name, None)})
    except OSError:
        return []
