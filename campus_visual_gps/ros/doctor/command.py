"""The executable `doctor`: looks at the running graph and says what is wrong with it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from campus_visual_gps.ros.doctor.checks import examine
from campus_visual_gps.ros.doctor.collect import DEFAULT_SECONDS, Options, collect
from campus_visual_gps.ros.doctor.findings import Finding, Level, counted, overall

_SECONDS = (0.5, 600.0)
INTERRUPTED = 130


def main(args: list[str] | None = None) -> None:
    """Exit status 0 if nothing failed, 1 if something did, 2 for a wrong argument, 130 after Ctrl-C."""
    sys.exit(run(sys.argv[1:] if args is None else args))


def run(args: list[str]) -> int:
    """Look, print, and the exit status."""
    given = _parser().parse_args(remove_ros_args(["doctor", *args])[1:])
    options = Options(given.seconds, given.node, given.namespace, given.base_frame, given.image_topic)
    context = Context()
    # Python's own handler of Ctrl-C ends the command at once
    rclpy.init(args=args, context=context, signal_handler_options=SignalHandlerOptions.NO)
    try:
        findings = examine(collect(options, context))
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        rclpy.try_shutdown(context=context)
    print(report(findings, given.seconds, as_json=given.json))
    return 1 if overall(findings) is Level.FAIL else 0


def report(findings: list[Finding], seconds: float, *, as_json: bool = False) -> str:
    """The findings as lines, or as one JSON object."""
    if not as_json:
        return "\n".join([*(finding.line() for finding in findings), counted(findings)])
    content: dict[str, Any] = {
        "result": overall(findings).value,
        "seconds": seconds,
        "findings": [{**finding._asdict(), "level": finding.level.value} for finding in findings],
    }
    return json.dumps(content, indent=2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="doctor",
        description="Looks at the running graph for some seconds and says, one line each with what to do, what is "
        "wrong between camera, localizer, receiver, TF and filters. Exit status 1 if anything failed.",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=DEFAULT_SECONDS, help="how long to look (default: %(default)g)"
    )
    parser.add_argument("--node", default="visual_gps", help="name of the localizer (default: %(default)s)")
    parser.add_argument("--namespace", help="namespace of the localizer, where there are several")
    parser.add_argument("--base-frame", default="", help="base frame of the robot (default: as the nodes say)")
    parser.add_argument("--image-topic", default="", help="topic of the images, for a localizer that is not active")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _seconds(text: str) -> float:
    low, high = _SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not low <= seconds <= high:
        raise argparse.ArgumentTypeError(f"expected {low:g} to {high:g} seconds, got {text!r}")
    return seconds


if __name__ == "__main__":
    main()
