"""How the node treats time, and what it does during inference, over DDS."""

import threading
import time

import pytest
from compatibility import Area, condition
from diagnostic_msgs.msg import DiagnosticStatus
from helpers import textured_rgb
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import GetState
from ros_helpers import TIMEOUT_S, Client, RunningNode, image_message, to_seconds, to_stamp, values
from rosgraph_msgs.msg import Clock
from std_srvs.srv import SetBool

pytestmark = pytest.mark.ros


def picture(stamp_s: float = 0.0):
    return image_message(textured_rgb(48, 64), stamp_s)


class Hold:
    """Blocks the inference of a node, as a slow model does, until `go_on` is set."""

    def __init__(self, running: RunningNode):
        self.entered, self.go_on = threading.Event(), threading.Event()
        localizer = running.localizer
        self._localize = localizer.localize
        localizer.localize = self

    def __call__(self, rgb, **options):
        self.entered.set()
        assert self.go_on.wait(TIMEOUT_S)
        return self._localize(rgb, **options)


def start_inference(client: Client, hold: Hold) -> None:
    def sent() -> bool:
        client.publish(picture())
        return hold.entered.is_set()

    client.wait(sent, "start of the inference")


@condition(Area.NODE, "service call or transition during an inference", "answered at once", since="2026-11-22")
def test_services_and_transitions_are_answered_during_inference(bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        hold = Hold(running)
        start_inference(client, hold)
        service = client.node.create_client(GetState, "visual_gps/get_state")
        client.wait(service.service_is_ready, "service")
        for _ in range(20):
            future = service.call_async(GetState.Request())
            client.wait(future.done, "answer")
        # a node that waited for its inference would not have answered, because the inference is still blocked
        assert client.change_state(Transition.TRANSITION_DEACTIVATE)
        assert not hold.go_on.is_set()
        hold.go_on.set()


@condition(Area.NODE, "~/enable false and true", "images are ignored, the model stays loaded", since="2026-11-22")
def test_enable_stops_and_resumes_the_fixes(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir)) as client:
        client.wait_connected()
        client.fix_of(picture())
        answer = client.call(SetBool, "enable", SetBool.Request(data=False))
        assert (answer.success, answer.message) == (True, "disabled, node is active")
        client.fixes.clear()
        status = client.send_until_status(picture, lambda item: "disabled" in item.message, "the node disabled")
        assert (status.level, client.fixes) == (DiagnosticStatus.WARN, [])
        assert client.call(SetBool, "enable", SetBool.Request(data=True)).success
        client.fix_of(picture())


def test_images_too_old_or_from_the_future_are_dropped_with_a_name(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), max_age_s=5.0) as client:
        client.wait_connected()
        client.fix_of(picture())
        for shift_s, name in ((-30.0, "too_old"), (30.0, "from_future")):
            client.send_until_status(
                lambda shift_s=shift_s: picture(time.time() + shift_s),
                lambda item, name=name: f"dropped.{name}" in values(item) and name in item.message,
                name,
            )
            client.fix_of(picture())


@condition(Area.NODE, "simulated time, also if it starts over", "followed", since="2026-11-22")
def test_simulated_time_is_followed_and_may_start_over(bundle_dir):
    with RunningNode(model_dir=str(bundle_dir), use_sim_time=True, max_age_s=2.0) as client:
        clock = client.node.create_publisher(Clock, "/clock", 10)
        client.wait_connected()
        client.wait(lambda: clock.get_subscription_count() > 0, "subscription to /clock")
        for times_s in ((500.0, 501.0), (20.0, 21.0)):
            for now_s in times_s:
                client.fixes.clear()

                def fixed(now_s: float = now_s) -> bool:
                    clock.publish(Clock(clock=to_stamp(now_s)))
                    client.publish(picture(now_s - 0.1))
                    return bool(client.fixes)

                client.wait(fixed, f"fix at {now_s} s of simulated time")
                assert to_seconds(client.fixes[0].header.stamp) == pytest.approx(now_s - 0.1)


@condition(Area.NODE, "image from before a jump back of the clock", "dropped as before_time_jump", since="2026-11-22")
def test_an_image_from_before_a_jump_back_in_time_gives_no_fix(bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        client.fix_of(picture())
        client.fixes.clear()
        hold = Hold(running)
        start_inference(client, hold)
        running.node._on_time_jump(None)
        hold.go_on.set()
        client.wait_status(lambda item: "dropped.before_time_jump" in values(item), "the dropped result")
        client.fix_of(picture())


def test_during_inference_only_the_newest_image_waits_and_the_overwritten_ones_are_counted(bundle_dir):
    running = RunningNode(model_dir=str(bundle_dir))
    with running as client:
        client.wait_connected()
        hold = Hold(running)
        sent_s: list[float] = []

        def send():
            message = picture(time.time())
            sent_s.append(to_seconds(message.header.stamp))
            return message

        client.send_until_status(
            send, lambda item: int(values(item).get("overwritten", 0)) >= 5, "five overwritten images"
        )
        assert hold.entered.is_set() and client.fixes == []
        hold.go_on.set()

        def all_counted(item) -> bool:
            images, fixes, overwritten = (int(values(item)[name]) for name in ("images", "fixes", "overwritten"))
            return fixes > 0 and images == fixes + overwritten

        overwritten = int(values(client.wait_status(all_counted, "every image counted"))["overwritten"])
        client.wait(lambda: len(client.fixes) >= 2, "fixes of the first and of the newest image")
        first_s, newest_s = (to_seconds(fix.header.stamp) for fix in client.fixes)
        # between the image of the blocked inference and the newest one lie all that were overwritten
        assert sum(first_s < stamp < newest_s for stamp in sent_s) >= overwritten
