"""Which topics of a bag are used: those that were named, else those that fit."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from campus_visual_gps.errors import DatasetError
from training.replay.bags import IMAGES, NAVSATFIX, ODOMETRY, Bag

log = logging.getLogger(__name__)

COMPRESSED, COMPRESSED_DEPTH = "/compressed", "/compressedDepth"
# Video transports: an image needs those before it, so that they are no images by themselves. Type -> transport.
VIDEO = {
    "theora_image_transport/msg/Packet": "theora",
    "ffmpeg_image_transport_msgs/msg/FFMPEGPacket": "ffmpeg",
    "foxglove_msgs/msg/CompressedVideo": "foxglove",
    "h264_msgs/msg/Packet": "h264",
    "h264_image_transport/msg/H264Packet": "h264",
}


@dataclass(frozen=True)
class Topics:
    """Topics of the bag to use; None where it has only one that fits, or (gps, odometry) to do without.

    `images` is the camera that is scored, `further_images` are cameras that track with it.
    """

    recorded: str | None = None
    truth: str | None = None
    images: str | None = None
    gps: str | None = None
    odometry: str | None = None
    further_images: tuple[str, ...] = ()


def image_topic(bag: Bag, wanted: str | None) -> str:
    """The wanted topic, or the bag's only camera. Raises DatasetError.

    A raw topic and its /compressed one are the same images: the raw one is taken. Depth images are none of a camera.
    """
    topics = [topic for topic in _of_type(bag, *IMAGES) if not topic.endswith(COMPRESSED_DEPTH)]
    if wanted is None:
        cameras = [topic for topic in topics if not _is_copy(topic, topics)]
        if len(cameras) == 1:
            return cameras[0]
    else:
        found = _named(wanted, topics) or _named(wanted.rstrip("/") + COMPRESSED, topics)
        if found is not None:
            return found
    raise DatasetError(f"bag {bag.path}: {_no_image(bag, wanted, topics)}")


def further_image_topics(bag: Bag, first: str, wanted: tuple[str, ...]) -> list[str]:
    """The wanted topics beside the first. Raises DatasetError for one that is not there, or is named twice."""
    found = [first]
    for name in wanted:
        topic = image_topic(bag, name)
        if topic in found:
            raise DatasetError(f"bag {bag.path}: --images {name} is the same camera as one before it: {topic}")
        found.append(topic)
    return found[1:]


def truth_topic(bag: Bag, wanted: str | None) -> str:
    """The wanted topic, or the bag's only NavSatFix topic with "truth" in its name. Raises DatasetError."""
    topics = _of_type(bag, NAVSATFIX)
    named = [topic for topic in topics if "truth" in topic]
    if wanted is None and len(named) == 1:
        return named[0]
    return named_fix_topic(bag, wanted, "--truth")


def named_fix_topic(bag: Bag, wanted: str | None, option: str) -> str:
    """The wanted NavSatFix topic. Raises DatasetError, which lists those that the bag has."""
    topics = _of_type(bag, NAVSATFIX)
    found = _named(wanted, topics) if wanted is not None else None
    if found is not None:
        return found
    other = _other_type(bag, wanted, "sensor_msgs/NavSatFix")
    raise DatasetError(f"bag {bag.path}: {other}name the topic with {option}, one of: {', '.join(topics) or 'none'}")


def receiver_topic(bag: Bag, wanted: str | None, taken: set[str]) -> str | None:
    """The wanted NavSatFix topic; else one that is named gps/fix, or the only one that is not taken. May be None.

    Raises DatasetError for a wanted topic that is not there.
    """
    topics = _of_type(bag, NAVSATFIX)
    return _chosen(bag, wanted, topics, taken | _not_of_a_receiver(topics), "gps/fix", "--gps")


def odometry_topic(bag: Bag, wanted: str | None) -> str | None:
    """The wanted Odometry topic; else one that is named odom, or the only one. None where that is undecided."""
    topics = _of_type(bag, ODOMETRY)
    return _chosen(bag, wanted, topics, {topic for topic in topics if "truth" in topic}, "odom", "--odometry")


def _of_type(bag: Bag, *type_names: str) -> list[str]:
    return sorted(topic for topic, kind in bag.topics().items() if kind in type_names)


def _is_copy(topic: str, topics: list[str]) -> bool:
    """Whether it is the compressed copy of a raw topic."""
    return topic.endswith(COMPRESSED) and topic.removesuffix(COMPRESSED) in topics


def _named(wanted: str, topics: list[str]) -> str | None:
    """The topic with or without slashes at its ends; else the only one that ends so, in whichever namespace."""
    name = wanted.strip("/")
    exact = [topic for topic in topics if topic.strip("/") == name]
    if exact:
        return exact[0]
    inner = [topic for topic in topics if topic.endswith(f"/{name}")]
    return inner[0] if name and len(inner) == 1 else None


def _other_type(bag: Bag, wanted: str | None, expected: str) -> str:
    """That a wanted topic is there with another type; empty where it is not there."""
    found = None if wanted is None else _named(wanted, list(bag.topics()))
    return "" if found is None else f"{found} is of type {bag.topics()[found]}, expected {expected}; "


def _no_image(bag: Bag, wanted: str | None, topics: list[str]) -> str:
    video = {topic: VIDEO[kind] for topic, kind in bag.topics().items() if kind in VIDEO}
    of_wanted = {topic: name for topic, name in video.items() if wanted and wanted.strip("/") in topic}
    for topic, name in (of_wanted or ({} if topics else video)).items():
        raw = topic.rsplit("/", 1)[0] or topic
        return (
            f"{topic} is video ({bag.topics()[topic]}), which is not read; play the bag beside `ros2 run "
            f"image_transport republish --ros-args -p in_transport:={name} -p out_transport:=compressed "
            f"-r in/{name}:={topic} -r out/compressed:={raw}/compressed` and record that topic with the others"
        )
    other = "" if wanted in topics else _other_type(bag, wanted, "sensor_msgs/Image or CompressedImage")
    return f"{other}name one of its image topics with --images: {', '.join(topics) or 'none'}"


def _not_of_a_receiver(topics: list[str]) -> set[str]:
    """The localizer's fixes, the filter's, a truth."""
    return {topic for topic in topics if topic.endswith(("visual_gps/fix", "gps/filtered")) or "truth" in topic}


def _chosen(bag: Bag, wanted: str | None, topics: list[str], taken: set[str], name: str, option: str) -> str | None:
    if wanted is not None:
        found = _named(wanted, topics)
        if found is None:
            raise DatasetError(f"bag {bag.path}: {option} {wanted} is none of: {', '.join(topics) or 'none'}")
        return found
    free = [topic for topic in topics if topic not in taken]
    named = [topic for topic in free if topic.endswith(f"/{name}") or topic == name]
    if len(named) == 1 or len(free) == 1:
        return (named if len(named) == 1 else free)[0]
    if free:
        log.warning("%s: which of %s? name it with %s", bag.path, ", ".join(free), option)
    return None
