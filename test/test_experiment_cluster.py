"""Runs on a Ray cluster, started on this machine."""

import pytest
from runner_helpers import make_dataset, write_recipe, write_table

from campus_visual_gps.errors import ConfigError
from training.experiments.cluster import RayCluster
from training.experiments.runner import ExperimentOptions, run_experiments

pytestmark = pytest.mark.slow

ray = pytest.importorskip("ray", reason="the `cluster` extra is not installed")


def test_rows_run_as_tasks_of_a_cluster(tmp_path):
    dataset = make_dataset(tmp_path)
    write_recipe(tmp_path)
    rows = [{"name": "good", "overrides": {}}, {"name": "broken", "overrides": {"weights": "no-such-file.pth"}}]
    table = write_table(tmp_path, rows)
    try:
        summary = run_experiments(
            [table], dataset, tmp_path / "out", ExperimentOptions(), lambda out: RayCluster(out, "local", jobs=1)
        )
    except ConfigError as error:
        if "timed out during startup" in str(error):  # Ray's own limit of 30 s
            pytest.skip(f"this machine is too busy to start Ray: {error}")
        raise
    assert summary.states == {("table", "good"): "done", ("table", "broken"): "failed"}
    assert "no-such-file.pth" in (tmp_path / "out" / "table" / "broken" / "status.yaml").read_text()
    assert not ray.is_initialized()


def test_an_address_without_a_cluster_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no Ray cluster at auto .*ray start --head"):
        RayCluster(tmp_path, "auto")
