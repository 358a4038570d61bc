"""One trained network of an ensemble, and the record that its run keeps of what it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from campus_visual_gps.errors import DatasetError, VisualGpsError
from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.io_utils import to_builtin
from campus_visual_gps.models.position_model import ModelConfig, PositionModel, build_from_state
from campus_visual_gps.preprocess import ImageSpec
from training.photos.manifest import write_yaml

RECORD = "trained_on.yaml"


@dataclass(frozen=True)
class TrainedMember:
    """A trained network as a bundle keeps it.

    Attributes:
        seed: Of its training.
        model: Its architecture.
        image: Size and normalisation of its input.
        read: Reads the network from disk; called once, when it is needed.
    """

    seed: int
    model: ModelConfig
    image: ImageSpec
    read: Callable[[], PositionModel]

    @classmethod
    def of_run(cls, seed: int, model: ModelConfig, image: ImageSpec, weights: Path) -> TrainedMember:
        """The member whose weights a training has exported. Reading it raises DatasetError for a damaged file."""
        return cls(seed, model, image, lambda: read_network(model, weights))

    @cached_property
    def network(self) -> PositionModel:
        """Everything that is measured for a bundle is measured with these weights."""
        return round_to_float16(self.read()).eval()


def read_network(model: ModelConfig, weights: Path) -> PositionModel:
    """The network of an architecture with the weights of a file. Raises DatasetError."""
    try:
        return build_from_state(model, load_file(weights))
    except VisualGpsError as error:
        raise DatasetError(f"{weights}: {error}") from error
    except Exception as error:  # safetensors and torch raise types of their own
        raise DatasetError(
            f"{weights} is damaged or of another architecture ({str(error).splitlines()[0]}); train this member again"
        ) from error


@torch.no_grad()
def round_to_float16(network: PositionModel) -> PositionModel:
    """Round matrices and convolutions to float16 in place, so that a bundle can store them in half of the bytes.

    Before anything is measured: calibration, gates and descriptors then belong to exactly the weights that the robot
    runs. Biases and normalisations stay, and so does a tensor that float16 cannot hold.
    """
    for parameter in network.parameters():
        rounded = parameter.half().float()
        if parameter.ndim > 1 and torch.isfinite(rounded).all():
            parameter.copy_(rounded)
    return network


@dataclass(frozen=True)
class TrainingRecord:
    """What members were trained on: what `combine` has to know of a run, also after the data set was split anew.

    Attributes:
        frame: The local frame that the network answers in.
        image: Size and normalisation of its input.
        fingerprint: Hash of photos, labels and subsets.
        train_photo_ids, val_photo_ids: Of the photos that it was trained on, and that chose its best epoch.
        config: The resolved configuration, as built-in types.
    """

    frame: LocalFrame
    image: ImageSpec
    fingerprint: str
    train_photo_ids: tuple[str, ...]
    val_photo_ids: tuple[str, ...]
    config: dict[str, Any]

    def write(self, run_dir: Path) -> None:
        """Write the record of a member into its run directory."""
        write_yaml(run_dir / RECORD, to_builtin(asdict(self)))

    @classmethod
    def read(cls, run_dir: Path) -> TrainingRecord | None:
        """The record in a run directory; None where there is none. Raises DatasetError where it is damaged."""
        path = run_dir / RECORD
        if not path.is_file():
            return None
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls(
                LocalFrame(**data["frame"]),
                ImageSpec(**data["image"]),
                str(data["fingerprint"]),
                tuple(map(str, data["train_photo_ids"])),
                tuple(map(str, data["val_photo_ids"])),
                dict(data["config"]),
            )
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError, VisualGpsError) as error:
            raise DatasetError(f"{path} is damaged: run the same `train` again, which writes it anew") from error
