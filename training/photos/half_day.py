"""The halves of a day by which phones with a clock of twelve hours tell times, in the user's language."""

from __future__ import annotations

import re

# As Unicode's CLDR abbreviates them; the last lines are Hebrew, Arabic, Persian, Chinese, Japanese and Korean.
_BEFORE_NOON = """a.m. am vorm. dop. f.m. ap. de. pd. SA ÖÖ π.μ. дп пр.об. ก่อนเที่ยง पूर्वाह्न
לפנה״צ ص صباحًا ق.ظ. 上午 午前 오전"""
_AFTER_NOON = """p.m. pm nachm. odp. e.m. ip. du. md. CH ÖS μ.μ. пп сл.об. หลังเที่ยง अपराह्न
אחה״צ م مساءً ب.ظ. 下午 午後 오후"""
# Letters, with the dots, blanks and quotation marks of an abbreviation between them: "p. m.".
_LETTERS = re.compile(r"\s*([^\W\d_][^\d+\-\u2212:]*)")
_TIME_ZONE = re.compile(r"[A-Za-z]{1,5}")  # UTC, IST, CEST


def _key(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


_IS_AFTER_NOON = {_key(mark): False for mark in _BEFORE_NOON.split()}
_IS_AFTER_NOON |= {_key(mark): True for mark in _AFTER_NOON.split()}


def hour_of_day(hour: int, behind: str) -> tuple[int, str]:
    """The hour from 0 to 23 of a time of day, and what follows its mark of a half of the day.

    Args:
        hour: As written; some phones count from 1 to 24.
        behind: The text behind the time.

    Raises:
        ValueError: Hour and mark contradict each other, or the text may be a mark in another language.
    """
    match = _LETTERS.match(behind)
    after_noon = _IS_AFTER_NOON.get(_key(match[1])) if match else None
    if match is None or after_noon is None:
        if match and 1 <= hour <= 12 and not _TIME_ZONE.fullmatch(match[1].strip()):
            raise ValueError(f"hour {hour} with the text {match[1]!r}")
        return (0 if hour == 24 else hour), behind
    if not (0 <= hour <= 12 if not after_noon else 1 <= hour <= 23):
        raise ValueError(f"hour {hour} {match[1]}")
    return (hour if hour > 12 else hour % 12 + 12 * after_noon), behind[match.end() :]
