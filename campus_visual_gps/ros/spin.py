"""Runs a node until a signal ends it, without a traceback and with exit code 0."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from threading import Event
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

_WAKE_S = 0.5


def spin(make_node: Callable[[], Any], args: list[str] | None = None) -> None:
    """Make the node and spin it until SIGINT or SIGTERM; then call its method `close` and destroy it."""
    # Python's own handler raises KeyboardInterrupt wherever the main thread is, also during the shutdown below, and a
    # second Ctrl-C may come at any time. rclpy's handler, which calls this one, ends the spinning by itself.
    interrupted = Event()
    signal.signal(signal.SIGINT, lambda number, frame: interrupted.set())
    rclpy.init(args=args)
    node = executor = None
    try:
        if interrupted.is_set():
            return
        node = make_node()
        # rclpy wakes the executor a moment before it shuts the context down. An executor that went back to waiting too
        # early would wait for ever, as it would on a simulated clock that stands still; this timer wakes it.
        node.create_timer(_WAKE_S, lambda: None, clock=Clock(clock_type=ClockType.STEADY_TIME))
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        # a signal invalidates the context at any time, and calls that are in progress fail with errors of their own
        if rclpy.ok():
            raise
    finally:
        # neither a second signal nor a launch file whose timeout expires may interrupt the shutdown
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if executor is not None:
            executor.shutdown(timeout_sec=0)  # not by its destructor, after ROS: a transition may still hold it
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
        # torch's modules hold millions of objects: without this the interpreter searches them for cycles as it ends,
        # a second of processor time, which on a loaded robot is longer than launch waits
        gc.freeze()
