"""The errors that this package raises on bad input.

Each message is one line that says what is wrong, where, and what to do; the command line and the node print it
as it is.
"""


class VisualGpsError(Exception):
    """Base of all errors that bad input, a bad file or a bad setting can cause."""


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


class EstimateError(VisualGpsError):
    """An estimate that must not be published: not finite, or with a covariance below any plausible value."""
