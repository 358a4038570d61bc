"""Initial weights of a backbone from a file of torchvision, timm, a checkpoint, or a member of this project."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from campus_visual_gps.errors import ConfigError
from campus_visual_gps.models.stages import SHARED_STAGES

# Where training programs keep the state in a checkpoint.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "module", "weights")
# Counters of batch normalisation: nothing is computed from them here, and older files lack them.
_COUNTER = "num_batches_tracked"
_NAMES_SHOWN = 3


def load_initial_weights(
    module: nn.Module, path: Path, name: str, classifier: str, any_names_in_order: bool = False
) -> None:
    """Load a backbone's weights from a file.

    The file may hold the backbone alone, a whole classifier, or a larger network: names may have a prefix, such as
    `module.` or `backbone.`, and the state may be nested, as `{"state_dict": ...}`. What belongs to no backbone is left
    out.

    Args:
        module: The backbone, without its classifier.
        path: A .safetensors or .pth file. Nothing in it is executed.
        name: Of the backbone, for messages.
        classifier: Name of the submodule that the backbone lacks; its tensors are dropped.
        any_names_in_order: Also take tensors of other names if their order and shapes are the backbone's.

    Raises:
        ConfigError: The file cannot be read, or does not fit; one line with all reasons.
    """
    path = Path(path)
    state, expected = read_tensors(path), module.state_dict()
    found = _of_backbone(state, expected, classifier, any_names_in_order)
    problems = _problems(found, expected)
    for shared in _shared_stages(path) if problems else ():
        completed = _of_backbone(read_tensors(shared) | state, expected, classifier)
        if not _problems(completed, expected):
            found, problems = completed, []
    if problems:
        raise ConfigError(f"weights file {path} does not fit backbone {name}: {'; '.join(problems)}")
    module.load_state_dict(found)


def _of_backbone(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], classifier: str, any_names_in_order: bool = False
) -> dict[str, Tensor]:
    """The tensors of a file under the backbone's names, with others that are not known to belong elsewhere."""
    prefix = _prefix(state, expected)
    found = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
    if any_names_in_order and not expected.keys() <= found.keys():
        found = _in_order(list(state.values()), expected) or found
    found = {key: tensor for key, tensor in found.items() if not key.startswith(f"{classifier}.")}
    counters = {key: tensor for key, tensor in expected.items() if key.endswith(_COUNTER)}
    return counters | found


def _shared_stages(path: Path) -> list[Path]:
    """The files of the stages that a bundle's member shares with the others; [] for another file."""
    if not path.name.startswith("member-"):
        return []
    return sorted(path.parent.glob(SHARED_STAGES.replace(".", "*.")))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .pth file by name, in the file's order. Nothing in it is executed.

    Raises ConfigError.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise ConfigError(f"weights file {path}: {what}; give a .safetensors or .pth file, or imagenet, or none")
    try:
        content = _load(path)
    except OSError as error:
        raise ConfigError(f"weights file {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # both readers raise several types of their own
        raise ConfigError(f"weights file {path} cannot be read: {_reason(error)}") from error
    tensors = _tensors(content)
    if not tensors:
        raise ConfigError(
            f"weights file {path} holds no named tensors ({type(content).__name__}); save the network's state_dict()"
        )
    return tensors


def _load(path: Path) -> Any:
    with path.open("rb") as stream:
        start = stream.read(9)
    if path.suffix == ".safetensors" or start[8:] == b"{":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    unsafe = re.search(r"GLOBAL (\S+)", text)
    if unsafe:
        return f"it holds objects of {unsafe[1]} and not tensors alone; save the network's state_dict()"
    if "Weights only load failed" in text or "PytorchStreamReader" in text:
        return "it is damaged, or no file of PyTorch; download or copy it again"
    return text


def _tensors(content: Any) -> dict[str, Tensor]:
    """The named tensors of a file's content, of the nested state where there is one."""
    if not isinstance(content, Mapping):
        return {}
    own = {key: value for key, value in content.items() if isinstance(value, Tensor) and isinstance(key, str)}
    nested = [content[key] for key in _NESTED if key in content]
    return next((tensors for tensors in map(_tensors, nested) if len(tensors) > len(own)), own)


def _prefix(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    """What precedes the backbone's names in the file; "" if none of them is in it."""
    counts: Counter[str] = Counter()
    for name in state:
        parts = name.split(".")
        for count in range(len(parts)):
            if ".".join(parts[count:]) in expected:
                counts["".join(f"{part}." for part in parts[:count])] += 1
    return min(counts, key=lambda prefix: (-counts[prefix], len(prefix)), default="")


def _in_order(tensors: Sequence[Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The first tensors under the backbone's names; {} if their shapes are others."""
    own = tensors[: len(expected)]
    if [tensor.shape for tensor in own] != [tensor.shape for tensor in expected.values()]:
        return {}
    return dict(zip(expected, own, strict=True))


def _problems(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [key for key in expected if key not in found]
    unexpected = [key for key in found if key not in expected]
    shapes = [key for key in expected if key in found and found[key].shape != expected[key].shape]
    reshaped = [f"{key} is {tuple(found[key].shape)}, expected {tuple(expected[key].shape)}" for key in shapes]
    damaged = [key for key in expected if key in found and not _is_finite(found[key])]
    lists = (
        (f"lacks {len(missing)} of the {len(expected)} tensors", missing),
        (f"holds {len(unexpected)} other tensors", unexpected),
        (f"{len(shapes)} of another shape", reshaped),
        (f"{len(damaged)} with values that are not finite", damaged),
    )
    return [f"{what} ({_listed(names)})" for what, names in lists if names]


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
