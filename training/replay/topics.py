"""Which topics of a bag are used: those that were named, else those that fit."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from campus_visual_gps.errors import DatasetError
from training.replay.bags import IMAGES, NAVSATFIX, ODOMETRY, Bag

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topics:
    """Topics of the bag to use; None where it has only one that fits, or (gps, odometry) to do without."""

    recorded: str | None = None
    truth: str | None = None
    images: str | None = None
    gps: str | None = None
    odometry: str | None = None


def image_topic(bag: Bag, wanted: str | None) -> str:
    """The wanted topic, or the bag's only image topic. Raises DatasetError."""
    topics = _of_type(bag, *IMAGES)
    if wanted is None and len(topics) == 1:
        return topics[0]
    if wanted is not None and wanted in topics:
        return wanted
    raise DatasetError(f"bag {bag.path}: name one of its image topics with --images: {', '.join(topics) or 'none'}")


def truth_topic(bag: Bag, wanted: str | None) -> str:
    """The wanted topic, or the bag's only NavSatFix topic with "truth" in its name. Raises DatasetError."""
    topics = _of_type(bag, NAVSATFIX)
    named = [topic for topic in topics if "truth" in topic]
    if wanted is None and len(named) == 1:
        return named[0]
    if wanted is not None and wanted in topics:
        return wanted
    raise DatasetError(f"bag {bag.path}: name the truth with --truth, one of: {', '.join(topics) or 'none'}")


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


def _not_of_a_receiver(topics: list[str]) -> set[str]:
    """The localizer's fixes, the filter's, a truth."""
    return {topic for topic in topics if topic.endswith(("visual_gps/fix", "gps/filtered")) or "truth" in topic}


def _chosen(bag: Bag, wanted: str | None, topics: list[str], taken: set[str], name: str, option: str) -> str | None:
    if wanted is not None:
        if wanted not in topics:
            raise DatasetError(f"bag {bag.path}: {option} {wanted} is none of: {', '.join(topics) or 'none'}")
        return wanted
    free = [topic for topic in topics if topic not in taken]
    named = [topic for topic in free if topic.endswith(f"/{name}") or topic == name]
    if len(named) == 1 or len(free) == 1:
        return (named if len(named) == 1 else free)[0]
    if free:
        log.warning("%s: which of %s? name it with %s", bag.path, ", ".join(free), option)
    return None
