"""CSV as text and bytes: one grammar and one encoding for all tables that are written and read.

The grammar is RFC 4180 with any line end (LF, CRLF, CR) and any delimiter. The encoding is UTF-8, extended to texts
that are not valid Unicode, such as file names: a byte that is no UTF-8 stands for U+DC00 + byte (PEP 383,
"surrogateescape"), and the three bytes that UTF-8 would give a surrogate stand for the surrogate ("surrogatepass").
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterator, Sequence

_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_EDGE_OR_CONTROL = re.compile(r'[\x00-\x1f\x7f-\x9f"\u2028\u2029\ufeff]|^\s|\s$')


class CsvError(ValueError):
    """A text that is no CSV: what is wrong, and on which line."""

    def __init__(self, line: int, what: str):
        super().__init__(f"line {line}: {what}")
        self.line, self.what = line, what


def parse_records(text: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Records of a CSV text: the line on which each begins, counted from 1, and its cells. Empty lines are skipped.

    Raises:
        CsvError: A quoted cell does not end, or text follows its end.
    """
    d = re.escape(delimiter)
    cell = re.compile(rf'(?: *"([^"]*(?:""[^"]*)*)" *|((?! *")[^{d}\r\n]*))({d}|\r\n|\n|\r|\Z)')
    position, line = 0, 1
    start_line, quoted = 1, False
    cells: list[str] = []
    while position < len(text) or cells:
        match = cell.match(text, position)
        if match is None:
            raise CsvError(line, 'a quoted cell has no end, or text follows its end; write " within a cell as ""')
        cells.append(match[2] if match[1] is None else match[1].replace('""', '"'))
        quoted = quoted or match[1] is not None
        whole = match[0]
        line += whole.count("\n") + whole.count("\r") - whole.count("\r\n")
        position = match.end()
        if match[3] != delimiter:
            if cells != [""] or quoted:
                yield start_line, cells
            start_line, cells, quoted = line, [], False


def format_record(cells: Sequence[str]) -> bytes:
    """One comma-separated line: `decode_utf8` and `parse_records` give back exactly these cells."""
    encoded = [encode_utf8(_quoted(cell)) for cell in cells]
    return (b'""' if encoded == [b""] else b",".join(encoded)) + b"\n"


def _quoted(cell: str) -> str:
    if "," in cell or _EDGE_OR_CONTROL.search(cell):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def encode_utf8(text: str) -> bytes:
    """UTF-8 of any text, which `decode_utf8` turns back. The bytes of a file name stay what they are on the disk."""
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raw = text.encode("utf-8", _ERRORS)
        return raw if raw.decode("utf-8", _ERRORS) == text else text.encode("utf-8", "surrogatepass")


def decode_utf8(data: bytes) -> str:
    """The text of bytes that need not be valid UTF-8, without a byte order mark."""
    return data.removeprefix(codecs.BOM_UTF8).decode("utf-8", _ERRORS)


def name_in_tables(name: str) -> str:
    """A file name in tables: its bytes as UTF-8, also where the locale reads file names as ASCII (LC_ALL=C)."""
    if sys.getfilesystemencoding().lower() in ("utf-8", "utf8"):
        return name
    return os.fsencode(name).decode("utf-8", "surrogateescape")


def _surrogate_errors(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError):
        codes = [ord(char) for char in error.object[error.start : error.end]]
        return b"".join(map(_encode_surrogate, codes)), error.end
    if isinstance(error, UnicodeDecodeError):
        match = _SURROGATE.match(error.object, error.start)
        if match:
            return match[0].decode("utf-8", "surrogatepass"), match.end()
        return chr(0xDC00 + error.object[error.start]), error.start + 1
    raise error


def _encode_surrogate(code: int) -> bytes:
    return bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else chr(code).encode("utf-8", "surrogatepass")


_ERRORS = "campus_visual_gps.surrogates"
codecs.register_error(_ERRORS, _surrogate_errors)
