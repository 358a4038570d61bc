"""Members of several runs in one local frame: their answers are shifted, their grids must agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.heads import GaussianHead, GridHead, PointHead
from campus_visual_gps.models.position_model import PositionModel
from campus_visual_gps.preprocess import ImageSpec
from training.fit.combined_runs import Run
from training.fit.trained_member import TrainedMember

# Two local frames of one site differ by a shift: what else they differ by must stay below what a label is worth.
MAX_FRAME_DISTORTION_M = 0.1
# So near to each other the cells of two grids are the same: a label is off by metres.
CELL_TOLERANCE_M = 0.05


def in_one_frame(runs: Sequence[Run]) -> list[Run]:
    """The runs with all members answering in the first run's local frame.

    Raises:
        ConfigError: Their images have different sizes, their frames are of two sites, their grids do not fit, or a
            member is named twice.
    """
    first = runs[0]
    moved = []
    for run in runs:
        _check_image(first, run)
        if run.record.frame == first.record.frame:
            moved.append(run)
            continue
        shift_enu_m = _shift(run, first.record.frame)
        members = [replace(member, read=_shifted_reader(member, shift_enu_m)) for member in run.members]
        moved.append(replace(run, members=members))
    _unify_cells(moved)
    _check_twice(moved)
    return moved


def _check_twice(runs: Sequence[Run]) -> None:
    """No two trainings end with the same head: a member that is there twice was named twice. Raises ConfigError."""
    known: list[tuple[Run, TrainedMember]] = []
    for run in runs:
        for member in run.members:
            for other_run, other in known:
                if member.model == other.model and _same_head(member.network, other.network):
                    raise ConfigError(
                        f"{other_run.directory} and {run.directory} hold the same member (seed {member.seed}): "
                        "name each member once"
                    )
            known.append((run, member))


def _same_head(one: PositionModel, other: PositionModel) -> bool:
    """Whether all matrices are equal; a shift into another frame changes a bias only."""
    pairs = zip(one.head.parameters(), other.head.parameters(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs if first.ndim > 1)


def _check_image(first: Run, run: Run) -> None:
    def sizes(image: ImageSpec) -> tuple[int, int]:
        return image.size_px, image.stored_px

    if sizes(run.record.image) != sizes(first.record.image):
        images = (first.record.image, run.record.image)
        one, other = (f"{image.size_px} px from {image.stored_px} px" for image in images)
        raise ConfigError(
            f"{first.directory} sees images of {one}, {run.directory} of {other}: an ensemble looks at one image, so "
            "train its members with one size_px, of photos that are stored in one size"
        )


def _shift(run: Run, frame: LocalFrame) -> np.ndarray:
    """Where the origin of a run's frame lies in another one, (2,) metres. Raises ConfigError for two sites."""
    own = run.record.frame
    offset = frame.to_local(own.latitude_ref_deg, own.longitude_ref_deg)
    corner = np.array([1000.0, 1000.0])
    distortion_m = np.abs(frame.to_local(*own.to_geodetic(corner)) - offset - corner).max()
    if distortion_m > MAX_FRAME_DISTORTION_M:
        raise ConfigError(
            f"{run.directory} has its local frame {np.hypot(*offset):.0f} m away from that of the first run: these are "
            "two sites, or one frame is spherical; train the members on one data set"
        )
    return offset


def _shifted_reader(member: TrainedMember, shift_enu_m: np.ndarray) -> Callable[[], PositionModel]:
    return lambda: shifted(member.read(), shift_enu_m)


@torch.no_grad()
def shifted(network: PositionModel, shift_enu_m: np.ndarray) -> PositionModel:
    """Move what a network answers by (2,) metres, in place: the last bias of a head of metres, the cells of a grid."""
    head, shift = network.head, torch.as_tensor(shift_enu_m, dtype=torch.float64)
    if isinstance(head, GridHead):
        moved = GridHead(head.layers, head.cells_enu_m.double() + shift)
        network.head = moved
    elif isinstance(head, PointHead | GaussianHead):
        last = [module for module in head.layers.modules() if isinstance(module, torch.nn.Linear)][-1]
        last.bias[:2] += (shift / head.output_scale_m).to(last.bias)
    else:
        raise ConfigError(f"answers of a {type(head).__name__} cannot be moved to another local frame")
    return network


def _unify_cells(runs: Sequence[Run]) -> None:
    """Give all grids the first one's cells where they are the same but for rounding. Raises ConfigError elsewhere."""
    grids = [(run, member) for run in runs for member in run.members if member.network.cells_enu_m is not None]
    if not grids:
        return
    if len(grids) < sum(len(run.members) for run in runs):
        heads = ", ".join(sorted({member.model.head for run in runs for member in run.members}))
        raise ConfigError(f"heads with a grid and heads without cannot be combined: these runs have {heads}")
    first_run, first = grids[0]
    cells = first.network.cells_enu_m
    assert cells is not None
    for run, member in grids[1:]:
        own = member.network.cells_enu_m
        assert own is not None
        if own.shape != cells.shape or float((own - cells).abs().max()) > CELL_TOLERANCE_M:
            raise ConfigError(
                f"the grids of {first_run.directory} ({len(cells)} cells of {first.model.cell_m:g} m) and "
                f"{run.directory} ({len(own)} of {member.model.cell_m:g} m) have other cells: train both on the same "
                "split, with one model.cell_m and one loss.grid_margin_m"
            )
        member.network.head = GridHead(member.network.head.layers, cells)  # type: ignore[arg-type]
