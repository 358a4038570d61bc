"""What the launch files start with which parameters and remappings, without starting anything."""

from pathlib import Path

import pytest
import yaml
from helpers import make_bundle

pytest.importorskip("launch_testing", reason="launch_testing is not installed: it comes with a ROS distribution")

from launch import LaunchContext, LaunchDescriptionEntity
from launch_helpers import included
from launch_ros.actions import Node


def nodes_of(entity: LaunchDescriptionEntity, context: LaunchContext) -> list[Node]:
    """All nodes that an entity would start, each with its substitutions performed."""
    if isinstance(entity, Node):
        if entity.condition is not None and not entity.condition.evaluate(context):
            return []
        entity._perform_substitutions(context)
        return [entity]
    return [node for found in entity.visit(context) or () for node in nodes_of(found, context)]


def described(name: str, **arguments: str) -> dict[str, Node]:
    """Nodes of a launch file by name."""
    return {node.node_name.rsplit("/", 1)[-1]: node for node in nodes_of(included(name, **arguments), LaunchContext())}


def parameters(node: Node) -> dict[str, object]:
    """What the launch file sets itself, after the parameter file."""
    merged: dict[str, object] = {}
    for path, is_file in node._Node__expanded_parameter_arguments:
        if is_file and "launch_params" in str(path):
            for sections in yaml.safe_load(Path(path).read_text(encoding="utf-8")).values():
                merged.update(sections["ros__parameters"])
    return merged


def remappings(node: Node) -> dict[str, str]:
    return dict(node.expanded_remapping_rules or [])


def test_by_default_the_localizer_alone_is_started_and_waits_for_no_frame(tmp_path):
    nodes = described("localize.launch.py", model_dir=str(make_bundle(tmp_path / "bundle")))
    assert list(nodes) == ["visual_gps"]
    given = parameters(nodes["visual_gps"])
    # what the file may set
    assert not {"device", "max_rate_hz", "gps_topic", "base_frame", "world_frame", "tracking", "image_topics"} & set(
        given
    )
    assert (given["map_frame"], given["camera_frame"], given["gps_frame"]) == ("map", "camera", "gps")


def test_arguments_of_the_tracking_arrive_as_a_word_and_a_list_of_topics(tmp_path):
    arguments = {"tracking": "off", "odometry_topic": "/wheels", "image_topics": "front/image, left/image"}
    given = parameters(described("localize.launch.py", model_dir=str(tmp_path), **arguments)["visual_gps"])
    assert given["image_topics"] == ["front/image", "left/image"]
    assert (given["tracking"], given["odometry_topic"]) == ("off", "/wheels")


def test_arguments_that_are_given_go_before_the_parameter_file(tmp_path):
    arguments = {"gps_topic": "/ublox/fix", "max_rate_hz": "4", "device": "cpu", "map_frame": "site"}
    nodes = described("localize.launch.py", model_dir=str(tmp_path), **arguments)
    given = parameters(nodes["visual_gps"])
    assert {name: given[name] for name in arguments} == {**arguments, "max_rate_hz": 4.0}


def test_a_static_transform_makes_the_localizer_wait_for_the_robot_but_not_for_the_map(tmp_path):
    nodes = described("localize.launch.py", model_dir=str(tmp_path), gps_xyz="0.1 0 1", gps_frame="roof")
    assert list(nodes) == ["visual_gps_gps_transform", "visual_gps"]
    given = parameters(nodes["visual_gps"])
    assert given["base_frame"] == "base_link" and "world_frame" not in given and given["gps_frame"] == "roof"


def test_with_fusion_it_waits_for_the_map_and_all_nodes_agree_on_the_frames(tmp_path):
    frames = {"base_frame": "base", "odom_frame": "wheels", "map_frame": "site"}
    bundle = str(make_bundle(tmp_path / "bundle"))
    nodes = described("localize.launch.py", model_dir=bundle, use_fusion="true", **frames)
    given = parameters(nodes["visual_gps"])
    assert (given["base_frame"], given["world_frame"], given["map_frame"]) == ("base", "site", "site")
    for name, world in (("ekf_odom", "wheels"), ("ekf_map", "site")):
        names = ("base_link_frame", "odom_frame", "map_frame", "world_frame")
        assert [parameters(nodes[name])[key] for key in names] == ["base", "wheels", "site", world]


def test_in_a_namespace_every_node_has_the_transforms_of_its_robot(tmp_path):
    bundle = str(make_bundle(tmp_path / "bundle"))
    arguments = {"model_dir": bundle, "use_fusion": "true", "camera_xyz": "0 0 1", "gps_xyz": "0 0 1"}
    for in_namespace, prefix in (("true", ""), ("false", "/")):
        nodes = described("localize.launch.py", namespace="robot_a", tf_in_namespace=in_namespace, **arguments)
        assert len(nodes) == 6
        for node in nodes.values():
            assert node.node_name.startswith("/robot_a/")
            assert (remappings(node)["/tf"], remappings(node)["/tf_static"]) == (f"{prefix}tf", f"{prefix}tf_static")
