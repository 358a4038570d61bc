"""The localizer: is it there, active and content? And its images. Without ROS."""

from __future__ import annotations

from campus_visual_gps.ros.doctor.findings import Finding, Level, failure, passed, warning
from campus_visual_gps.ros.doctor.snapshot import ImageContent, NodeInfo, Snapshot, Topic
from campus_visual_gps.ros.transport_state import BEST_EFFORT, RAW_TYPE, TransportState

LOCALIZER, IMAGES = "localizer", "images"
# Fast DDS loses larger messages on the way to a best-effort subscription; see docs/camera.md.
LARGE_BYTES = 500_000
MIN_IMAGE_RATE_HZ = 0.5
_LEVELS = (Level.PASS, Level.WARN, Level.FAIL, Level.WARN)


def check_localizer(snapshot: Snapshot) -> list[Finding]:
    """Presence, lifecycle state and diagnostics."""
    if snapshot.localizer is None:
        return [_not_one(snapshot)]
    node = snapshot.localizer
    reports = [item for item in snapshot.diagnostics.values() if _is_of(item.name, node)]
    if not snapshot.is_active:
        said = next((item.message for item in reports if item.name.endswith(": localizer")), "")
        return [_inactive(node, said)]
    state = passed(LOCALIZER, f"{node.name} is active")
    if not reports:
        text = f"{node.name} publishes no diagnostics"
        return [state, failure(LOCALIZER, text, "it hangs, or /diagnostics is remapped: restart it, see its log")]
    return [state, *(_reported(item.name, item.level, item.message) for item in reports)]


def check_images(snapshot: Snapshot) -> list[Finding]:
    """Publisher, QoS, arrival, size, rate and stamps of the images of each camera."""
    findings = []
    for transport in snapshot.transports:
        findings += _images(snapshot, transport)
    return findings


def _images(snapshot: Snapshot, transport: TransportState) -> list[Finding]:
    topic = snapshot.topic(transport.topic)
    matching = [offer for offer in transport.offers if offer.type == transport.type]
    images = topic.contents(ImageContent)
    if not images or not any(not offer.problem for offer in matching):
        return [_from_cause(transport.silence_cause())]
    offered = sorted({offer.node for offer in matching})
    findings = [
        warning(IMAGES, f"{offer.node} on {topic.name} has another QoS ({offer.problem})", "it is not heard: change it")
        for offer in matching
        if offer.problem
    ]
    if len(matching) > 1:
        text = f"{len(matching)} publishers on {topic.name}: {', '.join(offered)}"
        findings.append(warning(IMAGES, text, "let one camera publish; fixes jump between two"))
    rate_hz = topic.rate_hz()
    if rate_hz < MIN_IMAGE_RATE_HZ:
        text = f"{len(images)} image in {snapshot.seconds:.1f} s" if rate_hz == 0.0 else f"{rate_hz:.2g} Hz"
        findings.append(warning(IMAGES, f"{topic.name}: {text}", "check the camera's rate and the network"))
    lossy = transport.type == RAW_TYPE and transport.reliability == BEST_EFFORT
    if lossy and images[-1].size_bytes > LARGE_BYTES:
        text = f"raw images of {images[-1].size_bytes / 1e6:.1f} MB, best effort: Fast DDS loses them"
        findings.append(warning(IMAGES, text, transport.loss_remedy()))
    findings += _stamps(topic, str(snapshot.localizer.parameter("frame_id", "") if snapshot.localizer else ""))
    if not findings:
        findings = [passed(IMAGES, f"{topic.name}: {images[-1].description}, {rate_hz:.1f} Hz, from {offered[0]}")]
    return findings


def _not_one(snapshot: Snapshot) -> Finding:
    if len(snapshot.localizers) > 1:
        names = ", ".join(snapshot.localizers)
        if len(set(snapshot.localizers)) == 1:
            text = f"{len(snapshot.localizers)} nodes have the name {snapshot.localizers[0]}"
            return failure(LOCALIZER, text, "stop all but one")
        return failure(LOCALIZER, f"several nodes {snapshot.wanted!r}: {names}", "name one with --namespace")
    return failure(
        LOCALIZER,
        f"no node {snapshot.wanted!r} among the {snapshot.node_count} nodes that were seen",
        "start localize.launch.py; if it runs, compare ROS_DOMAIN_ID and RMW_IMPLEMENTATION, or give --node and "
        "--namespace",
    )


def _inactive(node: NodeInfo, said: str) -> Finding:
    if not node.state:
        return failure(LOCALIZER, f"{node.name} does not answer", "it hangs: see its log and restart it")
    text = f"{node.name} is {node.state}" + (f" ({said})" if said else "")
    if node.state in ("configuring", "activating"):
        return warning(LOCALIZER, text, "it loads its model: ask again in some seconds")
    step = "activate" if node.state == "inactive" else "configure"
    if node.state == "unconfigured" and node.parameters is not None and not node.parameter("model_dir", ""):
        return failure(LOCALIZER, text, "give it a bundle: model_dir:=/path/to/bundle")
    return failure(LOCALIZER, text, f"read its log, then ros2 lifecycle set {node.name} {step}")


def _is_of(diagnostic: str, node: NodeInfo) -> bool:
    return diagnostic.lstrip("/").startswith(f"{node.name.lstrip('/')}:")


def _reported(name: str, level: int, message: str) -> Finding:
    subject = name.rpartition(": ")[2]
    found = _LEVELS[level] if 0 <= level < len(_LEVELS) else Level.WARN
    remedy = "" if found is Level.PASS else "see its diagnostics and log"
    return Finding(found, subject, f"says: {message}", remedy)


def _from_cause(cause: str) -> Finding:
    """The finding of a line that ends with its remedy."""
    message, _, remedy = cause.rpartition("; ")
    if not message:
        message, remedy = cause, "check the camera and its driver"
    return failure(IMAGES, message, remedy)


def _stamps(topic: Topic, frame_id: str) -> list[Finding]:
    stamps_s = [sample.stamp_s for sample in topic.samples]
    findings = []
    if not any(stamps_s):
        findings.append(failure(IMAGES, f"stamps on {topic.name} are zero", "let the camera's driver set header.stamp"))
    elif len(stamps_s) > 2 and stamps_s[-1] == stamps_s[0]:
        findings.append(
            failure(IMAGES, f"stamps on {topic.name} stand still", "let the camera's driver set header.stamp")
        )
    if not frame_id and not any(sample.frame_id for sample in topic.samples):
        remedy = "set the parameter frame_id of the localizer, or the camera driver's"
        findings.append(warning(IMAGES, f"no frame_id on {topic.name}, and the fixes get 'camera'", remedy))
    return findings
