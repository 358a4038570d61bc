"""The service ~/relocalize: forget where the robot is, and answer with its position once that is sure.

The answer waits for images, and the executor does not: the callback is a coroutine, which a timer of steady time
resumes. Several calls at a time get one answer.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock
from rclpy.node import Node
from rclpy.task import Future
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.ros.live_tracking import LiveTracking, TrackedEstimate
from campus_visual_gps.ros.stamps import NS_PER_S

if TYPE_CHECKING:
    from campus_visual_gps.ros.parameters import NodeParameters
    from campus_visual_gps.ros.tracked_publishers import TrackedPublishers

CHECK_PERIOD_S = 0.05
# One image alone may be wrong; the second one agrees with it or does not.
MIN_IMAGES = 2
MAX_LOST_PROBABILITY = 0.1


class Active(Protocol):
    """What of an active node is needed."""

    @property
    def tracking(self) -> LiveTracking | None:
        """What joins the images; None without tracking."""

    @property
    def settings(self) -> NodeParameters:
        """The node's parameters."""

    @property
    def tracked_publishers(self) -> TrackedPublishers:
        """Publish the initial pose."""


class Relocalizer:
    """The service of a node, in every state.

    Args:
        node: Owns the service and the logger.
        steady_clock: For the deadline, also while a simulated clock stands still.
        active: What there is while the node is active; None while it is not.
    """

    def __init__(self, node: Node, steady_clock: Clock, active: Callable[[], Active | None]):
        self._node, self._steady_clock, self._active = node, steady_clock, active
        self._pending: Future | None = None
        self._tracking: LiveTracking | None = None
        self._timer: Timer | None = None
        self._started_s = 0.0
        # a callback group of its own: a coroutine that waits holds its group
        node.create_service(Trigger, "~/relocalize", self._on_request, callback_group=ReentrantCallbackGroup())

    async def _on_request(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        active = self._active()
        if active is None or active.tracking is None:
            response.success, response.message = False, _why_no_tracking(active)
            return response
        active.tracking.reset()
        self._tracking, self._started_s = active.tracking, monotonic()
        self._node.get_logger().info("~/relocalize: the position is forgotten")
        if self._pending is None:
            self._pending = Future(executor=self._node.executor)
            self._timer = self._node.create_timer(CHECK_PERIOD_S, self._check, clock=self._steady_clock)
        answer: tuple[bool, str] | None = await self._pending
        response.success, response.message = answer or (False, "the node ended meanwhile")
        return response

    def _check(self) -> None:
        answer = self._answer()
        if answer is None or self._pending is None:
            return
        pending, self._pending, self._tracking = self._pending, None, None
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
        self._node.get_logger().info(f"~/relocalize: {answer[1]}")
        pending.set_result(answer)

    def _answer(self) -> tuple[bool, str] | None:
        """Success and message; None while it is not sure."""
        active, elapsed_s = self._active(), monotonic() - self._started_s
        if active is None or active.tracking is None or active.tracking is not self._tracking:
            return False, "the node was deactivated meanwhile"
        tracking, settings, latest = active.tracking, active.settings, active.tracking.latest
        why_not = _why_not_sure(tracking.image_count, latest, settings.relocalize_max_sigma_m)
        if not why_not and latest is not None:
            try:
                sent = active.tracked_publishers.publish_initial_pose(latest)
            except EstimateError as error:
                return False, str(error)
            return True, _position(latest, tracking.image_count, elapsed_s) + (
                "; initialpose published" if sent else ""
            )
        if elapsed_s >= settings.relocalize_timeout_s:
            return False, f"not sure after {elapsed_s:.1f} s: {why_not}"
        return None


def _why_no_tracking(active: Active | None) -> str:
    if active is None:
        return "the node is not active"
    return "tracking is off: set the parameter tracking to random_walk or odometry"


def _why_not_sure(image_count: int, latest: TrackedEstimate | None, max_sigma_m: float) -> str:
    """Why a position is not sure enough for an answer, in one clause; empty: it is."""
    if latest is None or image_count < MIN_IMAGES:
        return f"{image_count} of at least {MIN_IMAGES} images came"
    if latest.tracked.lost_probability > MAX_LOST_PROBABILITY:
        return f"the images fit to no place (lost probability {latest.tracked.lost_probability:.2f})"
    if latest.sigma_m > max_sigma_m:
        return f"sigma is {latest.sigma_m:.1f} m, above relocalize_max_sigma_m of {max_sigma_m:g} m"
    return ""


def _position(latest: TrackedEstimate, image_count: int, elapsed_s: float) -> str:
    """The position with its covariance, in one line."""
    (east_m, north_m), (east_var, cross), (_, north_var) = latest.mean_enu_m, *latest.cov_enu_m2
    return (
        f"latitude {latest.latitude_deg:.7f}, longitude {latest.longitude_deg:.7f}, {east_m:.1f} m east, "
        f"{north_m:.1f} m north; covariance [{east_var:.1f}, {cross:.1f}, {north_var:.1f}] m2 (east, cross, north), "
        f"sigma {latest.sigma_m:.1f} m; lost probability {latest.tracked.lost_probability:.3f}; stamp "
        f"{latest.stamp_ns / NS_PER_S:.3f} s; after {image_count} images in {elapsed_s:.1f} s"
    )
