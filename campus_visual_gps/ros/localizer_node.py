"""The lifecycle node `visual_gps`: camera images in; NavSatFix, pose and diagnostics out.

With output `fallback` it also subscribes to the GPS receiver, in every state but finalized, and publishes the better of
the two sources on `fix`.

- configure: read the parameters, load and warm up the model. torch is imported only here. A thread does it, so the node
  answers and publishes its diagnostics meanwhile.
- activate: subscribe, and start the worker, so that inference never runs on the executor's thread.
- deactivate: unsubscribe, and free the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from campus_visual_gps.errors import VisualGpsError
from campus_visual_gps.ros import diagnostics, image_conversion, messages
from campus_visual_gps.ros.active_session import ActiveSession
from campus_visual_gps.ros.bond import Bond
from campus_visual_gps.ros.declared_parameters import DeclaredParameters
from campus_visual_gps.ros.diagnostics import ACTIVE, INACTIVE, UNCONFIGURED
from campus_visual_gps.ros.image_queue import TIME_JUMP_NS, Worker
from campus_visual_gps.ros.model_loader import ModelLoader
from campus_visual_gps.ros.node_topics import DIAGNOSTICS_TOPIC, check_qos
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.publishers import FIX_TOPIC, FixPublishers
from campus_visual_gps.ros.qos import QosOverrides
from campus_visual_gps.ros.receiver_passthrough import ReceiverPassthrough
from campus_visual_gps.ros.relocalize import Relocalizer
from campus_visual_gps.ros.responsive_lifecycle import ACTIVATE, CONFIGURE, ResponsiveLifecycleNode
from campus_visual_gps.ros.spin import spin

if TYPE_CHECKING:
    from campus_visual_gps.localizer import Localizer

NODE_NAME = "visual_gps"
DIAGNOSTICS_PERIOD_S = 1.0
# Inference takes a second or two on a slow computer, and torch must not be torn down during it.
WORKER_END_S = 10.0


@dataclass
class _Configured:
    """What the node has from configure to cleanup. The model is None once a deactivation has freed it."""

    settings: NodeParameters
    publishers: FixPublishers
    localizer: Localizer | None


class LocalizerNode(ResponsiveLifecycleNode):
    """Lifecycle, parameters, services and diagnostics; the images are processed by the ActiveSession."""

    def __init__(self, **node_options):
        super().__init__(NODE_NAME, **node_options)
        self._declared = DeclaredParameters(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._configured: _Configured | None = None
        self._active: ActiveSession | None = None
        self._retired_worker: Worker | None = None
        self._loader = ModelLoader(self.get_logger())
        self._error = self._last_message = ""
        self._enabled = True
        qos = QosOverrides(self).publisher(DIAGNOSTICS_TOPIC, 10)
        self._diagnostics = self.create_publisher(DiagnosticArray, DIAGNOSTICS_TOPIC, **qos)
        self.create_service(SetBool, "~/enable", self._on_enable)
        # a transition belongs on the executor's thread: the worker triggers this guard condition
        self._out_of_memory = self.create_guard_condition(self._stop_out_of_memory)
        # steady time: the node starts and publishes diagnostics also while a simulated clock stands still
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._bond = Bond(self, self._steady)
        Relocalizer(self, self._steady, lambda: self._active)
        self._passthrough = ReceiverPassthrough(self, self._steady, self._why_no_visual)
        self._diagnostics_timer = self.create_timer(DIAGNOSTICS_PERIOD_S, self._publish_diagnostics, clock=self._steady)
        self._start_timer = self.create_timer(0.0, self._start, clock=self._steady)
        backward = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-TIME_JUMP_NS))
        self._jump_handle = self.get_clock().create_jump_callback(backward, post_callback=self._on_time_jump)

    def close(self) -> None:
        """Stop the worker and wait until its image, or the loading of the model, has ended.

        Call it before destroying the node.
        """
        self._release()
        self._passthrough.close()
        self.join(WORKER_END_S)
        if self._retired_worker is not None:
            self._retired_worker.join(WORKER_END_S)

    # Lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Read the parameters and load the model. FAILURE, with one line in log and diagnostics, if that fails."""
        result = self._attempt("configure", self._configure)
        if result != TransitionCallbackReturn.SUCCESS:
            self._unconfigure()
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start the worker. The model is loaded again if a deactivation has freed it."""
        result = self._attempt("activate", self._activate)
        return super().on_activate(state) if result == TransitionCallbackReturn.SUCCESS else result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop without waiting for the image that is being processed, and free the model."""
        self._release()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Discard parameters, publishers, model and any error. The receiver still passes."""
        self._unconfigure()
        self._error = ""
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup, and the receiver no longer passes."""
        self._passthrough.close()
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured after an unexpected error in a transition."""
        self._unconfigure()
        self._error = "a transition failed; see the log"
        return TransitionCallbackReturn.SUCCESS

    def work_before(self, transition_id: int) -> Callable[[], None] | None:
        """Load the model, unless it is there or the parameters are bad, which the transition itself will report."""
        self._error = ""
        if self._configured is not None:
            return None if self._configured.localizer is not None else self._loader.loading(self._configured.settings)
        self._passthrough.open(self._declared)
        try:
            return self._loader.loading(self._declared.read())
        except VisualGpsError:
            return None

    def _start(self) -> None:
        self._start_timer.cancel()
        self._passthrough.open(self._declared)
        for name in self._declared.unknown():
            self.get_logger().warning(f"parameter {name!r} is not a parameter of this node and has no effect")
        if self._declared.autostart() and self.executor is not None:
            self.executor.create_task(self._autostart)
        elif self._passthrough.error:  # otherwise configuring says it
            self.get_logger().error(self._passthrough.error)

    async def _autostart(self) -> None:
        if await self.change_state(CONFIGURE) == TransitionCallbackReturn.SUCCESS:
            await self.change_state(ACTIVATE)

    def _attempt(self, what: str, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except Exception as error:  # rclpy would hide it; torch has exceptions of its own for a broken GPU
            text = str(error) if isinstance(error, VisualGpsError) else f"{type(error).__name__}: {error}"
            self._error = f"cannot {what}: {' '.join(text.split())}"
            self.get_logger().error(self._error)
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._error = ""
        return TransitionCallbackReturn.SUCCESS

    def _configure(self) -> None:
        settings = self._declared.read()
        check_qos(self, settings)
        image_conversion.bridge()
        localizer = self._loader.take(settings)
        self._passthrough.set_bundle(localizer.bundle)
        self._configured = _Configured(settings, FixPublishers(self, settings, self._passthrough), localizer)

    def _activate(self) -> None:
        configured = self._configured
        if configured is None:
            raise VisualGpsError("the node is not configured")
        settings, publishers = configured.settings, configured.publishers
        localizer = configured.localizer or self._loader.take(settings)
        configured.localizer = None
        publishers.open()
        self._active = active = ActiveSession(
            self, settings, publishers, localizer, self._enabled, self._out_of_memory.trigger
        )
        active.subscribe(self._on_image)
        self.get_logger().info(f"active: {active.image_topics} -> {self.resolve_topic_name(FIX_TOPIC)}")
        if not settings.autostart and not self._bond.form():  # so there is a manager
            self.get_logger().info("no bond: the package bond is not installed; nav2's manager needs bond_timeout: 0.0")

    def _release(self) -> None:
        """Leave the active state and free the model."""
        self._loader.discard()
        self._bond.dissolve()
        if self._active is not None:
            self._retired_worker = self._active.close()
            self._active = None
        if self._configured is not None:
            self._configured.publishers.close()
            self._configured.localizer = None

    def _unconfigure(self) -> None:
        """Leave the active state and discard the configuration."""
        self._release()
        if self._configured is not None:
            self._configured.publishers.destroy()
            self._configured = None

    def _stop_out_of_memory(self) -> None:
        if self._active is not None:
            self.trigger_deactivate()
            self._error = "inactive: out of memory; see the parameter on_out_of_memory"
            self.get_logger().error(self._error)

    # Callbacks

    def _on_image(self, topic: str, message: Image | CompressedImage) -> None:
        if self._active is not None:
            self._active.on_image(topic, message)

    def _on_set_parameters(self, parameters) -> SetParametersResult:
        declared = self._declared
        own = [parameter.name for parameter in parameters if parameter.name in declared.names]
        if own and (self._configured is not None or self.transition):
            reason = f"{', '.join(own)}: read when the node is configured; deactivate and clean up first"
            return SetParametersResult(successful=False, reason=reason)
        declared.clear_errors(own)
        return SetParametersResult(successful=True)

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """~/enable: false ignores the images and keeps the model loaded; the receiver's fixes still pass."""
        word = "enabled" if request.data else "disabled"
        if request.data != self._enabled:
            self._enabled = request.data
            self.get_logger().info(f"{word} by ~/enable")
            if self._active is not None:
                self._active.set_enabled(request.data)
        response.success = True
        response.message = f"{word}, node is {self._state()}"
        return response

    def _on_time_jump(self, _jump) -> None:
        """ROS time jumped back, as in a simulation that starts again, or changed its source."""
        self._passthrough.on_time_jump()
        if self._active is not None:
            self._active.on_time_jump()
        self.get_logger().info("ROS time jumped back or changed its source: stamps before the jump no longer count")

    # Diagnostics

    def _publish_diagnostics(self) -> None:
        name = self.get_fully_qualified_name().lstrip("/")
        report = self._report()
        statuses = [messages.to_diagnostic_status(f"{name}: localizer", self._model_id(), report)]
        if (fallback := self._passthrough.report()) is not None:
            statuses.append(messages.to_diagnostic_status(f"{name}: fallback", self._passthrough.gps_topic, fallback))
        self._diagnostics.publish(messages.to_diagnostic_array(self.get_clock().now().to_msg(), *statuses))

    def _report(self) -> diagnostics.DiagnosticReport:
        if self.transition and self._loader.started_s is not None:
            return diagnostics.loading_report(self.transition, monotonic() - self._loader.started_s)
        if self._error:
            return diagnostics.error_report(self._state(), self._error)
        if self._active is None:
            return diagnostics.idle_report(self._state())
        report = self._active.report()
        self._last_message = report.message
        return report

    def _why_no_visual(self) -> str:
        if self._active is None:
            return f"model not available: {self._report().message}"
        return self._last_message

    def _model_id(self) -> str:
        if self._active is not None:
            return self._active.localizer.bundle.model_id
        loaded = self._configured.localizer if self._configured is not None else None
        return loaded.bundle.model_id if loaded is not None else ""

    def _state(self) -> str:
        if self.transition:
            return self.transition
        return UNCONFIGURED if self._configured is None else INACTIVE if self._active is None else ACTIVE


def main(args: list[str] | None = None) -> None:
    """The executable `localizer`."""
    spin(LocalizerNode, args)


if __name__ == "__main__":
    main()
