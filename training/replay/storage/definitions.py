"""Message definitions: those of the bag where they serve, else those of the oldest distribution that is supported."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from campus_visual_gps.errors import DatasetError
from training.replay.storage.base import Definition, one_line

# The oldest distribution that is supported: all later ones read its definitions and its bag format (8, not 9).
TYPES = Stores.ROS2_HUMBLE
_IDL_RULE = "=" * 80 + "\n"


@lru_cache(maxsize=1)
def default_store() -> Typestore:
    """The messages of the distribution."""
    return get_typestore(TYPES)


def store_of(type_name: str, definition: Definition) -> Typestore | None:
    """A store with the type as the bag defines it; None where the bag does not, or not so that it can be parsed."""
    if not definition.text.strip():
        return None
    try:
        found = _parsed(type_name, definition)
        if type_name not in found:
            return None
        if not found.keys() >= _used(found):  # what a definition uses and lacks is taken from the distribution
            found = {**default_store().fielddefs, **found}
        store = get_typestore(Stores.EMPTY)
        store.register(found)
        store.get_msgdef(type_name)
    except Exception:  # the parsers' errors, KeyError for a missing type, RecursionError
        return None
    return store


def _parsed(type_name: str, definition: Definition) -> dict[str, Any]:
    found: dict[str, Any]
    if definition.encoding == "ros2msg":
        return get_types_from_msg(definition.text, type_name)
    if definition.encoding == "ros1msg":  # a header of ROS 1 has a number that it does not have in ROS 2
        found = get_types_from_msg(definition.text, type_name)
        return {name: default_store().fielddefs.get(name, fields) for name, fields in found.items()}
    if not definition.text.startswith(f"{_IDL_RULE}IDL: "):
        return get_types_from_idl(definition.text)
    found = {}
    for block in definition.text.split(_IDL_RULE)[1:]:
        found.update(get_types_from_idl(block.split("\n", 1)[1]))
    return found


def _used(found: dict[str, Any]) -> set[str]:
    """Names of the types of all fields: (NAME, name), or in an array (kind, ((NAME, name), length))."""
    names = set()
    for _, fields in found.values():
        for _, (kind, detail) in fields:
            if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE):
                kind, detail = detail[0]
            if kind == Nodetype.NAME:
                names.add(detail)
    return names


class Decoder:
    """Decodes the messages of a bag; a type's definition is looked at only when one of its messages is decoded."""

    def __init__(self, definitions: dict[str, list[Definition]]):
        self._definitions = definitions
        self._stores: dict[str, list[Typestore]] = {}

    def decode(self, data: bytes, type_name: str) -> Any:
        """The message. Raises DatasetError where no definition fits it."""
        error: Exception | None = None
        for store in self._candidates(type_name):
            try:
                return store.deserialize_cdr(data, type_name)
            except Exception as failure:  # the generated parsers let everything through
                error = error or failure
        if error is None:
            raise DatasetError(f"the bag has no usable definition of {type_name}, which is no standard message")
        raise DatasetError(f"{len(data)} bytes are no {type_name}: {one_line(error)}") from error

    def from_ros1(self, data: bytes, type_name: str) -> bytes | None:
        """A message that ROS 1 serialised as CDR; None where no definition fits it."""
        for store in self._candidates(type_name):
            try:
                return bytes(store.ros1_to_cdr(data, type_name))
            except Exception:  # the generated converters let everything through
                continue
        return None

    def _candidates(self, type_name: str) -> list[Typestore]:
        """The bag's definitions, then the distribution's; those of the bag last where they lack fields of that."""
        if type_name not in self._stores:
            made = (store_of(type_name, item) for item in self._definitions.get(type_name, []))
            stores = [store for store in made if store is not None]
            if type_name in default_store().fielddefs:
                needed = _field_names(default_store(), type_name)
                whole = [store for store in stores if _field_names(store, type_name) >= needed]
                stores = [*whole, default_store(), *(store for store in stores if store not in whole)]
            self._stores[type_name] = stores
        return self._stores[type_name]


def _field_names(store: Typestore, type_name: str) -> set[str]:
    return {name for name, _ in store.fielddefs[type_name][1]}


def store_to_write(type_name: str, definitions: list[Definition]) -> Typestore:
    """A store that has the type: of the bag, of the distribution, or with an empty definition where neither has it."""
    made = (store_of(type_name, item) for item in definitions)
    own = next((store for store in made if store is not None), None)
    if own is not None:
        return own
    if type_name in default_store().fielddefs:
        return default_store()
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg("", type_name))
    return store
