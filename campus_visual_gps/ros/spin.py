"""Runs a node until a signal ends it, quietly and with exit code 0."""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import Event

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

_WAKE_S = 0.5


def spin_until_signal(make_node: Callable, args: list[str] | None = None) -> None:
    """Spin the node that `make_node` makes; it has a method `close`, which is called before it is destroyed."""
    # Python's own handler raises KeyboardInterrupt wherever the main thread happens to be, in the orderly end as well,
    # and a second Ctrl-C may come at any point. rclpy's, which calls this one, ends the spinning by itself.
    interrupted = Event()
    signal.signal(signal.SIGINT, lambda number, frame: interrupted.set())
    rclpy.init(args=args)
    node = None
    try:
        if interrupted.is_set():
            return
        node = make_node()
        # rclpy wakes the executor a moment before it shuts the context down: one that went back to waiting too early
        # would wait for ever, as it would in simulated time that stands still
        node.create_timer(_WAKE_S, lambda: None, clock=Clock(clock_type=ClockType.STEADY_TIME))
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        # a signal invalidates the context at any point, and what was under way there fails with errors of its own
        if rclpy.ok():
            raise
    finally:
        # neither a second signal nor a launch file that loses patience may break off the orderly end
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
