"""Scales a recipe down for a trial: fewer epochs, smaller images, fewer photos."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from campus_visual_gps.errors import ConfigError
from training.config import SchedulerSettings, TrainConfig, TrainerSettings

SIZE_STEP_PX = 32
# Below, the features of the middle stages are a single cell, and an EfficientNet's are the same for all photos.
MIN_BASE_PX = 64


@dataclass(frozen=True)
class Budget:
    """Factors, above 0 to 1, of the epochs, the side of the image and the training photos of each session.

    All of 1 is the full recipe. The validation photos are never fewer: they are what rows are compared on.
    """

    epochs: float = 1.0
    size: float = 1.0
    photos: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 < value <= 1.0:
                raise ConfigError(f"budget {name}: expected a factor above 0 and at most 1, got {value:g}")

    @classmethod
    def of(
        cls, share: float = 1.0, epochs: float | None = None, size: float | None = None, photos: float | None = None
    ) -> Budget:
        """The factors for a share of the full recipe's computation, or those given in their place.

        The computation grows with the epochs, the photos and the square of the side: the first two are scaled by the
        cube root of the share, the side by its sixth root.

        Raises ConfigError.
        """
        if not 0.0 < share <= 1.0:
            raise ConfigError(f"budget: expected a factor above 0 and at most 1, got {share:g}")
        third, sixth = share ** (1 / 3), share ** (1 / 6)
        return cls(
            third if epochs is None else epochs, sixth if size is None else size, third if photos is None else photos
        )

    def scaled(self, config: TrainConfig, base_size_px: int) -> TrainConfig:
        """The recipe within this budget.

        At least one epoch is left. Warm-up and patience keep their share of the training. The base's image side becomes
        a multiple of 32 px, at least 64, and a row with another side keeps its ratio to the base within a pixel.

        Args:
            config: Of a row.
            base_size_px: The image side of the table's base.
        """
        trainer, schedule, optimizer = config.trainer, config.scheduler, config.optimizer
        return replace(
            config,
            size_px=self._size_px(config.size_px, base_size_px),
            photo_fraction=config.photo_fraction * self.photos,
            trainer=replace(trainer, **self._lengths(trainer)),
            scheduler=replace(schedule, **self._patience(schedule)),
            optimizer=replace(optimizer, warmup_epochs=optimizer.warmup_epochs * self.epochs),
        )

    def _size_px(self, size_px: int, base_size_px: int) -> int:
        if self.size == 1.0:
            return size_px
        base_px = max(MIN_BASE_PX, SIZE_STEP_PX * round(base_size_px * self.size / SIZE_STEP_PX))
        return max(SIZE_STEP_PX, 2 * round(size_px * base_px / base_size_px / 2))

    def _lengths(self, trainer: TrainerSettings) -> dict[str, Any]:
        return {
            "max_epochs": max(1, round(trainer.max_epochs * self.epochs)),
            "early_stopping_patience_epochs": self._epochs(trainer.early_stopping_patience_epochs),
        }

    def _patience(self, schedule: SchedulerSettings) -> dict[str, Any]:
        return {"patience_epochs": self._epochs(schedule.patience_epochs)}

    def _epochs(self, count: int) -> int:
        return max(1, round(count * self.epochs)) if count else 0
