"""Photo ids that a spreadsheet has taken for numbers: `9942507299e11605`, `0012345678901234`, `1.23457E+15`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, InvalidOperation, Overflow

_LIKE_NUMBER = re.compile(r"\d+(?:e\d+)?", re.ASCII)
_WRITTEN = re.compile(r"(\d+(?:[.,]\d*)?)(?:[eE]\+?(\d+))?", re.ASCII)
_INFINITE = {"inf", "infinity", "+inf", "#num!", "#zahl!", "#nombre!", "#num", "1.#inf", "1.#infe+00", "∞", "nan"}
_DIGITS = 15  # significant digits that spreadsheets keep; the others become zeros


def spreadsheet_candidates(text: str, photo_ids: Iterable[str]) -> list[str]:
    """The ids that a spreadsheet may have written as `text`.

    A whole number is an id without its leading zeros, or its first 15 digits and zeros. A number with an exponent is
    any id of that value to the digits written. A number that is too large for a spreadsheet is any such id.
    """
    ids = [photo_id for photo_id in photo_ids if _LIKE_NUMBER.fullmatch(photo_id)]
    if text.strip().casefold() in _INFINITE:
        return [photo_id for photo_id in ids if math.isinf(float(photo_id))]
    written = re.sub(r"(?<=\d)[ '\u00a0\u202f](?=\d{3})", "", text.strip())
    written = re.sub(r"\.0+$", "", written)
    if re.fullmatch(r"\d{1,3}([.,]\d{3}){2,}", written):
        written = re.sub(r"[.,]", "", written)
    match = _WRITTEN.fullmatch(written)
    if match is None or (match[2] is None and not written.isdecimal()):
        return []
    value = _decimal(f"{match[1].replace(',', '.')}e{match[2] or 0}")
    digits = len(re.sub(r"\D", "", match[1]).lstrip("0")) or 1
    if value is None:
        return []
    photos = [(photo_id, _decimal(photo_id)) for photo_id in ids]
    return [name for name, photo in photos if photo is not None and _may_be(photo, value, digits, match[2] is not None)]


def _decimal(text: str) -> Decimal | None:
    """The number; None where its exponent has more digits than an id has room for."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _may_be(photo: Decimal, value: Decimal, digits: int, exponent: bool) -> bool:
    if _same(photo, value):
        return True
    kept = _rounded(photo, _DIGITS, ROUND_DOWN)
    if not exponent:
        return _same(kept, value) or _same(_rounded(photo, _DIGITS, ROUND_HALF_UP), value)
    return any(_same(_rounded(number, digits, ROUND_HALF_UP), value) for number in (photo, kept))


def _same(one: Decimal, other: Decimal) -> bool:
    """Equality without arithmetic, which has limits for exponents."""
    return _normal(one) == _normal(other)


def _normal(number: Decimal) -> tuple[str, int]:
    text = "".join(map(str, number.as_tuple().digits)).lstrip("0")
    stripped = text.rstrip("0")
    return stripped, int(number.as_tuple().exponent) + len(text) - len(stripped) if stripped else 0


def _rounded(number: Decimal, digits: int, rounding: str) -> Decimal:
    try:
        return Context(prec=digits, rounding=rounding, Emax=10**17, Emin=-(10**17)).plus(number)
    except Overflow:
        return number
