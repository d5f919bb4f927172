"""YAML that may come from anywhere: measured before it is built, since a kilobyte of it can become a terabyte.

What is wrong with a document is a ``yaml.YAMLError`` whatever it is, so that one handler is enough.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from apo_lightning.files.limits import MAX_YAML_BYTES, MAX_YAML_DEPTH, MAX_YAML_NUMBER, MAX_YAML_VALUES

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
NUMBER = re.compile(r"[-+.]?[0-9][0-9a-fA-Fx_:.]*")
"""What a loader may take for a number; one in base 60 takes time by the square of its length."""


class Refused(yaml.YAMLError):
    """A document that is larger, deeper or longer in a number than any that is read."""

    problem: str

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def read_text(path: Path) -> str:
    """The text of a YAML file, measured.

    Raises:
        Refused: it is larger than ``MAX_YAML_BYTES``, or see `measure`.
        UnicodeDecodeError: it is not UTF-8.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        raw = file.read(MAX_YAML_BYTES + 1)
    if len(raw) > MAX_YAML_BYTES:
        raise Refused(f"it has {path.stat().st_size:,} bytes; at most {MAX_YAML_BYTES:,} are read")
    return measure(raw.decode("utf-8"))


def load(path: Path) -> Any:
    """Plain containers, numbers and texts of a YAML file; no object is made by its name.

    Raises:
        yaml.YAMLError: it is no YAML, or see `read_text`.
        UnicodeDecodeError, OSError: it cannot be read.
    """
    return parse(read_text(path))


def parse(text: str) -> Any:
    """The same of a text that was measured.

    Raises:
        yaml.YAMLError: it is none, or names a date or a number that does not exist.
    """
    loader = LOADER(text)
    try:
        return loader.get_single_data()
    except (ValueError, OverflowError, RecursionError) as error:
        raise Refused(f"a value cannot be read ({error})") from error
    finally:
        loader.dispose()


def measure(text: str) -> str:
    """``text`` itself, once its size is known with all that its aliases (``*name``) stand for.

    Raises:
        Refused: it has more than ``MAX_YAML_VALUES``, is nested more than ``MAX_YAML_DEPTH`` deep, or has a number of
            more than ``MAX_YAML_NUMBER`` characters.
        yaml.YAMLError: it is no YAML; no object is made.
    """
    total, begun, anchors = 0, [], {}
    for event in yaml.parse(text, LOADER):
        if isinstance(event, yaml.AliasEvent):
            total += anchors.get(event.anchor, 0)  # an alias inside of its own anchor is refused by who builds it
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            anchors[anchor] = total - before
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                begun.append((event.anchor, total - 1))
            else:
                anchors[event.anchor] = 1
                _measure_scalar(event)
        _refuse(total, len(begun))
    return text


def _refuse(values: int, depth: int) -> None:
    if values > MAX_YAML_VALUES:
        raise Refused(f"it holds more than {MAX_YAML_VALUES:,} values, the most that are read")
    if depth > MAX_YAML_DEPTH:
        raise Refused(f"it is nested more than {MAX_YAML_DEPTH} deep, the most that is read")


def _measure_scalar(event: yaml.ScalarEvent) -> None:
    long = len(event.value) > MAX_YAML_NUMBER
    if long and event.style in (None, "") and NUMBER.fullmatch(event.value):
        raise Refused(f"a number has {len(event.value):,} characters; at most {MAX_YAML_NUMBER:,} are read")
    if long and event.value.count("${") > MAX_YAML_DEPTH:
        raise Refused(f"a value refers to more than {MAX_YAML_DEPTH} others (${{...}})")
