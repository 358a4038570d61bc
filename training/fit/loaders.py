"""The data sets and loaders of a training: photos with augmentation, or cached features of the frozen stages."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from campus_visual_gps.models.stages import FrozenStages
from campus_visual_gps.preprocess import ImageSpec
from training.config import AugmentSettings, TrainConfig, TrainerSettings
from training.data.augment import EvaluationTransform, TrainTransform
from training.data.dataset import PhotoDataset, collate_channels_last
from training.data.epoch_sampler import EpochSampler, SeededDataset
from training.data.photo_cache import cached_pixels
from training.fit.feature_cache import (
    CachedFeatureDataset,
    FeatureRecipe,
    cached_features,
    default_workers,
    start_worker,
    weights_key,
)
from training.fit.site_data import TrainingSet


def datasets(
    config: TrainConfig, data: TrainingSet, image: ImageSpec, frozen: FrozenStages | None
) -> tuple[Dataset, Dataset]:
    """The train and the val data set: of images, or of cached features."""
    if not config.trainer.cached_views or frozen is None:
        return _photo_datasets(config.augment, data, image)
    recipe = FeatureRecipe(
        image,
        config.augment,
        views=config.trainer.cached_views,
        backbone=config.model.backbone,
        weights=weights_key(config.weights, frozen),
        frozen_stages=config.optimizer.frozen_stages,
    )
    return _feature_datasets(recipe, data, frozen)


def _photo_datasets(augment: AugmentSettings, data: TrainingSet, image: ImageSpec) -> tuple[Dataset, Dataset]:
    read = cached_pixels(data.pool, image)
    augmented, plain = TrainTransform(augment, image), EvaluationTransform(image)
    return (
        PhotoDataset(data.train_paths, data.train_enu_m, image, augmented, data.train_weights, read),
        PhotoDataset(data.val_paths, data.val_enu_m, image, plain, read=read),
    )


def _feature_datasets(recipe: FeatureRecipe, data: TrainingSet, frozen: FrozenStages) -> tuple[Dataset, Dataset]:
    features = cached_features(recipe, data.pool, frozen)
    row_of = {path: row for row, path in enumerate(data.pool)}
    train, val = (np.array([row_of[path] for path in paths], dtype=int) for paths in (data.train_paths, data.val_paths))
    return (
        CachedFeatureDataset(features, train, data.train_enu_m, augmented=True, weights=data.train_weights),
        CachedFeatureDataset(features, val, data.val_enu_m, augmented=False),
    )


def loaders(
    train: Dataset, val: Dataset, settings: TrainerSettings, sampler: EpochSampler
) -> tuple[DataLoader, DataLoader | None]:
    """Of batches for the training, in the order of the sampler, and for the validation; None without its photos."""
    workers = settings.workers if settings.workers is not None else default_workers()

    def loader(photos: Dataset, order: EpochSampler | None, drop_last: bool) -> DataLoader:
        return DataLoader(
            photos,
            batch_size=settings.batch_size,
            sampler=order,
            drop_last=drop_last,
            collate_fn=collate_channels_last,
            num_workers=workers,
            persistent_workers=workers > 0,
            worker_init_fn=start_worker,
            pin_memory=torch.cuda.is_available(),
        )

    train_photos, val_photos = len(sampler), len(val)  # type: ignore[arg-type]  # Dataset declares no __len__
    # batch norm cannot learn from a last batch of one photo
    drop_last = train_photos % settings.batch_size == 1 and train_photos > 1
    return loader(SeededDataset(train), sampler, drop_last), loader(val, None, False) if val_photos else None
