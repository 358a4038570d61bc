"""Runs of untrained members as `train` leaves them, on a small data set, for the tests of ensembles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from helpers import textured_rgb
from PIL import Image
from pydantic import TypeAdapter
from safetensors.torch import save_file

from campus_visual_gps.geodesy import LocalFrame
from campus_visual_gps.models.position_model import build_model
from training.config import SchedulerSettings, TrainConfig, TrainerSettings, to_dict
from training.fit.bundle_builder import TrainedEnsemble
from training.fit.combined_runs import read_runs
from training.fit.cross_validation import held_out
from training.fit.folds import FOLDS, Fold
from training.fit.member import WEIGHTS
from training.fit.site_cells import site_cells
from training.fit.site_data import TrainingSite, load_site, training_set
from training.fit.trained_member import TrainingRecord
from training.photos.manifest import PHOTO_COLUMNS, image_path

FRAME = LocalFrame.at(31.262, 34.802)
SESSIONS = ("walk-0", "walk-1", "walk-2", "walk-3")
A_SESSION = 12
LAST_EPOCH, COSINE = TrainerSettings(keep="last"), SchedulerSettings("cosine")
SUBSETS = dict(zip(SESSIONS, ("train", "train", "val", "test"), strict=True))


def write_dataset(directory: Path, subsets: dict[str, str] | None = None) -> Path:
    """Four walks of twelve photos each over the same places."""
    (directory / "images").mkdir(parents=True)
    rows = []
    for number in range(len(SESSIONS) * A_SESSION):
        session, index = divmod(number, A_SESSION)
        photo_id = f"p{number:016x}"
        latitude, longitude = FRAME.to_geodetic(np.array([12.0 * index - 60.0, 25.0 * (index % 3) + 2.0 * session]))
        captured = pd.Timestamp("2025-12-22T09:00:00+02:00") + pd.Timedelta(days=session, seconds=30 * index)
        known = {"photo_id": photo_id, "file": f"{number}.jpg", "session": SESSIONS[session], "night": 0}
        known |= {"latitude_deg": float(latitude), "longitude_deg": float(longitude), "altitude_m": 300.0}
        known |= {"captured_at": captured.isoformat(), "width_px": 64, "height_px": 48}
        rows.append(dict.fromkeys(PHOTO_COLUMNS, "") | known)
        Image.fromarray(textured_rgb(320, 320, seed=number)).save(image_path(directory, photo_id), quality=95)
    pd.DataFrame(rows).to_csv(directory / "photos.csv", index=False)
    split(directory, subsets or SUBSETS)
    return directory


def split(directory: Path, subsets: dict[str, str]) -> None:
    """Whole sessions to subsets."""
    photos = pd.read_csv(directory / "photos.csv")
    splits = photos[["photo_id", "session"]].assign(subset=photos["session"].map(subsets))
    splits.to_csv(directory / "splits.csv", index=False)


def config_of(dataset_dir: Path, **changes) -> TrainConfig:
    """A small configuration without pretrained weights."""
    content = {
        "dataset": str(dataset_dir),
        "out": str(dataset_dir.parent),
        "model": {"backbone": "resnet18", "head": "linear", "output_scale_m": 20.0},
        "weights": "none",
        "size_px": 64,
        "seeds": [42],
    }
    return TypeAdapter(TrainConfig).validate_json(json.dumps(content | changes))


def write_run(directory: Path, config: TrainConfig, record: bool = True, frame: LocalFrame | None = None) -> Path:
    """A run of untrained members in `seed-<seed>`, of the data set as it is split now."""
    site = load_site(config)
    if frame is not None:
        site = TrainingSite(site.photos, site.dataset_dir, frame, site.image)
    train, val = (site.photos[site.photos["subset"] == subset] for subset in ("train", "val"))
    data = training_set(config, site, train, val)
    for seed in config.seeds:
        run_dir = directory / f"seed-{seed}"
        run_dir.mkdir(parents=True)
        kept = {key: value for key, value in to_dict(config).items() if key not in ("seeds", "out", "bundle")}
        stored = {"seed": seed, "data": data.fingerprint, **kept}
        (run_dir / "config.yaml").write_text(yaml.safe_dump(stored), encoding="utf-8")
        torch.manual_seed(seed)
        cells = None
        if config.model.head == "probability_map":
            positions = site.positions_m(train)
            cells = torch.from_numpy(site_cells(positions, config.model.cell_m, config.loss.grid_margin_m))
        state = build_model(config.model, cells_enu_m=cells).state_dict()
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, run_dir / WEIGHTS)
        if record:
            ids = (tuple(train["photo_id"]), tuple(val["photo_id"]))
            TrainingRecord(site.frame, site.image, data.fingerprint, *ids, to_dict(config)).write(run_dir)
    return directory


def write_folds(directory: Path, config: TrainConfig, run: Path, sessions: tuple[str, ...]) -> Path:
    """Folds as `cross-validate` leaves them, whose members are those of a run: what they say, not how good it is."""
    site, members = load_site(config), [member for own in read_runs([run]) for member in own.members]
    photos = site.photos[site.photos["subset"].isin(["train", "val"])]
    folds = {}
    for number, session in enumerate(sessions, start=1):
        fold = Fold(session, directory / f"fold-{number}" / "bundle")
        fold.bundle_dir.mkdir(parents=True)
        others = photos[photos["session"] != session]
        data = training_set(replace(config, trainer=LAST_EPOCH, scheduler=COSINE), site, others, others.iloc[:0])
        held_out(fold, TrainedEnsemble(config, site, others, data, members), photos)
        folds[session] = fold.bundle_dir.relative_to(directory).as_posix()
    (directory / FOLDS).write_text(yaml.safe_dump(folds), encoding="utf-8")
    return directory
