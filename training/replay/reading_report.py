"""What of a bag was not used, for the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from training.replay.bag_images import ImageCounts
from training.report.flatten import FlatJson


@dataclass(frozen=True)
class Reading:
    """How a bag was read: `lines` name what was left out, lost or taken at another time; the counts are of messages.

    `truth` and `receiver` map reasons to numbers of fixes, `lost` topics to messages that cannot be read.
    """

    lines: list[str] = field(default_factory=list)
    images: ImageCounts = field(default_factory=ImageCounts)
    truth: dict[str, int] = field(default_factory=dict)
    receiver: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)


def reading_block(reading: Reading) -> str:
    """Markdown; empty where everything was read and used."""
    return "\n".join(["Of the bag:", "", *(f"- {line}" for line in reading.lines)]) if reading.lines else ""


def reading_to_flat_json(reading: Reading) -> FlatJson:
    """Keys `bag.images.<reason>` and `bag.lost_messages`; `bag.truth.<reason>` and `bag.receiver.<reason>` if any."""
    flat: FlatJson = {f"bag.images.{name}": number for name, number in asdict(reading.images).items()}
    flat["bag.lost_messages"] = sum(reading.lost.values())
    for kind, counts in (("truth", reading.truth), ("receiver", reading.receiver)):
        flat |= {f"bag.{kind}.{reason}": number for reason, number in sorted(counts.items())}
    return flat
