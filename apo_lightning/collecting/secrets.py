"""Keys of endpoints: read from the environment by name, and shown nowhere.

A key that was read is known to this module, and `masked` takes it out of any text. Three nets lie below whoever forgets
to call it: a key's `repr` says nothing, so that no traceback with values shows it; what is logged is masked before any
handler sees it; and `collecting.http` masks what a server sends back, since servers repeat keys.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from apo_lightning.errors import ConfigError

MASK = "[key]"
NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
"""Name of a variable, in capitals as everywhere: what holds small letters or is longer may be a key itself."""
NO_KEY = "none"
"""What is sent to an endpoint without a key. The client would look for OPENAI_API_KEY if it were given nothing, and
send it to whatever endpoint is named."""
SHORTEST = 8
"""Characters of a key. A shorter one could be a word of any text."""
LOOKS_LIKE_A_KEY = re.compile(
    r"""(?i:\bBearer\s+)[A-Za-z0-9._~+/=-]{12,}
    |\bsk-[A-Za-z0-9_*-]{12,}
    |\b(?:gsk_|hf_|r8_|ghp_|gho_|fw_|tgp_|xai-|pplx-|csk-|nvapi-)[A-Za-z0-9]{24,}[A-Za-z0-9_-]*
    |\bAIza[A-Za-z0-9_-]{30,}
    |(?<=://)[^\s/@:"']+:[^\s/@"']+(?=@)""",
    re.VERBOSE,
)
"""Keys of other origin than this process: forms of the large providers, credentials in an address."""
CALLED_A_KEY = re.compile(
    r"(?i)(^|[_-])(api[_-]?key|password|secret|authorization|bearer|(access|auth|api)[_-]?token)$"
)

_known: set[str] = set()
_forms: tuple[str, ...] = ()


class Key(str):
    """A key. As a string it is itself, which clients need; shown with the other names and values it is not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"'{MASK}'"


def check_name(variable: str | None, where: str) -> None:
    """Raises:
    ConfigError: ``variable`` is no name of an environment variable; what it is is not repeated, since it may be a key.
    """
    if variable is not None and not (isinstance(variable, str) and NAME.fullmatch(variable)):
        raise ConfigError(
            f"{where} must be the name of an environment variable that holds the key, in capitals, digits and '_', "
            "such as OPENAI_API_KEY. What stands there is none and is not shown, since it may be a key: if it is one, "
            "take it out of the file (and of the shell's history), and renew it."
        )


def read_key(variable: str | None, where: str) -> str:
    """The key that stands in an environment variable, which from now on is masked.

    Args:
        variable: its name; None for an endpoint that wants no key.
        where: the setting, for the message.

    Raises:
        ConfigError: it is no name of a variable, or the variable is not set, empty, or no key.
    """
    check_name(variable, where)
    if variable is None:
        return Key(NO_KEY)
    if not (value := os.environ.get(variable, "").strip()):
        raise ConfigError(f"{where}: the environment variable {variable} is not set. Set it: export {variable}=...")
    if len(value) < SHORTEST or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(
            f"{where}: what the environment variable {variable} holds is no key: at least {SHORTEST} letters, "
            "digits and signs of ASCII without blanks, and no line break."
        )
    conceal(value)
    return Key(value)


def conceal(value: str) -> None:
    """From now on ``value`` is masked in texts, logs and tracebacks, in the forms that it takes on the way."""
    global _forms
    if len(value) < SHORTEST or value in _known:
        return
    _known.add(value)
    forms = {form for known in _known for form in _written(known)}
    _forms = tuple(sorted(forms, key=len, reverse=True))
    _watch()


def masked(text: str) -> str:
    """``text`` without any key that was read, nor anything that looks like one.

    >>> masked("401: Incorrect API key provided: sk-abcdefghijklmnop.")
    '401: Incorrect API key provided: [key].'
    """
    for form in _forms:
        if form in text:
            text = text.replace(form, MASK)
    return LOOKS_LIKE_A_KEY.sub(MASK, text)


def holds_key(value: Any) -> bool:
    """Whether a text somewhere in plain containers looks like a key, or is called one."""
    if isinstance(value, str):
        return any(any(map(str.isdigit, found[0])) for found in LOOKS_LIKE_A_KEY.finditer(value))
    if isinstance(value, Mapping):
        return any(holds_key(own) or (own and CALLED_A_KEY.search(str(name))) for name, own in value.items())
    return isinstance(value, list | tuple) and any(map(holds_key, value))


def masked_bytes(content: bytes) -> bytes:
    """``content`` without any key that was read. What only looks like one stays: it may be part of an answer."""
    for form in _forms:
        content = content.replace(form.encode(), MASK.encode())
    return content


def _written(key: str) -> Iterator[str]:
    """A key as it stands in headers, addresses, JSON and Python, whole or without its last characters."""
    yield from (key, quote(key), quote(key, safe=""), quote_plus(key), json.dumps(key)[1:-1], repr(key)[1:-1])
    for name in ("", ":", "api:"):
        yield base64.b64encode(f"{name}{key}".encode()).decode().rstrip("=")


def _watch() -> None:
    """Mask what is logged and what is printed of an error that nobody has caught, here and in threads."""
    if not getattr(factory := logging.getLogRecordFactory(), "masks", False):
        logging.setLogRecordFactory(_masking(factory))
    if not getattr(hook := sys.excepthook, "masks", False):
        sys.excepthook = _shown(hook)
    if not getattr(own := threading.excepthook, "masks", False):
        threading.excepthook = _shown_of_thread(own)


def _masking(factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = factory(*args, **kwargs)
        try:
            said = made.getMessage()
        except Exception:  # a log call with too few values is the caller's fault, which logging reports by itself
            return made
        made.msg, made.args = masked(said), None
        if made.exc_info and made.exc_info[1] is not None:
            made.exc_text = masked("".join(traceback.format_exception(made.exc_info[1])).rstrip("\n"))
        return made

    record.masks = True  # type: ignore[attr-defined]
    return record


def _shown(hook: Callable[..., Any]) -> Callable[..., Any]:
    def show(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        hook(kind, conceal_in(error), trace)

    show.masks = True  # type: ignore[attr-defined]
    return show


def _shown_of_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    def show(args: Any) -> None:
        conceal_in(args.exc_value)
        hook(args)

    show.masks = True  # type: ignore[attr-defined]
    return show


def conceal_in(error: BaseException) -> BaseException:
    """Mask what an error says, and those behind it: their messages and notes. Returns ``error``."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.args = tuple(masked(part) if isinstance(part, str) else part for part in one.args)
        for name in ("message", "body"):  # what the errors of openai print
            if isinstance(value := getattr(one, name, None), str):
                setattr(one, name, masked(value))
        if notes := getattr(one, "__notes__", None):
            notes[:] = [masked(str(note)) for note in notes]
        todo += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return error
