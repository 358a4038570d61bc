"""Runs a node until a signal ends it, quietly and with exit code 0."""

from __future__ import annotations

import signal
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor


def run_until_signal(make_node: Callable, args: list[str] | None = None) -> None:
    """Spin the node that `make_node` makes; it has a method `close`, which is called before it is destroyed."""
    node = None
    # before rclpy's own handler, which calls this one
    signal.signal(signal.SIGINT, _interrupt_once())
    try:
        rclpy.init(args=args)
        node = make_node()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        # a signal invalidates the context at any point, and what was under way there fails with errors of its own
        if node is None or node.context.ok():
            raise
    finally:
        # neither a second Ctrl-C nor a launch file that loses patience may break off the orderly end
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


def _interrupt_once() -> Callable:
    """A handler of SIGINT that raises KeyboardInterrupt the first time only.

    A second Ctrl-C may come before the orderly end has had the time to ignore it.
    """
    interrupted = False

    def handle(number: int, frame: object) -> None:
        nonlocal interrupted
        if not interrupted:
            interrupted = True
            raise KeyboardInterrupt

    return handle
