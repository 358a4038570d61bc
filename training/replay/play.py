"""Publishes a bag over DDS where `ros2 bag` is missing, and records what nodes answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from campus_visual_gps.errors import ConfigError, DatasetError
from training.replay.bags import BagMessage, open_bag, write_bag

log = logging.getLogger(__name__)


def play(
    bag_dir: Path,
    rate: float = 1.0,
    loop: bool = False,
    clock: bool = False,
    wait_for: tuple[str, ...] = (),
    record: dict[str, str] | None = None,
    record_dir: Path | None = None,
) -> int:
    """Publish a bag's messages in their own rhythm times `rate`; return how many were published.

    `wait_for` names topics of the bag that must have a subscriber before the first message; `clock` publishes
    /clock from the bag's times; `record` maps topics to message types, whose messages are written, together with
    the bag's own, to `record_dir`. Raises ConfigError without ROS, DatasetError for a bad bag.
    """
    try:
        from campus_visual_gps.ros.tools.bag_player import BagPlayer
    except ImportError as error:
        raise ConfigError(f"playing over DDS needs rclpy ({error}); pip install '.[ros]' or source ROS") from error
    if not 0.01 <= rate <= 100.0:
        raise ConfigError(f"rate {rate} is outside 0.01..100")
    with open_bag(bag_dir) as bag:
        topics = bag.topics()
        unknown = sorted(set(wait_for) - set(topics))
        if unknown:
            raise DatasetError(f"bag {bag_dir} has no topic {', '.join(unknown)}; it has {', '.join(sorted(topics))}")
        player = BagPlayer(topics, record or {}, rate=rate, clock=clock, latched=bag.latched())
        for topic, reason in player.unplayed.items():
            log.warning("%s is not played: %s", topic, reason)
        try:
            player.wait_for_subscribers(wait_for)
            count = player.publish(bag.of_type())
            if player.running and not count:
                raise DatasetError(f"bag {bag_dir} has no message that can be played, on {len(topics)} topics")
            while loop and player.running:
                count += player.publish(bag.of_type())
            recorded = player.finish()
        finally:
            player.close()
        if record_dir is not None:
            answers = [BagMessage(*message) for message in recorded]
            write_bag(record_dir, _merged(bag.messages(), answers), bag.qos(), definitions=bag.definitions())
            log.info("%d answers recorded to %s", len(answers), record_dir)
    return count


def _merged(own: Iterator[BagMessage], answers: list[BagMessage]) -> Iterator[BagMessage]:
    """Both in the order of time; answers carry the bag's time at which they came."""
    return iter(sorted([*own, *answers], key=lambda message: message.time_ns))
