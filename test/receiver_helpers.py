"""A GPS receiver beside a running node, and what becomes of it: the topic `fix` and the fallback's diagnostic."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from helpers import textured_rgb
from ros_helpers import Client, image_message, values
from sensor_msgs.msg import NavSatFix

RECEIVER_FRAME, CAMERA_FRAME = "antenna", "front_camera"
PERIOD_S = 0.1


def receiver_message(**fields) -> NavSatFix:
    fix = NavSatFix(latitude=31.262, longitude=34.802, altitude=310.0, position_covariance_type=2)
    fix.header.frame_id = RECEIVER_FRAME
    fix.position_covariance = (2.0 * np.eye(3)).ravel().tolist()
    fix.status.status = 0
    for name, value in fields.items():
        setattr(fix, name, value)
    return fix


class Receiver:
    """Sends NavSatFix, and images where `with_images` is set, at 10 Hz while the client waits for something."""

    def __init__(self, client: Client, **fields):
        self._client, self._fields = client, fields
        self.sends, self.with_images, self.image_stamp_s = True, False, None
        self.fixes: list[NavSatFix] = []
        self.statuses: list[DiagnosticStatus] = []
        self._publisher = client.node.create_publisher(NavSatFix, "gps/fix", 10)
        client.node.create_subscription(NavSatFix, "fix", self.fixes.append, 10)
        client.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._name = f"{client.node.get_namespace()}/visual_gps: fallback".lstrip("/")
        self._next_s = 0.0

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.statuses += [status for status in message.status if status.name == self._name]

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Send until `condition` holds."""

        def step() -> bool:
            if time.monotonic() >= self._next_s:
                self._next_s = time.monotonic() + PERIOD_S
                self._send()
            return bool(condition())

        self._client.wait(step, what)

    def wait_passes(self, state: str, count: int = 3) -> None:
        """Wait until that many further messages of the receiver have come through."""
        self.fixes.clear()
        self.wait(lambda: len(self.fixes) >= count, f"fixes of the receiver while the node is {state}")
        assert {fix.header.frame_id for fix in self.fixes} == {RECEIVER_FRAME}

    def wait_visual(self) -> None:
        """Wait until a visual fix comes on `fix`."""
        self.fixes.clear()
        self.wait(lambda: any(fix.header.frame_id == CAMERA_FRAME for fix in self.fixes), "visual fix on the topic fix")

    def wait_status(self, condition: Callable[[DiagnosticStatus], bool], what: str) -> DiagnosticStatus:
        """The first diagnostic of the fallback, from now on, for which `condition` holds."""
        self.statuses.clear()
        self.wait(lambda: any(condition(status) for status in self.statuses), f"diagnostic of the fallback: {what}")
        return next(status for status in self.statuses if condition(status))

    def wait_source(self, source: str) -> DiagnosticStatus:
        """The first diagnostic of the fallback, from now on, that names this source."""
        return self.wait_status(lambda status: values(status)["source"] == source, f"source {source}")

    def _send(self) -> None:
        if self.sends:
            fix = receiver_message(**self._fields)
            fix.header.stamp = self._client.node.get_clock().now().to_msg()
            self._publisher.publish(fix)
        if self.with_images:
            message = image_message(textured_rgb(48, 64))
            message.header.frame_id = CAMERA_FRAME
            # the client's own `publish` would fill in a stamp of zero
            if self.image_stamp_s is None:
                message.header.stamp = self._client.node.get_clock().now().to_msg()
            self._client._images.publish(message)
