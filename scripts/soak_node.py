"""Sends JPEG images of 1280 x 720 at 30 Hz to the node and measures its resident memory; run by scripts/soak."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from time import monotonic

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.io_utils import escape_unencodable_output
from campus_visual_gps.localizer import MODEL_VARIABLE
from campus_visual_gps.ros.tools.benchmark_inputs import IMAGE_SIZE_PX, photo_like, random_bundle, without_gates
from campus_visual_gps.ros.tools.node_harness import NodeHarness, NodeProcess, jpeg_message

RATE_HZ = 30.0
SETTLED_S = 60.0  # by then every buffer has been allocated


def resident_mb(pid: int) -> float:
    """Resident memory of a process, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def soak(model_dir: Path, minutes: float) -> dict[str, float]:
    """Resident memory in MB, and counts of the images and fixes.

    Raises:
        VisualGpsError: The node cannot be started, or its process ends.
    """
    messages = [jpeg_message(photo_like(*IMAGE_SIZE_PX, seed=seed)) for seed in range(10)]
    with NodeHarness(NodeProcess, compressed=True, model_dir=str(model_dir), max_rate_hz=0.0) as node:
        start_s = monotonic()
        start_mb = settled_mb = resident_mb(node.pid)
        settled = False
        end_s = start_s + 60.0 * minutes
        due_s = start_s
        while (now_s := monotonic()) < end_s:
            if not settled and now_s - start_s >= min(SETTLED_S, 30.0 * minutes):
                settled, settled_mb = True, resident_mb(node.pid)
            node.send(messages[node.counts["sent"] % len(messages)])
            # a computer that is too slow for the rate sends fewer images, and no burst afterwards
            due_s = max(due_s + 1.0 / RATE_HZ, now_s)
            node.spin_until(lambda: False, due_s - monotonic())
        end_mb = resident_mb(node.pid)
        node.spin_until(lambda: False, 2.5)  # until the last diagnostic
        seen = {name: int(node.diagnostics[name]) for name in ("images", "fixes", "overwritten", "rejected")}
    return {
        "minutes": minutes,
        "resident_start_mb": round(start_mb, 1),
        "resident_after_minute_mb": round(settled_mb, 1),
        "resident_end_mb": round(end_mb, 1),
        "growth_after_minute_percent": round(100.0 * (end_mb / settled_mb - 1.0), 2),
        "images_sent": node.counts["sent"],
        "images_received": seen["images"],
        "fixes_published": seen["fixes"],
        "images_overwritten": seen["overwritten"],
        "images_rejected": seen["rejected"],
    }


def main() -> int:
    """Print the results; 1 if the node could not be kept running."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="duration (default: %(default)g)")
    parser.add_argument(
        "--model", default=os.environ.get(MODEL_VARIABLE), help="model bundle (default: an untrained one)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args()
    escape_unencodable_output()
    try:
        with tempfile.TemporaryDirectory(prefix="campus_visual_gps_soak_") as scratch:
            own = Path(scratch)
            model = without_gates(Path(options.model), own) if options.model else random_bundle(own / "bundle")
            results = soak(model, options.minutes)
    except VisualGpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(results))
    else:
        print("\n".join(f"{name:28} {value:10}" for name, value in results.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
