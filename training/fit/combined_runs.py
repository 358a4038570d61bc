"""Runs of trained members, read from disk to be joined into one ensemble with one local frame."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from campus_visual_gps.bundle import MANIFEST, load_bundle
from campus_visual_gps.errors import ConfigError, DatasetError
from training.config import TrainConfig, to_dict
from training.config_parsing import one_line, set_key
from training.fit.member import WEIGHTS
from training.fit.site_data import load_site, training_set
from training.fit.trained_member import TrainedMember, TrainingRecord, read_network
from training.photos.manifest import TRAIN, VAL


@dataclass(frozen=True)
class Run:
    """Trained members with one record: a run of `train`, one of its members, or a bundle.

    Attributes:
        directory: Where they come from.
        members: In the frame of `record`.
        record: What they were trained on.
        config: The resolved configuration.
    """

    directory: Path
    members: list[TrainedMember]
    record: TrainingRecord
    config: TrainConfig


def read_runs(directories: Sequence[Path]) -> list[Run]:
    """The members in directories: whole runs, single `seed-<seed>` directories, or bundles.

    A run whose members were trained on different photos, or with different settings, becomes several.

    Raises:
        DatasetError: A directory holds no members, a member is not trained yet, or what it was trained on is unknown.
    """
    return [run for directory in directories for run in _read(Path(directory))]


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """What tells the trainings of two networks apart, besides seed and photos."""
    return {key: value for key, value in config.items() if key not in ("dataset", "out", "seeds", "bundle")}


def _read(directory: Path) -> list[Run]:
    if (directory / MANIFEST).is_file():
        return [_bundle_run(directory)]
    if (directory / WEIGHTS).is_file() or (directory / "config.yaml").is_file():
        return [_member_run(directory)]
    members = sorted(directory.glob("seed-*"), key=_seed_order)
    if not members:
        raise DatasetError(
            f"{directory} holds no trained members: name an output directory of `train`, one of its seed-<seed> "
            "directories, or a bundle"
        )
    return _merged(directory, [_member_run(member) for member in members])


def _merged(directory: Path, runs: list[Run]) -> list[Run]:
    """Members of one directory that were trained alike on the same photos, as one run."""
    merged: dict[str, Run] = {}
    for run in runs:
        key = json.dumps([run.record.fingerprint, _settings(run.record.config)], sort_keys=True)
        known = merged.get(key)
        members = run.members if known is None else [*known.members, *run.members]
        merged[key] = replace(known or run, directory=directory, members=members)
    return list(merged.values())


def _seed_order(directory: Path) -> tuple[int, str]:
    digits = directory.name.removeprefix("seed-")
    return (int(digits) if digits.isdigit() else 0, directory.name)


def _bundle_run(directory: Path) -> Run:
    bundle = load_bundle(directory)
    training = bundle.training
    photo_ids = training.get("photo_ids") or []
    if "config" not in training or not photo_ids:
        raise DatasetError(f"{directory} does not say what it was trained on: name the runs of its members instead")
    record = TrainingRecord(
        bundle.frame,
        bundle.image,
        str(training.get("data_fingerprint", "")),
        tuple(map(str, photo_ids)),
        tuple(map(str, training.get("val_photo_ids") or ())),
        training["config"],
    )
    networks = dict(zip((member.name for member in bundle.members), bundle.load_members(), strict=True))
    members = [
        TrainedMember(member.seed, member.model, member.image, lambda name=member.name: networks[name])  # type: ignore[misc]
        for member in bundle.members
    ]
    return Run(directory, members, record, _config(training["config"], directory))


def _member_run(directory: Path) -> Run:
    weights = directory / WEIGHTS
    if not weights.is_file():
        raise DatasetError(f"{directory} is not trained yet: {WEIGHTS} is missing; run its `train` again to finish it")
    stored = _stored_config(directory)
    seed = stored.pop("seed", None)
    if not isinstance(seed, int):
        raise DatasetError(f"{directory / 'config.yaml'} names no seed: train this member again")
    fingerprint = str(stored.pop("data", ""))
    record = TrainingRecord.read(directory)
    if record is None or record.fingerprint != fingerprint:
        record = _reconstructed(directory, _config(stored, directory), fingerprint)
    config = _config(record.config, directory)
    member = TrainedMember(seed, config.model, record.image, lambda: read_network(config.model, weights))
    return Run(directory, [member], record, config)


def _stored_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.yaml"
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} is missing or damaged: train this member again") from error
    if not isinstance(stored, dict):
        raise DatasetError(f"{path} is damaged: train this member again")
    return stored


def _reconstructed(directory: Path, config: TrainConfig, fingerprint: str) -> TrainingRecord:
    """The record of a run that left none: of the data set, if that is still the one that it was trained on."""
    site = load_site(config)
    train, val = (site.photos[site.photos["subset"] == subset] for subset in (TRAIN, VAL))
    if training_set(config, site, train, val).fingerprint != fingerprint:
        raise DatasetError(
            f"{directory}: {site.dataset_dir} was corrected or split anew since, and the run keeps no record of the "
            "photos that it was trained on; train it again"
        )
    trained_on, validated_on = (tuple(rows["photo_id"].astype(str)) for rows in (train, val))
    return TrainingRecord(site.frame, site.image, fingerprint, trained_on, validated_on, to_dict(config))


def _config(content: dict[str, Any], directory: Path) -> TrainConfig:
    """The configuration in a record or a bundle; `out` is not needed to load a data set again."""
    try:
        # in JSON, strict validation takes lists for tuples and tables for dataclasses
        return TypeAdapter(TrainConfig).validate_json(json.dumps({**content, "out": str(directory)}, default=str))
    except (ValidationError, ConfigError, TypeError) as error:
        text = one_line(error, TrainConfig) if isinstance(error, ValidationError) else str(error)
        raise DatasetError(f"{directory} was trained with settings that this version does not know: {text}") from error


def with_settings(runs: Sequence[Run], settings: Sequence[str]) -> list[Run]:
    """The runs, with other settings of the bundle and its descriptors in the first one's configuration.

    Raises:
        ConfigError: A setting is unknown, or is one of the trainings, which are over.
    """
    first = runs[0]
    content = to_dict(first.config)
    for setting in settings:
        if not setting.startswith(("bundle.", "descriptor.")):
            raise ConfigError(f"setting {setting!r}: the members are trained; expected a key of bundle or descriptor")
        set_key(content, setting)
    try:
        config = TypeAdapter(TrainConfig).validate_json(json.dumps(content, default=str))
    except ValidationError as error:
        raise ConfigError(one_line(error, TrainConfig)) from error
    return [replace(first, config=config), *runs[1:]]
