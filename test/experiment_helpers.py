"""Made-up directories of experiments and tables of predictions."""

import numpy as np
import pandas as pd
import yaml

from training.evaluate.predict import write_predictions

SEEDS = (42, 123, 456)
NIGHT_EVERY = 4


def make_predictions(errors_m, seeds=SEEDS, night=True, session="walk-1", spread_m=2.0):
    """One photo every 30 s; the ensemble errs eastwards by errors_m, the members by a little less and more."""
    errors_m = np.asarray(errors_m, dtype=float)
    n = len(errors_m)
    times = pd.Timestamp("2025-12-23T09:00:00+02:00") + pd.to_timedelta(30 * np.arange(n), unit="s")
    table = pd.DataFrame(
        {
            "photo_id": [f"p{i:016x}" for i in range(n)],
            "file": [f"IMG_{i}.HEIC" for i in range(n)],
            "session": session,
            "captured_at": [time.isoformat() for time in times],
            "night": np.arange(n) % NIGHT_EVERY == 0 if night else False,
            "subset": "test",
            "area": np.where(np.arange(n) % 2, "Library", "Building 35"),
            "true_east_m": 5.0 * np.arange(n),
            "true_north_m": 0.0,
            "error_m": errors_m,
            "east_m": 5.0 * np.arange(n) + errors_m,
            "north_m": 0.0,
            "rejection_reason": "",
        }
    )
    for seed, offset_m in zip(seeds, np.linspace(-spread_m, spread_m, len(seeds)), strict=True):
        table[f"member_{seed}_east_m"] = table["east_m"] + offset_m
        table[f"member_{seed}_north_m"] = 0.0
    return table


def write_experiment(directory, rows, **header):
    """A table whose rows map names to a dictionary: predictions, status, and keys of experiment.yaml."""
    directory.mkdir(parents=True)
    listed = []
    for name, row in rows.items():
        listed.append({"name": name} | {k: v for k, v in row.items() if k not in ("predictions", "status")})
        (directory / name).mkdir()
        if "predictions" in row:
            write_predictions(directory / name / "predictions.csv", row["predictions"])
        if "status" in row:
            (directory / name / "status.yaml").write_text(yaml.safe_dump(row["status"]))
    (directory / "experiment.yaml").write_text(yaml.safe_dump({"rows": listed} | header, sort_keys=False))
    return directory
