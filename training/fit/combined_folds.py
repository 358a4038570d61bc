"""What the folds of several recipes said of the sessions that they held out, joined as one ensemble would say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.models.outputs import ModelOutputs
from training.fit.calibration_set import CalibrationSet
from training.fit.combined_runs import Run
from training.fit.held_out import FoldOutputs, load_fold_outputs
from training.fit.one_frame import CELL_TOLERANCE_M
from training.fit.site_data import TrainingSite


def combined_calibration_sets(
    directories: Sequence[Path], runs: Sequence[Run], site: TrainingSite
) -> list[CalibrationSet]:
    """One set for every session, with the members of every run's recipe; retrieval is that of the first run.

    Args:
        directories: Outputs of `cross-validate`, one for each recipe.
        runs: Whose recipes they are of.
        site: Frame and photos.

    Raises:
        DatasetError: The recipe of a run has no folds in the directories, or the folds do not fit together.
    """
    folds_in: dict[Path, dict[str, FoldOutputs]] = {}
    members: dict[Path, int] = {}
    for run in runs:
        directory, folds = _folds_of(run, directories, site)
        folds_in[directory] = folds
        members[directory] = members.get(directory, 0) + len(run.members)
    sessions = set.intersection(*(set(folds) for folds in folds_in.values()))
    if not sessions:
        raise DatasetError("the folds of the runs have held out no session in common: cross-validate on one data set")
    return [
        _joined([folds[session] for folds in folds_in.values()], list(members.values())) for session in sorted(sessions)
    ]


def _folds_of(run: Run, directories: Sequence[Path], site: TrainingSite) -> tuple[Path, dict[str, FoldOutputs]]:
    """The directory with folds of a run's recipe, and the folds by session."""
    reasons = []
    for directory in directories:
        try:
            return Path(directory), load_fold_outputs(directory, site, run.config)
        except DatasetError as error:
            reasons.append(str(error))
    raise DatasetError(f"no folds of the recipe of {run.directory}: {'; '.join(dict.fromkeys(reasons))}")


def _joined(folds: Sequence[FoldOutputs], members: Sequence[int]) -> CalibrationSet:
    """The members of all folds, as many of each as the ensemble has, for the photos that all of them have."""
    common = [name for name in folds[0].photo_ids if all(name in fold.photo_ids for fold in folds[1:])]
    if not common:
        raise DatasetError("two recipes have held out different photos: cross-validate both on one data set")
    sets = [_in_order(fold, common) for fold in folds]
    first = sets[0]
    for other in sets[1:]:
        if not _same_cells(first, other):
            raise DatasetError("the folds of two recipes have grids of other cells: give both one model.cell_m")
    outputs = [
        _first_members(own.outputs, min(count, own.outputs.member_means_enu_m.shape[1]))
        for own, count in zip(sets, members, strict=True)
    ]
    return replace(first, outputs=_stacked(outputs))


def _in_order(fold: FoldOutputs, photo_ids: Sequence[str]) -> CalibrationSet:
    row_of = {name: row for row, name in enumerate(fold.photo_ids)}
    return fold.calibration_set.rows(np.array([row_of[name] for name in photo_ids]))


def _same_cells(one: CalibrationSet, other: CalibrationSet) -> bool:
    if one.grid is None or other.grid is None:
        return one.grid is other.grid
    first, second = one.grid.centres_enu_m, other.grid.centres_enu_m
    return first.shape == second.shape and float(np.abs(first - second).max()) <= CELL_TOLERANCE_M


def _first_members(outputs: ModelOutputs, count: int) -> ModelOutputs:
    log_probs = outputs.grid_log_probs
    return replace(
        outputs,
        member_means_enu_m=outputs.member_means_enu_m[:, :count],
        member_covs_enu_m2=outputs.member_covs_enu_m2[:, :count],
        grid_log_probs=None if log_probs is None else log_probs[:, :count],
    )


def _stacked(outputs: Sequence[ModelOutputs]) -> ModelOutputs:
    """The members of all; what is of the image is the first one's."""
    grids = [own.grid_log_probs for own in outputs if own.grid_log_probs is not None]
    return replace(
        outputs[0],
        member_means_enu_m=np.concatenate([own.member_means_enu_m for own in outputs], axis=1),
        member_covs_enu_m2=np.concatenate([own.member_covs_enu_m2 for own in outputs], axis=1),
        grid_log_probs=np.concatenate(grids, axis=1) if grids else None,
        finite=np.logical_and.reduce([own.finite for own in outputs]),
    )
