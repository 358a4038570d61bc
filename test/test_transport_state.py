"""Why no images arrive is said in one line: what was expected, what came, and what to do."""

import pytest
from compatibility import Area, condition

from campus_visual_gps.ros.transport_state import (
    BEST_EFFORT,
    BY_OVERRIDE,
    BY_PARAMETER,
    BY_PUBLISHERS,
    COMPRESSED_TYPE,
    RAW_TYPE,
    RELIABLE,
    Offer,
    TransportState,
)

TODAY = "2026-11-26"
TOPIC = "/camera/image_raw"
PROBLEM = "ERROR: Best effort publisher and reliable subscription;"
GOOD, LOSSY = Offer("/driver", RAW_TYPE, RELIABLE), Offer("/driver", RAW_TYPE, BEST_EFFORT)
UNHEARD = LOSSY._replace(problem=PROBLEM)


def state(
    offers=(), topics=(), reliability=RELIABLE, by=BY_PUBLISHERS, topic=TOPIC, kind=RAW_TYPE, last_image=""
) -> TransportState:
    return TransportState(topic, kind, reliability, by, tuple(offers), tuple(topics), last_image)


def row(text: str, given: TransportState, *expected: str):
    mark = condition(Area.TRANSPORT, text, f"nothing arrives; log and diagnostics say {expected[-1]!r}", since=TODAY)
    return pytest.param(given, expected, marks=mark)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        row(
            "best-effort camera whose large images are lost",
            state([LOSSY], reliability=BEST_EFFORT, last_image="1920 x 1080, rgb8"),
            f"a publisher of 1920 x 1080 raw images (rgb8) is matched on {TOPIC} (offers best_effort",
            "nothing arrives; set the camera's driver to publish reliably, or image_transport to compressed",
        ),
        row(
            "image_reliability best_effort, reliable camera with large images",
            state([GOOD], reliability=BEST_EFFORT, by=BY_PARAMETER),
            "a publisher of raw images is matched",
            "set image_reliability to auto or reliable",
        ),
        row(
            "QoS override best_effort, reliable camera with large images",
            state([GOOD], reliability=BEST_EFFORT, by=BY_OVERRIDE),
            f"remove the override of the reliability of {TOPIC}",
        ),
        row(
            "reliable camera that sends nothing",
            state([GOOD]),
            "offers reliable; asked for reliable",
            "check that the camera sends images",
        ),
        row(
            "image_reliability reliable, best-effort camera",
            state([UNHEARD], by=BY_PARAMETER),
            f"the publisher /driver on {TOPIC} has an incompatible QoS",
            "set image_reliability to auto",
        ),
        row(
            "QoS override reliable, best-effort camera",
            state([UNHEARD], by=BY_OVERRIDE),
            "offers best_effort; asked for reliable",
            f"change qos_overrides.{TOPIC}.subscription.*",
        ),
        row(
            "QoS override transient_local, volatile camera",
            state([GOOD._replace(problem="ERROR: Volatile publisher and transient local subscription;")]),
            "transient local subscription",
            f"change qos_overrides.{TOPIC}.subscription.* or the publisher's QoS",
        ),
        row(
            "image_transport raw, topic with compressed images",
            state([Offer("/driver", COMPRESSED_TYPE, RELIABLE)], topic=f"{TOPIC}/compressed"),
            f"expected {RAW_TYPE} on {TOPIC}/compressed, its publisher /driver sends {COMPRESSED_TYPE}",
            f"set image_transport to compressed and remap image to {TOPIC}",
        ),
        row(
            "image_transport compressed, topic with raw images",
            state([GOOD], topic="/camera/compressed", kind=COMPRESSED_TYPE),
            "set image_transport to raw and remap image to /camera/compressed",
        ),
        row(
            "topic of another message type",
            state([Offer("/lidar", "sensor_msgs/msg/PointCloud2", RELIABLE)], [("/front/image", RAW_TYPE)]),
            "its publisher /lidar sends sensor_msgs/msg/PointCloud2",
            "remap image to the topic of the camera's images: /front/image",
        ),
        row(
            "image_transport raw, camera with compressed images only",
            state(topics=[(f"{TOPIC}/compressed", COMPRESSED_TYPE)]),
            f"no publisher of {RAW_TYPE} on {TOPIC}",
            "set image_transport to compressed",
        ),
        row(
            "image_transport compressed, camera with raw images only",
            state(topics=[(TOPIC, RAW_TYPE)], topic=f"{TOPIC}/compressed", kind=COMPRESSED_TYPE),
            "set image_transport to raw",
        ),
        row(
            "image remapped to the topic with the suffix /compressed",
            state(
                topics=[(f"{TOPIC}/compressed", COMPRESSED_TYPE)],
                topic=f"{TOPIC}/compressed/compressed",
                kind=COMPRESSED_TYPE,
            ),
            f"remap image to {TOPIC}: the node appends /compressed",
        ),
        row(
            "image not remapped, cameras on other topics",
            state(topics=[(f"/camera{number}/image", RAW_TYPE) for number in range(5)], topic="/image"),
            "/camera0/image, /camera1/image, /camera2/image and 2 more",
            "remap image to the camera's topic",
        ),
        row(
            "camera with another transport only (theora, ffmpeg)",
            state(topics=[(f"{TOPIC}/theora", "theora_image_transport/msg/Packet")]),
            f"republish {TOPIC}/theora",
        ),
        row("no camera at all", state(), "start the camera, or remap image to its topic"),
    ],
)
def test_the_cause_of_silence_and_the_remedy_are_one_line(given, expected):
    text = given.silence_cause()
    assert "\n" not in text
    for part in expected:
        assert part in text


def test_a_publisher_that_matches_goes_before_those_that_do_not():
    assert "is matched" in state([UNHEARD, GOOD], by=BY_PARAMETER).silence_cause()


def test_the_remedy_for_losses_of_mixed_publishers_is_at_the_cameras():
    mixed = state([LOSSY, GOOD], reliability=BEST_EFFORT)
    assert "set the camera's driver to publish reliably" in mixed.loss_remedy()
    assert "docs/camera.md" in mixed.loss_remedy()
