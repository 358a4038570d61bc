"""Starts the localizer: `ros2 launch campus_visual_gps localize.launch.py model_dir:=/path/to/bundle`."""

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
RESPAWN_DELAY_S = 0.5

ARGUMENTS = (
    DeclareLaunchArgument("model_dir", description="Directory of the model bundle."),
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([FindPackageShare(PACKAGE), "config", "localizer.yaml"]),
        description="Node parameters. The launch arguments override it, also with their default values: model_dir, "
        "image_transport, output, use_sim_time and autostart in it have no effect.",
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value="image",
        description="Topic of the raw images; for compressed images without the suffix /compressed.",
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
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its topics."),
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
    DeclareLaunchArgument("base_frame", default_value="base_link", description="Base frame of the robot."),
    DeclareLaunchArgument(
        "camera_frame", default_value="camera", description="The images' frame_id, for camera_xyz and camera_rpy."
    ),
    DeclareLaunchArgument(
        "camera_xyz",
        default_value="",
        description="Position of the camera in base_frame, 'forward left up' in metres; starts a static transform.",
    ),
    DeclareLaunchArgument(
        "camera_rpy", default_value="", description="Orientation of camera_frame, 'roll pitch yaw' in radians."
    ),
)


def generate_launch_description() -> LaunchDescription:
    """The node with its arguments and, if asked for, the static transform of the camera and the filters."""
    return LaunchDescription([*ARGUMENTS, OpaqueFunction(function=camera_transform), fusion(), localizer()])


def localizer() -> LifecycleNode:
    """The node `visual_gps`."""
    return LifecycleNode(
        package=PACKAGE,
        executable="localizer",
        name="visual_gps",
        namespace=LaunchConfiguration("namespace"),
        output="both",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                # otherwise a directory named 2025 would arrive as a number
                "model_dir": ParameterValue(LaunchConfiguration("model_dir"), value_type=str),
                "image_transport": ParameterValue(LaunchConfiguration("image_transport"), value_type=str),
                "output": ParameterValue(LaunchConfiguration("output"), value_type=str),
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
            },
        ],
        remappings=[("image", LaunchConfiguration("image_topic"))],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("respawn"),
        respawn_delay=RESPAWN_DELAY_S,
    )


def fusion() -> IncludeLaunchDescription:
    """fusion.launch.py, with the topic of the fixes that belongs to `output`."""
    fix_topic = PythonExpression(["'fix' if '", LaunchConfiguration("output"), "' == 'fallback' else 'visual_gps/fix'"])
    same = ("model_dir", "base_frame", "namespace", "use_sim_time", "log_level", "respawn")
    arguments = {name: LaunchConfiguration(name) for name in same} | {"fix_topic": fix_topic}
    path = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "fusion.launch.py"])
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path),
        launch_arguments=arguments.items(),
        condition=IfCondition(LaunchConfiguration("use_fusion")),
    )


def camera_transform(context: LaunchContext) -> list[Node]:
    """Static transform base_frame -> camera_frame, for a robot whose description lacks it; nothing unless asked for."""
    given = {name: LaunchConfiguration(name).perform(context) for name in ("camera_xyz", "camera_rpy")}
    if not any(given.values()):
        return []
    flags = []
    for (argument, text), names in zip(given.items(), (("x", "y", "z"), ("roll", "pitch", "yaw")), strict=True):
        for name, value in zip(names, three_numbers(argument, text or "0 0 0"), strict=True):
            flags += [f"--{name}", str(value)]
    frames = ["--frame-id", LaunchConfiguration("base_frame"), "--child-frame-id", LaunchConfiguration("camera_frame")]
    return [
        Node(
            package="tf2_ros",
            executable="static_transform_publisher",
            name="visual_gps_camera_transform",
            namespace=LaunchConfiguration("namespace"),
            arguments=[*flags, *frames],
        )
    ]


def three_numbers(argument: str, text: str) -> list[float]:
    """Three numbers that are separated by spaces or commas. Raises RuntimeError."""
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) != 3:
        raise RuntimeError(f"{argument}: expected three numbers such as '0.15 0 1.2', got {text!r}")
    return numbers
