"""metadata.yaml of rosbag2, of any version: what of it can be used."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from training.replay.storage.base import Notes, normalized_type, one_line, shown

METADATA = "metadata.yaml"
KEY = "rosbag2_bagfile_information"


@dataclass(frozen=True)
class Metadata:
    """Names of the storage files, types and numbers of messages by topic, and the latter by file, where listed."""

    files: list[str] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    file_counts: dict[str, int] = field(default_factory=dict)
    storage: str = ""


def read_metadata(directory: Path, notes: Notes) -> Metadata:
    """Those of a directory; what is missing or damaged is noted."""
    path = directory / METADATA
    advice = f"topics and messages are taken from the files; `ros2 bag reindex {shown(directory)}` writes it anew"
    if not path.is_file():
        notes.add(f"{path} is missing: {advice}")
        return Metadata()
    try:
        content = yaml.safe_load(path.read_bytes().decode("utf-8", "replace"))
    except yaml.YAMLError as error:
        notes.add(f"{path} cannot be read ({one_line(error)}): {advice}")
        return Metadata()
    information = content.get(KEY) if isinstance(content, dict) else None
    if not isinstance(information, dict):
        notes.add(f"{path} is empty or has no {KEY}: {advice}")
        return Metadata()
    files = [_file_name(name) for name in _items(information, "relative_file_paths")]
    if not files:
        notes.add(f"{path} lists no files: {advice}")
    types, counts = _topics(information)
    storage = str(information.get("storage_identifier") or "")
    return Metadata(files, types, counts, _file_counts(information), storage)


def _file_name(listed: Any) -> str:
    """Without the folder, which differs after a copy."""
    return re.split(r"[\\/]", str(listed))[-1]


def _items(information: dict, key: str) -> list[Any]:
    items = information.get(key)
    return items if isinstance(items, list) else []


def _topics(information: dict) -> tuple[dict[str, str], dict[str, int]]:
    types: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for item in _items(information, "topics_with_message_count"):
        topic = item.get("topic_metadata") if isinstance(item, dict) else None
        if not isinstance(topic, dict) or not isinstance(topic.get("name"), str):
            continue
        types[topic["name"]] = normalized_type(str(topic.get("type") or ""))
        if isinstance(item.get("message_count"), int):
            counts[topic["name"]] += item["message_count"]
    return types, dict(counts)


def _file_counts(information: dict) -> dict[str, int]:
    """Since version 5."""
    return {
        _file_name(item.get("path")): item["message_count"]
        for item in _items(information, "files")
        if isinstance(item, dict) and isinstance(item.get("message_count"), int)
    }
