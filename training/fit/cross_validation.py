"""Cross-validation: for every session, an ensemble that is trained on all the others.

What the folds say of the sessions that they have not seen is what a calibration must be fitted on, and together it is
the score of a recipe: with few sessions, one that is held out alone may be easier or harder than the next.
"""

from __future__ import annotations

import logging

import pandas as pd

from campus_visual_gps.errors import DatasetError
from training.config import TrainConfig
from training.data.augment import warn_of_invalid
from training.fit.bundle_builder import TrainedEnsemble, TrainingSummary, describes_alike, train_members, write_bundle
from training.fit.calibration_set import CalibrationSet, PhotoOutputStore
from training.fit.folds import FOLDS, Fold
from training.fit.held_out import write_held_out
from training.fit.site_data import TrainingSite, directories, load_site
from training.photos.decisions import TRAIN as TO_TRAIN
from training.photos.manifest import TRAIN, VAL, write_yaml
from training.photos.session_overlap import MEND, overlap_warning, touching_sessions

log = logging.getLogger(__name__)


def cross_validate(config: TrainConfig) -> list[tuple[Fold, TrainingSummary]]:
    """Train a fold for every session of the train and val subsets into `<out>/fold-<n>`, and write `<out>/folds.yaml`.

    Each fold's bundle is calibrated on what the other folds say of their sessions, so that nothing in it has seen its
    own. Folds that are complete are kept. Raises ConfigError, DatasetError.
    """
    _, out = directories(config)
    warn_of_invalid(config.augment)
    site = load_site(config)
    photos = site.photos[site.photos["subset"].isin([TRAIN, VAL])]
    sessions = fold_sessions(site.photos)
    if len(sessions) < 3:
        raise DatasetError(
            f"{site.dataset_dir} has {len(sessions)} sessions besides the held-out ones: cross-validation takes three, "
            "one to predict, one to train on and one to calibrate on; capture another walk, hold out fewer sessions in "
            f"`split`, or, if a session holds several walks, `{MEND}`"
        )
    touching = touching_sessions(photos)
    if touching:
        log.warning("%s", overlap_warning(touching, "a fold tests what it trained"))
    folds = [Fold(session, out / f"fold-{number}" / "bundle") for number, session in enumerate(sessions, start=1)]
    store = PhotoOutputStore() if describes_alike(config) else None
    trained = [_train(config, site, photos, fold, store) for fold in folds]
    sets = [held_out(fold, one, photos) for fold, one in zip(folds, trained, strict=True)]
    summaries = []
    for index, (fold, one) in enumerate(zip(folds, trained, strict=True)):
        others = [own for number, own in enumerate(sets) if number != index]
        summaries.append(write_bundle(one, fold.bundle_dir, others, f"the {len(others)} other folds"))
    write_yaml(out / FOLDS, {fold.session: fold.bundle_dir.relative_to(out).as_posix() for fold in folds})
    return list(zip(folds, summaries, strict=True))


def fold_sessions(photos: pd.DataFrame) -> list[str]:
    """The sessions to hold out, one fold each: those of the train and val subsets.

    Photos that were moved to training from a session that is held out anyway train in every fold: alone they would be
    a fold of a few photos.
    """
    used = photos["subset"].isin([TRAIN, VAL])
    moved = used & (photos["decision"] == TO_TRAIN)
    own = set(photos["session"][used & ~moved])
    return sorted(own | (set(photos["session"][moved]) - set(photos["session"][~used])))


def _train(
    config: TrainConfig, site: TrainingSite, photos: pd.DataFrame, fold: Fold, store: PhotoOutputStore | None
) -> TrainedEnsemble:
    log.info("fold without %s", fold.session)
    others = photos[photos["session"] != fold.session]
    return train_members(config, site, others, others.iloc[:0], fold.bundle_dir.parent, store)


def held_out(fold: Fold, trained: TrainedEnsemble, photos: pd.DataFrame) -> CalibrationSet:
    """What a fold says of its session, also kept in a file for the ensemble that is trained on all sessions."""
    session = photos[photos["session"] == fold.session]
    own = trained.calibration_set(session)
    write_held_out(fold, own, session["photo_id"].to_numpy(dtype=str), trained.config, trained.site)
    return own
