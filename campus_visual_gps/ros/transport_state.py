"""Why no images arrive, in one line with a remedy; from what is known of the publishers. Without ROS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

RAW_TYPE, COMPRESSED_TYPE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
RELIABLE, BEST_EFFORT = "reliable", "best_effort"
SUFFIX = "/compressed"
# Where the reliability comes from.
BY_PUBLISHERS, BY_PARAMETER, BY_OVERRIDE = "publishers", "image_reliability", "qos_overrides"
_LARGE = "see docs/camera.md, Large images"
_LISTED_TOPICS = 3


class Offer(NamedTuple):
    """A publisher on the images' topic. `problem` says why its QoS does not match, empty if it does."""

    node: str
    type: str
    reliability: str
    problem: str = ""


@dataclass(frozen=True)
class TransportState:
    """What is known of the images' transport.

    Attributes:
        topic: The topic that the node subscribes to, with the suffix of compressed images.
        type: The message type that it expects.
        reliability: What the subscription asks for.
        decided_by: BY_PUBLISHERS, BY_PARAMETER or BY_OVERRIDE.
        offers: The publishers on the topic.
        topics: Other topics with images, and those that start with the images' topic: name to types.
        last_image: Size and encoding of the last image; empty if none came.
    """

    topic: str
    type: str
    reliability: str
    decided_by: str
    offers: tuple[Offer, ...] = ()
    topics: tuple[tuple[str, str], ...] = ()
    last_image: str = ""

    def silence_cause(self) -> str:
        """Why nothing arrives and what to do; one line."""
        matching = [offer for offer in self.offers if offer.type == self.type]
        if any(not offer.problem for offer in matching):
            return self._matched([offer for offer in matching if not offer.problem])
        if matching:
            return self._incompatible(matching)
        return self._other_type(self.offers[0]) if self.offers else self._no_publisher()

    def loss_remedy(self) -> str:
        """What to do if images are lost in the transport; one clause."""
        offered = {offer.reliability for offer in self.offers if offer.type == self.type}
        if self.reliability != BEST_EFFORT:
            return f"images may be too large for the transport: set image_transport to compressed, or {_LARGE}"
        if self.decided_by == BY_OVERRIDE and BEST_EFFORT not in offered:
            return f"remove the override of the reliability of {self.topic}"
        if self.decided_by == BY_PARAMETER and BEST_EFFORT not in offered:
            return "set image_reliability to auto or reliable"
        return (
            "set the camera's driver to publish reliably, or image_transport to compressed, or enlarge DDS's shared "
            f"memory segment: {_LARGE}"
        )

    def _matched(self, offers: list[Offer]) -> str:
        kind = "compressed" if self.type == COMPRESSED_TYPE else "raw"
        size, _, encoding = self.last_image.partition(", ")
        what = f"{size} {kind} images ({encoding})" if size else f"{kind} images"
        offered = ", ".join(sorted({offer.reliability for offer in offers}))
        text = f"a publisher of {what} is matched on {self.topic} (offers {offered}; asked for {self.reliability})"
        if self.reliability == RELIABLE:
            return f"{text}, and nothing arrives; check that the camera sends images; if it does, {self.loss_remedy()}"
        return f"{text}, and nothing arrives; {self.loss_remedy()}"

    def _incompatible(self, offers: list[Offer]) -> str:
        offer = offers[0]
        remedy = {
            BY_OVERRIDE: f"change qos_overrides.{self.topic}.subscription.* or the publisher's QoS",
            BY_PARAMETER: "set image_reliability to auto",
            BY_PUBLISHERS: "change the publisher's QoS or qos_overrides of the node",
        }[self.decided_by]
        if (
            offer.reliability == self.reliability
        ):  # another policy is incompatible, and only an override can be the cause
            remedy = f"change qos_overrides.{self.topic}.subscription.* or the publisher's QoS"
        return (
            f"the publisher {offer.node} on {self.topic} has an incompatible QoS, and nothing arrives: {offer.problem} "
            f"(offers {offer.reliability}; asked for {self.reliability}); {remedy}"
        )

    def _other_type(self, offer: Offer) -> str:
        text = f"expected {self.type} on {self.topic}, its publisher {offer.node} sends {offer.type}"
        if offer.type == COMPRESSED_TYPE:
            base = self.topic.removesuffix(SUFFIX)
            return f"{text}; set image_transport to compressed and remap image to {base}"
        if offer.type == RAW_TYPE:
            return f"{text}; set image_transport to raw and remap image to {self.topic}"
        return f"{text}; remap image to the topic of the camera's images{self._listed(self._same_type())}"

    def _no_publisher(self) -> str:
        text = f"no publisher of {self.type} on {self.topic}"
        base, types = self.topic.removesuffix(SUFFIX), dict(self.topics)
        if self.type == RAW_TYPE and types.get(self.topic + SUFFIX) == COMPRESSED_TYPE:
            return f"{text}, but {self.topic + SUFFIX} has compressed images; set image_transport to compressed"
        if self.type == COMPRESSED_TYPE and types.get(base) == RAW_TYPE:
            return f"{text}, but {base} has raw images; set image_transport to raw"
        if self.type == COMPRESSED_TYPE and types.get(base) == COMPRESSED_TYPE:
            return f"{text}; remap image to {base.removesuffix(SUFFIX)}: the node appends {SUFFIX}"
        if same := self._same_type():
            return f"{text}; remap image to the camera's topic{self._listed(same)}"
        encoded = [f"{name} ({kind})" for name, kind in self.topics if name.startswith(f"{base}/")]
        if encoded:
            return f"{text}; republish {encoded[0]} with image_transport's republish"
        return f"{text}; start the camera, or remap image to its topic"

    def _same_type(self) -> list[str]:
        names = [name for name, kind in self.topics if kind == self.type]
        return [name.removesuffix(SUFFIX) if self.type == COMPRESSED_TYPE else name for name in names]

    @staticmethod
    def _listed(names: list[str]) -> str:
        if not names:
            return ""
        more = f" and {len(names) - _LISTED_TOPICS} more" if len(names) > _LISTED_TOPICS else ""
        return f": {', '.join(names[:_LISTED_TOPICS])}{more}"
