"""The node over DDS: the same fix as the library, the rules of a fix, wrong images and parameters, lifecycle."""

import gc
import math
import os
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest
from compatibility import Area, condition
from diagnostic_msgs.msg import DiagnosticStatus
from helpers import ROOT, make_bundle, textured_rgb
from lifecycle_msgs.msg import Transition
from ros_helpers import TIMEOUT_S, Client, RunningNode, image_message, png_message, to_seconds, values
from sensor_msgs.msg import CompressedImage, Image, NavSatFix, NavSatStatus
from std_srvs.srv import Trigger

from campus_visual_gps import Localizer
from campus_visual_gps.estimation.integrity import Gates

pytestmark = pytest.mark.ros

SINCE = "2026-11-22"


def assert_same_fix(fix: NavSatFix, localizer: Localizer, rgb: np.ndarray) -> None:
    expected = localizer.localize(rgb)
    found_m = localizer.bundle.frame.to_local(fix.latitude, fix.longitude)
    assert np.linalg.norm(found_m - expected.mean_enu_m) < 0.01
    covariance = np.array(fix.position_covariance).reshape(3, 3)
    assert np.allclose(covariance[:2, :2], expected.cov_enu_m2, rtol=1e-3)
    assert (covariance[2, 2], fix.altitude) == (25.0, 300.0)


# The same photo


@pytest.mark.parametrize("size", [(320, 320), (360, 640)])
def test_a_raw_image_gives_the_fix_of_the_library(size, active, localizer):
    rgb = textured_rgb(*size, seed=3)
    assert_same_fix(active.fix_of(image_message(rgb)), localizer, rgb)


@condition(
    Area.TRANSPORT, "compressed images with `image` remapped", "the topic with /compressed is followed", since=SINCE
)
def test_a_png_gives_the_fix_of_the_library_and_remapping_moves_its_topic(bundle_dir, localizer):
    rgb = textured_rgb(360, 640, seed=4)
    with RunningNode(
        model_dir=str(bundle_dir),
        image_transport="compressed",
        image_type=CompressedImage,
        image_topic="/front/image_raw/compressed",
        cli_args=["--ros-args", "-r", "image:=/front/image_raw"],
    ) as client:
        client.wait_connected()
        assert_same_fix(client.fix_of(png_message(rgb)), localizer, rgb)


# The rules of a fix


def test_fix_and_pose_follow_the_rules(active):
    message = image_message(textured_rgb(48, 64))
    fix = active.fix_of(message)
    assert fix.header.frame_id == "front_camera"
    assert (fix.status.status, fix.status.service) == (NavSatStatus.STATUS_FIX, NavSatStatus.SERVICE_GPS)
    assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN
    active.wait(lambda: active.poses and active.poses[-1].header.stamp == fix.header.stamp, "pose of the same stamp")
    assert active.poses[-1].header.frame_id == "map"


def test_stamps_are_the_images_and_increase_and_a_looping_bag_starts_over(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        client.fix_of(image_message(textured_rgb(48, 64)))  # from here on no image is lost, and the bag jumps back
        client.fixes.clear()
        published_s = []
        for stamp_s, expected in ((100.0, 1), (100.5, 1), (100.5, 0), (100.2, 0), (101.0, 1), (50.0, 1), (50.5, 1)):
            client.publish(image_message(textured_rgb(48, 64), stamp_s))
            published_s += [stamp_s] * expected
            count = len(published_s)
            client.wait(lambda count=count: len(stamps_s(client)) >= count, f"fix of the image at {stamp_s} s")
        assert stamps_s(client) == published_s
        client.wait_status(lambda status: values(status).get("dropped.stamp_not_newer") == "2", "two dropped stamps")


def stamps_s(client: Client) -> list[float]:
    """Stamps of the fixes before 1970-01-02: those of a bag, and not of this machine's clock."""
    return [stamp for stamp in (to_seconds(fix.header.stamp) for fix in client.fixes) if stamp < 86400.0]


def test_an_empty_frame_id_is_filled_in_and_parameters_go_before(bundle_dir, active):
    rgb = textured_rgb(48, 64)
    assert active.fix_of(image_message(rgb, frame_id="")).header.frame_id == "camera"
    with RunningNode(
        model_dir=str(bundle_dir), frame_id="mast", altitude_m=12.5, publish_pose=False, max_rate_hz=500
    ) as client:
        client.wait_connected()
        fix = client.fix_of(image_message(rgb))
        assert (fix.header.frame_id, fix.altitude) == ("mast", 12.5)
        assert client.node.count_publishers(f"{client.node.get_namespace()}/visual_gps/pose") == 0


@pytest.fixture(scope="module")
def rejecting_bundle_dir(tmp_path_factory):
    """A bundle whose gate rejects every estimate: the spread of its members is always more than a nanometre."""
    return make_bundle(tmp_path_factory.mktemp("rejecting") / "bundle", gates=Gates(max_ensemble_spread_m=1e-9))


def test_a_rejected_image_gives_no_fix_but_a_diagnostic_with_the_reason(rejecting_bundle_dir):
    with RunningNode(model_dir=str(rejecting_bundle_dir)) as client:
        client.wait_connected()
        status = client.send_until_status(
            lambda: image_message(textured_rgb(48, 64)),
            lambda status: "rejected.ensemble_spread" in values(status),
            "a rejection",
        )
        assert status.level == DiagnosticStatus.WARN
        assert "ensemble_spread" in status.message
        assert client.fixes == []


def test_a_rejected_image_gives_a_no_fix_status_if_the_parameter_asks_for_it(rejecting_bundle_dir):
    with RunningNode(model_dir=str(rejecting_bundle_dir), publish_rejected=True) as client:
        client.wait_connected()
        fix = client.fix_of(image_message(textured_rgb(48, 64)))
        assert fix.status.status == NavSatStatus.STATUS_NO_FIX
        assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_UNKNOWN
        assert client.poses == []


def test_relocalize_without_tracking_says_what_to_set(active):
    answer = active.call(Trigger, "relocalize", Trigger.Request())
    assert not answer.success and "set the parameter tracking to random_walk or odometry" in answer.message


# Wrong images


def wrong_encoding() -> Image:
    message = image_message(textured_rgb(48, 64))
    message.encoding = "32FC1"
    return message


def wrong_step() -> Image:
    message = image_message(textured_rgb(48, 64))
    message.step += 1
    return message


def no_pixels() -> Image:
    return Image(encoding="rgb8")


def too_small() -> Image:
    return image_message(textured_rgb(4, 4))


@pytest.mark.parametrize("make", [wrong_encoding, wrong_step, no_pixels, too_small])
def test_a_wrong_image_is_rejected_with_a_diagnostic_and_the_next_one_gives_its_fix(make, active, localizer):
    status = active.send_until_status(make, lambda status: status.level == DiagnosticStatus.ERROR, "an error")
    assert "bad_image" in status.message
    assert int(values(status)["rejected.bad_image"]) >= 1
    rgb = textured_rgb(48, 64, seed=9)
    assert_same_fix(active.fix_of(image_message(rgb)), localizer, rgb)


def test_silence_is_stale(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        status = client.wait_status(lambda status: status.level == DiagnosticStatus.STALE, "stale input")
        assert f"no image on {client.node.get_namespace()}/image for" in status.message


# Bad bundles and parameters


@condition(Area.BUNDLES, "model_dir that does not exist", "unconfigured until another one is set", since=SINCE)
def test_a_missing_bundle_keeps_the_node_up_and_another_one_can_be_set(bundle_dir, tmp_path):
    missing = tmp_path / "nowhere"
    with RunningNode(model_dir=str(missing)) as client:
        status = client.wait_status(lambda status: status.level == DiagnosticStatus.ERROR, "an error")
        assert str(missing) in status.message
        assert "\n" not in status.message
        assert client.state() == "unconfigured"
        assert not client.change_state(Transition.TRANSITION_CONFIGURE)
        assert client.set_parameter("model_dir", str(bundle_dir)) == ""
        assert client.change_state(Transition.TRANSITION_CONFIGURE)
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait_connected()
        client.fix_of(image_message(textured_rgb(48, 64)))


@condition(Area.BUNDLES, "bundle with a damaged file", "the node waits unconfigured; the file is named", since=SINCE)
def test_a_hash_that_differs_is_named(bundle_dir, tmp_path):
    damaged = make_bundle(tmp_path / "damaged")
    member = sorted(damaged.glob("member-*.safetensors"))[0]
    content = bytearray(member.read_bytes())
    content[-1] ^= 1
    member.write_bytes(content)
    with RunningNode(model_dir=str(damaged)) as client:
        status = client.wait_status(lambda status: status.level == DiagnosticStatus.ERROR, "an error")
        assert member.name in status.message
        assert "SHA-256" in status.message
        assert client.state() == "unconfigured"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image_transport", "h264"),
        ("max_rate_hz", -1.0),
        ("max_rate_hz", "fast"),
        ("device", "tpu"),
        ("precision", "fp8"),
        ("frame_id", 7),
        ("altitude_m", math.inf),
        ("map_frame", ""),
        ("model_dir", ""),
        ("autostart", "often"),
        ("output", "both"),
        ("gps_fault_min_count", 2.5),
        ("min_brightness", math.inf),
    ],
)
def test_a_bad_parameter_keeps_the_node_up_and_is_named(name, value, bundle_dir):
    with RunningNode(**({"model_dir": str(bundle_dir)} | {name: value})) as client:
        status = client.wait_status(lambda status: status.level == DiagnosticStatus.ERROR, "an error")
        assert name in status.message
        assert "\n" not in status.message
        assert client.state() == "unconfigured"


def test_parameters_are_fixed_while_configured(active):
    assert "clean up first" in active.set_parameter("max_rate_hz", 3.0)
    assert active.set_parameter("use_sim_time", False) == ""


# Lifecycle


def test_without_autostart_the_node_waits_to_be_configured(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        status = client.wait_status(lambda status: True, "any")
        assert (status.level, status.message) == (DiagnosticStatus.WARN, "unconfigured: no fixes are published")
        assert client.state() == "unconfigured"
        assert client.change_state(Transition.TRANSITION_CONFIGURE)
        assert client.state() == "inactive"


def test_deactivation_frees_the_model_and_activation_brings_it_back(bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        client.fix_of(image_message(textured_rgb(48, 64)))
        model = weakref.ref(running.localizer.engine.model)
        assert client.change_state(Transition.TRANSITION_DEACTIVATE)

        def freed() -> bool:
            gc.collect()
            return model() is None

        client.wait(freed, "freed model")
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait_connected()
        client.fix_of(image_message(textured_rgb(48, 64)))
        assert client.change_state(Transition.TRANSITION_DEACTIVATE)
        assert client.change_state(Transition.TRANSITION_CLEANUP)
        assert client.state() == "unconfigured"


@condition(Area.NODE, "SIGTERM, or Ctrl-C twice", "ends with exit code 0 and no traceback", since=SINCE)
@pytest.mark.parametrize("signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_a_signal_ends_the_process_quietly(signals, bundle_dir):
    client = Client("/process")
    arguments = ["--ros-args", "-r", "__ns:=/process", "-p", f"model_dir:={bundle_dir}", "-p", "max_rate_hz:=0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "campus_visual_gps.ros.localizer_node", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        client.wait_connected()
        # larger than Fast DDS's shared memory segment (512 KiB), it is fragmented, and fragments may be lost
        client.fix_of(image_message(textured_rgb(180, 320)))
        client.publish(image_message(textured_rgb(180, 320)))  # is being processed when the signal comes
        for number in signals:
            process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
        client.close()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
