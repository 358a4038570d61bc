"""With output `fallback` a healthy receiver reaches the topic `fix` whatever becomes of the model, over DDS."""

import shutil
import threading
from pathlib import Path

import pytest
import torch
from compatibility import Area, condition
from diagnostic_msgs.msg import DiagnosticStatus
from helpers import make_bundle
from lifecycle_msgs.msg import Transition
from receiver_helpers import Receiver
from ros_helpers import RunningNode, values

from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.estimation.correlated_errors import DEFAULT_CORRELATION_TIME_S
from campus_visual_gps.ros import model_loader

pytestmark = pytest.mark.ros
SINCE = "2026-11-26"
FALLBACK = {"output": "fallback"}


def node_row(text: str, outcome: str):
    return condition(Area.NODE, text, outcome, since=SINCE)


def out_of_memory(settings, logger):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def is_unconfigured(status: DiagnosticStatus) -> bool:
    return status.level == DiagnosticStatus.ERROR and values(status)["state"] == "unconfigured"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(
            "missing", "no such", marks=node_row("output fallback, model_dir that does not exist", "receiver passes")
        ),
        pytest.param(
            "damaged", "member-42", marks=node_row("output fallback, bundle with a damaged file", "receiver passes")
        ),
        pytest.param(
            "memory", "out of memory", marks=node_row("output fallback, no memory for the model", "receiver passes")
        ),
        pytest.param(
            "parameter",
            "max_rate_hz",
            marks=node_row("output fallback, bad parameter of the camera", "receiver passes"),
        ),
    ],
)
def test_a_receiver_passes_although_the_model_cannot_be_loaded(fault, reason, bundle_dir, tmp_path, monkeypatch):
    model_dir, parameters = str(bundle_dir), {}
    if fault == "missing":
        model_dir = str(tmp_path / "no such")
    elif fault == "damaged":
        model_dir = str(shutil.copytree(bundle_dir, tmp_path / "bundle"))
        weights = Path(model_dir) / "member-42.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    elif fault == "memory":
        monkeypatch.setattr(model_loader, "load_localizer", out_of_memory)
    else:
        parameters = {"max_rate_hz": -1.0}
    with RunningNode(model_dir=model_dir, **FALLBACK, **parameters) as client:
        receiver = Receiver(client)
        client.wait_status(is_unconfigured, "an error")
        receiver.wait_passes("unconfigured after a failure")
        status = receiver.wait_source("receiver")
        assert status.level == DiagnosticStatus.OK
        assert "source of fix: receiver" in status.message
        assert "model not available: cannot configure: " in status.message and reason in status.message
        assert client.state() == "unconfigured"


@node_row("output fallback while the model is loaded", "receiver passes; visual fixes join when the node is active")
def test_a_receiver_passes_while_the_model_is_loaded_and_visual_fixes_join(tmp_path, monkeypatch):
    bundle_dir = make_bundle(tmp_path / "bundle", seeds=(42,), calibration=Calibration(5.0, correlation_time_s=7.5))
    load, may_load = model_loader.load_localizer, threading.Event()

    def slow(settings, logger):
        may_load.wait(60.0)
        return load(settings, logger)

    monkeypatch.setattr(model_loader, "load_localizer", slow)
    with RunningNode(model_dir=str(bundle_dir), **FALLBACK, gps_max_age_s=0.5, gps_startup_grace_s=0.5) as client:
        receiver = Receiver(client, altitude=0.0)
        receiver.wait_passes("configuring")
        assert client.state() == "configuring"
        # the bundle's altitude is not known yet
        assert receiver.fixes[-1].altitude == 0.0 and receiver.fixes[-1].position_covariance[8] == 100.0**2
        receiver.sends = False
        status = receiver.wait_source("none")
        assert status.level == DiagnosticStatus.ERROR and "loading the model" in status.message
        assert values(status)["visual_check.correlation_time_s"] == f"{DEFAULT_CORRELATION_TIME_S:g}"
        may_load.set()
        receiver.with_images = True
        receiver.wait_visual()
        receiver.sends = True
        receiver.wait(lambda: receiver.fixes[-1].header.frame_id != "front_camera", "receiver after the outage")
        assert receiver.fixes[-1].altitude == 300.0
        receiver.wait_status(lambda own: values(own)["visual_check.correlation_time_s"] == "7.5", "the bundle's time")


@node_row("output fallback, node unconfigured, inactive or cleaned up", "receiver passes until shutdown")
def test_a_receiver_passes_in_every_state_but_finalized(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), **FALLBACK, autostart=False) as client:
        receiver = Receiver(client)
        steps = {
            "unconfigured": None,
            "inactive": Transition.TRANSITION_CONFIGURE,
            "active": Transition.TRANSITION_ACTIVATE,
            "deactivated": Transition.TRANSITION_DEACTIVATE,
            "cleaned up": Transition.TRANSITION_CLEANUP,
        }
        for state, transition in steps.items():
            assert transition is None or client.change_state(transition)
            receiver.wait_passes(state)
        assert client.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        topic = f"{client.node.get_namespace()}/fix"
        client.wait(lambda: client.node.count_publishers(topic) == 0, "end of the topic fix")


@node_row("output fallback, deactivated in an outage", "source of fix: none, at once, with the reason")
def test_a_deactivation_in_an_outage_ends_the_visual_fixes_at_once(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), **FALLBACK, gps_startup_grace_s=0.2) as client:
        receiver = Receiver(client)
        receiver.sends, receiver.with_images = False, True
        receiver.wait_visual()
        assert receiver.wait_source("visual").level == DiagnosticStatus.WARN
        assert client.change_state(Transition.TRANSITION_DEACTIVATE)
        receiver.fixes.clear()
        status = receiver.wait_source("none")
        assert status.level == DiagnosticStatus.ERROR and "model not available: inactive" in status.message
        assert not receiver.fixes


@condition(
    Area.TRANSPORT, "output fallback, unstamped images, receiver lost", "source of fix: none; says so", since=SINCE
)
def test_unstamped_images_are_no_source(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), **FALLBACK, gps_max_age_s=0.5) as client:
        receiver = Receiver(client)
        receiver.with_images, receiver.image_stamp_s = True, 0.0
        receiver.wait_passes("active, with unstamped images")
        receiver.sends = False
        status = receiver.wait_status(lambda status: "their stamps are zero" in status.message, "unstamped images")
        receiver.wait_source("none")
        receiver.wait(lambda: len(receiver.statuses) >= 3, "diagnostics")
        assert {values(status)["source"] for status in receiver.statuses} == {"none"}
        assert "source of fix: visual" not in status.message


@condition(
    Area.RECEIVER, "receiver that starts later than the node", "waited for before the first visual fix", since=SINCE
)
def test_fix_does_not_begin_with_a_visual_fix_where_the_receiver_is_a_little_late(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), **FALLBACK, gps_startup_grace_s=600.0) as client:
        receiver = Receiver(client)
        receiver.sends, receiver.with_images = False, True
        receiver.wait(lambda: len(client.fixes) >= 3, "visual fixes")
        assert not receiver.fixes
        receiver.sends = True
        receiver.wait_passes("active")


@condition(Area.RECEIVER, "no receiver at all", "visual fixes, after gps_startup_grace_s", since=SINCE)
def test_without_any_receiver_fix_carries_visual_fixes_after_the_grace(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), **FALLBACK, gps_startup_grace_s=0.5) as client:
        receiver = Receiver(client)
        receiver.sends, receiver.with_images = False, True
        receiver.wait_visual()
        assert receiver.wait_source("visual").level == DiagnosticStatus.WARN


@node_row("output fallback, bad parameter of the receiver", "one line; nothing on fix until it is set and configured")
@pytest.mark.parametrize("name, value", [("gps_topic", ""), ("gps_max_age_s", -1.0), ("output", "falback")])
@pytest.mark.parametrize("autostart", [True, False])
def test_a_bad_parameter_of_the_fallback_is_named_and_can_be_set(name, value, autostart, bundle_dir):
    parameters = {**FALLBACK, name: value, "autostart": autostart}
    with RunningNode(model_dir=str(bundle_dir), **parameters) as client:
        receiver = Receiver(client)
        status = receiver.wait_source("none")
        assert status.level == DiagnosticStatus.ERROR
        assert status.message.startswith("nothing is published on fix: parameter ") and name in status.message
        good = {"gps_topic": "gps/fix", "gps_max_age_s": 2.0, "output": "fallback"}[name]
        client.wait(lambda: not client.set_parameter(name, good), "a parameter that can be set")
        assert client.change_state(Transition.TRANSITION_CONFIGURE)
        receiver.wait_passes("configured with a good value")


def test_with_output_visual_there_is_no_topic_fix(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        assert client.node.count_publishers(f"{client.node.get_namespace()}/fix") == 0
        assert client.node.count_subscribers(f"{client.node.get_namespace()}/gps/fix") == 0
