"""Start the localizer: `ros2 launch campus_visual_gps localize.launch.py model_dir:=/path/to/bundle`."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PACKAGE = "campus_visual_gps"

ARGUMENTS = (
    DeclareLaunchArgument("model_dir", description="Directory of the model bundle."),
    DeclareLaunchArgument(
        "params_file",
        default_value=PathJoinSubstitution([FindPackageShare(PACKAGE), "config", "localizer.yaml"]),
        description="Node parameters; the arguments here go before it.",
    ),
    DeclareLaunchArgument(
        "image_topic",
        default_value="image",
        description="Topic of the raw images; with compressed transport, without its ending /compressed.",
    ),
    DeclareLaunchArgument(
        "image_transport", default_value="raw", choices=["raw", "compressed"], description="How images are sent."
    ),
    DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its topics."),
    DeclareLaunchArgument("use_sim_time", default_value="false", description="Take the time from /clock."),
    DeclareLaunchArgument(
        "autostart", default_value="true", description="Configure and activate; false leaves it to a manager."
    ),
    DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal."),
)


def generate_launch_description() -> LaunchDescription:
    """The node with its arguments."""
    localizer = LifecycleNode(
        package=PACKAGE,
        executable="localizer",
        name="visual_gps",
        namespace=LaunchConfiguration("namespace"),
        output="both",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                # a directory named 2025 would else arrive as a number
                "model_dir": ParameterValue(LaunchConfiguration("model_dir"), value_type=str),
                "image_transport": ParameterValue(LaunchConfiguration("image_transport"), value_type=str),
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
                "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
            },
        ],
        remappings=[("image", LaunchConfiguration("image_topic"))],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    return LaunchDescription([*ARGUMENTS, localizer])
