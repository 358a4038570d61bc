"""The errors that this package raises on bad input.

Each message is one line that says what is wrong, where, and what to do; the command line and the node print it
as it is.
"""


def printable(text: str) -> str:
    """The text on one line: control characters, line ends and bytes that are no Unicode (in file names) as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, PEP 383
        return f"\\x{code - 0xDC00:02x}"
    return " " if char == "\N{NO-BREAK SPACE}" else char.encode("unicode_escape").decode("ascii")


class VisualGpsError(Exception):
    """Base of all errors that bad input, a bad file or a bad setting can cause."""

    def __str__(self) -> str:
        """The message on one line, whatever the names in it hold."""
        return printable(super().__str__())


class GeodesyError(VisualGpsError):
    """A position that a local frame cannot represent."""


class ImageError(VisualGpsError):
    """An image, or an image message, that cannot be used."""


class BundleError(VisualGpsError):
    """A model bundle that is missing, damaged or of an unknown format."""


class ConfigError(VisualGpsError):
    """A setting that is unknown, missing or out of range."""


class DatasetError(VisualGpsError):
    """A data set, or one of its files, that is missing or damaged."""


class TrainingError(VisualGpsError):
    """A training that has diverged."""


class EstimateError(VisualGpsError):
    """An estimate that must not be published: not finite, or with a covariance below any plausible value."""
