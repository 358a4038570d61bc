"""The lifecycle node `visual_gps`: camera messages in; NavSatFix, pose and diagnostics out.

With output `fallback` it also listens to the GPS receiver, and publishes one stream of the better of the two.

Unconfigured -> configure: read the parameters, load and warm up the model (torch is imported only now). This blocks the
executor for the seconds that it takes; no frame is due before. -> activate: subscribe and start the worker, so that
inference never runs on the executor's thread. -> deactivate: unsubscribe and free the model.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from campus_visual_gps.errors import EstimateError, VisualGpsError
from campus_visual_gps.ros import image_conversion, messages
from campus_visual_gps.ros.diagnostics import NodeStatistics, StageTimes
from campus_visual_gps.ros.image_queue import CLOCK_JUMP_NS, NANOSECONDS, StampedImage, StampFilter, Worker
from campus_visual_gps.ros.parameters import CPU, NodeParameters, ParameterTable
from campus_visual_gps.ros.pipeline import (
    BAD_ESTIMATE,
    OUT_OF_MEMORY,
    Pipeline,
    Rejection,
    Result,
    fix_figures,
    load_localizer,
)
from campus_visual_gps.ros.publishers import FIX_TOPIC, FixPublishers
from campus_visual_gps.ros.report import ACTIVE, INACTIVE, UNCONFIGURED, localizer_health
from campus_visual_gps.ros.spin import spin_until_signal

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer

NODE_NAME = "visual_gps"
DIAGNOSTICS_TOPIC = "/diagnostics"
DIAGNOSTICS_PERIOD_S = 1.0
LOG_PERIOD_S = 5.0
# A slow computer's inference takes a second or two; torch must not be torn down under it.
WORKER_END_S = 10.0


class LocalizerNode(LifecycleNode):
    """Owns parameters, subscription, publishers and worker; what is done with a frame is the Pipeline's."""

    def __init__(self, **node_options):
        super().__init__(NODE_NAME, **node_options)
        self._table = ParameterTable(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._settings: NodeParameters | None = None
        self._localizer: Localizer | None = None
        self._pipeline: Pipeline | None = None
        self._worker: Worker | None = None
        self._retired_worker: Worker | None = None
        self._admission = StampFilter()
        self._status = NodeStatistics()
        self._problem = ""
        self._enabled, self._moved_to_cpu = True, False
        self._subscription = None
        self._outputs: FixPublishers | None = None
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS_TOPIC, 10)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self._memory_is_out = self.create_guard_condition(self._stop_for_memory)
        # Steady time: diagnostics go on, and the node starts, also while a simulated clock stands still.
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics_timer = self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=self._steady)
        self._start_timer = self.create_timer(0.0, self._start, clock=self._steady)
        backward = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-CLOCK_JUMP_NS))
        self._jump_handle = self.get_clock().create_jump_callback(backward, post_callback=self._on_time_jump)

    def close(self) -> None:
        """Stop the worker and wait for the frame in work, before the node is destroyed."""
        self._release()
        if self._retired_worker is not None:
            self._retired_worker.join(WORKER_END_S)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and load the model; FAILURE, with one line in log and diagnostics, if that cannot be."""
        result = self._attempt("configure", self._configure)
        if result != TransitionCallbackReturn.SUCCESS:
            self._forget()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker; the model is loaded again if a deactivation has freed it."""
        result = self._attempt("activate", self._activate)
        return super().on_activate(state) if result == TransitionCallbackReturn.SUCCESS else result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop, without waiting for the frame in work, and free the model."""
        self._release()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget parameters, publishers and model, and any problem."""
        self._forget()
        self._problem = ""
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, for good."""
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unforeseen error in a transition: unconfigured again, with nothing held."""
        self._forget()
        self._problem = "a transition failed; see the log"
        return TransitionCallbackReturn.SUCCESS

    def _start(self) -> None:
        self._start_timer.cancel()
        for name in self._table.unknown():
            self.get_logger().warning(f"parameter {name!r} is unknown to this node and has no effect")
        if self._table.autostart() and self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def _attempt(self, what: str, action) -> TransitionCallbackReturn:
        try:
            action()
        except Exception as error:  # rclpy would swallow it; torch has types of its own for a broken GPU
            text = str(error) if isinstance(error, VisualGpsError) else f"{type(error).__name__}: {error}"
            self._problem = f"cannot {what}: {' '.join(text.split())}"
            self.get_logger().error(self._problem)
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._problem = ""
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        self._settings = self._table.read()
        image_conversion.bridge()
        self._load_model()
        self._outputs = FixPublishers(self, self._settings)

    def _activate(self) -> None:
        if self._localizer is None:
            self._load_model()
        compressed = self._settings.image_transport == "compressed"
        # image_transport's way of naming: who remaps `image` moves `image/compressed` with it
        topic = self.resolve_topic_name("image") + ("/compressed" if compressed else "")
        self._admission = StampFilter(self._settings.max_rate_hz, self._settings.max_age_s)
        self._status = NodeStatistics(topic)
        self._moved_to_cpu = False
        self._pipeline = Pipeline(self._localizer, self._settings.altitude_m)
        self._worker = Worker(self._pipeline, self._deliver)
        self._outputs.open(self._steady)
        self._subscription = self.create_subscription(
            CompressedImage if compressed else Image, topic, self._on_image, qos_profile_sensor_data
        )
        self.get_logger().info(f"active: {topic} -> {self.resolve_topic_name(FIX_TOPIC)}")

    def _load_model(self) -> None:
        self._localizer = load_localizer(self._settings, self.get_logger())

    def _release(self) -> None:
        """Stop receiving and free the model."""
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
        if self._worker is not None:
            self._worker.stop()
            self._retired_worker = self._worker
        if self._outputs is not None:
            self._outputs.close()
        self._subscription = self._worker = self._pipeline = self._localizer = None

    def _forget(self) -> None:
        """Release, and forget what was configured."""
        self._release()
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = self._settings = None

    def _on_set_parameters(self, parameters) -> SetParametersResult:
        own = [parameter.name for parameter in parameters if parameter.name in self._table.names]
        if own and self._settings is not None:
            reason = f"{', '.join(own)}: read when the node is configured; deactivate and clean up first"
            return SetParametersResult(successful=False, reason=reason)
        self._table.forget_problems(own)
        return SetParametersResult(successful=True)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """~/enable: false ignores the images, with the model kept ready; the receiver's fixes still pass."""
        if request.data != self._enabled:
            self._enabled = request.data
            self.get_logger().info(f"{'enabled' if request.data else 'disabled'} by ~/enable")
            self._status = NodeStatistics(self._status.image_topic)
        response.success = True
        response.message = f"{'enabled' if self._enabled else 'disabled'}, node is {self._state()}"
        return response

    def _make_room(self, text: str) -> None:
        """On the worker's thread: the device has no memory for a frame. Once on the CPU, there is nowhere to go."""
        if self._settings.on_out_of_memory == CPU and not self._moved_to_cpu:
            self.get_logger().warning(f"{text}: going on on the CPU, slower")
            self._localizer, self._moved_to_cpu = self._pipeline.move_to_cpu(), True
        else:
            self._memory_is_out.trigger()  # a transition belongs on the executor's thread

    def _stop_for_memory(self) -> None:
        if self._worker is not None:
            self.trigger_deactivate()
            self._problem = "inactive: out of memory; see parameter on_out_of_memory"
            self.get_logger().error(self._problem)

    def _on_time_jump(self, jump) -> None:
        """ROS time jumped back, as in a simulation that starts over: nothing of before counts."""
        self._admission.restart()
        if self._outputs is not None:
            self._outputs.time_jumped()
        self.get_logger().info("ROS time jumped back, or changed its source: starting over")

    # Frames

    def _on_image(self, message: Image | CompressedImage) -> None:
        """On the executor's thread: admit the frame and put it into the slot."""
        worker, admission = self._worker, self._admission
        if worker is None or not self._enabled:
            return
        now_ns, epoch = self.get_clock().now().nanoseconds, admission.epoch
        stamp_ns = message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec
        dropped = admission.check(stamp_ns, now_ns)
        if admission.epoch != epoch:
            self._outputs.stamps_jumped()
        self._status.image(dropped, age_s=(now_ns - stamp_ns) / NANOSECONDS)
        if dropped is None and worker.slot.put(StampedImage(message, stamp_ns, monotonic(), admission.epoch)):
            self._status.record_overwritten()

    def _deliver(self, result: Result) -> None:
        """On the worker's thread: publish the fix, or say why there is none."""
        try:
            if result.frame.epoch != self._admission.epoch:
                self._status.record_stale()
            elif self._enabled:
                if result.estimate is not None:
                    self._status.record_repeat(result.estimate.indicators.image.identical)
                rejection = result.rejection or self._publish(result)
                if rejection is not None:
                    self._reject(result, rejection)
        except Exception as error:
            if self.context.ok():  # else a signal has ended ROS between two calls
                self.get_logger().error(f"cannot publish: {type(error).__name__}: {error}")

    def _publish(self, result: Result) -> Rejection | None:
        estimate, header = result.estimate, result.frame.message.header
        start_s = monotonic()
        try:
            self._outputs.publish(estimate, header.stamp, header.frame_id)
        except EstimateError as error:
            return Rejection(BAD_ESTIMATE, str(error))
        end_s = monotonic()
        age_s = (self.get_clock().now().nanoseconds - result.frame.stamp_ns) / NANOSECONDS
        stages = (result.decode_s, estimate.transform_s, estimate.ensemble_s, end_s - start_s)
        self._status.fix(
            StageTimes(*stages, latency_s=end_s - result.frame.received_s),
            {**fix_figures(estimate), "fix_age_s": age_s},
        )
        return None

    def _reject(self, result: Result, rejection: Rejection) -> None:
        self._status.rejected(*rejection)
        self.get_logger().warning(f"refused, {rejection.reason}: {rejection.text}", throttle_duration_sec=LOG_PERIOD_S)
        if rejection.reason == OUT_OF_MEMORY:
            self._make_room(rejection.text)
        header = result.frame.message.header
        self._outputs.publish_rejected(self._localizer.bundle, header.stamp, header.frame_id)

    # Diagnostics

    def _publish_diagnostics(self) -> None:
        model_id = self._localizer.bundle.model_id if self._localizer is not None else ""
        name = self.get_fully_qualified_name().lstrip("/")
        warning = "" if self._enabled else "disabled by ~/enable: no fixes are published"
        if self._enabled and self._moved_to_cpu:
            warning = "slow: the GPU had no memory, the model runs on the CPU"
        health = localizer_health(self._state(), self._problem, warning, self._status, self._localizer)
        health.values.update(self._outputs.check_frame() if self._outputs is not None else {})
        statuses = [messages.to_diagnostic_status(f"{name}: localizer", model_id, *health)]
        if self._outputs is not None and self._outputs.fallback is not None:
            health = self._outputs.fallback.health()
            statuses.append(messages.to_diagnostic_status(f"{name}: fallback", self._settings.gps_topic, *health))
        self._diagnostics.publish(messages.to_diagnostic_array(self.get_clock().now().to_msg(), *statuses))

    def _state(self) -> str:
        return UNCONFIGURED if self._settings is None else INACTIVE if self._worker is None else ACTIVE


def main(args: list[str] | None = None) -> None:
    """The executable `localizer`."""
    spin_until_signal(LocalizerNode, args)


if __name__ == "__main__":
    main()
