"""Everything that exists only while the node is active: subscription, worker, model, counters."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from campus_visual_gps.errors import EstimateError
from campus_visual_gps.estimation.integrity import RejectionReason
from campus_visual_gps.ros.clock_hint import ClockCheck
from campus_visual_gps.ros.correlated_fixes import CorrelatedFixes
from campus_visual_gps.ros.diagnostics import DiagnosticReport, NodeStatistics, StageTimes, active_report
from campus_visual_gps.ros.drop_log import DropLog
from campus_visual_gps.ros.image_queue import StampedImage, StampFilter, Worker
from campus_visual_gps.ros.image_subscription import ImageSubscription, image_topic
from campus_visual_gps.ros.parameters import CPU, NodeParameters
from campus_visual_gps.ros.pipeline import Pipeline, Rejection, Result, estimate_values
from campus_visual_gps.ros.publishers import FixPublishers
from campus_visual_gps.ros.stamps import NS_PER_S, stamp_to_ns

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer, PositionEstimate

LOG_PERIOD_S = 5.0


class ActiveSession:
    """Image message in, fix out, from activation to deactivation.

    Args:
        node: Owns the subscription, the clock and the logger.
        settings: The node's parameters.
        publishers: Publish the results.
        localizer: The model.
        enabled: Whether images are processed; see ~/enable.
        stop_node: Called on the worker's thread when the device has no memory and the node must deactivate.
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
        self.image_topic = image_topic(node, settings)
        self._node, self._settings, self._publishers = node, settings, publishers
        self._enabled = enabled
        self._stop_node = stop_node
        self._moved_to_cpu = False
        self._stamp_filter = StampFilter(settings.max_rate_hz, settings.max_age_s)
        simulated = bool(node.get_parameter("use_sim_time").value)
        self._drop_log = DropLog(settings.max_rate_hz, settings.max_age_s, simulated=simulated)
        self._clock_check = ClockCheck(simulated)
        self._statistics = NodeStatistics(self.image_topic)
        self._pipeline = Pipeline(localizer, settings.altitude_m)
        self._correlated = CorrelatedFixes(
            settings.correlated_errors, localizer.bundle.calibration.correlation_time_s, node.get_logger().info
        )
        self._worker = Worker(self._pipeline, self._deliver)
        self._images: ImageSubscription | None = None

    @property
    def localizer(self) -> Localizer:
        """The model in use."""
        return self._pipeline.localizer

    def subscribe(self, on_image: Callable[[Image | CompressedImage], None]) -> None:
        """Subscribe to the images.

        `on_image` is the node's own callback, which calls `on_image` here. So rclpy never holds this session, and the
        model is freed by a deactivation.
        """
        self._images = ImageSubscription(self._node, self._settings, on_image)

    def close(self) -> Worker:
        """Unsubscribe and stop the worker, which may still be processing an image when it is returned."""
        if self._images is not None:
            self._images.close()
        self._worker.stop()
        return self._worker

    def set_enabled(self, enabled: bool) -> None:
        """Process images or ignore them; a change restarts the counters."""
        self._enabled = enabled
        self._statistics = NodeStatistics(self.image_topic)

    def on_image(self, message: Image | CompressedImage) -> None:
        """On the executor's thread: filter the image by its stamp and put it into the worker's buffer."""
        if not self._enabled:
            return
        stamp_filter = self._stamp_filter
        now_ns, epoch = self._node.get_clock().now().nanoseconds, stamp_filter.epoch
        stamp_ns = stamp_to_ns(message.header.stamp)
        dropped = stamp_filter.check(stamp_ns, now_ns)
        if stamp_filter.epoch != epoch:
            self._publishers.on_stamp_jump()
        self._statistics.record_image(dropped, age_s=(now_ns - stamp_ns) / NS_PER_S)
        if dropped is None:
            self._publishers.watch_frame(message.header.frame_id)
            image = StampedImage(message, stamp_ns, monotonic(), stamp_filter.epoch)
            if self._worker.buffer.put(image):
                self._statistics.record_overwritten()
            if text := self._clock_check.record(stamp_ns, now_ns):
                self._node.get_logger().warning(text)
        elif line := self._drop_log.record(dropped, offset_s=(stamp_ns - now_ns) / NS_PER_S):
            # two calls, because rclpy ties the severity to the line of code that logs
            if line.warning:
                self._node.get_logger().warning(line.text)
            else:
                self._node.get_logger().info(line.text)

    def on_time_jump(self) -> None:
        """ROS time jumped back: results of images from before the jump are dropped."""
        self._stamp_filter.restart()
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
        depths = self._pipeline.bit_depths.known()
        report.values.update({f"image_bit_depth.{encoding}": depth for encoding, depth in depths.items()})
        return self._images.complete(report) if self._images is not None else report

    def _deliver(self, result: Result) -> None:
        """On the worker's thread: publish the fix, or record why there is none."""
        try:
            if result.image.epoch != self._stamp_filter.epoch:
                self._statistics.record_stale()
            elif self._enabled:
                self._publish_or_reject(result)
        except Exception as error:
            if self._node.context.ok():  # otherwise a signal has shut ROS down between two calls
                self._node.get_logger().error(f"cannot publish: {type(error).__name__}: {error}")

    def _publish_or_reject(self, result: Result) -> None:
        estimate, rejection = result.estimate, result.rejection
        if estimate is not None:
            self._statistics.record_repeat(estimate.indicators.repeat_count)
            rejection = rejection or self._publish(result, estimate)
        if rejection is not None:
            self._reject(result.image, rejection)

    def _publish(self, result: Result, estimate: PositionEstimate) -> Rejection | None:
        header = result.image.message.header
        start_s = monotonic()
        try:
            self._publishers.publish(estimate, header.stamp, header.frame_id, self._correlated)
        except EstimateError as error:
            return Rejection(RejectionReason.BAD_ESTIMATE, str(error))
        end_s = monotonic()
        fix_age_s = (self._node.get_clock().now().nanoseconds - result.image.stamp_ns) / NS_PER_S
        stages = (result.decode_s, estimate.transform_s, estimate.ensemble_s, end_s - start_s)
        times = StageTimes(
            *stages,
            latency_s=end_s - result.image.received_s,
            ensemble_processor_s=estimate.ensemble_processor_s,
        )
        self._statistics.record_fix(times, {**estimate_values(estimate), "fix_age_s": fix_age_s})
        return None

    def _reject(self, image: StampedImage, rejection: Rejection) -> None:
        reason = rejection.reason.value
        self._statistics.record_rejection(reason, rejection.text, rejection.unusable)
        self._node.get_logger().warning(f"rejected, {reason}: {rejection.text}", throttle_duration_sec=LOG_PERIOD_S)
        if rejection.reason is RejectionReason.OUT_OF_MEMORY:
            self._leave_device(rejection.text)
        header = image.message.header
        self._publishers.publish_rejected(self.localizer.bundle, header.stamp, header.frame_id)

    def _leave_device(self, text: str) -> None:
        """The device has no memory for an image: move to the CPU once, or stop the node."""
        if self._settings.on_out_of_memory == CPU and not self._moved_to_cpu:
            self._node.get_logger().warning(f"{text}: the model moves to the CPU, which is slower")
            self._pipeline.move_to_cpu()
            self._moved_to_cpu = True
        else:
            self._stop_node()
