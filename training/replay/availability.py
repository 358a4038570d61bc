"""For how much of a drive a fresh fix was there, and how late the fixes came."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.metrics.bootstrap import BlockBootstrap, walk_blocks
from training.metrics.errors import share_of
from training.metrics.estimate import Estimate
from training.replay.drive import Drive

# A fix serves until the next one, but no longer than this: after it a robot at walking pace has moved by a fix's sigma.
FRESH_S = 2.0


@dataclass(frozen=True)
class AvailabilityMetrics:
    """Share of the drive's time with an accepted fix of at most FRESH_S, and share of images that gave one."""

    share: float | None
    n_images: int
    accepted_images_share: Estimate
    fresh_s: float = FRESH_S


@dataclass(frozen=True)
class LatencyMetrics:
    """Seconds from the image's stamp to the recorded fix, and of these from the recorded image on (node)."""

    n_fixes: int
    fix_median_s: float
    fix_p95_s: float
    node_median_s: float
    node_p95_s: float


def availability_metrics(drive: Drive, accepted_ns: np.ndarray) -> AvailabilityMetrics:
    """Of accepted fixes with stamps (N,), nanoseconds."""
    flags = np.isin(drive.images_ns, accepted_ns)
    blocks, _ = walk_blocks(["drive"] * len(flags), drive.images_ns / 1e9)
    share = fresh_share(drive.seconds(accepted_ns), drive.duration_s)
    return AvailabilityMetrics(share, len(flags), share_of(flags, BlockBootstrap(blocks)))


def fresh_share(fixes_s: np.ndarray, duration_s: float) -> float | None:
    """Share of 0..duration_s that lies within FRESH_S after a fix; None for a drive of a single image."""
    if duration_s <= 0.0:
        return None
    fixes_s = np.sort(fixes_s[fixes_s < duration_s])
    served = np.diff(np.append(fixes_s, duration_s))
    return float(np.minimum(served, FRESH_S).sum() / duration_s)


def latency_metrics(drive: Drive) -> LatencyMetrics | None:
    """Of the recorded fixes whose image was recorded too; None where there is none."""
    both = sorted(set(drive.fix_delays_s) & set(drive.image_delays_s))
    if not both:
        return None
    fix = np.array([drive.fix_delays_s[stamp] for stamp in both])
    node = fix - np.array([drive.image_delays_s[stamp] for stamp in both])
    (fix_median, fix_p95), (node_median, node_p95) = (np.quantile(values, [0.5, 0.95]) for values in (fix, node))
    return LatencyMetrics(len(both), float(fix_median), float(fix_p95), float(node_median), float(node_p95))
