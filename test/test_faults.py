"""Faults of a robot, over DDS: after each of them the next good image gives the right fix."""

import os
import shutil
import signal
import subprocess
import sys
import time
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from compatibility import Area, condition
from diagnostic_msgs.msg import DiagnosticStatus
from helpers import ROOT, textured_rgb
from lifecycle_msgs.msg import Transition
from ros_helpers import TIMEOUT_S, Client, RunningNode, image_message, values
from sensor_msgs.msg import CompressedImage, Image

from campus_visual_gps import Localizer
from campus_visual_gps.ros.parameters import NodeParameters
from campus_visual_gps.ros.pipeline import load_localizer

pytestmark = pytest.mark.ros

SINCE = "2026-11-22"

GOOD = textured_rgb(48, 64, seed=9)


@pytest.fixture(scope="module")
def compressed(bundle_dir):
    parameters = {"image_transport": "compressed", "image_topic": "image/compressed", "image_type": CompressedImage}
    with RunningNode(model_dir=str(bundle_dir), **parameters) as client:
        client.wait_connected()
        yield client


def compressed_message(rgb: np.ndarray, kind: str) -> CompressedImage:
    data = cv2.imencode(f".{kind}", rgb[..., ::-1])[1].tobytes()
    message = CompressedImage(format=f"rgb8; {kind} compressed bgr8", data=array("B", data))
    message.header.frame_id = "front_camera"
    return message


def assert_right_fix(client: Client, localizer: Localizer, message: Image | CompressedImage, rgb=GOOD) -> None:
    fix = client.fix_of(message)
    expected = localizer.localize(rgb)
    found_m = localizer.bundle.frame.to_local(fix.latitude, fix.longitude)
    assert np.linalg.norm(found_m - expected.mean_enu_m) < 0.05


def rejected(reason: str):
    return lambda status: int(values(status).get(f"rejected.{reason}", 0)) > 0


# Images


def test_a_truncated_jpeg(compressed, localizer):
    def truncated() -> CompressedImage:
        message = compressed_message(textured_rgb(480, 640), "jpeg")
        message.data = message.data[:40]
        return message

    compressed.send_until_status(truncated, rejected("bad_image"), "a rejection")
    assert_right_fix(compressed, localizer, compressed_message(GOOD, "png"))


@condition(Area.CAMERA, "compressed image of 7680 x 4320", "processed", since=SINCE)
def test_an_8k_image(compressed, localizer):
    large = np.repeat(np.repeat(GOOD, 90, axis=0), 120, axis=1)
    assert large.shape == (4320, 7680, 3)
    assert_right_fix(compressed, localizer, compressed_message(large, "png"), large)
    assert_right_fix(compressed, localizer, compressed_message(GOOD, "png"))


@pytest.mark.parametrize("fields", [{"step": 100}, {"height": 0, "width": 0}, {"data": array("B")}, {"height": 10**6}])
def test_sizes_that_contradict_each_other(fields, active, localizer):
    def wrong() -> Image:
        message = image_message(GOOD)
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    active.send_until_status(wrong, lambda status: "bad_image" in status.message, "a rejection")
    assert_right_fix(active, localizer, image_message(GOOD))


def encoded(encoding: str) -> Image:
    """GOOD as another encoding, of the same values."""
    message = image_message(GOOD)
    message.encoding = encoding
    if encoding.startswith("bgr8"):
        message.data = array("B", GOOD[..., ::-1].tobytes())
    if encoding == "rgb16":
        message.step *= 2
        order = ">u2" if message.is_bigendian else "<u2"
        message.data = array("B", (GOOD.astype(np.uint16) * 257).astype(order).tobytes())
    return message


@condition(Area.CAMERA, "encoding that changes from image to image", "every image is read by its own", since=SINCE)
def test_an_encoding_that_changes_from_image_to_image(active, localizer):
    big_endian = encoded("rgb16")
    big_endian.is_bigendian = 1
    big_endian.data = array("B", (GOOD.astype(np.uint16) * 257).astype(">u2").tobytes())
    for message in (encoded("rgb8"), encoded("bgr8"), encoded("rgb16"), big_endian, encoded("rgb8")):
        assert_right_fix(active, localizer, message)


# Flow


@condition(
    Area.TRANSPORT, "burst of images faster than the model", "the newest is processed, the rest counted", since=SINCE
)
def test_of_a_burst_of_images_only_the_newest_are_processed(bundle_dir, localizer):
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        model = running.localizer
        localize = model.localize

        def slow(rgb, **options):
            time.sleep(0.05)
            return localize(rgb, **options)

        def burst() -> Image:
            for _ in range(40):
                client.publish(image_message(GOOD))
            return image_message(GOOD)

        model.localize = slow
        status = client.send_until_status(
            burst, lambda item: int(values(item).get("overwritten", 0)) > 50, "many overwritten images"
        )
        assert int(values(status)["fixes"]) < int(values(status)["images"])
        model.localize = localize
        assert_right_fix(client, localizer, image_message(GOOD))


@condition(Area.TRANSPORT, "camera that starts after the node", "diagnostics are stale until then", since=SINCE)
def test_no_images_and_then_some(bundle_dir, localizer):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        client.wait_status(lambda item: item.level == DiagnosticStatus.STALE, "stale input")
        assert_right_fix(client, localizer, image_message(GOOD))


@pytest.mark.parametrize(("stamp_s", "name"), [(2.1e9, "from_future"), (0.0, "unstamped")])
def test_impossible_stamps(stamp_s, name, active, localizer):
    def wrong() -> Image:
        return image_message(GOOD, stamp_s)

    publish = active.publish
    active.publish = active._images.publish  # which fills no stamp in
    try:
        active.send_until_status(wrong, lambda item: f"dropped.{name}" in values(item), name)
    finally:
        active.publish = publish
    assert_right_fix(active, localizer, image_message(GOOD))


@condition(Area.TRANSPORT, "stamps that jump back (looping bag)", "used: a new epoch starts", since=SINCE)
def test_stamps_that_jump_back(active, localizer):
    assert_right_fix(active, localizer, image_message(GOOD))
    active.fixes.clear()

    def came() -> bool:
        active.publish(image_message(GOOD, 1000.0 + time.monotonic() % 1000.0))
        return bool(active.fixes)

    active.wait(came, "fix with a stamp of long ago")
    assert_right_fix(active, localizer, image_message(GOOD))


# Memory, files, parameters


def exhausted(rgb, **options):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_gpu_without_memory_moves_the_model_to_the_cpu(bundle_dir, localizer):
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        running.localizer.localize = exhausted
        # sent until it has a fix: the images before the move give none
        assert_right_fix(client, localizer, image_message(GOOD))
        status = client.wait_status(lambda item: "GPU had no memory left" in item.message, "the reason")
        assert (status.level, values(status)["device"]) == (DiagnosticStatus.WARN, "cpu")
        assert "out of memory" in values(status)["last_rejection"]


@pytest.mark.parametrize("choice", ["cpu", "inactive"])
def test_a_gpu_without_memory_for_the_model_is_left_or_reported(choice, bundle_dir, monkeypatch):
    load, warnings = Localizer.load, []

    def load_where_there_is_memory(model_dir, device, precision, **options):
        return load(model_dir, device, precision, **options) if device == "cpu" else exhausted(None)

    monkeypatch.setattr(Localizer, "load", load_where_there_is_memory)
    settings = NodeParameters(model_dir=str(bundle_dir), device="cuda", on_out_of_memory=choice)
    logger = SimpleNamespace(warning=warnings.append, info=lambda text: None)
    if choice == "inactive":
        with pytest.raises(torch.OutOfMemoryError):
            load_localizer(settings, logger)
    else:
        assert load_localizer(settings, logger).engine.device.type == "cpu"
        assert "loading the model on the CPU" in warnings[0]


@condition(
    Area.NODE, "GPU out of memory, on_out_of_memory inactive", "deactivated; can be activated again", since=SINCE
)
def test_a_gpu_without_memory_stops_the_node_where_that_is_asked_for(bundle_dir, localizer):
    running = RunningNode(model_dir=str(bundle_dir), on_out_of_memory="inactive")
    with running as client:
        client.wait_connected()
        running.localizer.localize = exhausted
        status = client.send_until_status(
            lambda: image_message(GOOD), lambda item: "out of memory" in item.message, "the node stopped"
        )
        assert status.level == DiagnosticStatus.ERROR
        assert client.state() == "inactive"
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait_connected()
        assert_right_fix(client, localizer, image_message(GOOD))


@condition(Area.BUNDLES, "bundle removed while the node runs", "the node goes on", since=SINCE)
def test_a_bundle_that_is_removed_while_the_node_runs(bundle_dir, localizer, tmp_path):
    copy = shutil.copytree(bundle_dir, tmp_path / "copy")
    with RunningNode(model_dir=str(copy)) as client:
        client.wait_connected()
        shutil.rmtree(copy)
        assert_right_fix(client, localizer, image_message(GOOD))
        assert client.change_state(Transition.TRANSITION_DEACTIVATE)
        assert not client.change_state(Transition.TRANSITION_ACTIVATE)
        status = client.wait_status(lambda item: item.level == DiagnosticStatus.ERROR, "an error")
        assert str(copy) in status.message
        shutil.copytree(bundle_dir, copy)
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait_connected()
        assert_right_fix(client, localizer, image_message(GOOD))


@condition(Area.NODE, "parameter changed while the node is configured", "declined with the reason", since=SINCE)
def test_parameters_that_are_changed_at_run_time(active, localizer):
    for name, value in (("max_rate_hz", 1.0), ("model_dir", "/nowhere"), ("output", "fallback"), ("device", "cuda")):
        assert "clean up first" in active.set_parameter(name, value)
    assert_right_fix(active, localizer, image_message(GOOD))


@condition(Area.NODE, "SIGTERM during an inference", "ends with exit code 0 and no traceback", since=SINCE)
def test_sigterm_during_inference_ends_quietly(bundle_dir):
    """The process tells that an image is being processed by a file that its slow localizer touches."""
    marker = bundle_dir.parent / "in_work"
    code = (
        "import pathlib, time\n"
        "from campus_visual_gps.localizer import Localizer\n"
        "from campus_visual_gps.ros.localizer_node import main\n"
        "plain = Localizer.localize\n"
        "def slow(self, rgb, **options):\n"
        f"    pathlib.Path({str(marker)!r}).touch(); time.sleep(1.0); return plain(self, rgb, **options)\n"
        "Localizer.localize = slow\n"
        "main()\n"
    )
    client = Client("/terminated")
    arguments = ["--ros-args", "-r", "__ns:=/terminated", "-p", f"model_dir:={bundle_dir}", "-p", "max_rate_hz:=0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        client.wait_connected()

        def is_processed() -> bool:
            client.publish(image_message(GOOD))
            return marker.exists()

        client.wait(is_processed, "image being processed")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        client.close()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
