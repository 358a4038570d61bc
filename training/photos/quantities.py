"""Numbers and coordinates as people and spreadsheets write them: a value where there is one meaning, else an error."""

from __future__ import annotations

import math
import re

# apostrophes, primes, quotation marks, degree signs and minus signs that look alike
_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        **dict.fromkeys("\u2212\u2010\u2011\u2013\ufe63\uff0d", "-"),
        **dict.fromkeys("\u2032\u2019\u2018\u00b4`\u02b9", "'"),
        **dict.fromkeys("\u2033\u201d\u201c\u201e\u02ba", '"'),
        **dict.fromkeys("\u00ba\u02da", "°"),
        **dict.fromkeys("\ufeff\u200b\u200e\u200f\u202a\u202c", ""),
    }
)
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_GROUPED = {
    ",": re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", re.ASCII),
    ".": re.compile(r"[-+]?\d{1,3}(\.\d{3})+(,\d+)?", re.ASCII),
    " ": re.compile(r"[-+]?\d{1,3}( \d{3})+([.,]\d+)?", re.ASCII),
    "'": re.compile(r"[-+]?\d{1,3}('\d{3})+([.,]\d+)?", re.ASCII),
}
_ONE_GROUP = re.compile(r"[-+]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+", re.ASCII)
_UNIT = re.compile(r"\s*(m|meters?|metres?|°|deg|degrees?)$", re.IGNORECASE)

_LETTER = re.compile(r"(?P<before>[NSEWO](?![A-Z]))?\s*(?P<body>[^A-Z]*?)\s*(?P<after>[NSEWO])?\.?", re.IGNORECASE)
_SIDE = re.compile(r"\b(north|south|east|west)\b", re.IGNORECASE)
_PART = r"(\d+(?:[.,]\d*)?)"
_DEGREES = re.compile(rf"([-+]?)\s*{_PART}\s*°?", re.ASCII)
_SEXAGESIMAL = re.compile(rf"([-+]?)\s*{_PART}\s*[°: ]\s*{_PART}\s*(?:[': ]\s*(?:{_PART}\s*(?:\"|'')?)?)?", re.ASCII)
_AXES = {"latitude": {"N": 1.0, "S": -1.0}, "longitude": {"E": 1.0, "W": -1.0}}


def clean(text: str) -> str:
    """The text without blanks at its ends, and with plain signs in the place of ones that look alike."""
    return text.translate(_LOOKALIKES).strip()


def has_decimal_comma(text: str) -> bool:
    """Whether a coordinate is written with a decimal comma."""
    return bool(_DECIMAL_COMMA.fullmatch(clean(text)))


def parse_number(text: str, decimal_comma: bool = False) -> float:
    """A number with a decimal point or comma, thousands separators, and the unit m or degrees.

    Args:
        text: The text.
        decimal_comma: The table has decimal commas, so that 1,234 is 1.234.

    Raises:
        ValueError: It is not a number, or could be two.
    """
    number = _UNIT.sub("", clean(text))
    if decimal_comma and _ONE_GROUP.fullmatch(number):
        raise ValueError(f"'{text}' may be {number.replace('.', ',')} or {number.replace('.', '')}: write a comma")
    if _PLAIN.fullmatch(number):
        return _finite(number)
    if _DECIMAL_COMMA.fullmatch(number) and (decimal_comma or not _GROUPED[","].fullmatch(number)):
        return float(number.replace(",", "."))
    if _DECIMAL_COMMA.fullmatch(number):
        raise ValueError(f"'{text}' may be {number.replace(',', '.')} or {number.replace(',', '')}: write a point")
    for separator, pattern in _GROUPED.items():
        if pattern.fullmatch(number):
            return float(number.replace(separator, "").replace(",", "."))
    raise ValueError("expected a number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("expected a number")
    return number


def parse_coordinate(text: str, axis: str) -> float:
    """Degrees from decimal degrees or degrees, minutes and seconds, with a sign or a letter of the hemisphere.

    Args:
        text: Such as 31.262, 31,262, "31.262 N", 31°15'43.2"N, "31 deg 15.72' N" (exiftool) or 31:15:43.
        axis: latitude or longitude.

    Returns:
        Degrees, not checked against their range.

    Raises:
        ValueError: It has no meaning or several.
    """
    cleaned = re.sub(r"\s*\b(deg(rees?)?)\b\.?", "°", clean(text), flags=re.IGNORECASE)
    if _PLAIN.fullmatch(cleaned):
        return _finite(cleaned)
    if cleaned.count(".") > 1 and _GROUPED["."].fullmatch(cleaned):
        raise ValueError("a spreadsheet has taken the decimal point for thousands separators")
    match = _LETTER.fullmatch(_SIDE.sub(lambda side: side[0][0], cleaned))
    if match is None or (match["before"] and match["after"]):
        raise ValueError("expected a number")
    letter = (match["before"] or match["after"] or "").upper()
    sign, degrees = _degrees(match["body"], bool(letter))
    if not letter:
        return -degrees if sign == "-" else degrees
    return _signed(letter, sign, degrees, axis)


def _signed(letter: str, sign: str, degrees: float, axis: str) -> float:
    side = _AXES[axis].get(letter)
    if letter == "O":
        raise ValueError("the letter O is east in German and west in French, Italian and Spanish: write E or W")
    if side is None:
        raise ValueError(f"'{letter}' is no side of a {axis}; are latitude and longitude swapped?")
    if sign and (sign == "-") != (side < 0):
        raise ValueError(f"the sign {sign} and the letter {letter} contradict each other")
    return side * degrees


def _degrees(body: str, has_letter: bool) -> tuple[str, float]:
    """The sign and the degrees without it."""
    match = _DEGREES.fullmatch(body)
    if match:
        return match[1], float(match[2].replace(",", "."))
    match = _SEXAGESIMAL.fullmatch(body)
    if match is None or not (has_letter or re.search(r"[°:'\"]", body)):
        raise ValueError("expected a number")
    written = [part.replace(",", ".") for part in match.groups()[1:] if part is not None]
    parts = [float(part) for part in written]
    if any(part != int(part) for part in parts[:-1]) or any(part >= 60.0 for part in parts[1:]):
        raise ValueError("expected degrees, minutes below 60 and seconds below 60")
    return match[1], sum(part / 60.0**power for power, part in enumerate(parts))
