"""The executable `filter_reset`: resets the filters of robot_localization when ROS time jumps back.

A bag that loops, or a simulation that starts again, sends stamps that are older than those before. A filter of
robot_localization ignores every message that is older than the last one of its topic, so it stays silent until the
time of the jump has come again. Its parameter `reset_on_time_jump` does nothing in ROS 2: the code that reads it is
commented out (src/ros_filter.cpp of 3.5.2 and 3.6.0). Its service `reset` (std_srvs/Empty, since 3.6.0) forgets the
stamps and the state.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from std_srvs.srv import Empty

from campus_visual_gps.ros.image_queue import TIME_JUMP_NS
from campus_visual_gps.ros.spin import spin

NODE_NAME = "filter_reset"
# As fusion.launch.py names them: both filters would otherwise offer one service of the same name.
DEFAULT_SERVICES = ["ekf_odom/reset", "ekf_map/reset"]
# Messages from before the jump are still on their way; one that comes after the reset would silence the filter again.
SETTLE_S = 0.5
# A filter that has just started offers its service within seconds.
SERVICE_TIMEOUT_S = 10.0
_TICK_S = 0.1


class FilterReset(Node):
    """Calls the services of the parameter `services` after ROS time has jumped back by more than a second."""

    def __init__(self, **node_options: Any):
        super().__init__(NODE_NAME, **node_options)
        services: list[str] = list(self.declare_parameter("services", DEFAULT_SERVICES).value)
        # not _clients, which is the node's own
        self._resets: list[Any] = [self.create_client(Empty, name) for name in services]
        self._pending: list[Any] = []
        self._jumped_s = 0.0
        # steady time, so that the calls do not wait for a clock that stands still after the jump
        self.create_timer(_TICK_S, self._call_pending, clock=Clock(clock_type=ClockType.STEADY_TIME))
        backward = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-TIME_JUMP_NS), on_clock_change=False
        )
        self._jump_handle = self.get_clock().create_jump_callback(backward, post_callback=self._on_jump)

    def close(self) -> None:
        """Stop watching the clock."""
        self._jump_handle.unregister()

    def _on_jump(self, _jump: Any) -> None:
        self.get_logger().info(f"ROS time jumped back: the filters are reset in {SETTLE_S:g} s")
        self._pending, self._jumped_s = list(self._resets), monotonic()

    def _call_pending(self) -> None:
        waited_s = monotonic() - self._jumped_s
        if not self._pending or waited_s < SETTLE_S:
            return
        missing = []
        for client in self._pending:
            if client.service_is_ready():
                future = client.call_async(Empty.Request())
                future.add_done_callback(lambda done, name=client.service_name: self._on_done(name))
            elif waited_s < SERVICE_TIMEOUT_S:
                missing.append(client)
            else:
                self.get_logger().warning(
                    f"no service {client.service_name}: its filter is not reset and ignores all messages until the "
                    "time of the jump; restart fusion.launch.py (robot_localization offers the service since 3.6.0)"
                )
        self._pending = missing

    def _on_done(self, name: str) -> None:
        self.get_logger().info(f"called {name}")


def main(args: list[str] | None = None) -> None:
    """The executable `filter_reset`."""
    spin(FilterReset, args)


if __name__ == "__main__":
    main()
