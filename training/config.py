"""The training configuration: strict, typed settings of every component, read from YAML.

Unknown keys, wrong types and values out of range are errors. A component receives its own section only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.dataclasses import dataclass

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.io_utils import to_builtin
from campus_visual_gps.models.position_model import ModelConfig
from training.augment_settings import AugmentSettings
from training.config_parsing import STRICT as _STRICT
from training.config_parsing import Fraction, read_settings, set_key, validated

BEST: Final = "best"
LAST: Final = "last"
COSINE: Final = "cosine"
PLATEAU: Final = "plateau"
HUBER: Final = "huber"
MSE: Final = "mse"
INVERSE_VARIANCE: Final = "inverse_variance"
AREA_ZSCORE: Final = "area_zscore"


@dataclass(frozen=True, config=_STRICT)
class LossSettings:
    """The loss of a configuration (paper, sections 3.4, 5.2 and 6.5).

    Attributes:
        name: Of point heads: `huber`; `mse`, the squared error; `inverse_variance`, the squared error times 1 / sigma^2
            of the label's reported accuracy; or `area_zscore`, the squared error times 1 / (1 + max(0, z)) with the
            z-score of that accuracy within the photo's area. Weights are scaled to a mean of 1. Gaussian and grid heads
            keep their own loss; the last two names weight it in the same way.
        huber_delta_m: Where the Huber loss of point heads becomes linear, metres (paper, section 3.4).
        nll_beta: Exponent of the variance weight in the Gaussian head's loss, 0 to 1.
        target_sigma_m: Sigma of the Gaussian around a label that the grid head is taught, metres.
        grid_margin_m: How far the grid extends beyond the training photos, metres.
    """

    name: Literal["huber", "mse", "inverse_variance", "area_zscore"] = HUBER
    huber_delta_m: PositiveFloat = 1.0
    nll_beta: Fraction = 0.5
    target_sigma_m: PositiveFloat = 8.0
    grid_margin_m: NonNegativeFloat = 20.0


@dataclass(frozen=True, config=_STRICT)
class OptimizerSettings:
    """AdamW (paper, section 3.4).

    Attributes:
        lr: Learning rate of the backbone.
        head_lr: Learning rate of the head; None takes `lr`.
        weight_decay: Weight decay of both.
        warmup_epochs: Length of a linear warm-up, against the divergence of the paper's section 6.1.
        frozen_stages: Number of leading stages of the backbone, the stem included, that are not trained.
    """

    lr: PositiveFloat = 1e-4
    head_lr: PositiveFloat | None = None
    weight_decay: NonNegativeFloat = 1e-4
    warmup_epochs: NonNegativeFloat = 0.0
    frozen_stages: NonNegativeInt = 0


@dataclass(frozen=True, config=_STRICT)
class SchedulerSettings:
    """Learning rate schedule.

    Attributes:
        name: `plateau` is ReduceLROnPlateau on the validation loss (paper, section 3.4); `cosine` ends at zero.
        factor: What the learning rate is multiplied by on a plateau.
        patience_epochs: Epochs without improvement before a reduction.
    """

    name: Literal["plateau", "cosine"] = PLATEAU
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    patience_epochs: NonNegativeInt = 7


@dataclass(frozen=True, config=_STRICT)
class TrainerSettings:
    """Length of the training and the machine it runs on.

    Attributes:
        max_epochs: Largest number of epochs.
        early_stopping_patience_epochs: Epochs without a better validation loss before training stops (`keep: best`).
        keep: The epoch whose weights are exported: `best` on the validation photos (paper), or `last`. With `last`
            nothing stops early, and validation photos are optional.
        batch_size: Photos in a step.
        cached_views: Number of augmented views of each photo whose frozen features are computed once and kept on disk;
            0 computes them anew in every epoch.
        workers: Processes of the data loader; None chooses by the number of cores.
        num_threads: Threads of torch on a CPU; 0 takes all usable cores. It may differ when a run is resumed.
        precision: `auto` takes bf16 or fp16 where the device supports it, else fp32.
        accelerator, devices, num_nodes, strategy: Passed to the Lightning trainer.
    """

    max_epochs: PositiveInt = 100
    early_stopping_patience_epochs: NonNegativeInt = 20
    keep: Literal["best", "last"] = BEST
    batch_size: PositiveInt = 24
    cached_views: NonNegativeInt = 0
    workers: NonNegativeInt | None = None
    num_threads: NonNegativeInt = 0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: PositiveInt = 1
    strategy: str = "auto"


@dataclass(frozen=True, config=_STRICT)
class GuardSettings:
    """When a training is stopped, or warned of (training/fit/guards.py).

    Attributes:
        divergence_factor: Limit of the mean error on training photos, as a multiple of what a network can do without
            looking at them. A loss that is not finite always stops a training.
        divergence_epochs: Number of first epochs in which that limit holds; 0 turns it off.
        gap_growth: Growth of validation loss / training loss since the best epoch that is warned of.
    """

    divergence_factor: Annotated[float, Field(gt=1.0)] = 3.0
    divergence_epochs: NonNegativeInt = 5
    gap_growth: Annotated[float, Field(gt=1.0)] = 1.5


@dataclass(frozen=True, config=_STRICT)
class DescriptorSettings:
    """Size of the image descriptors that the retrieval compares (training/fit/descriptor_fit.py).

    Attributes:
        centroids: Of the VLAD of each of two stages.
        dim: Length of the global descriptor, at most.
        local_dim: Length of a local descriptor, at most.
    """

    centroids: PositiveInt = 32
    dim: PositiveInt = 256
    local_dim: PositiveInt = 64


@dataclass(frozen=True, config=_STRICT)
class BundleSettings:
    """What the bundle holds besides the networks.

    Attributes:
        altitude_m: Altitude of the site above the ellipsoid; None takes the median of the training photos.
        altitude_sigma_m: Standard deviation of the altitude.
        site_margin_m: How far outside the site polygon a fix is accepted.
        max_ensemble_spread_m: Gate on the spread of the members; None measures it with `measure_gates`.
        measure_gates: Sets the image, OOD and spread gates from the photos.
        point_estimator: The reported position of a posterior over the grid; `median_mean` lies three quarters of the
            way from the geometric median to the mean.
        retrieval_prior: Multiplies the likelihood of the nearest reference photos into the posterior, if held-out
            photos gain by it.
        accepted_error_m: Mean error that accepted held-out photos shall have; sets the gates on sigma and on the
            separation of modes. None leaves these two off.
        covariance: Which covariance a fix gets: `calibrated`, or `ensemble_spread`, the sample covariance of the
            members' positions. The calibration is fitted in both cases.
        unreachable: File of polygons (GeoJSON, KML) where nobody can be, such as buildings, for the tracker.
    """

    altitude_m: float | None = None
    altitude_sigma_m: PositiveFloat = 5.0
    site_margin_m: NonNegativeFloat = 25.0
    max_ensemble_spread_m: PositiveFloat | None = None
    measure_gates: bool = True
    point_estimator: Literal["geometric_median", "mean", "median_mean"] = "geometric_median"
    retrieval_prior: bool = False
    accepted_error_m: PositiveFloat | None = None
    covariance: Literal["calibrated", "ensemble_spread"] = "calibrated"
    unreachable: Path | None = None


def _named(value: Any, validate: ValidatorFunctionWrapHandler) -> ModelConfig:
    """Name the section in the errors that ModelConfig raises itself."""
    try:
        return validate(value)
    except ConfigError as error:
        raise ConfigError(f"model: {error}") from error


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """Everything that determines a training run.

    Attributes:
        dataset, out: Directories of the data set and of the run; the command line may give them instead.
        model: Backbone and head.
        weights: Initial weights of the backbone: imagenet, none, or a file.
        size_px: Side of the square network input, pixels.
        photo_fraction: Share of each session's training photos that is trained on, spread evenly over the session; for
            trials, and to see what more photos would bring.
        seeds: One ensemble member for each.
        loss, augment, optimizer, scheduler, trainer, guards, descriptor, bundle: Settings of the components.
    """

    dataset: str | None = None
    out: str | None = None
    model: Annotated[ModelConfig, WrapValidator(_named)] = field(default_factory=ModelConfig)
    weights: str = "imagenet"
    size_px: PositiveInt = 320
    photo_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    seeds: tuple[NonNegativeInt, ...] = (42, 123, 456)
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    scheduler: SchedulerSettings = field(default_factory=SchedulerSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    guards: GuardSettings = field(default_factory=GuardSettings)
    descriptor: DescriptorSettings = field(default_factory=DescriptorSettings)
    bundle: BundleSettings = field(default_factory=BundleSettings)

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError(f"seeds: expected one or more different integers, got {list(self.seeds)}")
        if self.trainer.cached_views and not self.optimizer.frozen_stages:
            raise ConfigError(
                "trainer.cached_views: expected 0 with optimizer.frozen_stages 0 (trained stages cannot be cached), "
                f"got {self.trainer.cached_views}"
            )


def load_config(path: Path | str, settings: Sequence[str] = (), **overrides: Any) -> TrainConfig:
    """Read a training configuration.

    Args:
        path: YAML file.
        settings: Replacements of any key, such as "model.head=gaussian".
        overrides: Replacements of top-level keys; None leaves the file's value.

    Raises:
        ConfigError: One line with the file, the key, what was expected and what came.
    """
    path = Path(path)
    data = read_settings(path)
    data.update({key: value for key, value in overrides.items() if value is not None})
    try:
        for setting in settings:
            set_key(data, setting)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return validated(data, TrainConfig, path)


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration or one of its sections as built-in types."""
    return to_builtin(dataclasses.asdict(config))
