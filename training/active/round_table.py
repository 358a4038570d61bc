"""`round-table`: table 14 of a data set, before and after each round (paper, section 5.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.io_utils import atomic_write
from training.active.history import read_history, test_set_of
from training.active.stage_metrics import CATASTROPHIC_M, StageMetrics, paired_difference_m, stage_metrics
from training.active.stages import Stage, common_photos, errors_against, stages_of
from training.metrics.estimate import UNKNOWN, Estimate
from training.photos.manifest import read_labels
from training.photos.photo_id import photo_key
from training.photos.tables import write_table
from training.report.formatting import NONE, number, percent, with_interval
from training.report.markdown_blocks import table

ROUNDS_CSV, ROUNDS_MD = "rounds.csv", "rounds.md"
OURS, PAPERS = "ours", "paper"
OWN_TEST_SET, COMMON_PHOTOS = "own_test_set", "common_photos"


@dataclass(frozen=True)
class PaperRow:
    """A row of the paper's table 14."""

    stage: str
    train_size: int
    test_size: int
    mean_error_m: float
    over: int


PAPER_ROWS = (
    PaperRow("Before Active Learning", 1950, 1321, 17.48, 40),
    PaperRow("After Round 1 (+167)", 2117, 1154, 11.54, 3),
    PaperRow("After Round 2 (+131)", 2248, 1023, 8.17, 1),
)


@dataclass(frozen=True)
class Row:
    """A stage: on its own test set, and on the photos of all stages; None where it was not evaluated.

    `difference_m` is the mean error on the common photos less that of the first evaluated stage, paired.
    """

    stage: Stage
    own: StageMetrics | None
    common: StageMetrics | None
    difference_m: Estimate


@dataclass(frozen=True)
class RoundTable:
    """Table 14.

    Attributes:
        rows: One for each stage.
        common: Number of photos that all evaluated stages scored and that still have a label.
        relabelled: Number of these whose label was corrected after a stage had been scored.
        csv_path, markdown_path: What was written.
        markdown: The text.
    """

    rows: list[Row]
    common: int
    relabelled: int
    csv_path: Path
    markdown_path: Path
    markdown: str


def write_round_table(dataset_dir: Path, evaluations: Mapping[str, Path] | None = None) -> RoundTable:
    """Draw table 14 from the predictions of each stage; write rounds.csv and rounds.md into the data set.

    Args:
        dataset_dir: The data set.
        evaluations: Directory of an evaluation by stage (`before`, `round-1`, ...). They are kept in rounds/, so that
            the next table needs only new ones.

    Raises:
        DatasetError: There was no round, a name is no stage, or an evaluation scores photos that were in training.
    """
    dataset_dir = Path(dataset_dir)
    stages = stages_of(dataset_dir, read_history(dataset_dir), dict(evaluations or {}))
    if all(stage.evaluation is None for stage in stages):
        raise DatasetError(f"no stage was evaluated; give --evaluation {stages[0].name}=DIR, a finished evaluation")
    labels = read_labels(dataset_dir)
    labels = labels[labels["decision"] != "exclude"]
    labels = labels.set_index(labels["photo_id"].map(photo_key))
    common = [key for key in common_photos(stages) if key in labels.index]
    rows, relabelled = _rows(stages, common, labels)
    text = _markdown(rows, len(common), relabelled)
    csv_path, markdown_path = dataset_dir / ROUNDS_CSV, dataset_dir / ROUNDS_MD
    write_table(csv_path, _csv(rows))
    with atomic_write(markdown_path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
    return RoundTable(rows, len(common), relabelled, csv_path, markdown_path, text)


def _rows(stages: list[Stage], common: list[str], labels: pd.DataFrame) -> tuple[list[Row], int]:
    rows: list[Row] = []
    first_m: np.ndarray | None = None
    relabelled = np.zeros(len(common), dtype=bool)
    for stage in stages:
        evaluation = stage.evaluation
        if evaluation is None:
            rows.append(Row(stage, None, None, UNKNOWN))
            continue
        own = stage_metrics(evaluation.predictions, evaluation.errors_m)
        if not common:
            rows.append(Row(stage, own, None, UNKNOWN))
            continue
        predictions = evaluation.predictions.set_index(evaluation.predictions["photo_id"].map(photo_key)).loc[common]
        now = labels.loc[common]
        errors_m = errors_against(predictions, now)
        then = predictions.assign(
            latitude_deg=predictions["true_latitude_deg"], longitude_deg=predictions["true_longitude_deg"]
        )
        relabelled |= errors_against(then, now) > 0.1
        difference = UNKNOWN if first_m is None else paired_difference_m(predictions, errors_m, first_m)
        first_m = errors_m if first_m is None else first_m
        rows.append(Row(stage, own, stage_metrics(predictions, errors_m), difference))
    return rows, int(relabelled.sum())


def _csv(rows: list[Row]) -> pd.DataFrame:
    """rounds.csv: for each stage a row on its own test set and one on the common photos, then the paper's rows."""
    records = []
    for row in rows:
        stage = row.stage
        known = {"source": OURS, "stage": stage.name, "train_size": stage.train_size}
        scored = None if stage.evaluation is None else test_set_of(stage.evaluation.predictions["photo_id"])
        where = None if stage.evaluation is None else str(stage.evaluation.path)
        records.append(known | {"scored_on": OWN_TEST_SET, "test_set": scored, "predictions": where} | _flat(row.own))
        difference = {
            "difference_m": row.difference_m.value,
            "difference_m_low": row.difference_m.low,
            "difference_m_high": row.difference_m.high,
        }
        records.append(known | {"scored_on": COMMON_PHOTOS, "predictions": where} | _flat(row.common) | difference)
    for paper in PAPER_ROWS:
        records.append(
            {
                "source": PAPERS,
                "stage": paper.stage,
                "scored_on": OWN_TEST_SET,
                "train_size": paper.train_size,
                "test_size": paper.test_size,
                "mean_error_m": paper.mean_error_m,
                "over_50m_count": paper.over,
                "over_50m_share": paper.over / paper.test_size,
            }
        )
    frame = pd.DataFrame(records, columns=list(_COLUMNS))
    return frame.astype({name: "Int64" for name in ("train_size", "test_size", "over_50m_count")})


_COLUMNS = (
    "stage", "source", "scored_on", "train_size", "test_size", "mean_error_m", "mean_error_m_low", "mean_error_m_high",
    "over_50m_count", "over_50m_share", "over_50m_share_low", "over_50m_share_high", "difference_m",
    "difference_m_low", "difference_m_high", "test_set", "predictions",
)  # fmt: skip


def _flat(metrics: StageMetrics | None) -> dict:
    if metrics is None:
        return {}
    return {
        "test_size": metrics.photos,
        "mean_error_m": metrics.mean_error_m.value,
        "mean_error_m_low": metrics.mean_error_m.low,
        "mean_error_m_high": metrics.mean_error_m.high,
        "over_50m_count": metrics.over,
        "over_50m_share": metrics.over_share.value,
        "over_50m_share_low": metrics.over_share.low,
        "over_50m_share_high": metrics.over_share.high,
    }


def _markdown(rows: list[Row], common: int, relabelled: int) -> str:
    over = f"> {CATASTROPHIC_M:.0f} m"
    header = ["stage", "train size", "test size", "mean error, m", over]
    header += ["paper: train size", "paper: test size", "paper: mean error, m", f"paper: {over}"]
    ours = [[row.stage.name, str(row.stage.train_size), *_cells(row.own)] for row in rows]
    papers = [_paper_cells(paper) for paper in PAPER_ROWS]
    length = max(len(ours), len(papers))
    ours += [[NONE] * 5] * (length - len(ours))
    papers += [[NONE] * 4] * (length - len(papers))
    own = table(header, [left + right for left, right in zip(ours, papers, strict=True)])
    blocks = [
        "# Rounds of active learning (paper, table 14)",
        own,
        _OWN_NOTE,
        f"## On the {common} photos of all evaluated stages",
    ]
    if common:
        shared_header = ["stage", "photos", "mean error, m", over, "difference to the first, m"]
        shared = [
            [
                row.stage.name,
                *_cells(row.common),
                with_interval(row.difference_m) if row.difference_m.value is not None else NONE,
            ]
            for row in rows
        ]
        blocks += [table(shared_header, shared), _COMMON_NOTE.format(relabelled=relabelled)]
    else:
        blocks.append("No photo was scored at every stage.")
    sets = [f"- {row.stage.name}: {_test_set(row.stage)}" for row in rows]
    return "\n\n".join([*blocks, "Test sets:\n\n" + "\n".join(sets)]) + "\n"


def _test_set(stage: Stage) -> str:
    if stage.evaluation is None:
        return "not evaluated"
    scored = stage.evaluation.predictions["photo_id"]
    name = test_set_of(scored)
    same = "the subset test of this stage" if name == stage.sizes.test_set else "not the subset test of this stage"
    return f"{len(scored)} photos, set {name}, {same}"


def _cells(metrics: StageMetrics | None) -> list[str]:
    if metrics is None:
        return [NONE, "not run", NONE]
    return [
        str(metrics.photos),
        with_interval(metrics.mean_error_m),
        f"{metrics.over} ({percent(metrics.over_share.value)})",
    ]


def _paper_cells(paper: PaperRow) -> list[str]:
    share = percent(paper.over / paper.test_size)
    return [str(paper.train_size), str(paper.test_size), number(paper.mean_error_m, 2), f"{paper.over} ({share})"]


_OWN_NOTE = (
    "Each stage on its own test set, with the labels that it was scored with. Train size counts the photos to train "
    "and to validate. Brackets are 95 % block-bootstrap intervals. The test set of a later stage is smaller because "
    "its hardest photos were moved to training, so a part of the decrease comes from the choice of photos and not from "
    "a better model. Its sessions also have photos that trained, so their neighbours were seen: `evaluate` tells the "
    "scores on untouched sessions apart. Both hold for the paper's rows too, which are of its own data."
)
_COMMON_NOTE = (
    "The same photos at every stage, all scored with the labels of today ({relabelled} of them were corrected after a "
    "stage had been scored). The difference is paired, photo by photo. These photos are easier than the first test "
    "set, and a label that was corrected with a prediction in view favours the model that made the prediction."
)
