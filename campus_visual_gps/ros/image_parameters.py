"""The parameters of the model and of the images, which NodeParameters inherits. Without ROS."""

from __future__ import annotations

from dataclasses import dataclass

from campus_visual_gps.ros.parameter_spec import ParameterGroup, parameter

RAW, COMPRESSED = "raw", "compressed"
AUTO, RELIABLE, BEST_EFFORT = "auto", "reliable", "best_effort"

_NETWORKS = ParameterGroup(
    "Device (`auto`, `cpu`, `cuda`, `cuda:N`) and arithmetic (`auto`, `fp32`, `bf16`, `fp16`) of the networks"
)
_IMAGES = ParameterGroup(
    "Images: topics, transport (`raw`, `compressed`), reliability (`auto`, `reliable`, `best_effort`)"
)


@dataclass(frozen=True)
class ImageParameters:
    """What goes into the networks, and how they run."""

    model_dir: str = parameter("", "Directory of the model bundle.", required=True, in_file=False)
    device: str = parameter(
        "auto",
        "Device of the networks: auto, cpu, cuda or cuda:N.",
        group=_NETWORKS,
        comment="auto is the first GPU, or else the CPU.",
    )
    precision: str = parameter(
        "auto",
        "Arithmetic of the networks: auto, fp32, bf16 or fp16.",
        group=_NETWORKS,
        comment="auto is fp32 on a CPU, and bf16 or else fp16 on a GPU.",
    )
    num_threads: int = parameter(
        0,
        "CPU threads; 0: one, or more where measured to pay.",
        limits=(0, 1024),
        comment="More threads than one wait for each other when other processes use the cores: with 0 the node goes "
        "back to one while that is so. OpenCV and numpy always run on one.",
    )
    image_topics: tuple[str, ...] = parameter(
        ("image",),
        "Topics of the images, one for each camera.",
        required=True,
        group=_IMAGES,
        comment="For compressed images without the suffix /compressed. Tracking joins the images of several cameras; "
        "max_rate_hz holds for each, and each needs a frame_id of its own.",
    )
    image_transport: str = parameter(
        RAW,
        "Transport of the images: raw (topic image) or compressed (image/compressed).",
        choices=(RAW, COMPRESSED),
        group=_IMAGES,
        in_file=False,
    )
    image_reliability: str = parameter(
        AUTO,
        "Reliability of the subscription to the images; auto: as their publishers offer.",
        choices=(AUTO, RELIABLE, BEST_EFFORT),
        group=_IMAGES,
        comment="A best-effort subscription loses large images (docs/camera.md), and a reliable one hears no "
        "best-effort publisher. An override of the subscription's QoS goes before this parameter.",
    )
    max_rate_hz: float = parameter(
        2.0,
        "Maximum rate per camera, by stamps; 0: no limit.",
        unit="Hz",
        limits=(0.0, 1000.0),
        comment="More fixes tell a filter hardly more, because the errors of consecutive images are correlated (see "
        "correlated_errors). Without a limit the node processes as many images as the computer can.",
    )
    max_age_s: float = parameter(
        0.0,
        "Older images are dropped; 0: no limit.",
        unit="s",
        limits=(0.0, 3600.0),
        comment="The age is measured in ROS time. Off by default, because the images of a bag that is played without "
        "/clock are as old as the bag.",
    )
