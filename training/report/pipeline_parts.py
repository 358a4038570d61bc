"""What a bundle's or a configuration's pipeline consists of, read from the networks themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from campus_visual_gps.bundle import MANIFEST, Bundle, load_bundle
from campus_visual_gps.errors import BundleError, printable
from campus_visual_gps.estimation.calibration import Calibration
from campus_visual_gps.models.backbones import get_backbone
from campus_visual_gps.models.heads import GAUSSIAN, PROBABILITY_MAP
from campus_visual_gps.models.position_model import ModelConfig, PositionModel, build_model
from training.config import load_config
from training.report.pipeline_figure import Pipeline, Step

_POINT_LINES = ("east, north", "in metres")


@dataclass(frozen=True)
class _Kind:
    """Members of one architecture: their seeds, and the cells of their grid, None where those are not known yet."""

    model: ModelConfig
    seeds: tuple[int, ...]
    cells: int | None = None


def read_pipeline(source: Path) -> Pipeline:
    """The pipeline of a bundle (a directory), or of a training configuration (a YAML file).

    Raises:
        BundleError, ConfigError: The source is neither.
    """
    source = Path(source)
    if source.is_dir() or source.name == MANIFEST:
        return _of_bundle(load_bundle(source if source.is_dir() else source.parent))
    config = load_config(source)
    kind = _Kind(config.model, tuple(config.seeds))
    has_grid = config.model.head == PROBABILITY_MAP
    combined = _combination(config.model.head, len(config.seeds), retrieval=has_grid)
    return _pipeline(printable(source.name), config.size_px, config.size_px, [kind], combined)


def _of_bundle(bundle: Bundle) -> Pipeline:
    kinds: dict[tuple[ModelConfig, int | None], _Kind] = {}
    for member in bundle.members:
        cells = _cells(bundle.path / member.file) if member.model.head == PROBABILITY_MAP else None
        kind = kinds.get((member.model, cells), _Kind(member.model, (), cells))
        kinds[member.model, cells] = replace(kind, seeds=(*kind.seeds, member.seed))
    head = bundle.members[0].model.head
    combined = _combination(head, len(bundle.members), bundle.calibration.uses_retrieval and head == PROBABILITY_MAP)
    combined = replace(combined, lines=(*combined.lines, *_calibration_lines(bundle.calibration)))
    title = printable(bundle.model_id)
    return _pipeline(title, bundle.image.size_px, bundle.image.stored_px, list(kinds.values()), combined)


def _pipeline(title: str, size_px: int, stored_px: int, kinds: Sequence[_Kind], combined: Step) -> Pipeline:
    image = Step("data", "Image", ("(H, W, 3)", "uint8 RGB"))
    resized = f"{stored_px} × {stored_px} px" if stored_px != size_px else ""
    lines = [resized, f"{size_px} × {size_px} px", "RGB / 255,", "less mean, over std"]
    transform = Step("data", "Transform", tuple(line for line in lines if line))
    fix = Step("answer", "Fix", ("latitude, longitude", "(equations 1 and 2)", "and covariance"))
    return Pipeline(title, (image, transform), tuple(_row(kind) for kind in kinds), (combined, fix))


def _row(kind: _Kind) -> tuple[Step, ...]:
    """Backbone, features, head and output of one architecture, from a network without storage."""
    cells = kind.cells or 1
    with torch.device("meta"):
        network = build_model(kind.model, cells_enu_m=torch.zeros(cells, 2))
    count = sum(parameter.numel() for parameter in network.backbone.parameters())
    seeds = ", ".join(map(str, kind.seeds))
    members = f"{len(kind.seeds)} members, seeds {seeds}" if len(kind.seeds) > 1 else f"1 member, seed {seeds}"
    backbone = Step("network", kind.model.backbone, (f"{count / 1e6:.1f} M parameters", *_wrapped(members)))
    dim = get_backbone(kind.model.backbone).feature_dim
    features = Step("network", "Features", (f"{dim}", "global pooling"))
    head = Step("head", f"Head: {kind.model.head}", tuple(_head_lines(network, kind)))
    return backbone, features, head, Step("head", "Output", _output_lines(kind))


def _wrapped(text: str, longest: int = 30) -> tuple[str, ...]:
    """A text in lines of about that length, broken at blanks."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > longest:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return tuple(lines)


def _head_lines(network: PositionModel, kind: _Kind) -> list[str]:
    """One line for each layer, in order."""
    layers = getattr(network.head, "layers", network.head)
    modules = list(layers) if isinstance(layers, nn.Sequential) else [layers]
    return [_layer_text(module, kind) for module in modules]


def _layer_text(module: nn.Module, kind: _Kind) -> str:
    if isinstance(module, nn.Linear):
        unknown = kind.model.head == PROBABILITY_MAP and kind.cells is None
        return f"Linear({module.in_features} → {'cells' if unknown else module.out_features})"
    if isinstance(module, nn.Dropout):
        return f"Dropout({module.p:g})"
    return type(module).__name__


def _output_lines(kind: _Kind) -> tuple[str, ...]:
    if kind.model.head == PROBABILITY_MAP:
        cells = "probability of each" if kind.cells is None else f"probability of {kind.cells}"
        return cells, f"cells of {kind.model.cell_m:g} m"
    lines = _POINT_LINES if kind.model.output_scale_m == 1.0 else (*_POINT_LINES, f"(× {kind.model.output_scale_m:g})")
    return (*lines, "and covariance") if kind.model.head == GAUSSIAN else lines


def _combination(head: str, members: int, retrieval: bool) -> Step:
    of = f"of {members} members" if members > 1 else "of the member"
    if head == PROBABILITY_MAP:
        lines = [f"mean map {of}"]
        if retrieval:
            lines += ["× likelihood of the", "retrieved photos"]
    else:
        lines = [f"mean {of}"]
    return Step("answer", "Posterior", tuple(lines))


def _calibration_lines(calibration: Calibration) -> tuple[str, ...]:
    return (f"covariance × {calibration.scale:.3g}", f"sigma ≥ {calibration.floor_sigma_m:.3g} m")


def _cells(path: Path) -> int:
    """Number of cells of a member's grid. Raises BundleError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return int(file.get_slice("head.cells_enu_m").get_shape()[0])
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{path} cannot be read: {error}; copy the bundle again") from None
