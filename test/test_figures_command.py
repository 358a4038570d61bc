"""`figures`: the report of predictions again without inference, whatever the table holds; its tables and pictures."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from experiment_helpers import make_predictions
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sequence_helpers import predictions_of, site_grid, walk
from typer.testing import CliRunner

from campus_visual_gps.errors import DatasetError
from campus_visual_gps.tracking.calibration import TrackingCalibration
from training.cli import app
from training.evaluate.posteriors import write_posteriors, write_tracking
from training.evaluate.predict import write_predictions
from training.evaluate.worst import WorstPhoto, worst_photos
from training.report.redraw import redraw

ERRORS_M = np.random.default_rng(0).gamma(2.0, 6.0, 80)
NEEDED = ["photo_id", "session", "rejection_reason", "true_east_m", "true_north_m", "error_m"]


def drawn(directory, table):
    """The redrawn report.md of a table of predictions."""
    directory.mkdir(parents=True, exist_ok=True)
    write_predictions(directory / "predictions.csv", table)
    summary = redraw(directory)
    text = summary.report_path.read_text(encoding="utf-8")
    for picture in summary.pictures.values():
        assert f"]({picture.name})" in text
        with Image.open(picture) as image:
            assert image.size[0] > 600
    return text


def table_of(text, first):
    """Rows of the Markdown table whose header begins with these words."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {first}"))
    end = next(number for number in range(start, len(lines) + 1) if number == len(lines) or not lines[number])
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : end]]


def test_the_papers_tables_are_those_of_the_predictions(tmp_path):
    errors = np.append(ERRORS_M, [60.0, 75.0, np.nan])
    table = make_predictions(errors)
    text = drawn(tmp_path, table)
    counts = {row[0]: int(row[1]) for row in table_of(text, "distance error of 83 photos")}
    assert [counts[f"≤ {limit} m"] for limit in (5, 10, 15, 20)] == [
        (errors <= limit).sum() for limit in (5, 10, 15, 20)
    ]
    assert counts["> 20 m"] == 83 - counts["≤ 20 m"] and counts["> 50 m"] == 3
    night = errors[::4]
    rows = dict(table_of(text, "night photos"))
    assert rows["photos"] == str(len(night)) and rows["max, m"] == f"{np.nanmax(night):.2f}"
    assert rows["≤ 10 m"].startswith(f"{(night <= 10).sum()} (")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["beyond_50m_count"] == 3 and report["worst_25_count"] == 25
    worst = table_of(text, "rank")
    assert len(worst) == 25 and worst[0][5] == "–" and worst[1][5] == "75.0"
    assert f"Night photos among them: {report['worst_25_night_count']} of 25" in text
    areas = table_of(text, "area")
    means = [table.loc[table["area"] == row[0], "error_m"].mean() for row in areas[:-1]]
    assert means == sorted(means) and [row[2].split()[0] for row in areas[:-1]] == [f"{mean:.2f}" for mean in means]
    assert areas[-1][0] == "overall" and areas[-1][1] == "83"


def test_the_worst_25_have_the_share_of_night_photos_among_them():
    errors = np.arange(80.0)
    night = [None] * 5 + [False] * 65 + [True] * 10
    table = make_predictions(errors).assign(night=pd.array(night, dtype="boolean"))
    worst = worst_photos(table)
    assert [photo.error_m for photo in worst.photos] == list(np.arange(79.0, 54.0, -1.0))
    assert worst.photos[0] == WorstPhoto("IMG_79.HEIC", "walk-1", "Library", True, 79.0)
    assert (worst.n_night, worst.n_known_light, worst.night_share) == (10, 25, 0.4)
    assert worst.all_night_share == pytest.approx(10 / 75)
    assert worst_photos(table.drop(columns="night")).night_share is None
    assert worst_photos(table.assign(error_m=[*errors[:-1], np.nan])).photos[0].error_m is None


CASES = {
    "all errors equal": make_predictions(np.full(30, 75.0)).assign(night=True, rejection_reason="too_dark"),
    "one photo without an error": make_predictions([0.0]),
    "huge outliers and blank names": make_predictions(np.append(ERRORS_M, [1e5, 1e7]), seeds=()).assign(
        area="", session="", file=""
    ),
    "no position": make_predictions(np.full(9, np.nan)),
    "only what is needed": make_predictions(ERRORS_M)[NEEDED],
    "names that are code": make_predictions(ERRORS_M).assign(area="a|b\\|$x_1$", session="<b>|\\" + "long " * 40),
}


@pytest.mark.parametrize("table", CASES.values(), ids=CASES)
def test_any_table_of_predictions_has_a_report(tmp_path, table):
    text = drawn(tmp_path, table)
    columns = [[len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in block.splitlines()] for block in blocks(text)]
    assert columns and all(len(set(counts)) == 1 for counts in columns)
    assert "nan" not in text.lower()


def blocks(text):
    return [block for block in text.split("\n\n") if block.startswith("|")]


def test_the_report_of_an_evaluation_keeps_what_only_evaluate_knows(tmp_path):
    write_predictions(tmp_path / "predictions.csv", make_predictions(ERRORS_M))
    known = {"model_id": "tiny-1", "split": "night_holdout", "baseline.median_position.not_computed": "no reason"}
    (tmp_path / "report.json").write_text(json.dumps(known | {"n_seen_in_training": "damaged"}))
    before = (tmp_path / "predictions.csv").read_bytes()
    done = CliRunner().invoke(app, ["figures", str(tmp_path)])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# Evaluation of tiny-1") and "## Night hold-out" in text
    assert "median training position: not computed: no reason" in text
    assert (tmp_path / "predictions.csv").read_bytes() == before


def test_a_report_can_go_elsewhere_with_a_copy_of_its_predictions(tmp_path):
    write_predictions(tmp_path / "predictions.csv", make_predictions(ERRORS_M))
    summary = redraw(tmp_path / "predictions.csv", tmp_path / "out")
    assert summary.out_dir == tmp_path / "out" and not (tmp_path / "report.md").exists()
    assert (tmp_path / "out" / "predictions.csv").read_bytes() == (tmp_path / "predictions.csv").read_bytes()


def test_the_sequences_of_an_evaluation_are_drawn_again(tmp_path):
    grid = site_grid(20, 4)
    truth, probs = walk(grid, 30, 4)
    table, posteriors = predictions_of(grid, {"walk": (truth, probs)})
    write_posteriors(tmp_path / "posteriors.npz", [posteriors])
    write_tracking(tmp_path / "tracking.json", [TrackingCalibration(correlation_time_s=1.0)])
    Image.new("RGB", (700, 200)).save(tmp_path / "belief_strip_1.png")
    text = drawn(tmp_path, table)
    assert "## In time order" in text and "belief_strip_1.png" in text
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["sequences.tracked.mean_error_m"] < report["sequences.single.mean_error_m"]
    write_tracking(tmp_path / "tracking.json", [TrackingCalibration(), TrackingCalibration()])
    with pytest.raises(DatasetError, match="do not fit together"):
        redraw(tmp_path)


def test_what_cannot_be_drawn_is_one_line(tmp_path):
    table = make_predictions(ERRORS_M[:5])
    write_predictions(tmp_path / "predictions.csv", table.iloc[:0])
    with pytest.raises(DatasetError, match="no photos in it"):
        redraw(tmp_path)
    write_predictions(tmp_path / "predictions.csv", table.assign(stamp_ns=1, frame_id="camera"))
    with pytest.raises(DatasetError, match="report of a drive"):
        redraw(tmp_path)
    write_predictions(tmp_path / "predictions.csv", table.assign(captured_at="yesterday"))
    with pytest.raises(DatasetError, match="captured_at"):
        redraw(tmp_path)
    (tmp_path / "site.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"site\.json"):
        redraw(tmp_path)


def test_labels_of_every_picture_stand_outside_of_its_axes(tmp_path, monkeypatch):
    """Legends are the figure's, below the axes: none can lie on a line or a bar. And none is wider than the figure."""
    wrong = []
    save = Figure.savefig

    def check(figure, path, **options):
        save(figure, path, **options)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        page = figure.bbox.extents
        for axes in figure.axes:
            if axes.get_legend() is not None:
                wrong.append((path, "legend on the axes"))
        texts = [*figure.legends, *figure.texts, *(axes.title for axes in figure.axes)]
        texts += [label for axes in figure.axes for label in axes.get_yticklabels()]
        for text in texts:
            extents = text.get_window_extent(renderer).extents
            if extents[0] < page[0] - 2 or extents[2] > page[2] + 2:
                wrong.append((path, "beyond the edge"))

    monkeypatch.setattr(Figure, "savefig", check)
    names = [f"area {number % 40} " + "long " * (number % 12) for number in range(80)]
    errors = np.append(ERRORS_M[:-1], 1e6)
    drawn(tmp_path, make_predictions(errors).assign(area=names, session=[f"{name} walk" for name in names]))
    assert not wrong
