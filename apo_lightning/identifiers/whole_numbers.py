"""Whole numbers as tables, spreadsheets and other programs write them: floats, thousands separators, exponents."""

from __future__ import annotations

import re
from decimal import Decimal

EXACT = 2**53
"""Below it every whole number is a float of its own; from here on several become the same."""
PLAIN = re.compile(r"\+?([0-9]+)(?:([.,])0*)?")
GROUPED = re.compile(r"\+?([0-9]{1,3}(?:([,. '’_·\u02bc\u066c])[0-9]{3})(?:\2[0-9]{3})*)(?:(?!\2)[.,]0*)?")
LAKHS = re.compile(r"\+?([0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3})(?:\.0*)?")
EITHER = re.compile(r"\+?([0-9]{1,3})[.,]000")
"""A number with three decimals, or a thousand times as much with a separator."""
EXPONENT = re.compile(r"\+?[0-9]+(?:[.,][0-9]*)?[eE][+-]?[0-9]{1,3}")


class Unsure(ValueError):
    """A number that cannot be told from another one; the text says why, as in "has lost digits"."""


def whole(text: str) -> str | None:
    """The digits of a whole number that is not negative, without leading zeros; None where ``text`` is none.

    Raises:
        Unsure: digits were lost on the way, or it may be one of two numbers.

    >>> [whole(text) for text in ("0010001", "10001.0", "10,001,234", "10.001.234,00", "1.0001234E+07", "10.5")]
    ['10001', '10001', '10001234', '10001234', '10001234', None]
    """
    if found := EITHER.fullmatch(text):
        raise Unsure(f"may be {_stripped(found[1])} or {_stripped(found[1])}000")
    if EXPONENT.fullmatch(text):
        return _of_exponent(text)
    for form in (PLAIN, GROUPED, LAKHS):
        if found := form.fullmatch(text):
            digits = _stripped(re.sub("[^0-9]", "", found[1]))
            return _refuse_rounded(digits) if form is PLAIN and found[2] else digits
    return None


def _of_exponent(text: str) -> str | None:
    """
    >>> _of_exponent("1.25E+02"), _of_exponent("1.25E+01")
    ('125', None)
    """
    number = Decimal(text.replace(",", "."))
    if number.as_tuple().exponent > 0:
        raise Unsure("has lost digits")
    return _refuse_rounded(str(int(number))) if number == int(number) else None


def _refuse_rounded(digits: str) -> str:
    if len(digits) > len(str(EXACT)) or int(digits) >= EXACT:
        raise Unsure("has lost digits, since a float holds no more than 15 of them")
    return digits


def _stripped(digits: str) -> str:
    return digits.lstrip("0") or "0"
