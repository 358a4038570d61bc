"""The report of a training: one log line and one row of metrics.csv for each epoch."""

from __future__ import annotations

import logging
from math import isnan
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from training.fit.guards import loss_gap
from training.photos.tables import read_table, write_table

log = logging.getLogger(__name__)

METRICS = ("train_loss", "train_mean_error_m", "val_loss", "val_mean_error_m")
COLUMNS = {
    "epoch": "integer",
    **dict.fromkeys(METRICS, "optional number"),
    "gap": "optional number",  # val_loss / train_loss
    "lr": "number",
    "seconds": "number",
}


class EpochReport(Callback):
    """Writes metrics.csv; a resumed run appends to the rows of the interrupted one.

    Lightning's own CSV logger would start an empty file.

    Args:
        metrics_csv: The file.
        seed: Of the member, for the log.
        max_epochs: Planned number of epochs, for the log.
    """

    def __init__(self, metrics_csv: Path, seed: int, max_epochs: int):
        self.metrics_csv, self.seed, self.max_epochs = metrics_csv, seed, max_epochs
        self._started_s = 0.0
        self._lr = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._started_s = perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        # read here: at the end of the epoch the schedule has already changed it
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        seconds = perf_counter() - self._started_s
        # validation metrics are missing without validation photos
        row = {name: float(trainer.callback_metrics.get(name, float("nan"))) for name in METRICS}
        val_loss, val_error_m = row["val_loss"], row["val_mean_error_m"]
        gap = loss_gap(row["train_loss"], val_loss)
        rest = {"gap": round(gap, 3), "lr": self._lr, "seconds": round(seconds, 1)}
        self._append({"epoch": trainer.current_epoch, **row, **rest})
        validation = "" if isnan(val_loss) else f", validation {val_loss:.2f}  mean error {val_error_m:.2f} m"
        validation += "" if isnan(gap) else f"  gap {gap:.2f}"
        log.info(
            "seed %d  epoch %d/%d  loss %.2f%s  (%.0f s)",
            self.seed,
            trainer.current_epoch + 1,
            self.max_epochs,
            row["train_loss"],
            validation,
            seconds,
        )

    def _append(self, row: dict[str, float]) -> None:
        rows = pd.DataFrame([row])
        if self.metrics_csv.is_file():
            before = read_metrics(self.metrics_csv)
            # an epoch that was written but is not in the checkpoint runs again
            rows = pd.concat([before[before["epoch"] < row["epoch"]], rows], ignore_index=True)
        write_table(self.metrics_csv, rows.replace([float("inf"), float("-inf")], float("nan")))


def read_metrics(metrics_csv: Path) -> pd.DataFrame:
    """metrics.csv of a training run, one row per epoch. Raises DatasetError."""
    return read_table(metrics_csv, COLUMNS)
