"""JSON as plain statements: ``{"edema": false}`` becomes "edema: no.".

Names of findings are keys, values under a key like "finding", or items of lists whose key says for all of them
("absent": [...]). Within what is said of one finding its verdict counts, else its probability, else its description.
"""

from __future__ import annotations

import math
import re

from apo_lightning.text.headings import heading
from apo_lightning.text.json_tokens import Value
from apo_lightning.text.traced import Traced
from apo_lightning.text.verdicts import spelled, verdict

_KEYS: dict[str, str] = {
    "name": r"finding|name|type|title|item|disorder"
    r"|label|condition|pathology|observation|disease|abnormality|question|diagnosis|category|class",
    "verdict": r"(?:is_?)?(?:present|positive|detected|absent|negative|seen|visible|exists?)|presence|status"
    r"|value|answer"
    r"|result|state|assessment|prediction|predicted|decision|label|diagnosis|finding|response|judg(?:e)?ment"
    r"|classification|verdict|conclusion|interpretation|impression|existence|presence_status",
    "chance": r"prob(?:ability)?|score|likelihood|confidence|certainty|p|conf|confidence_score",
    "detail": r"side|laterality|location|severity|size|grade|site|extent",
}
_KEY = {kind: re.compile(words) for kind, words in _KEYS.items()}
_SIDES = ("left", "right", "bilateral")


def write_value(value: Value, out: Traced) -> None:
    """Write what an object or list states."""
    if value.kind == "object":
        _object(value, out)
    for item in value.items:
        _item(item, None, out)


def _object(value: Value, out: Traced) -> None:
    name = next((v for k, v in value.pairs if _is(k, "name", out) and _named(v, out)), None)
    if name is not None and any(v is not name and _is(k, "verdict", out) for k, v in value.pairs):
        _finding(name, [pair for pair in value.pairs if pair[1] is not name], out)
    elif name is not None:
        others = [pair for pair in value.pairs if pair[1] is not name]
        if not any(_is(k, "chance", out) or _is(k, "detail", out) or v.kind == "scalar" for k, v in others):
            for key, inner in value.pairs:
                _pair(key, inner, out)
        else:
            _finding(name, others, out)
    else:
        for key, inner in value.pairs:
            _pair(key, inner, out)


def _pair(key: Value, value: Value, out: Traced) -> None:
    said = heading(_key(key, out))
    if value.kind == "scalar":
        _statement(key, value, out)
    elif value.kind == "list":
        if said is None and value.items and value.items[0].kind == "scalar":  # [false, 0.9], or a list of descriptions
            _words(key, out)
            out.put(": ", key.end - 1)
        for item in value.items:
            _item(item, said, out)
    elif said is not None:
        for inner, _ in value.pairs:
            _judged(inner, said, out)
    elif any(_is(k, kind, out) for k, _ in value.pairs for kind in ("verdict", "chance", "detail")) or _one_sided(
        value, out
    ):
        _finding(key, value.pairs, out)
    else:
        _object(value, out)


def _item(item: Value, said: float | None, out: Traced) -> None:
    if item.kind != "scalar":
        name = next((v for k, v in item.pairs if _is(k, "name", out) and v.kind == "scalar"), None)
        verdicts = [k for k, v in item.pairs if v is not name and _is(k, "verdict", out)]
        if said is not None and name is not None and not verdicts:
            _judged(name, said, out)
        else:
            write_value(item, out)
    else:
        _judged(item, said, out)


def _judged(name: Value, said: float | None, out: Traced) -> None:
    """A name whose list says what holds of it."""
    _words(name, out) if name.quoted else _scalar(name, out)
    if said is not None and said != 1:
        out.put(": no" if said == 0 else ": n/a", name.end - 1)
    out.put(" . ", max(name.end - 1, name.start))


def _finding(name: Value, pairs: list[tuple[Value, Value]], out: Traced) -> None:
    """All that an object says of one finding, as one sentence."""
    scalars = [(k, v) for k, v in pairs if v.kind == "scalar"]
    judged = [(k, v) for k, v in scalars if _is(k, "verdict", out)]
    full = [(k, v) for k, v in judged if verdict(_text(v, out)) is not None]
    likely = [(k, v) for k, v in scalars if _is(k, "chance", out) and verdict(_text(v, out)) is not None]
    details = [v for k, v in scalars if _is(k, "detail", out)]
    words, at = _words(name, out), max(name.end - 1, name.start)
    if full:
        key, value = full[0]
        denied = heading(_key(key, out)) == 0  # {"absent": true}
        said = verdict(_text(value, out))
        out.put(": ", at)
        if denied and said is not None and not math.isnan(said):
            out.put("no" if said else "yes", value.start)
        else:
            _scalar(value, out)
    elif judged:
        out.put(": ", at)
        _scalar(judged[0][1], out)
    elif likely:
        out.put(": ", at)
        _scalar(likely[0][1], out)
    elif _sided(scalars, out) is not None:
        out.put(_sided(scalars, out) or ": no", at)
    else:
        rest = [v for _, v in scalars if v not in details]
        if rest and not details:
            out.put(": ", at)
            _scalar(rest[0], out)
    for value in details if words else ():
        if _text(value, out).lower() not in ("null", "none", ""):
            out.put(", ", value.start)
            _scalar(value, out)
    out.put(" . ", at)
    for key, inner in pairs:
        if inner.kind != "scalar":
            _pair(key, inner, out)


def _one_sided(value: Value, out: Traced) -> bool:
    return bool(value.pairs) and all(_key(k, out) in _SIDES for k, _ in value.pairs)


def _sided(scalars: list[tuple[Value, Value]], out: Traced) -> str | None:
    """{"left": true, "right": false} as words; None where the keys are no sides."""
    if not scalars or any(_key(k, out) not in _SIDES for k, _ in scalars):
        return None
    sides = [_key(k, out) for k, v in scalars if verdict(_text(v, out)) == 1]
    return f": yes, {' and '.join(sides)}" if sides else ": no"


def _statement(key: Value, value: Value, out: Traced) -> None:
    if _words(key, out):
        out.put(": ", key.end - 1)
    _scalar(value, out)
    out.put(" . ", max(value.end - 1, value.start))


def _scalar(value: Value, out: Traced) -> None:
    """A value's words; JSON's and Python's constants are verdicts as they stand."""
    sign = spelled(_text(value, out)) if value.end > value.start else "n/a"
    out.put(sign, value.start) if sign else out.copy(value.start, value.end)


def _words(value: Value, out: Traced) -> str:
    """Write a key: camelCase parted, a closing question mark left out."""
    words = out.source[value.start : value.end]
    end = value.start + len(words.rstrip("? "))
    last = value.start
    for found in re.finditer(r"(?<=[a-z])(?=[A-Z])", words):
        out.copy(last, value.start + found.start()).put(" ", value.start + found.start())
        last = value.start + found.start()
    out.copy(last, end)
    return words


def _text(value: Value, out: Traced) -> str:
    return out.source[value.start : value.end]


def _key(value: Value, out: Traced) -> str:
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", _text(value, out)).lower().strip("? "))


def _is(key: Value, kind: str, out: Traced) -> bool:
    return key.kind == "scalar" and _KEY[kind].fullmatch(_key(key, out)) is not None


def _named(value: Value, out: Traced) -> bool:
    """Whether a value may be a name: words that are no verdict."""
    words = _text(value, out)
    return value.kind == "scalar" and value.quoted and verdict(words) is None and bool(re.search("[A-Za-z]", words))
