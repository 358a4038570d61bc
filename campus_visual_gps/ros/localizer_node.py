"""The lifecycle node `visual_gps`: camera messages in; NavSatFix, pose and diagnostics out.

Unconfigured -> configure: read the parameters, load and warm up the model (torch is imported only now). This blocks the
executor for the seconds that it takes; no frame is due before. -> activate: subscribe and start the worker, so that
inference never runs on the executor's thread. -> deactivate: unsubscribe and free the model.
"""

from __future__ import annotations

import signal
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image, NavSatFix

from campus_visual_gps.errors import EstimateError, VisualGpsError
from campus_visual_gps.ros import image_conversion, messages
from campus_visual_gps.ros.flow import NANOSECONDS, Admission, Frame, Worker
from campus_visual_gps.ros.parameters import NodeParameters, ParameterTable
from campus_visual_gps.ros.pipeline import BAD_ESTIMATE, Pipeline, Refusal, Result
from campus_visual_gps.ros.status import ERROR, WARN, Health, StageTimes, Status
from campus_visual_gps.uncertainty import spread_m

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer

NODE_NAME = "visual_gps"
FIX_TOPIC, POSE_TOPIC, DIAGNOSTICS_TOPIC = "visual_gps/fix", "visual_gps/pose", "/diagnostics"
DIAGNOSTICS_PERIOD_S = 1.0
LOG_PERIOD_S = 5.0
# navsat_transform puts a fix without a frame at the robot's origin; a camera driver that leaves it empty gets this.
FALLBACK_FRAME_ID = "camera"
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
        self._worker: Worker | None = None
        self._retired_worker: Worker | None = None
        self._admission = Admission()
        self._status = Status()
        self._problem = ""
        self._subscription = self._fixes = self._poses = None
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS_TOPIC, 10)
        # Steady time: diagnostics go on, and the node starts, also while a simulated clock stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics_timer = self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=steady)
        self._start_timer = self.create_timer(0.0, self._start, clock=steady)

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
        self._fixes = self.create_lifecycle_publisher(NavSatFix, FIX_TOPIC, 10)
        if self._settings.publish_pose:
            self._poses = self.create_lifecycle_publisher(PoseWithCovarianceStamped, POSE_TOPIC, 10)

    def _activate(self) -> None:
        if self._localizer is None:
            self._load_model()
        compressed = self._settings.image_transport == "compressed"
        # image_transport's way of naming: who remaps `image` moves `image/compressed` with it
        topic = self.resolve_topic_name("image") + ("/compressed" if compressed else "")
        self._admission = Admission(self._settings.max_rate_hz)
        self._status = Status(topic)
        self._worker = Worker(Pipeline(self._localizer, self._settings.altitude_m), self._deliver)
        self._subscription = self.create_subscription(
            CompressedImage if compressed else Image, topic, self._on_image, qos_profile_sensor_data
        )
        self.get_logger().info(f"active: {topic} -> {self.resolve_topic_name(FIX_TOPIC)}")

    def _load_model(self) -> None:
        from campus_visual_gps.localizer import Localizer

        start = perf_counter()
        settings = self._settings
        self._localizer = Localizer.load(settings.model_dir, settings.device, settings.precision)
        bundle, ensemble = self._localizer.bundle, self._localizer.ensemble
        self.get_logger().info(
            f"model {bundle.model_id}: {len(ensemble.members)} members on {ensemble.device} in {ensemble.precision}, "
            f"loaded in {perf_counter() - start:.1f} s"
        )

    def _release(self) -> None:
        """Stop receiving and free the model."""
        if self._subscription is not None:
            self.destroy_subscription(self._subscription)
        if self._worker is not None:
            self._worker.stop()
            self._retired_worker = self._worker
        self._subscription = self._worker = self._localizer = None

    def _forget(self) -> None:
        """Release, and forget what was configured."""
        self._release()
        for publisher in (self._fixes, self._poses):
            if publisher is not None:
                self.destroy_lifecycle_publisher(publisher)
        self._fixes = self._poses = self._settings = None

    def _on_set_parameters(self, parameters) -> SetParametersResult:
        own = [parameter.name for parameter in parameters if parameter.name in self._table.names]
        if own and self._settings is not None:
            reason = f"{', '.join(own)}: read when the node is configured; deactivate and clean up first"
            return SetParametersResult(successful=False, reason=reason)
        self._table.forget_problems(own)
        return SetParametersResult(successful=True)

    # Frames

    def _on_image(self, message: Image | CompressedImage) -> None:
        """On the executor's thread: admit the frame and put it into the slot."""
        worker = self._worker
        if worker is None:
            return
        stamp_ns = message.header.stamp.sec * NANOSECONDS + message.header.stamp.nanosec
        dropped = self._admission.check(stamp_ns)
        self._status.image(dropped)
        if dropped is None and worker.slot.put(Frame(message, stamp_ns, monotonic())):
            self._status.skipped()

    def _deliver(self, result: Result) -> None:
        """On the worker's thread: publish the fix, or say why there is none."""
        try:
            refusal = result.refusal or self._publish(result)
            if refusal is not None:
                self._refuse(result, refusal)
        except Exception as error:
            if self.context.ok():  # else a signal has ended ROS between two calls
                self.get_logger().error(f"cannot publish: {type(error).__name__}: {error}")

    def _publish(self, result: Result) -> Refusal | None:
        estimate, stamp = result.estimate, result.frame.message.header.stamp
        try:
            fix = messages.to_navsatfix(estimate, stamp, self._frame_id(result.frame))
            pose = messages.to_pose(estimate, stamp, self._settings.map_frame)
        except EstimateError as error:
            return Refusal(BAD_ESTIMATE, str(error))
        self._fixes.publish(fix)
        if self._poses is not None:
            self._poses.publish(pose)
        latency_s = monotonic() - result.frame.received_s
        self._status.fix(
            StageTimes(result.decode_s, estimate.transform_s, estimate.ensemble_s, latency_s),
            sigma_m=float(np.sqrt(np.linalg.eigvalsh(estimate.cov_enu_m2)[-1])),
            spread_m=float(spread_m(estimate.member_means_enu_m)),
            age_s=(self.get_clock().now().nanoseconds - result.frame.stamp_ns) / NANOSECONDS,
        )
        return None

    def _refuse(self, result: Result, refusal: Refusal) -> None:
        self._status.refused(*refusal)
        self.get_logger().warning(f"refused, {refusal.reason}: {refusal.text}", throttle_duration_sec=LOG_PERIOD_S)
        if self._settings.publish_refused:
            stamp, bundle = result.frame.message.header.stamp, self._localizer.bundle
            altitude_m = bundle.altitude.altitude_m
            self._fixes.publish(messages.to_refused_fix(bundle.frame, altitude_m, stamp, self._frame_id(result.frame)))

    def _frame_id(self, frame: Frame) -> str:
        frame_id = self._settings.frame_id or frame.message.header.frame_id
        if not frame_id:
            self.get_logger().warning(
                f"images have no frame_id; fixes get {FALLBACK_FRAME_ID!r}: set parameter frame_id", once=True
            )
        return frame_id or FALLBACK_FRAME_ID

    # Diagnostics

    def _publish_diagnostics(self) -> None:
        level, message, values = self._health()
        model_id = self._localizer.bundle.model_id if self._localizer is not None else ""
        name = f"{self.get_fully_qualified_name().lstrip('/')}: localizer"
        stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(messages.to_diagnostic_array(stamp, name, model_id, level, message, values))

    def _health(self) -> Health:
        state = "unconfigured" if self._settings is None else "inactive" if self._worker is None else "active"
        if self._problem:
            return Health(ERROR, self._problem, {"state": state})
        if self._worker is None:
            return Health(WARN, f"{state}: no fixes are published", {"state": state})
        level, message, values = self._status.health()
        bundle, ensemble = self._localizer.bundle, self._localizer.ensemble
        model = {
            "state": state,
            "model_id": bundle.model_id,
            "device": ensemble.device,
            "precision": ensemble.precision,
            "image_bridge": image_conversion.bridge().name,
        }
        return Health(level, message, {**model, **values})


def main(args: list[str] | None = None) -> None:
    """The executable `localizer`. A signal ends it quietly, with exit code 0."""
    node = None
    try:
        rclpy.init(args=args)
        node = LocalizerNode()
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
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not break off the orderly end
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
