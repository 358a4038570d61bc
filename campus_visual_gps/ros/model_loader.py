"""Loads the model on another thread than the one that takes it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from campus_visual_gps.ros.pipeline import load_localizer

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer
    from campus_visual_gps.ros.parameters import NodeParameters


class ModelLoader:
    """Keeps the model, or the error, between the thread that loads it and the transition that takes it.

    Args:
        logger: Gets one line when the model is loaded.
    """

    def __init__(self, logger):
        self._logger = logger
        self._loaded: Localizer | Exception | None = None
        self.started_s: float | None = None

    def loading(self, settings: NodeParameters) -> Callable[[], None]:
        """The work of a thread, which does not raise. `started_s` is set from now on until the model is taken."""
        self.started_s = monotonic()

        def work() -> None:
            try:
                self._loaded = load_localizer(settings, self._logger)
            except Exception as error:  # raised again by `take`
                self._loaded = error

        return work

    def take(self, settings: NodeParameters) -> Localizer:
        """The model that the thread has loaded, once; without such a thread load it now.

        Raises:
            VisualGpsError: The bundle or the device is bad. torch has exceptions of its own besides.
        """
        loaded = self._loaded
        self.discard()
        if isinstance(loaded, Exception):
            raise loaded
        return loaded or load_localizer(settings, self._logger)

    def discard(self) -> None:
        """Free a model that no transition will take."""
        self._loaded = self.started_s = None
