"""Snapshots of graphs for the tests of the doctor's checks: a healthy robot, and what differs from it."""

from dataclasses import replace

import numpy as np

from campus_visual_gps.gnss.receiver_fix import ReceiverFix
from campus_visual_gps.ros.doctor.findings import Finding, Level
from campus_visual_gps.ros.doctor.snapshot import (
    FIX_TYPE,
    IMU_TYPE,
    ODOMETRY_TYPE,
    Diagnostic,
    ImageContent,
    NodeInfo,
    OdometryContent,
    Sample,
    Snapshot,
    Topic,
)
from campus_visual_gps.ros.transform_tree import TransformTree
from campus_visual_gps.ros.transport_state import RAW_TYPE, Offer, TransportState

NOW_S = 1_800_000_000.0
CAMERA, GPS = "front_camera", "antenna"


def samples(make, frame_id="", offset_s=-0.1, count=10, rate_hz=10.0, **clock):
    """`count` messages whose stamps are `offset_s` ahead of the system's clock."""
    times_s = [NOW_S + index / rate_hz for index in range(count)]
    return [Sample(time_s + offset_s, time_s, frame_id=frame_id, content=make(), **clock) for time_s in times_s]


def fix(**changes):
    base = ReceiverFix(NOW_S, 0, 31.27, 34.8, 300.0, np.eye(3) * 4.0, 2)
    return lambda: base._replace(**changes)


def image(size_bytes=9216):
    return lambda: ImageContent(size_bytes, "64 x 48, rgb8")


def state(x_m=3.0, y_m=4.0, **changes):
    return lambda: OdometryContent(x_m, y_m, **changes)


def tree(*transforms):
    made = TransformTree()
    for parent, child in transforms:
        made.add(parent, child, None)
    return made


def healthy() -> Snapshot:
    """A robot with camera, receiver, wheels, both filters and all its frames."""
    localizer = NodeInfo(
        "/visual_gps",
        {"output": "fallback", "model_dir": "/bundle", "use_sim_time": False},
        "active",
        subscribed=(("/gps/fix", FIX_TYPE), ("/image", RAW_TYPE)),
        published=(("/fix", FIX_TYPE), ("/visual_gps/fix", FIX_TYPE)),
    )
    parameters = {"world_frame": "map", "map_frame": "map", "base_link_frame": "base_link", "frequency": 10.0}
    ekf = NodeInfo(
        "/ekf_map",
        parameters,
        subscribed=(("/imu/data", IMU_TYPE), ("/odom", ODOMETRY_TYPE), ("/odometry/gps", ODOMETRY_TYPE)),
        published=(("/odometry/global", ODOMETRY_TYPE),),
    )
    navsat = NodeInfo(
        "/navsat_transform",
        {"wait_for_datum": True, "datum": [31.26, 34.8, 0.0]},
        subscribed=(("/fix", FIX_TYPE), ("/odometry/global", ODOMETRY_TYPE)),
        published=(("/odometry/gps", ODOMETRY_TYPE),),
    )
    topics = [
        Topic("/image", RAW_TYPE, ("/camera",), samples(image(), CAMERA)),
        Topic("/gps/fix", FIX_TYPE, ("/driver",), samples(fix(), GPS)),
        Topic("/fix", FIX_TYPE, ("/visual_gps",), samples(fix(), GPS)),
        Topic("/visual_gps/fix", FIX_TYPE, ("/visual_gps",), samples(fix(), CAMERA, rate_hz=2.0)),
        Topic("/odom", ODOMETRY_TYPE, ("/wheels",), samples(state())),
        Topic("/imu/data", IMU_TYPE, ("/imu",), samples(lambda: None)),
        Topic("/odometry/gps", ODOMETRY_TYPE, ("/navsat_transform",), samples(state())),
        Topic("/odometry/global", ODOMETRY_TYPE, ("/ekf_map",), samples(state())),
    ]
    return Snapshot(
        seconds=6.0,
        localizers=("/visual_gps",),
        node_count=7,
        localizer=localizer,
        filters=(ekf,),
        navsats=(navsat,),
        topics={topic.name: topic for topic in topics},
        transports=(transport("/image"),),
        diagnostics={"visual_gps: localizer": Diagnostic("visual_gps: localizer", 0, "2 fixes since the last report")},
        tree=tree(("map", "odom"), ("odom", "base_link"), ("base_link", CAMERA), ("base_link", GPS)),
        parents={"odom": {"map"}, "base_link": {"odom"}, CAMERA: {"base_link"}, GPS: {"base_link"}},
        base_frame="base_link",
    )


def transport(topic: str, **changes) -> TransportState:
    """Raw images of one reliable camera."""
    offers = (Offer("/camera", RAW_TYPE, "reliable"),)
    return replace(TransportState(topic, RAW_TYPE, "reliable", "publishers", offers), **changes)


def with_samples(name: str, found, **changes) -> Snapshot:
    snapshot = healthy()
    topic = snapshot.topics[name]
    snapshot.topics[name] = replace(topic, samples=found, **changes)
    return snapshot


def with_parameters(which: str, **parameters) -> Snapshot:
    snapshot = healthy()
    node = getattr(snapshot, which)
    if isinstance(node, tuple):
        changed = (replace(node[0], parameters={**node[0].parameters, **parameters}),)
    else:
        changed = replace(node, parameters={**node.parameters, **parameters})
    return replace(snapshot, **{which: changed})


def the_problem(findings: list[Finding]) -> Finding:
    """The one finding that does not pass."""
    (found,) = [finding for finding in findings if finding.level is not Level.PASS]
    assert found.remedy and "\n" not in found.line()
    return found
