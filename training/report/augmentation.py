"""Shows what the augmentation of a configuration does to photos, before a training sees them (paper, section 5.6)."""

from __future__ import annotations

import math
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.preprocess import STORED_SIZE_PX, ImageSpec
from training.augment_settings import AugmentSettings
from training.config import TrainConfig
from training.data.augment import TrainTransform, warn_of_invalid
from training.fit.site_data import image_spec
from training.report.augmentation_effects import Effect, effects
from training.report.augmentation_figures import Header, Tile, centre, draw_tiles, header_of, tile
from training.report.augmentation_photos import SamplePhoto, is_dataset, sample_photos
from training.report.staging import staged_directory

GRID, EFFECTS = "grid.png", "effects.png"
# Written into the pictures, so that a picture of someone else is not overwritten.
_SOFTWARE = "campus_visual_gps show-augmentations"
_GRID_COLUMNS = 10
_STRIP_PHOTOS, _STRIP_SAMPLES = 4, 6


@dataclass(frozen=True)
class AugmentationPictures:
    """What was written: the files, the number of samples in the grid and of the photos that they are of."""

    files: list[Path]
    samples: int
    photos: int


def show_augmentations(
    config: TrainConfig, photo_dir: Path, out_dir: Path, count: int = 120, seed: int = 0, force: bool = False
) -> AugmentationPictures:
    """Write a grid of augmented photos, every augmentation on its own, and a strip of each, as PNGs.

    Args:
        config: Its augmentation, and its size of images.
        photo_dir: A data set, or any folder of photos.
        out_dir: Directory of the pictures.
        count: Samples in the grid.
        seed: Of the photos and of the augmentation.
        force: Replace pictures that this function has not made.

    Raises:
        ConfigError: A file in `out_dir` would be replaced.
        DatasetError: There are no photos, or the pictures cannot be written.
    """
    image, settings = _image(config, photo_dir), config.augment
    shown = effects(settings)
    names = [GRID, EFFECTS, *dict.fromkeys(_strip_name(effect) for effect in shown)]
    if not force:
        _check_ours([out_dir / name for name in names])
    warn_of_invalid(settings)
    photos = sample_photos(photo_dir, out_dir, image, count, seed)
    by_night = [photo for photo in photos if photo.is_night][:1]
    few = [*[photo for photo in photos if not photo.is_night][: _STRIP_PHOTOS - len(by_night)], *by_night]
    with staged_directory(out_dir) as staging:
        _save(draw_tiles(*_grid(settings, image, photos, count, seed)), staging / GRID)
        _save(_effects(shown, image, few, seed), staging / EFFECTS)
        for name in names[2:]:
            own = [effect for effect in shown if _strip_name(effect) == name]
            _save(_strip(own, image, few, seed), staging / name)
    return AugmentationPictures([out_dir / name for name in names], count, len(photos))


def _image(config: TrainConfig, photo_dir: Path) -> ImageSpec:
    if is_dataset(photo_dir):
        return image_spec(config, photo_dir)
    backbone = get_backbone(config.model.backbone)
    return ImageSpec(config.size_px, backbone.mean, backbone.std, max(config.size_px, STORED_SIZE_PX))


def _strip_name(effect: Effect) -> str:
    return f"strip-{effect.key}.png"


def _check_ours(files: list[Path]) -> None:
    for path in files:
        if not path.exists():
            continue
        try:
            with Image.open(path) as picture:
                ours = picture.info.get("Software") == _SOFTWARE
        except OSError:
            ours = False
        if not ours:
            raise ConfigError(
                f"{path} is there already and not a picture of show-augmentations: choose another --out, or replace it "
                "with --force"
            )


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names of files in scripts that the font lacks
        figure.savefig(path, metadata={"Software": _SOFTWARE}, pil_kwargs={"compress_level": 3})


def _grid(
    settings: AugmentSettings, image: ImageSpec, photos: list[SamplePhoto], count: int, seed: int
) -> tuple[str, list[list[Tile]]]:
    transform = TrainTransform(settings, image)
    draws = np.random.default_rng(seed).random((count, transform.draws))
    tiles = []
    for index, uniform in enumerate(draws):
        photo = photos[index % len(photos)]
        rgb, done = _augmented(transform, image, photo.rgb, uniform)
        tiles.append(tile(rgb, photo.name, done or "nothing", f"{index + 1}: "))
    title = f"{count} samples of the augmentation, as the network sees them at {image.size_px} px"
    return title, [tiles[start : start + _GRID_COLUMNS] for start in range(0, count, _GRID_COLUMNS)]


def _effects(shown: list[Effect], image: ImageSpec, photos: list[SamplePhoto], seed: int) -> Figure:
    """The paper's figure 3: the original and each augmentation alone, a row for a photo."""
    headers, columns = [Header(("original",))], [[tile(photo.rgb, photo.name) for photo in photos]]
    for effect in shown:
        headers.append(header_of(effect))
        columns.append([row[0] for row in _samples(effect, image, photos, 1, seed)])
    title = "Every augmentation on its own, with the strength of the configuration"
    return draw_tiles(title, [list(row) for row in zip(*columns, strict=True)], headers)


def _strip(shown: list[Effect], image: ImageSpec, photos: list[SamplePhoto], seed: int) -> Figure:
    """Samples that cover the range evenly; several effects of one key side by side."""
    is_fine = shown[0].is_fine
    headers = [Header(("original",))]
    middle = "(middle)" if is_fine else ""
    rows = [[tile(centre(photo.rgb) if is_fine else photo.rgb, photo.name, middle)] for photo in photos]
    each = 1 if shown[0].is_constant else math.ceil(_STRIP_SAMPLES / len(shown))
    for effect in shown:
        headers.append(header_of(effect, each))
        for row, samples in zip(rows, _samples(effect, image, photos, each, seed), strict=True):
            row += samples
    title = ", ".join(effect.title for effect in shown)
    reasons = [line for effect in shown for line in textwrap.wrap(effect.reason, max(60, 20 * (1 + each * len(shown))))]
    return draw_tiles("\n".join([title[0].upper() + title[1:], *reasons]), rows, headers)


def _samples(effect: Effect, image: ImageSpec, photos: list[SamplePhoto], each: int, seed: int) -> list[list[Tile]]:
    """`each` samples of every photo; together they cover the range of every random number evenly."""
    transform = TrainTransform(effect.settings, image)
    count, rng = each * len(photos), np.random.default_rng(seed)
    strata = np.stack([rng.permutation(count) for _ in range(transform.draws)], axis=1)
    uniform = ((strata + 0.5) / count).reshape(len(photos), each, transform.draws)

    def sample(rgb: np.ndarray, draws: np.ndarray) -> Tile:
        augmented, done = _augmented(transform, image, rgb, draws)
        return tile(centre(augmented), "", f"{done} (middle)") if effect.is_fine else tile(augmented, "", done)

    return [[sample(photo.rgb, draws) for draws in own] for photo, own in zip(photos, uniform, strict=True)]


def _augmented(
    transform: TrainTransform, image: ImageSpec, rgb: np.ndarray, uniform: np.ndarray
) -> tuple[np.ndarray, str]:
    """What the network gets, as (S, S, 3) uint8 again, and what was done to it."""
    normalised, done = transform.augment(torch.from_numpy(np.ascontiguousarray(rgb)), uniform.tolist())
    levels = normalised.permute(1, 2, 0).numpy() * np.array(image.std, np.float32) + np.array(image.mean, np.float32)
    return np.clip(np.round(levels * 255.0), 0, 255).astype(np.uint8), ", ".join(done)
