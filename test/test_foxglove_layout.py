"""The Foxglove layout is complete, and shows topics that the node, the sample drive or the filters publish; so RViz."""

import json
import re

import pytest
import yaml
from helpers import ROOT

TOPICS = {
    "/visual_gps/fix",
    "/visual_gps/tracked_fix",
    "/visual_gps/tracked_pose",
    "/visual_gps/tracked_grid",
    "/visual_gps/posterior_grid",
    "/fix",
    "/gps/fix",
    "/gps/filtered",
    "/ground_truth/fix",
    "/camera/image_raw/compressed",
    "/diagnostics",
}


@pytest.fixture
def layout():
    return json.loads((ROOT / "config" / "foxglove_layout.json").read_text(encoding="utf-8"))


def panels(node) -> list[str]:
    """Ids in the mosaic."""
    return [node] if isinstance(node, str) else panels(node["first"]) + panels(node["second"])


def test_every_panel_of_the_mosaic_has_its_configuration(layout):
    shown = panels(layout["layout"])
    assert sorted(shown) == sorted(layout["configById"])
    assert {name.split("!")[0] for name in shown} >= {"Image", "map", "Plot", "DiagnosticSummary"}


def test_every_topic_is_one_that_is_published(layout):
    named = set(re.findall(r'"(/[a-z_/]+)[".]', json.dumps(layout)))
    assert named == TOPICS


def test_the_plot_shows_standard_deviations(layout):
    values = [path["value"] for path in layout["configById"]["Plot!sigma"]["paths"]]
    # east and north are the first and the fifth of the nine entries
    assert "/visual_gps/fix.position_covariance[0].@sqrt" in values
    assert "/visual_gps/fix.position_covariance[4].@sqrt" in values
    assert "/visual_gps/tracked_pose.pose.covariance[7].@sqrt" in values  # 6 x 6: north is the eighth


def test_rviz_shows_the_latched_grids_and_the_poses_in_the_map():
    manager = yaml.safe_load((ROOT / "config" / "visual_gps.rviz").read_text(encoding="utf-8"))["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "map"
    topics = {display["Topic"]["Value"]: display for display in manager["Displays"] if "Topic" in display}
    assert set(topics) - TOPICS == {"/visual_gps/pose", "/odometry/global", "/image"}
    for name in ("/visual_gps/tracked_grid", "/visual_gps/posterior_grid"):
        assert topics[name]["Class"] == "rviz_default_plugins/Map"
        assert topics[name]["Topic"]["Durability Policy"] == "Transient Local"
