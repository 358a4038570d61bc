"""Starts the localizer: `ros2 launch campus_visual_gps localize.launch.py model_dir:=/path/to/bundle`."""

import math
import time

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "campus_visual_gps"

# Short, because a filter has no fix meanwhile; long enough for a node that cannot start not to take a core.
RESPAWN_DELAY_S = 0.2
# The node waits up to 10 s for the image that it processes, or the model that it loads; launch would wait 5 s.
END_TIMEOUT_S = "12"

# Node parameters that an argument sets where it is given.
_GIVEN = ("gps_topic", "device", "max_rate_hz", "tracking", "odometry_topic", "image_topics")

ARGUMENTS = (
    DeclareLaunchArgument("model_dir", description="Directory of the model bundle."),
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([FindPackageShare(PACKAGE), "config", "localizer.yaml"]),
        description="Node parameters. The launch arguments override it, also with their default values: model_dir, "
        "image_transport, output, camera_frame, gps_frame, map_frame, use_sim_time and autostart in it have no effect; "
        "device, max_rate_hz, gps_topic, image_topics, tracking, odometry_topic, base_frame and world_frame have none "
        "where an argument sets them.",
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value="image",
        description="Topic of the raw images; for compressed images without the suffix /compressed.",
    ),
    DeclareLaunchArgument(
        "image_topics",
        default_value="",
        description="Topics of several cameras in the place of image_topic, 'front/image left/image'; empty: as "
        "params_file.",
    ),
    DeclareLaunchArgument(
        "image_transport", default_value="raw", choices=["raw", "compressed"], description="Transport of the images."
    ),
    DeclareLaunchArgument(
        "output",
        default_value="visual",
        choices=["visual", "fallback"],
        description="visual publishes visual_gps/fix; fallback also publishes fix: the receiver's messages while it is "
        "healthy, and the visual fixes otherwise.",
    ),
    DeclareLaunchArgument(
        "gps_topic", default_value="", description="The receiver's fixes, for output:=fallback; empty: as params_file."
    ),
    DeclareLaunchArgument(
        "max_rate_hz", default_value="", description="Maximum rate of the fixes in Hz; empty: as params_file."
    ),
    DeclareLaunchArgument(
        "tracking",
        default_value="",
        choices=["", "off", "random_walk", "odometry"],
        description="Joins images over time, by random walk or odometry (docs/tracking.md); empty: as params_file.",
    ),
    DeclareLaunchArgument(
        "odometry_topic",
        default_value="",
        description="nav_msgs/Odometry for tracking:=odometry; empty: as params_file.",
    ),
    DeclareLaunchArgument("device", default_value="", description="auto, cpu, cuda or cuda:N; empty: as params_file."),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its topics."),
    DeclareLaunchArgument(
        "tf_in_namespace",
        default_value="true",
        choices=["true", "false"],
        description="Whether transforms are on the namespace's tf and tf_static, as nav2 has them, or on /tf and "
        "/tf_static, where the frames of several robots need different names. Without a namespace both are the same.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
    DeclareLaunchArgument(
        "autostart", default_value="true", description="Configure and activate; false: left to a lifecycle manager."
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
    DeclareLaunchArgument(
        "respawn",
        default_value="true",
        choices=["true", "false"],
        description="Start the node, and the filters, again when they have ended.",
    ),
    DeclareLaunchArgument(
        "use_fusion",
        default_value="false",
        choices=["true", "false"],
        description="Also start fusion.launch.py; its other arguments (odom_topic, ...) can then be given here too.",
    ),
    DeclareLaunchArgument(
        "base_frame",
        default_value="base_link",
        description="Base frame of the robot. With use_fusion, camera_xyz or gps_xyz the localizer waits until TF "
        "connects the frames of the fixes with it, because a filter would put them at the origin.",
    ),
    DeclareLaunchArgument("odom_frame", default_value="odom", description="Frame of the odometry, for use_fusion."),
    DeclareLaunchArgument(
        "map_frame",
        default_value="map",
        description="Frame of the poses and of the fused position: x east, y north, origin at the bundle's.",
    ),
    DeclareLaunchArgument(
        "camera_frame",
        default_value="camera",
        description="The images' frame_id, for camera_xyz and camera_rpy, and for images that have none.",
    ),
    DeclareLaunchArgument(
        "camera_xyz",
        default_value="",
        description="Position of the camera in base_frame, 'forward left up' in metres; starts a static transform.",
    ),
    DeclareLaunchArgument(
        "camera_rpy", default_value="", description="Orientation of camera_frame, 'roll pitch yaw' in radians."
    ),
    DeclareLaunchArgument(
        "gps_frame",
        default_value="gps",
        description="The receiver's frame_id, for gps_xyz, and for a receiver that sends none.",
    ),
    DeclareLaunchArgument(
        "gps_xyz",
        default_value="",
        description="Position of the antenna in base_frame, 'forward left up' in metres; starts a static transform.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """The node with its arguments and, if asked for, the static transforms of the sensors and the filters."""
    functions = [OpaqueFunction(function=function) for function in (sensor_transforms, localizer)]
    return LaunchDescription([*ARGUMENTS, functions[0], fusion(), functions[1]])


def localizer(context: LaunchContext) -> list[LifecycleNode]:
    """The node `visual_gps`."""
    return [
        LifecycleNode(
            package=PACKAGE,
            executable="localizer",
            name="visual_gps",
            namespace=LaunchConfiguration("namespace"),
            output="both",
            parameters=[LaunchConfiguration("params_file"), {**fixed_parameters(), **given_parameters(context)}],
            remappings=[("image", LaunchConfiguration("image_topic")), *tf_remappings()],
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
            respawn=LaunchConfiguration("respawn"),
            respawn_delay=RESPAWN_DELAY_S,
            additional_env=filters_since(context),
            sigterm_timeout=LaunchConfiguration("sigterm_timeout", default=END_TIMEOUT_S),
        )
    ]


def filters_since(context: LaunchContext) -> dict[str, str]:
    """When the filters were started: a node that is started again need not wait for them (ros/filter_gate.py)."""
    if argument(context, "use_fusion") != "true":
        return {}
    return {"CAMPUS_VISUAL_GPS_FILTERS_SINCE_S": str(time.monotonic())}


def fixed_parameters() -> dict[str, ParameterValue]:
    """The node parameters that the arguments always set, also with their default values."""
    types = {
        # otherwise a directory named 2025 would arrive as a number
        **dict.fromkeys(("model_dir", "image_transport", "output", "camera_frame", "gps_frame", "map_frame"), str),
        **dict.fromkeys(("use_sim_time", "autostart"), bool),
    }
    return {name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, kind in types.items()}


def given_parameters(context: LaunchContext) -> dict[str, ParameterValue]:
    """The node parameters that only an argument that is given sets. Raises RuntimeError."""
    text = {name: argument(context, name) for name in _GIVEN}
    values: dict[str, str | float | list[str]] = {name: value for name, value in text.items() if value}
    if text["image_topics"]:
        values["image_topics"] = text["image_topics"].replace(",", " ").split()
    if text["max_rate_hz"]:
        values["max_rate_hz"] = numbers("max_rate_hz", text["max_rate_hz"], 1, "a number such as 2.0")[0]
    is_fused = argument(context, "use_fusion") == "true"
    if is_fused or any(argument(context, name) for name in ("camera_xyz", "camera_rpy", "gps_xyz")):
        values["base_frame"] = argument(context, "base_frame")
    if is_fused:
        values["world_frame"] = argument(context, "map_frame")
    types = {name: list[str] if isinstance(value, list) else type(value) for name, value in values.items()}
    return {name: ParameterValue(value, value_type=types[name]) for name, value in values.items()}


def fusion() -> IncludeLaunchDescription:
    """fusion.launch.py, with the topic of the fixes that belongs to `output`."""
    fix_topic = PythonExpression(["'fix' if '", LaunchConfiguration("output"), "' == 'fallback' else 'visual_gps/fix'"])
    frames = ("base_frame", "odom_frame", "map_frame")
    same = ("model_dir", *frames, "namespace", "tf_in_namespace", "use_sim_time", "log_level", "respawn")
    arguments = {name: LaunchConfiguration(name) for name in same} | {"fix_topic": fix_topic}
    path = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "fusion.launch.py"])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path),
        launch_arguments=arguments.items(),
        condition=IfCondition(LaunchConfiguration("use_fusion")),
    )


def sensor_transforms(context: LaunchContext) -> list[Node]:
    """Static transforms base_frame -> camera_frame and gps_frame, for a robot whose description lacks them."""
    return [*static_transform(context, "camera", "xyz", "rpy"), *static_transform(context, "gps", "xyz")]


def static_transform(context: LaunchContext, sensor: str, *arguments: str) -> list[Node]:
    """Static transform of a sensor; nothing unless one of its arguments is given. Raises RuntimeError."""
    given = {f"{sensor}_{name}": argument(context, f"{sensor}_{name}") for name in arguments}
    if not any(given.values()):
        return []
    flags = []
    for (name, text), axes in zip(given.items(), (("x", "y", "z"), ("roll", "pitch", "yaw")), strict=False):
        values = numbers(name, text or "0 0 0", 3, "three numbers such as '0.15 0 1.2'")
        flags += [word for axis, value in zip(axes, values, strict=True) for word in (f"--{axis}", str(value))]
    frames = {"--frame-id": "base_frame", "--child-frame-id": f"{sensor}_frame"}
    flags += [word for flag, name in frames.items() for word in (flag, argument(context, name))]
    return [
        Node(
            package="tf2_ros",
            executable="static_transform_publisher",
            name=f"visual_gps_{sensor}_transform",
            namespace=LaunchConfiguration("namespace"),
            arguments=flags,
            remappings=tf_remappings(),
        )
    ]


def tf_remappings() -> list[tuple]:
    """Of the absolute names that tf2 uses, in every node that hears or publishes transforms."""
    prefix = PythonExpression(["'' if '", LaunchConfiguration("tf_in_namespace"), "' == 'true' else '/'"])
    return [(f"/{name}", [prefix, name]) for name in ("tf", "tf_static")]


def argument(context: LaunchContext, name: str) -> str:
    """The text of a launch argument, empty where none is given."""
    return LaunchConfiguration(name).perform(context).strip()


def numbers(argument_name: str, text: str, count: int, expected: str) -> list[float]:
    """Finite numbers that are separated by spaces or commas. Raises RuntimeError."""
    try:
        values = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        values = []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise RuntimeError(f"{argument_name}: expected {expected}, got {text!r}")
    return values
