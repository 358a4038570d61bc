"""The encoding of a text file that a user or a spreadsheet has written."""

from __future__ import annotations

import codecs
import logging
import re
from collections.abc import Callable
from pathlib import Path

from campus_visual_gps.errors import DatasetError
from training.photos.csv_text import decode_utf8

_log = logging.getLogger(__name__)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_OTHER_FILES = (
    (b"PK\x03\x04", "a workbook of a spreadsheet (or another zip archive)"),
    (b"\xd0\xcf\x11\xe0", "a workbook of Excel"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"SQLite format 3", "a database"),
    (b"bplist", "a property list"),
    (b"\x1f\x8b", "a gzip archive"),
)
# Encodings that spreadsheets write for languages other than English, tried against the names of the photos.
_LEGACY = (
    *("cp1252", "mac_roman", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp437", "cp850"),
    *("cp932", "gb18030", "big5", "cp949"),
)
_TITLES = {"cp1252": "Windows-1252", "mac_roman": "Mac Roman"}
_CELLS = re.compile(r'[,;\t|\r\n"]+')
_SIGNS = set("°'’‘“”–—…«»²³´·€§ºª\u00a0")


def decode_text(data: bytes, path: Path, is_known: Callable[[str], bool] = lambda text: False) -> tuple[str, str]:
    """Decode a text file of the user.

    UTF-8 and, with a byte order mark or by its NULs, UTF-16 and UTF-32 are certain. In another encoding the bytes above
    127 have many meanings: one that spells names of photos is taken, else Western European if the text then reads as
    words.

    Args:
        data: The file's content.
        path: Its name, for messages.
        is_known: Whether a cell is the name of a photo or of a column.

    Returns:
        The text, and the name of its encoding.

    Raises:
        DatasetError: It is no text, or its encoding cannot be told; the message says what was found.
    """
    for magic, kind in _OTHER_FILES:
        if data.startswith(magic):
            raise DatasetError(f"{path}: expected a text table, got {kind}; export it as CSV UTF-8")
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strict(data[len(mark) :], encoding, path), encoding
    if b"\0" in data:
        utf16 = _utf16_by_nuls(data)
        if utf16 is None:
            raise DatasetError(f"{path}: expected a text table, got binary data (NUL bytes); export it as CSV UTF-8")
        return _strict(data, utf16, path), utf16
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return _legacy(data, path, is_known)


def _strict(data: bytes, encoding: str, path: Path) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-8":
            return decode_utf8(data)
        raise DatasetError(
            f"{path}: begins as {encoding.upper()} and is damaged at byte {error.start}; save it as CSV UTF-8 again"
        ) from error


def _utf16_by_nuls(data: bytes) -> str | None:
    """UTF-16 without a byte order mark: every other byte of a text that is mostly ASCII is NUL."""
    if len(data) % 2 == 0:
        for encoding, nuls, others in (("utf-16-le", data[1::2], data[0::2]), ("utf-16-be", data[0::2], data[1::2])):
            if nuls.count(0) > 0.6 * len(nuls) and not others.count(0):
                return encoding
    return None


def _legacy(data: bytes, path: Path, is_known: Callable[[str], bool]) -> tuple[str, str]:
    texts = {"utf-8": decode_utf8(data)}  # file names whose bytes are no UTF-8, as the shell lists them
    for encoding in _LEGACY:
        try:
            texts[encoding] = data.decode(encoding)
        except UnicodeDecodeError:
            continue
    counts = {encoding: sum(map(is_known, _special_cells(text))) for encoding, text in texts.items()}
    best = max(counts, key=lambda encoding: counts[encoding])
    if not counts[best]:
        # old programs on a Mac end lines by a carriage return alone
        candidates = ("mac_roman",) if b"\r" in data and b"\n" not in data else ("cp1252",)
        western = [name for name in candidates if name in texts and _reads_well(texts[name])]
        if not western:
            raise DatasetError(
                f"{path}: not UTF-8, and its letters beyond ASCII (the first is byte 0x{_first_special(data):02x}) "
                "could be of several encodings; save it as CSV UTF-8"
            )
        best = western[0]
    _log.warning("%s: not UTF-8, read as %s", path, _TITLES.get(best, best))
    return texts[best], best


def _first_special(data: bytes) -> int:
    return next(byte for byte in data if byte > 127)


def _special_cells(text: str) -> list[str]:
    return [cell.strip() for cell in _CELLS.split(text) if not cell.isascii()]


def _reads_well(text: str) -> bool:
    """Whether letters beyond ASCII stand where Western European words have them: alone or in pairs, in their case."""
    for word in re.findall(r"[^\W\d_]+", text):
        special = re.findall(r"[^\x00-\x7f]+", word)
        if any(len(run) > 2 for run in special) or re.search(r"[a-zà-ÿ][À-ÖØ-ÞŽŠŒŸ]", word):
            return False
    return all(char.isascii() or char.isalpha() or char in _SIGNS for char in text)
