"""`draw-pipeline` and `draw-features`: figures 1 and 2 of the paper, from networks and features as they are."""

import numpy as np
import pytest
from helpers import ROOT, make_bundle
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from test_evaluate import write_dataset
from typer.testing import CliRunner

from campus_visual_gps.errors import DatasetError, VisualGpsError
from training.cli import app
from training.evaluate.member_features import PhotoFeatures
from training.report.feature_map import draw_feature_map, embed, explained_share
from training.report.pipeline_figure import Pipeline, Step, draw_pipeline
from training.report.pipeline_parts import read_pipeline

PAPER = ROOT / "config" / "training" / "convnext_ensemble.yaml"


def step(pipeline, title, row=0):
    steps = {step.title: step for step in (*pipeline.before, *pipeline.rows[row], *pipeline.after)}
    return steps[title].lines


def test_the_pipeline_of_the_papers_recipe_is_its_figure_1():
    pipeline = read_pipeline(PAPER)
    assert "320 × 320 px" in step(pipeline, "Transform")
    assert step(pipeline, "convnext_tiny") == ("27.8 M parameters", "3 members, seeds 42, 123, 456")
    assert step(pipeline, "Features")[0] == "768"
    head = ("Linear(768 → 512)", "GELU", "Dropout(0.3)", "Linear(512 → 128)", "GELU", "Linear(128 → 2)")
    assert step(pipeline, "Head: mlp") == head
    assert step(pipeline, "Output") == ("east, north", "in metres") and "mean of 3 members" in step(
        pipeline, "Posterior"
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle", seeds=(42,))


def test_the_pipeline_of_a_bundle_is_that_of_its_members(bundle, tmp_path):
    pipeline = read_pipeline(bundle)
    assert step(pipeline, "resnet18") == ("11.2 M parameters", "1 member, seed 42")
    assert step(pipeline, "Features")[0] == "512" and step(pipeline, "Head: linear") == ("Linear(512 → 2)",)
    assert step(pipeline, "Output")[-1] == "(× 20)" and "mean of the member" in step(pipeline, "Posterior")
    done = CliRunner().invoke(app, ["draw-pipeline", str(bundle), "--out", str(tmp_path / "a.png")])
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "a.png") as image:
        assert image.size[0] > image.size[1] > 100


def test_the_pipeline_of_a_map_names_its_cells_and_the_retrieval():
    pipeline = read_pipeline(ROOT / "sample" / "bundle")
    (cells,) = [line for line in step(pipeline, "Output") if line.startswith("probability of ")]
    assert step(pipeline, "Head: probability_map")[-1].endswith(f"→ {cells.removeprefix('probability of ')})")
    assert "retrieved photos" in step(pipeline, "Posterior")
    unknown = read_pipeline(ROOT / "config" / "training" / "site_best.yaml")
    assert step(unknown, "Head: probability_map")[-1].endswith("→ cells)")


def test_boxes_of_a_pipeline_hold_their_text_and_do_not_overlap():
    rows = tuple(
        (Step("network", "a_backbone_with_a_long_name" * row, ("1 line",)), Step("head", "Head", ("x",) * (4 * row)))
        for row in (1, 2, 3)
    )
    figure = draw_pipeline(Pipeline("$name_$", (Step("data", "Image"),), rows, (Step("answer", "Fix", ("a",) * 3),)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    boxes = [patch.get_window_extent() for patch in axes.patches if hasattr(patch, "get_boxstyle")]
    assert len(boxes) == 8
    assert not [1 for i, one in enumerate(boxes) for other in boxes[:i] if one.overlaps(other)]
    for text in axes.texts[1:]:
        drawn = text.get_window_extent(canvas.get_renderer())
        assert any(box.x0 <= drawn.x0 and drawn.x1 <= box.x1 and box.y0 <= drawn.y0 <= box.y1 for box in boxes)


def two_places(count, seed=0):
    """Features that tell west from east and nothing of north, as those of the paper's figure 2 do."""
    rng = np.random.default_rng(seed)
    positions = np.stack([np.repeat([-100.0, 100.0], count // 2), rng.uniform(-10.0, 10.0, count)], axis=1)
    features = rng.normal(size=(count, 16)) + np.sign(positions[:, :1]) * 8.0
    return PhotoFeatures(features, positions, np.arange(count) % 2.0, "made-up features")


def test_the_map_of_features_shows_what_they_tell_and_what_not():
    photos = two_places(60)
    points = embed(photos.features)
    shares = [explained_share(points, photos.positions_enu_m[:, axis]) for axis in (0, 1)]
    assert shares[0] > 0.95 and shares[1] < 0.3
    np.testing.assert_array_equal(points, embed(photos.features))
    figure = draw_feature_map(points, photos, shares)
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert "east, m" in labels and "north, m" in labels
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["day", "night"]


@pytest.mark.parametrize("count", [6, 10])
def test_few_photos_have_a_map_too(count):
    photos = two_places(count)
    assert np.isfinite(embed(photos.features)).all()
    assert explained_share(embed(photos.features), np.zeros(count)) == 0.0


@pytest.mark.parametrize("features", [np.ones((9, 4)), np.full((9, 4), np.nan), np.zeros((4, 4))])
def test_features_that_make_no_map_are_one_line(features):
    with pytest.raises(DatasetError, match="photos"):
        embed(features)


@pytest.mark.slow
def test_features_of_a_data_set_and_of_the_bundle_are_drawn(tmp_path):
    dataset = write_dataset(tmp_path / "campus")
    bundle = make_bundle(tmp_path / "bundle", seeds=(42, 123))
    arguments = ["draw-features", str(bundle), str(dataset), "--member", "123", "--out", str(tmp_path / "a.png")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "24 photos of test" in done.output and (tmp_path / "a.png").stat().st_size > 10_000
    done = CliRunner().invoke(app, [*arguments[:-4], "--member", "7", "--out", str(tmp_path / "b.png")])
    assert isinstance(done.exception, VisualGpsError) and "member '7' is none of 42, 123" in str(done.exception)
