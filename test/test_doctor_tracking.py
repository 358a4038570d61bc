"""Checks of the doctor on tracking: its odometry, and what a filter reads of it."""

import math
from dataclasses import replace

import pytest
from doctor_graph import healthy, samples, state, the_problem

from campus_visual_gps.ros.doctor.findings import Level
from campus_visual_gps.ros.doctor.snapshot import FIX_TYPE, ODOMETRY_TYPE, Topic
from campus_visual_gps.ros.doctor.tracking_checks import check_tracking


def tracking(topic: Topic, **parameters):
    """A robot that tracks by the odometry of a topic."""
    snapshot = healthy()
    node = snapshot.localizer
    snapshot.localizer = replace(
        node,
        parameters={**node.parameters, "tracking": "odometry", **parameters},
        subscribed=(*node.subscribed, (topic.name, ODOMETRY_TYPE)),
    )
    snapshot.topics[topic.name] = topic
    return snapshot


def odometry(found=(), publishers=("/wheels",)) -> Topic:
    return Topic("/wheel_odom", ODOMETRY_TYPE, publishers, list(found))


def test_without_tracking_there_is_nothing_to_say_and_good_odometry_passes():
    assert check_tracking(healthy()) == []
    (found,) = check_tracking(tracking(odometry(samples(state()))))
    assert (found.level, found.message) == (Level.PASS, "odometry on /wheel_odom, 10.0 Hz")


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        (odometry(publishers=()), "nobody publishes /wheel_odom: it walks at random meanwhile; set odometry_topic"),
        (odometry(), "no message on /wheel_odom in 6.0 s: it walks at random meanwhile"),
        (odometry(samples(state(math.nan, is_finite=False))), "10 of 10 messages on /wheel_odom are not finite"),
    ],
)
def test_odometry_that_does_not_come_or_is_none_is_a_warning(topic, text):
    found = the_problem(check_tracking(tracking(topic)))
    assert found.level is Level.WARN and text in found.line()


def test_a_filter_that_takes_tracked_fixes_as_independent_is_a_warning():
    snapshot = tracking(odometry(samples(state())), correlated_errors="ignore")
    navsat = replace(snapshot.navsats[0], subscribed=(("/visual_gps/tracked_fix", FIX_TYPE),))
    snapshot.navsats = (navsat,)
    assert "set correlated_errors to inflate" in the_problem(check_tracking(snapshot)).line()
