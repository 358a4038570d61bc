"""Sends images of the sample drive to the live node and checks its fixes against the truth; run by scripts/quick."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import numpy as np

BUNDLE, DRIVE = Path("sample/bundle"), Path("sample/drive")
IMAGES_TOPIC, TRUTH_TOPIC = "/camera/image_raw/compressed", "/ground_truth/fix"
EVERY = 8
TIME_LIMIT_S = 25.0
# Far above what the bundle reaches on the whole drive (docs/results.md), far below a model that does not work.
MAX_MEAN_ERROR_M, MIN_ANSWERED_SHARE, MAX_MEAN_NEES = 15.0, 0.9, 6.0


def main() -> int:
    """Print one line that begins with PASS or FAIL; exit code 1 for FAIL."""
    from campus_visual_gps.io_utils import escape_unencodable_output

    escape_unencodable_output()
    try:
        problem, summary = run()
    except Exception as error:  # whatever it is, the line must name it
        problem, summary = f"{type(error).__name__}: {' '.join(str(error).split())}", ""
    print(f"FAIL: {problem}{summary and '; ' + summary}" if problem else f"PASS: {summary}")
    return 1 if problem else 0


def run() -> tuple[str, str]:
    """What is wrong, empty if nothing is, and the numbers."""
    from sensor_msgs.msg import CompressedImage

    from campus_visual_gps.bundle import load_bundle
    from campus_visual_gps.ros.tools.node_harness import NodeHarness, NodeThread
    from training.metrics.consistency import nees

    start_s = monotonic()
    frame = load_bundle(BUNDLE).frame
    sent, offsets_m, covs_m2 = 0, [], []
    # each fix is judged by itself, not what a filter is given
    parameters = {"model_dir": str(BUNDLE), "max_rate_hz": 0.0, "correlated_errors": "ignore"}
    with NodeHarness(NodeThread, compressed=True, **parameters) as node:
        for image, latitude_deg, longitude_deg in images_with_truth():
            if monotonic() - start_s > TIME_LIMIT_S:
                break
            sent += 1
            message = CompressedImage(format=image.format, data=array("B", image.data.tobytes()))
            if not node.send_and_wait(message, timeout_s=2.0) or node.last_fix is None:
                continue
            fix = node.last_fix
            offset = frame.to_local(fix.latitude, fix.longitude) - frame.to_local(latitude_deg, longitude_deg)
            offsets_m.append(offset)
            covs_m2.append(np.reshape(fix.position_covariance, (3, 3))[:2, :2])
        last = node.diagnostics.get("message", "no diagnostics")
    if not offsets_m:
        return f"no fix on {sent} images; the node says: {last}", ""
    offsets, share = np.array(offsets_m), len(offsets_m) / sent
    mean_m = float(np.linalg.norm(offsets, axis=1).mean())
    mean_nees = float(nees(offsets, np.array(covs_m2)).mean())
    summary = (
        f"{len(offsets_m)} fixes on {sent} images of {DRIVE} in {monotonic() - start_s:.0f} s, "
        f"mean error {mean_m:.1f} m, mean NEES {mean_nees:.1f} (ideal 2)"
    )
    checks = (
        (
            share < MIN_ANSWERED_SHARE,
            f"expected fixes on {MIN_ANSWERED_SHARE:.0%} of the images; the node says: {last}",
        ),
        (mean_m > MAX_MEAN_ERROR_M, f"expected a mean error of at most {MAX_MEAN_ERROR_M:.0f} m"),
        (mean_nees > MAX_MEAN_NEES, f"expected a mean NEES of at most {MAX_MEAN_NEES:.0f}"),
    )
    return next((text for failed, text in checks if failed), ""), summary


def images_with_truth() -> Iterator[tuple]:
    """Every EVERY-th image of the drive, and the true latitude and longitude at its stamp."""
    from campus_visual_gps.ros.stamps import stamp_to_ns
    from training.replay.bags import open_bag
    from training.replay.fixes import read_fixes

    with open_bag(DRIVE) as bag:
        truth = read_fixes(bag, TRUTH_TOPIC)
        for number, message in enumerate(bag.messages([IMAGES_TOPIC])):
            if number % EVERY == 0:
                image = bag.decode(message)
                position = truth.interpolate(np.array([stamp_to_ns(image.header.stamp)]))[0]
                yield image, position[0], position[1]


if __name__ == "__main__":
    sys.exit(main())
