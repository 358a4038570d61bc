"""The tree of transforms connects the frames that tf2 connects."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campus_visual_gps.ros.transform_tree import TransformTree

IDENTITY = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def tree(*transforms: tuple[str, str, float | None]) -> TransformTree:
    made = TransformTree()
    for parent, child, stamp_s in transforms:
        made.add(parent, child, stamp_s, IDENTITY)
    return made


def test_frames_are_connected_over_any_number_of_transforms_in_both_directions():
    robot = tree(("map", "odom", 5.0), ("odom", "base", 5.0), ("base", "mast", None), ("mast", "gps", None))
    for one, other in (("gps", "base"), ("base", "gps"), ("map", "gps"), ("gps", "map"), ("mast", "mast")):
        assert robot.gap(one, other) == ""


def test_siblings_are_connected_through_their_parent():
    assert tree(("base", "camera", None), ("base", "gps", None)).gap("camera", "gps") == ""


def test_a_frame_that_no_transform_names_is_named():
    robot = tree(("base", "camera", None))
    assert robot.gap("gps", "base") == "no transform names 'gps'"
    assert robot.gap("camera", "base_link") == "no transform names 'base_link'"


def test_a_frame_with_a_name_in_tf_and_no_way_to_the_robot_is_not_connected():
    robot = tree(("base", "camera", None), ("gps_mount", "gps", None))
    assert robot.has("gps")
    assert robot.gap("gps", "base") == "they are in two trees, of 'gps_mount' and of 'base'"


def test_a_frame_is_connected_to_itself_also_without_any_transform():
    assert TransformTree().gap("base_link", "base_link") == ""


def test_the_leading_slash_of_ros_1_makes_no_difference():
    assert tree(("/base", "gps", None)).gap("/gps", "base") == ""


@pytest.mark.parametrize(
    ("map_stamps_s", "odom_stamps_s", "connected"),
    [((5.0,), (5.0,), True), ((5.0,), (4.9, 5.1), True), ((4.9,), (5.0, 5.1), False), ((1.0,), (20.0, 20.1), False)],
    ids=["one time", "between two", "before the first", "stale"],
)
def test_moving_transforms_need_a_time_at_which_all_are_known(map_stamps_s, odom_stamps_s, connected):
    robot = tree(*[("map", "odom", at) for at in map_stamps_s], *[("odom", "base", at) for at in odom_stamps_s])
    assert (robot.gap("base", "map") == "") == connected
    if not connected:
        assert robot.gap("base", "map") == "the transforms between them have no time in common"


def test_of_a_moving_transform_only_ten_seconds_are_kept():
    robot = tree(("odom", "base", 1.0), ("odom", "base", 30.0), ("map", "odom", 15.0))
    assert robot.gap("base", "map") != ""
    assert not robot.add("odom", "base", 19.0, IDENTITY)


def test_a_transform_is_new_when_it_gives_its_frame_another_parent():
    robot = TransformTree()
    moving = [("a", 1.0, True), ("a", 2.0, False), ("b", 3.0, True)]
    rows = [*moving, ("b", None, True), ("b", None, False), ("c", 4.0, True)]
    assert [robot.add(parent, "base", stamp_s, IDENTITY) for parent, stamp_s, _ in rows] == [new for *_, new in rows]


def test_a_frame_that_gets_another_parent_leaves_the_old_one():
    robot = tree(("odom", "base", 1.0), ("world", "base", 2.0))
    assert robot.gap("base", "world") == "" and robot.gap("base", "odom") != ""


def test_after_a_jump_of_time_only_static_transforms_count():
    robot = tree(("odom", "base", 50.0), ("base", "gps", None))
    robot.forget_dynamic()
    assert robot.gap("gps", "base") == "" and robot.gap("base", "odom") != ""
    assert robot.add("odom", "base", 1.0, IDENTITY)
    assert robot.gap("gps", "odom") == ""


def test_transforms_in_a_circle_do_not_hang():
    assert tree(("a", "b", None), ("b", "c", None), ("c", "a", None), ("d", "e", None)).gap("b", "e") != ""


@pytest.mark.parametrize(
    ("parent", "child", "numbers"),
    [
        ("base", "base", IDENTITY),
        ("base", "/base", IDENTITY),
        ("", "gps", IDENTITY),
        ("base", "", IDENTITY),
        ("base", "gps", (math.nan, *IDENTITY[1:])),
        ("base", "gps", (0.0,) * 7),
        ("base", "gps", (*IDENTITY[:6], 1.1)),
    ],
)
def test_what_tf2_ignores_connects_nothing(parent, child, numbers):
    robot = TransformTree()
    assert not robot.add(parent, child, None, numbers)
    assert not robot.has("gps")


names = st.sampled_from("abcdef")


@given(st.lists(st.tuples(names, names), max_size=12), names, names)
def test_connection_is_symmetric_and_static_transforms_follow_the_parents(rows, one, other):
    robot, parents = TransformTree(), {}
    for parent, child in rows:
        robot.add(parent, child, None, IDENTITY)
        if parent != child:
            parents[child] = parent
    assert (robot.gap(one, other) == "") == (robot.gap(other, one) == "")

    def ancestors(name: str) -> set[str]:
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            name = parents.get(name, name)
        return seen

    known = {*parents, *parents.values()}
    joined = one == other or ({one, other} <= known and bool(ancestors(one) & ancestors(other)))
    assert (robot.gap(one, other) == "") == joined
