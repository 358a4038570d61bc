"""Stand-ins for the executables of robot_localization and tf2_ros, which need not be installed, for launch tests.

They declare every parameter that they are given and subscribe as the real ones, and are inspected over DDS.
"""

import os
import sys
import textwrap
from pathlib import Path

from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from ros_helpers import Client

STAND_IN = f"#!{sys.executable}\n" + textwrap.dedent("""
    import sys
    import rclpy
    from nav_msgs.msg import Odometry
    from rclpy.executors import ExternalShutdownException
    from sensor_msgs.msg import Imu, NavSatFix

    SUBSCRIPTIONS = {
        "ekf_node": {"odom": Odometry, "imu": Imu},
        "navsat_transform_node": {"gps/fix": NavSatFix, "odometry/filtered": Odometry},
        "static_transform_publisher": {},
    }
    executable = sys.argv[0].rsplit("/", 1)[-1]
    rclpy.init()
    node = rclpy.create_node("stand_in", automatically_declare_parameters_from_overrides=True)
    node.declare_parameter("argv", sys.argv[1:])
    for topic, kind in SUBSCRIPTIONS[executable].items():
        node.create_subscription(kind, topic, print, 1)
    # the names that tf2 uses; the type is not looked at
    for topic in ("/tf", "/tf_static"):
        node.create_subscription(Odometry, topic, print, 1)
    if executable == "ekf_node":
        node.create_publisher(Odometry, "odometry/filtered", 1)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
""")
EXECUTABLES = {
    "robot_localization": ("ekf_node", "navsat_transform_node"),
    "tf2_ros": ("static_transform_publisher",),
}


def stand_ins(prefix: Path) -> Path:
    """An ament prefix with packages of stand-ins."""
    for package, executables in EXECUTABLES.items():
        marker = prefix / "share" / "ament_index" / "resource_index" / "packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
        for name in executables:
            path = prefix / "lib" / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(STAND_IN, encoding="utf-8")
            path.chmod(0o755)
    return prefix


def put_first(prefix: Path) -> None:
    """Let launch find the stand-ins before any installed package."""
    os.environ["AMENT_PREFIX_PATH"] = f"{stand_ins(prefix)}{os.pathsep}{os.environ['AMENT_PREFIX_PATH']}"


def parameters_of(client: Client, node: str, *names: str) -> list:
    """Values of parameters of a node of the client's namespace."""
    request = GetParameters.Request(names=list(names))
    service = client.node.create_client(GetParameters, f"{node}/get_parameters")
    client.wait(service.service_is_ready, f"parameters of {node}")
    future = service.call_async(request)
    client.wait(future.done, f"parameters of {node}")
    return [parameter_value_to_python(value) for value in future.result().values]


def wait_listening(client: Client, node: str, topic: str) -> None:
    """Wait until a node of the client's namespace subscribes to a topic."""
    own = client.node.get_namespace()

    def listens() -> bool:
        found = client.node.get_subscriptions_info_by_topic(topic)
        return any((item.node_namespace, item.node_name) == (own, node) for item in found)

    client.wait(listens, f"subscription of {node} to {topic}")
