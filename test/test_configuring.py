"""While a transition loads the model, the node answers its services, publishes diagnostics and can be ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from compatibility import Area, condition
from diagnostic_msgs.msg import DiagnosticStatus
from helpers import ROOT, textured_rgb
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState
from rcl_interfaces.srv import GetParameters
from ros_helpers import TIMEOUT_S, Client, RunningNode, image_message
from std_srvs.srv import SetBool

from campus_visual_gps.errors import BundleError
from campus_visual_gps.ros import model_loader

pytestmark = pytest.mark.ros
LOAD_S = 3.0
ANSWER_S = 0.5
SINCE = "2026-11-26"


def node_row(text: str, outcome: str):
    return condition(Area.NODE, text, outcome, since=SINCE)


@pytest.fixture
def slow_load(monkeypatch):
    """Loading takes LOAD_S longer than it does."""
    load = model_loader.load_localizer

    def slow(settings, logger):
        time.sleep(LOAD_S)
        return load(settings, logger)

    monkeypatch.setattr(model_loader, "load_localizer", slow)


class Asking:
    """A request that is under way: the answer, when it has come."""

    def __init__(self, client: Client, kind: type, name: str, request):
        self._client = client
        self._service = client.node.create_client(kind, f"visual_gps/{name}")
        client.wait(self._service.service_is_ready, f"service {name}")
        self._future = self._service.call_async(request)

    def done(self) -> bool:
        return self._future.done()

    def answer(self):
        self._client.wait(self.done, "an answer")
        self._client.node.destroy_client(self._service)
        return self._future.result()


def changing(client: Client, transition: int = 0, label: str = "") -> Asking:
    request = ChangeState.Request(transition=Transition(id=transition, label=label))
    return Asking(client, ChangeState, "change_state", request)


def answer_times_s(client: Client, until: Asking) -> tuple[list[float], set[str]]:
    """Time of each answer of get_state while another request is under way, and the states."""
    get_state = client.node.create_client(GetState, "visual_gps/get_state")
    client.wait(get_state.service_is_ready, "service get_state")
    times_s, states = [], set()
    while not until.done():
        start_s = time.monotonic()
        future = get_state.call_async(GetState.Request())
        client.wait(future.done, "answer of get_state")
        if not until.done():
            times_s.append(time.monotonic() - start_s)
            states.add(future.result().current_state.label)
        time.sleep(0.05)
    return times_s, states


@node_row("get_state while the model is loaded (configure)", "answered within half a second: configuring")
@pytest.mark.usefixtures("slow_load")
def test_get_state_is_answered_while_configuring(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        configuring = changing(client, Transition.TRANSITION_CONFIGURE)
        times_s, states = answer_times_s(client, configuring)
        assert configuring.answer().success
        assert len(times_s) >= 10 and max(times_s) < LOAD_S / 2 and sorted(times_s)[len(times_s) // 2] < ANSWER_S
        assert states <= {"unconfigured", "configuring"} and "configuring" in states
        assert client.state() == "inactive"


@node_row("get_state while the model is loaded again (activate)", "answered within half a second: activating")
@pytest.mark.usefixtures("slow_load")
def test_get_state_is_answered_while_activating_loads_the_model_again(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        assert client.change_state(Transition.TRANSITION_DEACTIVATE)
        activating = changing(client, label="activate")
        times_s, states = answer_times_s(client, activating)
        assert activating.answer().success
        assert len(times_s) >= 10 and sorted(times_s)[len(times_s) // 2] < ANSWER_S
        assert "activating" in states
        client.wait_connected()
        client.fix_of(image_message(textured_rgb(48, 64)))


@node_row("parameters, diagnostics and ~/enable while the model is loaded", "answered; own parameters are fixed")
@pytest.mark.usefixtures("slow_load")
def test_parameters_diagnostics_and_enable_work_while_configuring(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        configuring = changing(client, Transition.TRANSITION_CONFIGURE)
        client.wait(lambda: client.state() == "configuring", "state configuring")
        assert client.call(SetBool, "enable", SetBool.Request(data=False)).message == "disabled, node is configuring"
        assert client.call(GetParameters, "get_parameters", GetParameters.Request(names=["max_rate_hz"])).values
        assert "read when the node is configured" in client.set_parameter("max_rate_hz", 3.0)
        available = client.call(GetAvailableTransitions, "get_available_transitions", GetAvailableTransitions.Request())
        assert available.available_transitions
        status = client.wait_status(lambda status: "loading the model" in status.message, "loading the model")
        assert status.level == DiagnosticStatus.WARN and status.message.startswith("configuring: ")
        assert not configuring.done()
        assert configuring.answer().success
        assert client.change_state(Transition.TRANSITION_ACTIVATE)
        client.wait_status(lambda status: "disabled by ~/enable" in status.message, "disabled")


@node_row("change_state while the model is loaded", "rejected at once; the first request goes on")
@pytest.mark.usefixtures("slow_load")
def test_a_second_transition_is_rejected_while_the_first_is_under_way(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        configuring = changing(client, Transition.TRANSITION_CONFIGURE)
        client.wait(lambda: client.state() == "configuring", "state configuring")
        for transition in (
            Transition.TRANSITION_CONFIGURE,
            Transition.TRANSITION_CLEANUP,
            Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
            Transition.TRANSITION_ON_CONFIGURE_SUCCESS,
        ):
            assert not client.change_state(transition)
        assert not configuring.done()
        assert configuring.answer().success
        assert client.state() == "inactive"


@node_row("a transition that the state does not have", "rejected; the node stays as it is")
def test_a_transition_that_the_state_does_not_have_is_rejected(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        for transition in (Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_CLEANUP, 99):
            assert not client.change_state(transition)
        assert client.state() == "unconfigured"
        assert client.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
        assert client.call(GetState, "get_state", GetState.Request()).current_state.id == State.PRIMARY_STATE_FINALIZED


@node_row("a bundle that turns out to be bad while it is loaded", "configure fails with the reason")
def test_a_failure_on_the_thread_is_a_failure_of_configure_with_its_reason(monkeypatch, bundle_dir):
    def bad(settings, logger):
        time.sleep(0.5)
        raise BundleError("expected 2 members, got 1")

    with monkeypatch.context() as patched, RunningNode(model_dir=str(bundle_dir), autostart=False) as client:
        patched.setattr(model_loader, "load_localizer", bad)
        assert not client.change_state(Transition.TRANSITION_CONFIGURE)
        assert client.state() == "unconfigured"
        status = client.wait_status(lambda status: status.level == DiagnosticStatus.ERROR, "an error")
        assert status.message == "cannot configure: expected 2 members, got 1"
        patched.undo()
        assert client.change_state(Transition.TRANSITION_CONFIGURE)


# Loading takes its time without loading anything: importing torch is slow, and the tests of localizer_node do it.
SLOW_NODE = f"""
import time
from campus_visual_gps.ros import localizer_node, model_loader
model_loader.load_localizer = lambda settings, logger: time.sleep({LOAD_S})
localizer_node.main()
"""


@contextmanager
def node_process(namespace: str, bundle_dir: Path, *code: str) -> Iterator[tuple[subprocess.Popen, Client]]:
    """A node in a process of its own, started as `python *code`, and a client."""
    client = Client(namespace)
    arguments = ["--ros-args", "-r", f"__ns:={namespace}", "-p", f"model_dir:={bundle_dir}"]
    process = subprocess.Popen(
        [sys.executable, *code, *arguments, "-p", "autostart:=false"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, client
    finally:
        process.kill()
        process.communicate()
        client.close()


@node_row("Ctrl-C while the model is loaded", "ends quietly when loading has ended, 10 s at most")
@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM]])
def test_a_signal_while_configuring_ends_the_process_quietly(signals, bundle_dir):
    with node_process("/ended", bundle_dir, "-c", SLOW_NODE) as (process, client):
        changing(client, Transition.TRANSITION_CONFIGURE)
        client.wait_status(lambda status: "loading the model" in status.message, "loading the model")
        for number in signals:
            process.send_signal(number)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors and "Exception" not in errors


@pytest.mark.slow
def test_a_process_that_imports_torch_and_loads_a_real_bundle_answers_meanwhile():
    node = ("-m", "campus_visual_gps.ros.localizer_node")
    with node_process("/real", ROOT / "sample" / "bundle", *node) as (_, client):
        configuring = changing(client, Transition.TRANSITION_CONFIGURE)
        times_s, states = answer_times_s(client, configuring)
        assert configuring.answer().success
        assert len(times_s) >= 10 and sorted(times_s)[len(times_s) * 9 // 10] < ANSWER_S
        assert "configuring" in states
