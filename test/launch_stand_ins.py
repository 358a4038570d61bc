"""Stand-ins for the executables of robot_localization and tf2_ros, which need not be installed, for launch tests.

Their nodes are those of stand_in_nodes. They are inspected over DDS.
"""

import os
import sys
import textwrap
from pathlib import Path

from helpers import ROOT
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from ros_helpers import Client

STAND_IN = f"#!{sys.executable}\n" + textwrap.dedent(f"""
    import sys

    sys.path[:0] = {[str(ROOT / "test"), str(ROOT)]}
    from stand_in_nodes import main

    main()
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
