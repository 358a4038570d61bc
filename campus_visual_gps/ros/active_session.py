"""Everything that exists only while the node is active: subscriptions, worker, model, tracking, counters."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from builtin_interfaces.msg import Time
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.ros.cameras import Cameras, FixStamps
from campus_visual_gps.ros.correlated_fixes import CorrelatedFixes
from campus_visual_gps.ros.diagnostics import DiagnosticReport, NodeStatistics, StageTimes, active_report
from campus_visual_gps.ros.image_queue import DropRule, StampedImage, Worker
from campus_visual_gps.ros.live_tracking import LiveTracking, TrackedEstimate, contradiction
from campus_visual_gps.ros.messages import to_stamp
from campus_visual_gps.ros.odometry_input import OdometryInput
from campus_visual_gps.ros.parameters import CPU, NodeParameters
from campus_visual_gps.ros.pipeline import Pipeline, Rejection, Result, estimate_values
from campus_visual_gps.ros.publishers import FixPublishers
from campus_visual_gps.ros.stamps import NS_PER_S
from campus_visual_gps.ros.tracked_publishers import TrackedPublishers
from campus_visual_gps.tracking.session import ODOMETRY

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer, PositionEstimate

LOG_PERIOD_S = 5.0


class ActiveSession:
    """Image message in, fix out, from activation to deactivation.

    Args:
        node: Owns the subscriptions, the clock and the logger.
        settings: The node's parameters.
        publishers: Publish the results.
        localizer: The model.
        enabled: Whether images are processed; see ~/enable.
        stop_node: Called on the worker's thread when the device has no memory and the node must deactivate.

    Attributes:
        settings: As given.
        tracking: What joins the images; None without tracking.

    Raises:
        ConfigError: The parameters ask for a tracking that the bundle has no grid for.
    """

    def __init__(
        self,
        node: LifecycleNode,
        settings: NodeParameters,
        publishers: FixPublishers,
        localizer: Localizer,
        enabled: bool,
        stop_node: Callable[[], None],
    ):
        self.settings = settings
        self._node, self._publishers = node, publishers
        self._enabled = enabled
        self._stop_node = stop_node
        self._moved_to_cpu = False
        self.tracking = LiveTracking.by(settings, localizer)
        self._odometry: OdometryInput | None = None
        self._pipeline = Pipeline(localizer, settings.altitude_m)
        self._correlated = CorrelatedFixes(
            settings.correlated_errors, localizer.bundle.calibration.correlation_time_s, node.get_logger().info
        )
        self._stamps = FixStamps()
        self._worker = Worker(self._pipeline, self._deliver)
        self._cameras = Cameras(node, settings, self._worker.buffer, publishers.watch_frame, self._on_stamp_jump)
        self._statistics = NodeStatistics(self.image_topics)

    @property
    def localizer(self) -> Localizer:
        """The model in use."""
        return self._pipeline.localizer

    @property
    def tracked_publishers(self) -> TrackedPublishers:
        """Publish what the tracking says."""
        return self._publishers.tracked

    @property
    def image_topics(self) -> str:
        """The topics of the images, after remapping."""
        return ", ".join(self._cameras.topics)

    def subscribe(self, on_image: Callable[[str, Image | CompressedImage], None]) -> None:
        """Subscribe to the images, and to the odometry if the parameters ask for it.

        `on_image` is the node's own callback, which calls `on_image` here. So rclpy never holds this session, and the
        model is freed by a deactivation.
        """
        self._cameras.subscribe(on_image)
        if self.tracking is not None and self.settings.tracking == ODOMETRY:
            self._odometry = OdometryInput(self._node, self.settings, self.tracking.odometry)

    def close(self) -> Worker:
        """Unsubscribe and stop the worker, which may still be processing an image when it is returned."""
        self._cameras.close()
        if self._odometry is not None:
            self._odometry.close()
        self._worker.stop()
        return self._worker

    def set_enabled(self, enabled: bool) -> None:
        """Process images or ignore them; a change restarts the counters."""
        self._enabled = enabled
        self._statistics = NodeStatistics(self.image_topics)

    def on_image(self, topic: str, message: Image | CompressedImage) -> None:
        """On the executor's thread: filter the image by its stamp and put it into the worker's buffer."""
        if self._enabled:
            self._cameras.on_image(topic, message, self._statistics)

    def on_time_jump(self) -> None:
        """ROS time jumped back: results of images from before the jump are dropped, and the position is forgotten."""
        self._cameras.restart()
        self._reset_tracking()
        self._publishers.on_time_jump()

    def report(self) -> DiagnosticReport:
        """Diagnostic of the active node."""
        warning = ""
        if not self._enabled:
            warning = "disabled by ~/enable: no fixes are published"
        elif self._moved_to_cpu:
            warning = "slow: the GPU had no memory left, and the model runs on the CPU"
        report = active_report(self._statistics, self.localizer, warning)
        report = self._publishers.with_frame(report)
        report.values.update(self._correlated.values())
        depths = self._pipeline.bit_depths()
        report.values.update({f"image_bit_depth.{encoding}": depth for encoding, depth in depths.items()})
        if self.tracking is not None:
            report = self.tracking.complete(report)
        return self._cameras.complete(report)

    def _on_stamp_jump(self) -> None:
        self._publishers.on_stamp_jump()
        self._reset_tracking()

    def _reset_tracking(self) -> None:
        if self.tracking is not None:
            self.tracking.reset()

    def _deliver(self, result: Result) -> None:
        """On the worker's thread: publish the fix, or record why there is none."""
        try:
            if result.image.epoch != self._cameras.epoch:
                self._statistics.record_unpublished(DropRule.BEFORE_TIME_JUMP)
            elif self._enabled:
                self._publish_or_reject(result)
        except Exception as error:
            if self._node.context.ok():  # otherwise a signal has shut ROS down between two calls
                self._node.get_logger().error(f"cannot publish: {type(error).__name__}: {error}")

    def _publish_or_reject(self, result: Result) -> None:
        image, estimate, rejection = result.image, result.estimate, result.rejection
        stamp_ns = self._stamps.next_ns(image.stamp_ns, image.epoch)
        stamp = to_stamp(stamp_ns) if stamp_ns is not None else None
        if estimate is not None:
            self._statistics.record_repeat(estimate.indicators.repeat_count, image.camera)
            tracked, contradicted = self._track(image, estimate)
            rejection = rejection or contradicted or self._publish(result, estimate, stamp)
            if stamp is not None:  # after the fix, whose latency it would add to
                self._publish_tracking(image, estimate, tracked, stamp)
        if rejection is not None:
            self._reject(image, rejection, stamp)

    def _track(
        self, image: StampedImage, estimate: PositionEstimate
    ) -> tuple[TrackedEstimate | None, Rejection | None]:
        """What the image and all before it say, and the rejection of an image that contradicts those."""
        if self.tracking is None:
            return None, None
        try:
            tracked = self.tracking.image(image, estimate)
        except EstimateError as error:
            return None, Rejection(RejectionReason.BAD_ESTIMATE, str(error))
        return tracked, contradiction(estimate, tracked)

    def _publish_tracking(
        self, image: StampedImage, estimate: PositionEstimate, tracked: TrackedEstimate | None, stamp: Time
    ) -> None:
        publishers, localizer = self._publishers, self.localizer
        publishers.tracked.publish_posterior_grid(localizer, estimate, stamp)
        if tracked is not None:
            publishers.publish_tracked(tracked, stamp, image.message.header.frame_id, self._correlated)
            publishers.tracked.publish_tracked_grid(localizer, tracked, stamp)

    def _publish(self, result: Result, estimate: PositionEstimate, stamp: Time | None) -> Rejection | None:
        image, start_s = result.image, monotonic()
        if stamp is None:
            self._statistics.record_unpublished(DropRule.BEHIND_OTHER_CAMERA)
            return None
        try:
            self._publishers.publish(estimate, stamp, image.message.header.frame_id, self._correlated)
        except EstimateError as error:
            return Rejection(RejectionReason.BAD_ESTIMATE, str(error))
        end_s = monotonic()
        fix_age_s = (self._node.get_clock().now().nanoseconds - image.stamp_ns) / NS_PER_S
        stages = (result.decode_s, estimate.transform_s, estimate.ensemble_s, end_s - start_s)
        times = StageTimes(
            *stages,
            latency_s=end_s - image.received_s,
            ensemble_processor_s=estimate.ensemble_processor_s,
        )
        self._statistics.record_fix(times, {**estimate_values(estimate), "fix_age_s": fix_age_s})
        return None

    def _reject(self, image: StampedImage, rejection: Rejection, stamp: Time | None) -> None:
        reason = rejection.reason.value
        self._statistics.record_rejection(reason, rejection.text, rejection.unusable)
        self._node.get_logger().warning(f"rejected, {reason}: {rejection.text}", throttle_duration_sec=LOG_PERIOD_S)
        if rejection.reason is RejectionReason.OUT_OF_MEMORY:
            self._leave_device(rejection.text)
        if stamp is not None:
            self._publishers.publish_rejected(self.localizer.bundle, stamp, image.message.header.frame_id)

    def _leave_device(self, text: str) -> None:
        """The device has no memory for an image: move to the CPU once, or stop the node."""
        if self.settings.on_out_of_memory == CPU and not self._moved_to_cpu:
            self._node.get_logger().warning(f"{text}: the model moves to the CPU, which is slower")
            self._pipeline.move_to_cpu()
            self._moved_to_cpu = True
        else:
            self._stop_node()
