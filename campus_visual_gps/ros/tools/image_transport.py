"""How many raw images arrive at the node from another process: `python -m campus_visual_gps.ros.tools.image_transport`.

This process is the camera, the node runs in one of its own, and `--busy` starts loops that compete for the processor.
The images are counted by the node, before its rate limit. Exit code 1 if some are missing.

python -m campus_visual_gps.ros.tools.image_transport --count 100 --busy 1
python -m campus_visual_gps.ros.tools.image_transport --count 20 --set image_reliability=best_effort
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import NamedTuple

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.localizer import MODEL_VARIABLE

SAMPLE_BUNDLE = Path(__file__).resolve().parents[3] / "sample" / "bundle"
# After the last image: the node's diagnostics come once a second.
SETTLE_S = 3.0


class Reception(NamedTuple):
    """What became of the images.

    `diagnostics` are the node's last ones, as text.
    """

    sent: int
    received: int
    fixes: int
    diagnostics: dict[str, str]


def measure(
    model_dir: Path,
    size_px: tuple[int, int] = (1920, 1080),
    rate_hz: float = 5.0,
    count: int = 100,
    best_effort: bool = False,
    busy: int = 0,
    **parameters: object,
) -> Reception:
    """Send `count` rgb8 images of `size_px` (width, height) to a node with these parameters.

    Raises:
        VisualGpsError: The node does not become active.
    """
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    from campus_visual_gps.ros.tools.benchmark_inputs import photo_like, without_gates
    from campus_visual_gps.ros.tools.node_harness import NodeHarness, NodeProcess, raw_message

    reliability = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    # the depth of most drivers
    qos = QoSProfile(depth=10, reliability=reliability)
    messages = [raw_message(photo_like(size_px[1], size_px[0], seed=seed)) for seed in (0, 1)]
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="campus_visual_gps_transport_"))
        parameters = {"model_dir": str(without_gates(model_dir, Path(scratch))), **parameters}
        node = stack.enter_context(NodeHarness(NodeProcess, compressed=False, image_qos=qos, **parameters))
        for _ in range(busy):
            stack.callback(subprocess.Popen([sys.executable, "-c", "while True: pass"]).kill)
        start_s = monotonic()
        for number in range(count):
            node.send(messages[number % 2])
            node.spin_until(lambda: False, max(0.0, start_s + (number + 1) / rate_hz - monotonic()))
        node.spin_until(lambda: node.diagnostics.get("images_received") == str(count), SETTLE_S)
        received = int(node.diagnostics.get("images_received", 0))
        return Reception(count, received, node.counts["fixes"], dict(node.diagnostics))


def main(arguments: list[str] | None = None) -> int:
    """Print one line; 0 if all images were received."""
    description, _, usage = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m campus_visual_gps.ros.tools.image_transport",
        description=description,
        epilog=usage,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", help=f"bundle directory; else ${MODEL_VARIABLE}, else sample/bundle")
    parser.add_argument("--size", default="1920x1080", help="width x height in pixels (default: 1920x1080)")
    parser.add_argument("--rate", type=float, default=5.0, help="images a second (default: 5)")
    parser.add_argument("--count", type=int, default=100, help="number of images (default: 100)")
    parser.add_argument("--busy", type=int, default=0, help="number of busy processes beside it (default: 0)")
    parser.add_argument("--best-effort", action="store_true", help="the camera publishes best effort, not reliably")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the node")
    options = parser.parse_args(arguments)
    model_dir = Path(options.model or os.environ.get(MODEL_VARIABLE) or SAMPLE_BUNDLE)
    try:
        width, height = (int(side) for side in options.size.lower().split("x"))
        given = dict(pair.split("=", 1) for pair in options.set)
    except ValueError:
        parser.error(f"expected --size WIDTHxHEIGHT and --set NAME=VALUE, got {options.size!r} and {options.set}")
    try:
        result = measure(
            model_dir, (width, height), options.rate, options.count, options.best_effort, options.busy, **given
        )
    except ImportError as error:
        return _fail(f"this runs the node, which needs ROS ({error}); source it or pip install '.[ros]'")
    except VisualGpsError as error:
        return _fail(str(error))
    camera = f"{'best-effort' if options.best_effort else 'reliable'} camera"
    beside = f", beside {options.busy} busy process{'es' * (options.busy > 1)}" if options.busy else ""
    missing = f"; {result.diagnostics.get('message', 'no diagnostics')}" if result.received < result.sent else ""
    print(
        f"{width} x {height} raw at {options.rate:g} Hz from another process, {camera}{beside}: "
        f"{result.received} of {result.sent} images received; subscription "
        f"{result.diagnostics.get('image_reliability', 'unknown')}, {result.diagnostics.get('images_lost', 0)} lost, "
        f"{result.fixes} fixes{missing}"
    )
    return 0 if result.received == result.sent else 1


def _fail(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
