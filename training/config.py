"""Training configuration: frozen dataclasses read from strict YAML, where an unknown key is an error."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.estimation.grid import GEOMETRIC_MEDIAN, POINT_ESTIMATORS
from campus_visual_gps.io_utils import to_builtin
from campus_visual_gps.models.position_model import ModelConfig

BEST, LAST = KEPT_EPOCHS = ("best", "last")


@dataclass(frozen=True)
class AugmentConfig:
    """The paper's augmentation (sections 3.4, 5.5, 5.6): no flip and no resized crop, for labels would not follow.

    Ours beside it, off unless asked for: `noise_sigma` (the most, in levels of 255) and `jpeg_p`, `jpeg_quality`, what
    another camera and another encoder do to a picture.
    """

    rotation_deg: float = 5.0
    perspective_scale: float = 0.2
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    grayscale_p: float = 0.1
    erasing_p: float = 0.2
    night_p: float = 0.2
    night_brightness: tuple[float, float] = (0.4, 0.7)
    night_contrast: tuple[float, float] = (0.6, 0.9)
    noise_sigma: float = 0.0
    jpeg_p: float = 0.0
    jpeg_quality: tuple[int, int] = (40, 95)


@dataclass(frozen=True)
class LossConfig:
    """Of the heads that give a distribution. `target_sigma_m` is the Gaussian around a label that a map is taught,
    metres, `map_margin_m` how far from a training photo the map's cells reach; `nll_beta` the weight of a Gaussian's
    loss.
    """

    target_sigma_m: float = 8.0
    map_margin_m: float = 20.0
    nll_beta: float = 0.5

    def __post_init__(self):
        if self.target_sigma_m <= 0.0 or self.map_margin_m < 0.0:
            raise ConfigError("loss.target_sigma_m must be positive metres, and loss.map_margin_m 0 or more")
        if not 0.0 <= self.nll_beta <= 1.0:
            raise ConfigError(f"loss.nll_beta {self.nll_beta} is outside 0..1")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW (section 3.4). `head_lr` and `warmup_epochs` guard against the divergence of section 6.1.

    The backbone's first `frozen_stages` stages stay as they are: a photo of a site has edges and textures like any
    other, and a CPU spends most of an epoch on them.
    """

    lr: float = 1e-4
    head_lr: float | None = None
    weight_decay: float = 1e-4
    warmup_epochs: float = 0.0
    frozen_stages: int = 0

    def __post_init__(self):
        if self.frozen_stages < 0:
            raise ConfigError("optimizer.frozen_stages must be 0 or more")


@dataclass(frozen=True)
class SchedulerConfig:
    """`plateau`: ReduceLROnPlateau on validation loss (section 3.4); `cosine`: to zero at the last epoch."""

    name: str = "plateau"
    factor: float = 0.5
    patience_epochs: int = 7


@dataclass(frozen=True)
class TrainerConfig:
    """How long and on what. `accelerator`, `devices`, `num_nodes`, `strategy` go to the Lightning trainer as they are.

    `precision` is auto (bf16 or fp16 where the device has it), fp32, bf16 or fp16. `keep` is which epoch's weights are
    taken: the best on the validation photos, as in the paper, or the last, for schedules that end at zero; then nothing
    stops early and validation photos may be missing. With `cached_views` every photo is augmented so many times in
    advance, and each view goes through the frozen stages once.
    """

    max_epochs: int = 100
    early_stopping_patience_epochs: int = 20
    keep: str = "best"
    batch_size: int = 24
    cached_views: int = 0
    workers: int | None = None
    precision: str = "auto"
    accelerator: str = "auto"
    devices: int | str = "auto"
    num_nodes: int = 1
    strategy: str = "auto"


@dataclass(frozen=True)
class BundleConfig:
    """What goes into the bundle beside the networks. `altitude_m` None takes the median of the training photos.

    `point` is the position that is reported of a probability map: its point of least expected distance, or its mean.
    With `evidence` the nearest reference photos are multiplied into the map, if held-out photos gain by it.
    `accepted_error_m` is the mean error that is asked of accepted fixes: the limits of sigma and of the modes' distance
    are set to give it on the held-out photos; without it they stay off. `measure_gates` takes all other gates but
    that of the site, and of spread where `max_ensemble_spread_m` is set, from the photos (training/fit/gates.py).
    """

    altitude_m: float | None = None
    altitude_sigma_m: float = 5.0
    site_margin_m: float = 25.0
    max_ensemble_spread_m: float | None = None
    measure_gates: bool = True
    point: str = GEOMETRIC_MEDIAN
    evidence: bool = False
    accepted_error_m: float | None = None

    def __post_init__(self):
        if self.point not in POINT_ESTIMATORS:
            raise ConfigError(f"bundle.point {self.point!r} is none of {', '.join(POINT_ESTIMATORS)}")
        if self.accepted_error_m is not None and self.accepted_error_m <= 0.0:
            raise ConfigError("bundle.accepted_error_m must be positive metres, or nothing")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that determines a training run. `dataset` and `out` may come from the command line instead."""

    dataset: str | None = None
    out: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    weights: str = "imagenet"
    size_px: int = 320
    huber_delta_m: float = 1.0
    loss: LossConfig = field(default_factory=LossConfig)
    seeds: tuple[int, ...] = (42, 123, 456)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    bundle: BundleConfig = field(default_factory=BundleConfig)

    def __post_init__(self):
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ConfigError("seeds must be one or more different integers")
        if self.scheduler.name not in ("plateau", "cosine"):
            raise ConfigError(f"scheduler.name {self.scheduler.name!r} is none of plateau, cosine")
        if self.trainer.precision not in ("auto", "fp32", "bf16", "fp16"):
            raise ConfigError(f"trainer.precision {self.trainer.precision!r} is none of auto, fp32, bf16, fp16")
        if self.trainer.keep not in KEPT_EPOCHS:
            raise ConfigError(f"trainer.keep {self.trainer.keep!r} is none of {', '.join(KEPT_EPOCHS)}")
        if self.trainer.cached_views and not self.optimizer.frozen_stages:
            raise ConfigError("trainer.cached_views needs optimizer.frozen_stages: what is trained cannot be cached")
        if min(self.trainer.max_epochs, self.trainer.batch_size) < 1:
            raise ConfigError("trainer.max_epochs and trainer.batch_size must be 1 or more")
        if self.optimizer.lr <= 0 or self.huber_delta_m <= 0:
            raise ConfigError("optimizer.lr and huber_delta_m must be positive")


def load_config(path: Path | str, settings: Sequence[str] = (), **overrides: Any) -> TrainConfig:
    """Read a training configuration; overrides that are not None replace top-level keys, settings such as
    "model.head=gaussian" any key.

    Raises ConfigError that names the file, the key and what was expected.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected keys and values at the top level")
    data.update({key: value for key, value in overrides.items() if value is not None})
    try:
        for setting in settings:
            _set(data, setting)
        return _build(TrainConfig, data, "")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _set(data: dict[str, Any], setting: str) -> None:
    keys, equals, text = setting.partition("=")
    *tables, last = keys.strip().split(".")
    if not equals or not last:
        raise ConfigError(f"setting {setting!r} must be KEY=VALUE, such as trainer.max_epochs=12")
    for table in tables:
        data = data.setdefault(table, {})
        if not isinstance(data, dict):
            raise ConfigError(f"setting {setting!r}: {table} is a value and not a table of keys")
    try:
        data[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"setting {setting!r}: {text!r} is no YAML value") from error


def to_dict(config: Any) -> dict[str, Any]:
    """The resolved configuration as plain YAML types."""
    return yaml.safe_load(yaml.safe_dump(to_builtin(dataclasses.asdict(config))))


def _build(cls: type, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ConfigError(f"{where or 'config'} must be a table of keys, got {data!r}")
    hints = typing.get_type_hints(cls)
    names = [item.name for item in dataclasses.fields(cls)]
    unknown = sorted(set(map(str, data)) - set(names))
    if unknown:
        at = f" in {where}" if where else ""
        raise ConfigError(f"unknown key {', '.join(unknown)}{at}; known: {', '.join(names)}")
    values = {key: _convert(hints[key], value, f"{where}.{key}".lstrip(".")) for key, value in data.items()}
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type of the dataclass field, or a ConfigError."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    options = arguments if origin in (types.UnionType, typing.Union) else (hint,)
    for option in options:
        if option is type(None) and value is None:
            return None
        if option is float and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if option in (int, str, bool) and type(value) is option:
            return value
    expected = " or ".join("nothing" if option is type(None) else option.__name__ for option in options)
    raise ConfigError(f"{where} must be {expected}, got {value!r}")


def _convert_tuple(arguments: tuple, value: Any, where: str) -> tuple:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where} must be a list, got {value!r}")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ConfigError(f"{where} must have {len(arguments)} values, got {len(value)}")
    return tuple(_convert(hint, item, where) for hint, item in zip(arguments, value, strict=True))
