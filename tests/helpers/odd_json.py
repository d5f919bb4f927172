"""Odd JSON: lists of items, lines of items and lists of names, in forms that downloads, exports and hands leave."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

from tests.helpers.odd_tables import WEB_PAGE, ZERO_WIDTH, Odd

Items = list[dict[str, Any]]


def _whole(items: Items) -> str:
    return json.dumps(items)


def _lines(items: Items) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def forms(dump: Callable[[Any], str], key: str) -> dict[str, Odd]:
    """Forms of a file as a whole.

    Args:
        dump: `whole` or `lines`.
        key: one that every item must have.
    """

    def edited(change: Callable[[str], str]) -> Odd:
        return Odd(lambda items: change(dump(items)).encode())

    def encoded(name: str, before: bytes = b"") -> Odd:
        return Odd(lambda items: before + dump(items).encode(name))

    def changed(change: Callable[[Items], Any]) -> Odd:
        return Odd(lambda items: dump(change(json.loads(json.dumps(items)))).encode())

    def raw(content: bytes) -> Odd:
        return Odd(lambda items: content, raw=True)

    def replaced(value: Any) -> Odd:
        return changed(lambda items: [*items[:3], value, *items[4:]])

    def doubled(items: Items) -> bytes:
        again = f'"{key}": {json.dumps(items[4][key])}, '
        return dump(items).replace(f'"{key}": {json.dumps(items[3][key])}', again + f'"{key}": "x"', 1).encode()

    return {
        "as it is": edited(str),
        "byte-order mark": encoded("utf-8-sig"),
        **{name: encoded(name) for name in ("utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")},
        "utf-16-be with a mark": encoded("utf-16-be", b"\xfe\xff"),
        "utf-16 cut inside a character": Odd(lambda items: dump(items).encode("utf-16")[:-1]),
        "crlf": edited(lambda s: s.replace("\n", "\r\n")),
        "cr": edited(lambda s: s.replace("\n", "\r")),
        "no final newline": edited(lambda s: s.rstrip("\n")),
        "blanks around": edited(lambda s: f"\n \n{s}\n\n"),
        "empty": raw(b""),
        "blank": raw(b" \n\n"),
        "NULs": raw(bytes(4096)),
        "NULs behind": edited(lambda s: s + "\0" * 512),
        "a NUL inside": edited(lambda s: s[:40] + "\0" + s[40:]),
        **{f"{text} alone": raw(text.encode()) for text in ("null", "3", '"x"', "[]", "{}", "true", "NaN", "[[]]")},
        "an error": raw(b'{"error": "not found"}'),
        "cut off": edited(lambda s: s[: len(s) * 2 // 3 - 5]),
        "a comma at the end": edited(lambda s: s.rstrip("]\n") + ",]"),
        "text behind": edited(lambda s: s + "\nend"),
        "comment above": edited(lambda s: "// made by hand\n" + s),
        "single quotes": edited(lambda s: s.replace('"', "'")),
        "latin-1": Odd(
            lambda items: dump([{**items[0], key: "\u00e9"}, *items[1:]]).replace("\\u00e9", "\u00e9").encode("latin-1")
        ),
        "an object of items": changed(lambda items: {str(n): item for n, item in enumerate(items)}),
        "a list in a list": changed(lambda items: [items]),
        "a list under a key": changed(lambda items: {"data": items}),
        **{f"item {value!r}": replaced(value) for value in (None, 3, "x", [], {}, True)},
        "an item twice": changed(lambda items: [*items, items[3]]),
        "an item twice that contradicts": changed(lambda items: [*items, {**items[4], key: items[3][key]}]),
        "a key missing": changed(
            lambda items: [*items[:3], {k: v for k, v in items[3].items() if k != key}, *items[4:]]
        ),
        "a key twice": Odd(doubled),
        "a key misspelt": changed(lambda items: [{k + "x" if k == key else k: v for k, v in i.items()} for i in items]),
        "a key in upper case": changed(lambda items: [{k.upper(): v for k, v in item.items()} for item in items]),
        "a key with a zero-width mark": changed(
            lambda items: [{k + ZERO_WIDTH if k == key else k: v for k, v in item.items()} for item in items]
        ),
        "10,000 deep": raw(b"[" * 10_000),
        "gzipped": Odd(lambda i: gzip.compress(dump(i).encode()), raw=True),
        "a zip": raw(b"PK\x03\x04" + bytes(60)),
        "a web page": raw(WEB_PAGE),
        "a picture": raw(b"\x89PNG\r\n\x1a\n\0\0"),
        "a table": raw(b"image,labels\na.png,Edema\n"),
        "a Git LFS pointer": raw(b"version https://git-lfs.github.com/s"),
        "a folder": Odd(place=lambda p: p.mkdir()),
        "a link to nothing": Odd(place=lambda p: p.symlink_to("nothing")),
    }


def values(dump: Callable[[Any], str], cells: dict[str, tuple[Any, ...]]) -> dict[str, Odd]:
    """The fourth item with another value of a key; what is refused names it."""
    return {
        f"{key} = {json.dumps(value)[:60]}": Odd(
            lambda items, key=key, value=value: dump([*items[:3], {**items[3], key: value}, *items[4:]]).encode()
        )
        for key, found in cells.items()
        for value in found
    }


WHOLE, LINES = _whole, _lines


def name_lists(names: list[str]) -> dict[str, Odd]:
    """Forms of a list of names, one a line."""

    def lines(change: Callable[[list[str]], list[str]], end: str = "\n", encoding: str = "utf-8") -> Odd:
        return Odd(lambda _: (end.join(change(names)) + end).encode(encoding))

    def raw(content: bytes) -> Odd:
        return Odd(lambda _: content)

    return {
        "as it is": lines(list),
        **{
            name: lines(list, encoding=name)
            for name in ("utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp037")
        },
        "crlf": lines(list, "\r\n"),
        "cr": lines(list, "\r"),
        "blank lines": lines(list, "\n\n"),
        "blanks around": lines(lambda n: [f" {x}\t" for x in n]),
        "a name twice": lines(lambda n: [*n, n[0]]),
        "a header": lines(lambda n: ["Image Index", *n]),
        "commas": lines(lambda n: [f"{x}," for x in n]),
        "on one line": lines(lambda n: [" ".join(n)]),
        "quoted": lines(lambda n: [f'"{x}"' for x in n]),
        "paths": lines(lambda n: [f"images/{x}" for x in n]),
        "without suffix": lines(lambda n: [x[:-4] for x in n]),
        "in upper case": lines(lambda n: [x.upper() for x in n]),
        "one missing": lines(lambda n: n[1:]),
        "cut off": lines(lambda n: [*n[:-1], n[-1][:6]]),
        "strangers": lines(lambda n: [*n, "99999999_000.png"]),
        "zero-width marks": lines(lambda n: [ZERO_WIDTH + x for x in n]),
        "NULs behind": lines(lambda n: [*n, "\0" * 99]),
        "a NUL inside": lines(lambda n: [n[0][:3] + "\0" + n[0][3:], *n[1:]]),
        "empty": raw(b""),
        "blank": raw(b"\n \n"),
        "a web page": raw(WEB_PAGE),
        "a zip": raw(b"PK\x03\x04" + bytes(60)),
        "JSON": lines(lambda n: [json.dumps(n)]),
        "gzipped": Odd(lambda _: gzip.compress("\n".join(names).encode())),
        "a folder": Odd(place=lambda p: p.mkdir()),
        "a link to nothing": Odd(place=lambda p: p.symlink_to("nothing")),
    }
