"""Fuses the fixes with odometry: `ros2 launch campus_visual_gps fusion.launch.py model_dir:=/path/to/bundle`.

It starts two EKFs and navsat_transform of robot_localization. The origin of `map` is the bundle's reference point. In
simulated time it also starts filter_reset, which resets the filters when time jumps back.
"""

import math
from pathlib import Path

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "campus_visual_gps"
# robot_localization measures yaw from east, and so does the bundle's local frame: x east, y north.
DATUM_YAW_RAD = 0.0
RESPAWN_DELAY_S = 0.2


def config_file(name: str) -> PathJoinSubstitution:
    """Path of an installed parameter file."""
    return PathJoinSubstitution([FindPackageShare(PACKAGE), "config", name])


ARGUMENTS = (
    DeclareLaunchArgument("model_dir", description="Model bundle, whose reference point is the origin of the map."),
    DeclareLaunchArgument(
        "datum",
        default_value="",
        description="Origin of the map, 'latitude longitude' in degrees, for filters without a bundle; empty: "
        "the bundle's.",
    ),
    DeclareLaunchArgument(
        "fix_topic",
        default_value="visual_gps/fix",
        description="Fixes to fuse: visual_gps/fix, or fix if the localizer runs with output:=fallback.",
    ),
    DeclareLaunchArgument("odom_topic", default_value="odom", description="nav_msgs/Odometry of the wheels."),
    DeclareLaunchArgument("imu_topic", default_value="imu/data", description="sensor_msgs/Imu; optional."),
    DeclareLaunchArgument("base_frame", default_value="base_link", description="Base frame of the robot."),
    DeclareLaunchArgument("odom_frame", default_value="odom", description="Frame of ekf_odom's estimate."),
    DeclareLaunchArgument(
        "map_frame", default_value="map", description="Frame of ekf_map's estimate: x east, y north, bundle's origin."
    ),
    DeclareLaunchArgument(
        "ekf_params_file", default_value=config_file("ekf.yaml"), description="Parameters of ekf_odom and ekf_map."
    ),
    DeclareLaunchArgument(
        "navsat_params_file",
        default_value=config_file("navsat_transform.yaml"),
        description="Parameters of navsat_transform.",
    ),
    DeclareLaunchArgument(
        "smooth_lagged_data",
        default_value="auto",
        choices=["auto", "true", "false"],
        description="Whether the filters return to the stamp of a late fix. auto: as ekf_params_file says, but false "
        "in simulated time, where it ends the filters of Kilted and Rolling (robot_localization 964).",
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the nodes and their topics."),
    DeclareLaunchArgument(
        "tf_in_namespace",
        default_value="true",
        choices=["true", "false"],
        description="Whether transforms are on the namespace's tf and tf_static, as nav2 has them, or on /tf and "
        "/tf_static, where the frames of several robots need different names. Without a namespace both are the same.",
    ),
    DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
    DeclareLaunchArgument(
        "respawn",
        default_value="true",
        choices=["true", "false"],
        description="Start the nodes again when they have ended.",
    ),
)


def generate_launch_description() -> LaunchDescription:
    """navsat_transform comes first, so that nothing is started without a datum."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=navsat), OpaqueFunction(function=filters), reset()])


def filters(context: LaunchContext) -> list[Node]:
    """The two filters, which publish odometry/local and odometry/global."""
    override = smoothing(
        LaunchConfiguration("smooth_lagged_data").perform(context), LaunchConfiguration("use_sim_time").perform(context)
    )
    return [ekf(f"ekf_{name}", scope, override) for name, scope in (("odom", "local"), ("map", "global"))]


def smoothing(asked: str, use_sim_time: str) -> dict[str, bool | float]:
    """Parameters of a filter that go before its file.

    Before the first measurement in simulated time, and after each reset, the filters of Kilted and Rolling subtract
    history_length from time 0, and end with an exception (robot_localization issues 954 and 964).
    """
    if asked == "true":
        return {"smooth_lagged_data": True}
    if asked == "false" or use_sim_time.strip().lower() in ("true", "1"):
        return {"smooth_lagged_data": False, "history_length": 0.0}
    return {}


def reset() -> Node:
    """The node that resets the filters when simulated time jumps back: their reset_on_time_jump does nothing."""
    return Node(
        package=PACKAGE,
        executable="filter_reset",
        name="filter_reset",
        namespace=LaunchConfiguration("namespace"),
        output="both",
        parameters=[{"use_sim_time": True, "services": ["ekf_odom/reset", "ekf_map/reset"]}],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        condition=IfCondition(LaunchConfiguration("use_sim_time")),
    )


def ekf(name: str, scope: str, override: dict[str, bool | float]) -> Node:
    """A filter that publishes odometry/local or odometry/global."""
    frames = {
        "base_link_frame": "base_frame",
        "odom_frame": "odom_frame",
        "map_frame": "map_frame",
        # the frame of this filter's estimate
        "world_frame": "odom_frame" if scope == "local" else "map_frame",
    }
    return node(
        "ekf_node",
        name,
        parameters=[
            LaunchConfiguration("ekf_params_file"),
            {
                **{
                    name: ParameterValue(LaunchConfiguration(argument), value_type=str)
                    for name, argument in frames.items()
                },
                **override,
            },
        ],
        remappings=[
            # otherwise both filters would offer one service
            ("reset", f"{name}/reset"),
            ("odom", LaunchConfiguration("odom_topic")),
            ("imu", LaunchConfiguration("imu_topic")),
            ("odometry/filtered", f"odometry/{scope}"),
        ],
    )


def navsat(context: LaunchContext) -> list[Node]:
    """navsat_transform with the bundle's datum. It takes the names of the map and base frames from odometry/global."""
    given = LaunchConfiguration("datum").perform(context)
    datum = parse_datum(given) if given else read_datum(Path(LaunchConfiguration("model_dir").perform(context)))
    return [
        node(
            "navsat_transform_node",
            "navsat_transform",
            parameters=[LaunchConfiguration("navsat_params_file"), {"datum": datum}],
            remappings=[("gps/fix", LaunchConfiguration("fix_topic")), ("odometry/filtered", "odometry/global")],
        )
    ]


def node(executable: str, name: str, parameters: list, remappings: list) -> Node:
    """A node of robot_localization."""
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    return Node(
        package="robot_localization",
        executable=executable,
        name=name,
        namespace=LaunchConfiguration("namespace"),
        output="both",
        parameters=[*parameters, {"use_sim_time": use_sim_time}],
        remappings=[*remappings, *tf_remappings()],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
    )


def tf_remappings() -> list[tuple]:
    """Of the absolute names that tf2 uses, in every node that hears or publishes transforms."""
    prefix = PythonExpression(["'' if '", LaunchConfiguration("tf_in_namespace"), "' == 'true' else '/'"])
    return [(f"/{name}", [prefix, name]) for name in ("tf", "tf_static")]


def parse_datum(text: str) -> list[float]:
    """[latitude, longitude, yaw] in degrees, degrees and radians, of the argument. Raises RuntimeError."""
    try:
        latitude_deg, longitude_deg = (float(word) for word in text.replace(",", " ").split())
    except ValueError:
        latitude_deg = longitude_deg = math.nan
    if not (abs(latitude_deg) <= 90.0 and abs(longitude_deg) <= 180.0):
        raise RuntimeError(f"datum: expected latitude and longitude in degrees such as '39.5 -3.0', got {text!r}")
    return [latitude_deg, longitude_deg, DATUM_YAW_RAD]


def read_datum(model_dir: Path) -> list[float]:
    """[latitude, longitude, yaw] in degrees, degrees and radians, from bundle.yaml.

    It is not read through campus_visual_gps.bundle, which imports torch: ros2 launch runs with the system's Python.

    Raises:
        RuntimeError: The file is missing, or not a bundle manifest.
    """
    manifest = model_dir.expanduser() / "bundle.yaml"
    try:
        frame = yaml.safe_load(manifest.read_text(encoding="utf-8"))["frame"]
        return [float(frame["latitude_ref_deg"]), float(frame["longitude_ref_deg"]), DATUM_YAW_RAD]
    except OSError as error:
        raise RuntimeError(
            f"no datum for navsat_transform: {manifest}: {error.strerror}; expected model_dir:= to name a model bundle "
            "or datum:='LATITUDE LONGITUDE'"
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise RuntimeError(
            f"no datum for navsat_transform: {manifest} is not a bundle manifest ({type(error).__name__}: {reason})"
        ) from error
